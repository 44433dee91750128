"""Made-up rows: interpolated between neighbours of one class, or copies with noise. Made from rows that teach only."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from mcp_server.core.preparing.looking import look
from mcp_server.core.preparing.plan import Augment
from mcp_server.core.preparing.table import Context, DataTable, Done, IntArray
from mcp_server.errors import PlanRefused

FloatArray = NDArray[np.float64]

RATIO, NEIGHBOURS, SHARE, SCALE = 1.0, 5, 0.1, 0.05


def apply(step: Augment, table: DataTable, context: Context) -> Done:
    """Add rows at the end, marked.

    Raises:
        PlanRefused: no number to vary; a class with a single row; too many rows; no classes for smote.
        BadTarget, TrainingRefused: as a split says.
    """
    names = numbers(table)
    if not names:
        raise PlanRefused("There is no numeric feature to vary.", hint="Use balance with how over, which copies rows.")
    looked = look(table, context, step.test)
    if step.by == "noise":
        return _noise(step, table, looked.fit, names, context)
    if looked.target.classes is None:
        raise PlanRefused("The target is a number, which has no classes.", hint="Use by noise.")
    rows = looked.fit
    members = [rows[looked.values[rows] == index] for index in range(len(looked.target.classes))]
    return _smote(step, table, members, names, context)


def numbers(table: DataTable) -> list[str]:
    """The features that can be varied: numbers that no expression computes."""
    return [
        column.name
        for column in table.contract.features
        if column.kind in ("integer", "number") and column.source == "file"
    ]


def copies(table: DataTable, rows: IntArray) -> pl.DataFrame:
    """Rows as the beginning of made-up ones: the key is missing, for a key names one row."""
    frame = table.frame[rows]
    return frame.with_columns(pl.lit(None, dtype=frame.schema[name]).alias(name) for name in table.contract.key)


def room_for(table: DataTable, more: int, context: Context) -> None:
    """Raises PlanRefused where a table would have too many rows."""
    if table.rows + more > context.most_rows:
        raise PlanRefused(
            f"The table would have {table.rows + more:,} rows; {context.most_rows:,} are allowed.",
            hint="Ask for a smaller ratio or share, or sample first.",
        )


def _smote(step: Augment, table: DataTable, members: list[IntArray], names: list[str], context: Context) -> Done:
    """Chawla et al. (2002): a point on the line between a row and one of its nearest neighbours of the same class."""
    goal = math.ceil((step.ratio or RATIO) * max(map(len, members)))
    lacking = [max(0, goal - len(rows)) if len(rows) else 0 for rows in members]
    room_for(table, sum(lacking), context)
    if any(count and len(rows) < 2 for rows, count in zip(members, lacking, strict=True)):
        raise PlanRefused(
            "A class has a single row that teaches: there is nothing to interpolate to.",
            hint="Use balance with how over, or filter the class out.",
        )
    if not sum(lacking):
        return Done(table, "The classes are as near as that already.")
    near = _scaled(table, names, np.concatenate(members))
    firsts, seconds, gaps = [], [], []
    for rows, count in zip(members, lacking, strict=True):
        if not count:
            continue
        k = min(step.neighbours or NEIGHBOURS, len(rows) - 1)
        first = np.concatenate([np.tile(rows, count // len(rows)), context.rng.permutation(rows)[: count % len(rows)]])
        at = np.searchsorted(rows, first)
        # The nearest of all is the row itself, or a copy of it.
        found = NearestNeighbors(n_neighbors=k + 1).fit(near[rows]).kneighbors(near[rows], return_distance=False)
        others = _without_self(found, k)
        second = rows[others[at, context.rng.integers(k, size=count)]]
        firsts.append(first)
        seconds.append(second)
        gaps.append(context.rng.random(count))
    first, second, gap = np.concatenate(firsts), np.concatenate(seconds), np.concatenate(gaps)
    frame = _between(table, names, first, second, gap)
    shown = {"before": [len(rows) for rows in members], "made_up": lacking}
    done = table.add_rows(frame, (first, second))
    return Done(done, f"Made up {len(first):,} rows between neighbours of one class.", shown, shown)


def _between(table: DataTable, names: list[str], first: IntArray, second: IntArray, gap: FloatArray) -> pl.DataFrame:
    frame = copies(table, first)
    other = table.frame[second]
    nearer = pl.Series(gap < 0.5)
    columns = []
    for name in names:
        low, high = frame.get_column(name), other.get_column(name)
        values = low.cast(pl.Float64) + (high - low).cast(pl.Float64) * pl.Series(gap)
        # Rounding could step over the further end.
        values = values.clip(
            pl.select(pl.min_horizontal(low, high)).to_series(), pl.select(pl.max_horizontal(low, high)).to_series()
        )
        values = values.round(mode="half_to_even").cast(low.dtype) if low.dtype.is_integer() else values
        columns.append(values.zip_with(values.is_not_null(), low).alias(name))
    varied = set(names) | set(table.contract.key)
    columns += [
        frame.get_column(column.name).zip_with(nearer, other.get_column(column.name))
        for column in table.contract.features
        if column.name not in varied and column.source == "file"
    ]
    if table.contract.time is not None:
        # As late as its later source, so that it isn't learned from before that one happened.
        times = [one.get_column(table.contract.time) for one in (frame, other)]
        columns.append(pl.select(pl.max_horizontal(*times)).to_series().alias(table.contract.time))
    return frame.with_columns(columns)


def _without_self(found: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The k nearest others of each row; where copies crowd the row itself out, the furthest is left."""
    own = found == np.arange(len(found))[:, None]
    own[~own.any(axis=1), -1] = True
    others: NDArray[np.int64] = found[~own].reshape(len(found), k)
    return others


