"""How columns become numbers of the estimator's vector: the parts of a serving form's encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_WIDTH = 20_000
MAX_VALUES = 1_000
MAX_LOOKED_UP = 10_000
MAX_KNOTS = 20

NUMERIC = frozenset({"integer", "number", "boolean"})
CALENDAR = frozenset({"year", "month", "weekday"})
_STEEPEST = 1e100  # products of two larger numbers would leave the range of a double

Name = Annotated[str, Field(min_length=1, max_length=256)]
Value = Annotated[str, Field(max_length=500)]


class FormPart(BaseModel):
    """A part of a serving form: nothing beyond its fields, no other types, only finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NumberEncoding(FormPart):
    """The number itself (true is 1.0); a missing one becomes `fill`, or NaN where that is null."""

    column: Name
    as_: Literal["number"] = Field(alias="as")
    fill: float | None

    @property
    def width(self) -> int:
        return 1


class OneHotEncoding(FormPart):
    """A 1.0 for each of `values`, then one for any other; a missing value is all zeros."""

    column: Name
    as_: Literal["onehot"] = Field(alias="as")
    values: Annotated[list[Value], Field(max_length=MAX_VALUES)]

    @property
    def width(self) -> int:
        return len(self.values) + 1


class OrdinalEncoding(FormPart):
    """The position of the value in `values`; NaN for one that isn't there, or is missing."""

    column: Name
    as_: Literal["ordinal"] = Field(alias="as")
    values: Annotated[list[Value], Field(max_length=MAX_VALUES)]

    @property
    def width(self) -> int:
        return 1


class CalendarEncoding(FormPart):
    """The year, month (1 to 12) or weekday (1 Monday to 7 Sunday) of a date."""

    column: Name
    as_: Literal["year", "month", "weekday"] = Field(alias="as")
    fill: float | None

    @property
    def width(self) -> int:
        return 1


class LookupEncoding(FormPart):
    """The number that belongs to a value in a table, such as a rate; `other` for a value that isn't listed.

    Where `other` or `missing` is null, it's NaN.
    """

    column: Name
    as_: Literal["lookup"] = Field(alias="as")
    values: Annotated[list[Value], Field(max_length=MAX_LOOKED_UP)]
    numbers: Annotated[list[float], Field(max_length=MAX_LOOKED_UP)]
    other: float | None
    missing: float | None

    @property
    def width(self) -> int:
        return 1


class HashEncoding(FormPart):
    """The sign of a value whose hash falls on this place of `places`; 0.0 for all others and a missing one."""

    column: Name
    as_: Literal["hash"] = Field(alias="as")
    place: Annotated[int, Field(ge=0)]
    places: Annotated[int, Field(ge=1, le=MAX_WIDTH)]

    @property
    def width(self) -> int:
        return 1


class HingesEncoding(FormPart):
    """The number, held between `low` and `high`: (x - center) / scale, then max(0, x - knot) / scale for each knot.

    A missing one counts as `center`. Weighted sums of these are the lines between the knots.

    Source: Friedman (1991), Annals of Statistics 19(1), "Multivariate adaptive regression splines".
    """

    column: Name
    as_: Literal["hinges"] = Field(alias="as")
    low: float
    high: float
    center: float
    scale: Annotated[float, Field(gt=0.0)]
    knots: Annotated[list[float], Field(max_length=MAX_KNOTS)]

    @property
    def width(self) -> int:
        return 1 + len(self.knots)


class ProductEncoding(FormPart):
    """The product of two numbers of the vector, told by their places, which come before its own."""

    as_: Literal["product"] = Field(alias="as")
    first: Annotated[int, Field(ge=0)]
    second: Annotated[int, Field(ge=0)]

    @property
    def width(self) -> int:
        return 1


ColumnEncoding = (
    NumberEncoding
    | OneHotEncoding
    | OrdinalEncoding
    | CalendarEncoding
    | LookupEncoding
    | HashEncoding
    | HingesEncoding
)
"""What encodes one column by itself."""

Encoding = Annotated[ColumnEncoding | ProductEncoding, Field(discriminator="as_")]


def owners(encoder: Sequence[Encoding]) -> list[str | None]:
    """The column that each number of the vector is of; None for a product."""
    found: list[str | None] = []
    for encoding in encoder:
        found += [None if isinstance(encoding, ProductEncoding) else encoding.column] * encoding.width
    return found


def products(encoder: Sequence[Encoding]) -> dict[int, ProductEncoding]:
    """The products by their own places in the vector, rising."""
    found, at = {}, 0
    for encoding in encoder:
        if isinstance(encoding, ProductEncoding):
            found[at] = encoding
        at += encoding.width
    return found


def fault(encoder: Sequence[Encoding], kinds: Mapping[str, str]) -> str | None:
    """The place of what contradicts itself or the columns' kinds, as `index` or `index.field`; None where all is sound.

    Args:
        kinds: of the columns that can be encoded.
    """
    columns, at = owners(encoder), 0
    for index, encoding in enumerate(encoder):
        if isinstance(encoding, ProductEncoding):
            # Of two numbers before it that are no products themselves: nothing grows beyond the second degree.
            if not all(place < at and columns[place] is not None for place in (encoding.first, encoding.second)):
                return str(index)
        elif encoding.column not in kinds or not _fits(encoding.as_, kinds[encoding.column]):
            return str(index)
        else:
            field = _fault(encoding)
            if field is not None:
                return f"{index}.{field}"
        at += encoding.width
    return None


def _fault(encoding: ColumnEncoding) -> str | None:
    if isinstance(encoding, OneHotEncoding | OrdinalEncoding | LookupEncoding) and len(set(encoding.values)) != len(
        encoding.values
    ):
        return "values"
    if isinstance(encoding, LookupEncoding) and len(encoding.numbers) != len(encoding.values):
        return "numbers"
    if isinstance(encoding, HashEncoding) and encoding.place >= encoding.places:
        return "place"
    if isinstance(encoding, HingesEncoding):
        if not encoding.low <= encoding.center <= encoding.high:
            return "center"
        span = encoding.high - encoding.low
        if not (isfinite(span) and span <= encoding.scale * _STEEPEST):
            return "scale"
        if encoding.knots and any(
            low >= high for low, high in pairwise([encoding.low, *encoding.knots, encoding.high])
        ):
            return "knots"
    return None


def _fits(encoding: str, kind: str) -> bool:
    if encoding in ("number", "hinges"):
        return kind in NUMERIC
    if encoding in CALENDAR:
        return kind in ("date", "datetime")
    return kind == "category"
