"""Keep a part of the rows, in their order: random, by strata, by weight, by reservoir, or by time."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.labels import label
from mcp_server.core.preparing.plan import Sample
from mcp_server.core.preparing.table import Context, DataTable, Done, IntArray
from mcp_server.errors import PlanRefused

_PERIODS = {"day": "1d", "week": "1w", "month": "1mo", "quarter": "1q", "year": "1y"}


def apply(step: Sample, table: DataTable, context: Context) -> Done:
    """Without replacement.

    Raises:
        PlanRefused: more rows than there are; no time column; a weight that isn't a number of at least 0; made-up rows.
    """
    if table.contract.synthetic is not None:
        raise PlanRefused(
            "The table has made-up rows, which go with the rows that they were made from.",
            hint="Sample before augmenting or copying rows.",
        )
    rng, n = context.rng, table.rows
    match step.by:
        case "random":
            kept = np.sort(rng.permutation(n)[: _wanted(step, n)])
            said = "Drew rows at random."
        case "stratified":
            kept, strata = stratified(_strata(step, table), _wanted(step, n), rng)
            said = f"Drew rows from each of {strata:,} strata in proportion."
        case "weighted":
            kept, said = _weighted(step, table, rng), "Drew rows with chances in proportion to their weight."
        case "reservoir":
            kept, said = reservoir(n, _wanted(step, n), rng), "Drew rows with a reservoir, in one pass."
        case _:
            kept, said = _timed(step, table, rng)
    return Done(table.take(kept), said)


def stratified(strata: NDArray[np.int64], wanted: int, rng: np.random.Generator) -> tuple[IntArray, int]:
    """Rows in proportion to the strata's sizes: each stratum's share is kept within one row (largest remainders).

    Args:
        strata: shape (n,): a number for each row's stratum.
    Returns:
        rising indexes, and how many strata there are.
    """
    names, members = np.unique(strata, return_inverse=True)
    sizes = np.bincount(members)
    exact = sizes * (wanted / len(strata))
    take = np.floor(exact).astype(np.int64)
    # Ties among remainders are drawn, so that no stratum is favoured by its name.
    order = np.lexsort((rng.random(len(sizes)), take - exact))
    take[order[: wanted - int(take.sum())]] += 1
    shuffled = rng.permutation(len(strata))
    ordered = shuffled[np.argsort(members[shuffled], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    kept = np.concatenate([ordered[start : start + count] for start, count in zip(starts, take, strict=True)])
    return np.sort(kept), len(names)


def reservoir(rows: int, wanted: int, rng: np.random.Generator) -> IntArray:
    """A uniform sample of a stream in one pass, holding no more than is wanted.

    Source:
        Li (1994), Reservoir-sampling algorithms of time complexity O(n(1 + log(N/n))), algorithm L.
    """
    kept = np.arange(wanted, dtype=np.int64)
    weight = math.exp(math.log(1.0 - rng.random()) / wanted)
    at = wanted - 1
    while weight > 0.0:
        # 1 - x of a number in [0, 1) is never 0, whose logarithm is infinite.
        at += math.floor(math.log(1.0 - rng.random()) / math.log1p(-weight)) + 1 if weight < 1.0 else 1
        if at >= rows:
            break
        kept[int(rng.integers(wanted))] = at
        weight *= math.exp(math.log(1.0 - rng.random()) / wanted)
    return np.sort(kept)


def _wanted(step: Sample, n: int) -> int:
    wanted = step.rows if step.rows is not None else max(1, round((step.share or 0.0) * n))
    if wanted > n:
        raise PlanRefused(f"{wanted:,} rows are wanted of {n:,}.", hint="Ask for fewer, or for a share.")
    return wanted


def _strata(step: Sample, table: DataTable) -> NDArray[np.int64]:
    columns = [
        table.frame.get_column(table.column(name).name).alias(f"s{at}") for at, name in enumerate(step.strata or [])
    ]
    # Ranks depend on the values alone; a missing value is a stratum of its own.
    ranks = [column.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() for column in columns]
    code = np.zeros(table.rows, dtype=np.int64)
    for rank in ranks:
        code = np.unique(code * (int(rank.max()) + 1) + rank, return_inverse=True)[1].astype(np.int64)
    return code


def _weighted(step: Sample, table: DataTable, rng: np.random.Generator) -> IntArray:
    """Efraimidis and Spirakis (2006): the largest of u^(1/w), as logarithms."""
    assert step.weight is not None
    if table.column(step.weight).kind not in ("integer", "number"):
        raise PlanRefused(f"{label(step.weight)!r} isn't a number, as a weight is.", hint="Name a column of numbers.")
    weights = table.frame.get_column(step.weight).cast(pl.Float64).fill_null(0.0).to_numpy()
    if (weights < 0).any():
        raise PlanRefused(f"{label(step.weight)!r} holds weights below 0.", hint="Derive a weight of at least 0.")
    possible = np.flatnonzero(weights > 0)
    wanted = _wanted(step, table.rows)
    if wanted > len(possible):
        raise PlanRefused(
            f"{wanted:,} rows are wanted, and {len(possible):,} have a weight above 0.", hint="Ask for fewer."
        )
    keys = np.log(1.0 - rng.random(len(possible))) / weights[possible]
    return np.sort(possible[np.argsort(-keys, kind="stable")[:wanted]])


def _timed(step: Sample, table: DataTable, rng: np.random.Generator) -> tuple[IntArray, str]:
    name = table.contract.time
    if name is None:
        raise PlanRefused("There is no time column.", hint="Import the data with its time column stated.")
    times = table.frame.get_column(name)
    known = np.flatnonzero(times.is_not_null().to_numpy())
    moments = (times if times.dtype.is_integer() else times.cast(pl.Datetime("us")).to_physical()).to_numpy()
    periods = _periods(step.per, times)
    take = step.take or "last"
    draws = rng.random(table.rows)
    kept: list[IntArray] = []
    # By period, then by time (rows of one moment in the table's order), or shuffled.
    order = known[np.lexsort((known, draws[known] if take == "random" else moments[known], periods[known]))]
    bounds = np.flatnonzero(np.diff(periods[order])) + 1
    groups = np.split(order, bounds)
    for group in groups:
        count = step.rows if step.rows is not None else max(1, round((step.share or 0.0) * len(group)))
        kept.append(group[-count:] if take == "last" else group[:count])
    left = table.rows - len(known)
    note = f" {left:,} rows without a time are left out." if left else ""
    what = "random" if take == "random" else take
    return np.sort(np.concatenate(kept)), f"Kept the {what} rows of each of {len(groups):,} periods.{note}"


def _periods(per: str | None, times: pl.Series) -> NDArray[np.int64]:
    if per is None:
        return np.zeros(len(times), dtype=np.int64)
    if times.dtype.is_integer() != (per == "value"):
        raise PlanRefused(
            "The period doesn't fit the time column.",
            hint="Use per value for whole numbers such as a season, and day to year for dates.",
        )
    cut = times if per == "value" else times.dt.truncate(_PERIODS[per])
    return cut.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
