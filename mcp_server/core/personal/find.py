"""Which columns hold data about people."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from mcp_server.core.personal import checks

Kind = Literal["e-mail", "phone", "card", "account", "national id", "IP address", "secret", "name or address"]

SAMPLE = 1_000
MOST_TEXT = 256
"""Characters of a cell that are looked at."""
_SMALLEST = 10**10
"""Shorter whole numbers are nobody's card or identity number; most columns needn't be looked at further."""
_MOST = 0.5
_NEARLY_ALL = 0.9
_INSIDE = 0.05
_FEW = 3

_NAMES = re.compile(
    r"""(?:^|_)(?:
        e_?mail|phone|mobile|telephone|fax|ssn|social_security|national_id|passport|tax_id
        |(?:first|last|middle|family|given|full|sur|maiden)_?name|surname
        |address|street|birth_?(?:date|day|place)?|date_of_birth|dob
        |iban|credit_?card|card_?number|cvv|ip_?address|licen[cs]e_plate
    )(?:$|_)""",
    re.VERBOSE | re.IGNORECASE,
)
_PEOPLE = re.compile(
    r"(?:^|_)(?:person|people|player|patient|customer|client|employee|student|teacher|author|owner|member|guest"
    r"|contact|driver|passenger|applicant|borrower|user|tenant|doctor|nurse|manager|coach)(?:_?name)?(?:$|_)|^name$",
    re.IGNORECASE,
)
_EMAIL = r"[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"
# Keys and tokens with a form of their own: JWT, AWS, GitHub, Slack, a password in an address, headers, sessions, PEM.
_TOKENS = (
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{1,64}:[^\s/@]{1,64}@|(?i:\bbearer\s+[A-Za-z0-9._~+/=-]{8,})"
    r"|(?i:\bsess(?:ion)?_?(?:id|token)?=[A-Za-z0-9%._-]{8,})|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_ANYWHERE: tuple[tuple[Kind, str], ...] = (("secret", _TOKENS), ("e-mail", _EMAIL))
# Given name and family name, initials and particles allowed.
_PERSON = (
    r"^\p{Lu}[\p{L}'’.-]{0,24}(?: (?:\p{Lu}\.|de|van|von|der|la|di|da|bin|al)){0,3}(?: \p{Lu}[\p{L}'’-]{1,24}){1,3}$"
)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What values of a kind look like.

    Args:
        pattern: of a whole cell; linear time, no look-around.
        check: whether the check digits of such a cell are right; None where there are none.
        share: of the sampled cells, what must fit and pass; where a check passes by chance once in ten times, nearly
            all.
        cells: how many must at least.
    """

    kind: Kind
    pattern: str
    check: Callable[[str], bool] | None = None
    share: float = _MOST
    cells: int = 1


_SHAPES = (
    _Shape("e-mail", f"^{_EMAIL}$"),
    _Shape("phone", r"^(?:\+|00|\()[0-9][0-9 ()./-]{6,19}$|^[0-9]{3}[ .-][0-9]{3}[ .-][0-9]{4}$"),
    _Shape("account", r"^[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30}$", checks.iban, cells=2),
    _Shape("card", r"^[2-6][0-9]{3}(?:[ -]?[0-9]{2,6}){2,4}$", checks.card, _MOST, 2),
    _Shape("IP address", r"^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$|^[0-9A-Fa-f:]{2,39}(?:\.[0-9.]{1,12})?$", checks.ip_address),
    _Shape("national id", r"^[0-9]{3}-[0-9]{2}-[0-9]{4}$", checks.ssn, _NEARLY_ALL, 2),
    _Shape("national id", r"^(?:[0-9]{8}|[XYZxyz][0-9]{7})-?[A-Za-z]$", checks.dni, _NEARLY_ALL, _FEW),
    _Shape(
        "national id",
        r"^[A-Za-z]{6}[0-9]{2}[A-Za-z][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z]$",
        checks.fiscal_code,
        _NEARLY_ALL,
        _FEW,
    ),
    _Shape("national id", r"^[0-9]{11}$", checks.pesel, _NEARLY_ALL, 10),
    _Shape("national id", r"^[0-9]{11}$|^[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}$", checks.cpf, _NEARLY_ALL, 5),
    _Shape(
        "national id",
        r"^[12](?: ?[0-9]{2}){2} ?[0-9][0-9AB](?: ?[0-9]{3}){2} ?[0-9]{2}$",
        checks.french_number,
        _NEARLY_ALL,
        _FEW,
    ),
    _Shape("national id", r"^[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}$", checks.german_tax_number, _NEARLY_ALL, 10),
    _Shape("national id", r"^[0-9]{6}[-+A-Fa-f][0-9]{3}[0-9A-Ya-y]$", checks.finnish_code, _NEARLY_ALL, _FEW),
)


