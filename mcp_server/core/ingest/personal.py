"""Which columns look like data about a person, by their names and by the shape of their values."""

from __future__ import annotations

import re

import polars as pl

_NAMES = re.compile(
    r"""(?:^|_)(?:
        e_?mail|phone|mobile|telephone|fax|ssn|social_security|national_id|passport|tax_id
        |(?:first|last|middle|family|given|full|sur|maiden)_?name|surname
        |address|street|birth_?(?:date|day|place)?|date_of_birth|dob
        |iban|credit_?card|card_?number|cvv|ip_?address|licen[cs]e_plate
    )(?:$|_)""",
    re.VERBOSE | re.IGNORECASE,
)
_EMAIL = r"^[^@\s]{1,64}@[^@\s]{1,255}\.[A-Za-z]{2,24}$"
_PHONE = r"^(?:\+|00|\()[0-9][0-9 ()./-]{6,19}$|^[0-9]{3}[ .-][0-9]{3}[ .-][0-9]{4}$"
_CARD = r"^[0-9]{4}(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{1,7}$"
_SAMPLE = 1_000


def looks_personal(values: pl.Series, name: str) -> bool:
    """Whether a column's name, or most of its first 1,000 values, look like contact, identity or card data.

    Args:
        values: any type.
        name: of the column; a name such as `player_name` isn't enough, `last_name` is.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name)
    if _NAMES.search(words):
        return True
    if values.dtype == pl.Int64:
        return _cards(values.drop_nulls().head(_SAMPLE).cast(pl.String))
    if values.dtype != pl.String:
        return False
    sample = values.drop_nulls().head(_SAMPLE)
    shaped = max(int(sample.str.contains(shape).sum()) for shape in (_EMAIL, _PHONE))
    return shaped * 2 > sample.len() or _cards(sample)


def _cards(sample: pl.Series) -> bool:
    shaped = sample.filter(sample.str.contains(_CARD))
    if shaped.len() * 2 <= sample.len():
        return False
    # One number in ten passes the check by chance; of card numbers, all do.
    return shaped.len() > 1 and sum(_luhn(cell) for cell in shaped) > 0.9 * shaped.len()


def _luhn(cell: str) -> bool:
    digits = [int(letter) for letter in cell if letter.isdigit()][::-1]
    doubled = sum(2 * digit - 9 * (digit > 4) for digit in digits[1::2])
    return 13 <= len(digits) <= 19 and (sum(digits[::2]) + doubled) % 10 == 0
