"""A table in parts of rows, so that no more than a part and a column need to be in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl


class Parts:
    """Frames of the same columns, one after the other, in memory; a subclass may hold them elsewhere.

    Attributes:
        height: rows of all frames.
        schema: column to type, of the first frame.
        numbers: of each row in the file, from 1, where a filter left some out; else None.
    """

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []
        self.height = 0
        self.numbers: pl.Series | None = None
        self.schema: dict[str, pl.DataType] = {}

    @property
    def columns(self) -> list[str]:
        return list(self.schema)

    def put(self, frame: pl.DataFrame) -> None:
        """Add rows; each frame has the columns of the first one."""
        if not self.schema:
            self.schema = dict(frame.schema)
        if frame.height or not self.height:
            self.height += frame.height
            self._keep(frame)

    def _keep(self, frame: pl.DataFrame) -> None:
        self._frames.append(frame)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The frames in order."""
        yield from self._frames

    def drained(self) -> Iterator[pl.DataFrame]:
        """The frames in order, each forgotten once it's given."""
        while self._frames:
            yield self._frames.pop(0)

    def column(self, at: int) -> pl.Series:
        """A column of all rows, by its position from 0."""
        return pl.concat([frame.to_series(at) for frame in self._frames], rechunk=True)

    def series(self) -> Iterator[pl.Series]:
        """Each column of all rows, in order."""
        for at in range(len(self.schema)):
            yield self.column(at)

    def scan(self) -> pl.LazyFrame:
        """All rows, to be computed bit by bit."""
        return pl.concat([frame.lazy() for frame in self._frames])

    def whole(self) -> pl.DataFrame:
        """All rows in memory."""
        return pl.concat(list(self.frames()), rechunk=True)


def in_parts(frame: pl.DataFrame | Parts) -> Parts:
    """A frame as the only part of a table; parts as they are."""
    if isinstance(frame, Parts):
        return frame
    parts = Parts()
    parts.put(frame)
    return parts


NewParts = Callable[[], Parts]
"""Makes a place for another table."""