@dataclass(frozen=True, slots=True)
class Personal:
    """What makes a column personal.

    Args:
        kind: what its values are.
        by: `name` where the column's name says so, `values` where they do.
        share: of the sampled cells, how many look so, 0.0 to 1.0; None where the name alone said it.
    """

    kind: Kind
    by: Literal["name", "values"]
    share: float | None = None


def find_personal(values: pl.Series) -> Personal | None:
    """What is personal about a column, by a sample of at most 1,000 cells spread over it, or else by its name.

    Numbers that have a check digit count only where it's right. A column of e-mail addresses, telephone, card, account
    or identity numbers or IP addresses is found whatever its name is, and so is text in which one cell of twenty (and
    three at least) holds an e-mail address or a secret such as a token.

    Args:
        values: any type.

    >>> find_personal(pl.Series("contact", ["ann@example.org", "bob@example.org"])).kind
    'e-mail'
    >>> find_personal(pl.Series("score", [101, 99])) is None
    True
    """
    sample = _sample(values)
    if sample.len():
        shares = [(_share(sample, shape), shape) for shape in _SHAPES]
        fitting = [(share, shape.kind) for share, shape in shares if share >= shape.share]
        if fitting:
            share, kind = max(fitting, key=lambda found: found[0])
            return Personal(kind, "values", round(share, 3))
        for kind, pattern in _ANYWHERE:
            inside = int(sample.str.contains(pattern).sum())
            if inside >= min(sample.len(), max(_FEW, _INSIDE * sample.len())):
                return Personal(kind, "values", round(inside / sample.len(), 3))
    return Personal("name or address", "name") if _NAMES.search(_words(values.name)) else None


def looks_personal(values: pl.Series) -> bool:
    """Whether a column's name or values look like contact, identity or card data.

    Args:
        values: any type; a name such as `player_name` isn't enough, `last_name` is.
    """
    return find_personal(values) is not None


def may_name_people(values: pl.Series) -> bool:
    """Whether a column whose name speaks of a person holds values such as `Ann Lee`: a warning, not a finding.

    >>> may_name_people(pl.Series("player", ["Ann Lee", "Bo K. Moe", "Cy Poe"]))
    True
    >>> may_name_people(pl.Series("team", ["Old Hats", "New Caps", "Red Sox"]))
    False
    """
    if values.dtype != pl.String or not _PEOPLE.search(_words(values.name)):
        return False
    sample = _sample(values)
    return sample.len() > 0 and int(sample.str.contains(_PERSON).sum()) > _MOST * sample.len()


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name)


def _sample(values: pl.Series) -> pl.Series:
    """At most 1,000 present cells as text, spread over the column; empty for what isn't text or a long number."""
    values = values.alias("values")  # a name such as ^a.*$ would be a pattern to many of a column's own methods
    if values.dtype not in (pl.String, pl.Int64):
        return pl.Series(values.name, [], dtype=pl.String)
    present = values.drop_nulls()
    if present.dtype == pl.Int64 and (present.is_empty() or int(present.max()) < _SMALLEST):  # type: ignore[arg-type]
        return pl.Series(values.name, [], dtype=pl.String)
    spread = present.gather_every(max(1, -(-present.len() // SAMPLE)))
    return spread.cast(pl.String).str.slice(0, MOST_TEXT).str.strip_chars()


def _share(sample: pl.Series, shape: _Shape) -> float:
    fitting = sample.filter(sample.str.contains(shape.pattern))
    if fitting.len() < max(shape.cells, shape.share * sample.len()):
        return 0.0
    passed = fitting.len() if shape.check is None else sum(shape.check(cell) for cell in fitting)
    return passed / sample.len() if passed >= shape.cells else 0.0
