"""Check digits: what tells a card, an account or an identity number from another long number.

Each function takes a text of the shape that `shapes` names it for, and says whether its check digits are right. One
number in ten to one in a hundred passes by chance, so that a single cell proves nothing; most cells of a column do.
"""

from __future__ import annotations

import ipaddress
import re

# Country -> length of an IBAN; from the SWIFT IBAN registry (release 99).
_IBAN_LENGTHS = {
    part[:2]: int(part[2:])
    for part in re.findall(
        "[A-Z]{2}[0-9]{2}",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 "
        "ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
        "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 "
        "QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 ",
    )
}
# The first digits and the lengths that card networks use; other numbers with Luhn's digit (IMEI, ICCID) have others.
_CARD = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}){0,2}"
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
    r"|(?:6011|65[0-9]{2}|64[4-9][0-9]|35(?:2[89]|[3-8][0-9])|62[0-9]{2})[0-9]{12}"
)
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_HETU_LETTERS = "0123456789ABCDEFHJKLMNPRSTUVWXY"
# Agenzia delle Entrate: what a character in an odd place (counted from 1) is worth; digits count as A to J do.
_FISCAL_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def luhn(text: str) -> bool:
    """Luhn's check digit (ISO/IEC 7812-1), over the digits of a text.

    >>> luhn("4111 1111 1111 1111"), luhn("4111 1111 1111 1112")
    (True, False)
    """
    digits = _digits(text)[::-1]
    doubled = sum(2 * digit - 9 * (digit > 4) for digit in digits[1::2])
    return len(digits) > 1 and (sum(digits[::2]) + doubled) % 10 == 0


def card(text: str) -> bool:
    """A payment card: a network's first digits and length, and Luhn's digit.

    >>> card("5555-5555-5555-4444"), card("490154203237518")  # the second one is an IMEI
    (True, False)
    """
    digits = re.sub("[ -]", "", text)
    return _CARD.fullmatch(digits) is not None and luhn(digits)


def iban(text: str) -> bool:
    """An account: its country's length, and the remainder of ISO 13616 by 97.

    >>> iban("GB82 WEST 1234 5698 7654 32"), iban("GB82 WEST 1234 5698 7654 33")
    (True, False)
    """
    plain = text.replace(" ", "").upper()
    if len(plain) != _IBAN_LENGTHS.get(plain[:2], -1) or not plain.isascii() or not plain.isalnum():
        return False
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def ip_address(text: str) -> bool:
    """An address of IPv4 or IPv6.

    >>> ip_address("192.0.2.7"), ip_address("2001:db8::1"), ip_address("1.2.3.400")
    (True, True, False)
    """
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def ssn(text: str) -> bool:
    """A social security number of the United States: it has no check digit, but numbers that are never given.

    >>> ssn("536-90-4399"), ssn("666-12-3456"), ssn("123-00-4567")
    (True, False, False)
    """
    area, group, serial = text.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def dni(text: str) -> bool:
    """A Spanish DNI or NIE: its letter is the number's remainder by 23.

    >>> dni("12345678Z"), dni("X1234567L"), dni("12345678A")
    (True, True, False)
    """
    plain = text.upper().replace("-", "")
    number = str("XYZ".find(plain[0])) + plain[1:-1] if plain[0] in "XYZ" else plain[:-1]
    return plain[-1] == _DNI_LETTERS[int(number) % 23]


def fiscal_code(text: str) -> bool:
    """An Italian codice fiscale of a person.

    >>> fiscal_code("RSSMRA85T10A562S"), fiscal_code("RSSMRA85T10A562T")
    (True, False)
    """
    plain = text.upper()
    worth = [ord(letter) - (48 if letter.isdigit() else 65) for letter in plain[:15]]
    total = sum(_FISCAL_ODD[value] for value in worth[::2]) + sum(worth[1::2])
    return plain[15] == chr(65 + total % 26)


def pesel(text: str) -> bool:
    """A Polish PESEL: a day of birth, and a weighted sum that ends in 0.

    >>> pesel("44051401359"), pesel("44051401358")
    (True, False)
    """
    digits = _digits(text)
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    month, day = 10 * digits[2] + digits[3], 10 * digits[4] + digits[5]
    born = 1 <= month % 20 <= 12 and 1 <= day <= 31
    return born and sum(map(int.__mul__, digits, weights)) % 10 == 0


def cpf(text: str) -> bool:
    """A Brazilian CPF: two digits, each a weighted sum by 11.

    >>> cpf("529.982.247-25"), cpf("529.982.247-26")
    (True, False)
    """
    digits = _digits(text)
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(digit * weight for digit, weight in zip(digits, range(length + 1, 1, -1), strict=False))
        if total * 10 % 11 % 10 != digits[length]:
            return False
    return True


def french_number(text: str) -> bool:
    """A French social security number (NIR): 97 less the remainder by 97.

    >>> french_number("2 55 08 14 168 025 38"), french_number("255081416802539")
    (True, False)
    """
    plain = text.replace(" ", "").upper().replace("2A", "19").replace("2B", "18")
    month = int(plain[3:5])
    return (1 <= month <= 12 or 20 <= month <= 42) and 97 - int(plain[:13]) % 97 == int(plain[13:])


def german_tax_number(text: str) -> bool:
    """A German tax identification number: ISO 7064 by 11 and 10; one digit of the first ten comes two or three times.

    >>> german_tax_number("86 095 742 719"), german_tax_number("86095742718")
    (True, False)
    """
    digits = _digits(text)
    if digits[0] == 0 or not 8 <= len(set(digits[:10])) <= 9:
        return False
    product = 10
    for digit in digits[:10]:
        product = ((digit + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == digits[10]


def finnish_code(text: str) -> bool:
    """A Finnish personal identity code: the remainder by 31 of birthday and number, as a letter.

    >>> finnish_code("131052-308T"), finnish_code("131052-308U")
    (True, False)
    """
    plain = text.upper()
    return plain[10] == _HETU_LETTERS[int(plain[:6] + plain[7:10]) % 31]


def _digits(text: str) -> list[int]:
    return [int(letter) for letter in text if letter in "0123456789"]
