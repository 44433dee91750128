"""One block of one column, read as one kind; what was seen on the way is told as sightings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import polars as pl

Found = Literal["unknown", "boolean", "integer", "decimal", "long", "grouped", "date", "datetime", "slashed", "text"]
"""What a block of a column was found to be.

`long`: whole numbers beyond 64 bits. `grouped`: numbers that can be read in two ways, such as 1,234. `slashed`: dates
of which the order of day and month isn't known yet. These three and `text` keep the text.
"""

KEPT = frozenset({"long", "grouped", "slashed", "text"})


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something seen in a block: a stable word, the first index in the block, how often."""

    about: str
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A block of a column.

    Args:
        values: shape (rows,), of the type that `kind` has, or text.
    """

    kind: Found
    values: pl.Series
    sightings: list[Sighting] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether the text can still be had from `values`."""
        return self.kind in KEPT or (self.kind == "unknown" and not self.sightings)


def sighting(about: str, mask: pl.Series) -> list[Sighting]:
    """The sighting that a mask shows; none where it's nowhere true."""
    count = int(mask.sum())
    if not count:
        return []
    return [Sighting(about, int(mask.fill_null(False).arg_max() or 0), count)]


def text_because(about: str, text: pl.Series, mask: pl.Series) -> Reading:
    """Text, with the reason."""
    return Reading("text", text, sighting(about, mask))
