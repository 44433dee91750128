"""Large tables on the disk while they're read: the rows beyond a share that is held in memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from mcp_server.core.ingest import Parts

IN_MEMORY = 32 * 1024 * 1024
"""Bytes of a table that are held in memory before the rest goes to the disk."""

_AT_A_TIME = 64 * 1024 * 1024
_numbers = itertools.count()


class Spilled(Parts):
    """A table of which the first rows are in memory and the others in files.

    Args:
        folder: where the files go; who made the folder removes it.
    """

    def __init__(self, folder: Path, in_memory: int = IN_MEMORY) -> None:
        super().__init__()
        self._folder = folder
        self._room = in_memory
        self._files: list[Path] = []
        self._bytes = 0

    def _keep(self, frame: pl.DataFrame) -> None:
        size = int(frame.estimated_size())
        self._bytes += size
        if not self._files and size <= self._room:
            self._room -= size
            super()._keep(frame)
            return
        path = self._folder / f"part-{next(_numbers)}.arrow"
        frame.write_ipc(path)
        self._files.append(path)

    def frames(self) -> Iterator[pl.DataFrame]:
        yield from super().frames()
        for path in self._files:
            yield pl.read_ipc(path)

    def drained(self) -> Iterator[pl.DataFrame]:
        yield from super().drained()
        while self._files:
            path = self._files.pop(0)
            yield pl.read_ipc(path)
            path.unlink()

    def column(self, at: int) -> pl.Series:
        if not self._files:
            return super().column(at)
        return self.scan().select(pl.nth(at)).collect().to_series().rechunk()

    def series(self) -> Iterator[pl.Series]:
        if not self._files:
            yield from super().series()
            return
        width = len(self.schema)
        group = max(1, width * _AT_A_TIME // max(1, self._bytes))
        for first in range(0, width, group):
            columns = pl.nth(*range(first, min(width, first + group)))
            yield from self.scan().select(columns).collect().rechunk().get_columns()

    def scan(self) -> pl.LazyFrame:
        if not self._files:
            return super().scan()
        spilled = pl.scan_ipc(self._files, glob=False)
        return pl.concat([*(frame.lazy() for frame in self._frames), spilled])