def _scaled(table: DataTable, names: list[str], rows: IntArray) -> FloatArray:
    """Numbers in standard deviations of the rows that teach, missing ones at the median, shape (n, names)."""
    matrix = np.empty((table.rows, len(names)))
    for at, name in enumerate(names):
        values = table.frame.get_column(name).cast(pl.Float64).fill_null(np.nan).to_numpy()
        known = values[rows][~np.isnan(values[rows])]
        middle, spread = (float(np.median(known)), float(known.std())) if len(known) else (0.0, 0.0)
        matrix[:, at] = (np.where(np.isnan(values), middle, values) - middle) / (spread or 1.0)
    return matrix


def _noise(step: Augment, table: DataTable, rows: IntArray, names: list[str], context: Context) -> Done:
    count = max(1, round((step.share or SHARE) * len(rows)))
    room_for(table, count, context)
    sources = np.concatenate(
        [np.tile(rows, count // len(rows)), np.sort(context.rng.permutation(rows)[: count % len(rows)])]
    )
    frame = copies(table, sources)
    fitted = {}
    columns = []
    for name in names:
        seen = table.frame.get_column(name)[rows].cast(pl.Float64)
        spread = seen.std() or 0.0
        assert isinstance(spread, float)
        fitted[name] = spread * (step.scale or SCALE)
        values = frame.get_column(name)
        shifted = values.cast(pl.Float64) + pl.Series(context.rng.normal(0.0, 1.0, count) * fitted[name])
        if seen.null_count() < len(seen):
            known = seen.drop_nulls().to_numpy()
            shifted = shifted.clip(float(known.min()), float(known.max()))  # noise makes no record heights
        columns.append((shifted.round().cast(values.dtype) if values.dtype.is_integer() else shifted).alias(name))
    done = table.add_rows(frame.with_columns(columns), (sources, sources))
    return Done(
        done, f"Made up {count:,} rows by noise on {len(names)} columns.", fitted, dict(list(fitted.items())[:30])
    )
