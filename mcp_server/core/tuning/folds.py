"""Folds of the rows that are learned from; the rows that judge a model in the end are in none of them.

Source: Roberts et al. (2017), Ecography 40(8), for blocks where rows depend on each other; Tashman (2000),
International Journal of Forecasting 16(4), for the rolling origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract
from mcp_server.core.training.split import Split, made_from, row_groups, row_moments, synthetic_rows
from mcp_server.core.training.target import Target, target_values
from mcp_server.errors import TrainingRefused

IntArray = NDArray[np.int64]

FOLDS = 5
ORIGINS = 4
_FIRST = 0.4  # of the rows in time: what the first origin learns from
_GAP = 0.01  # of the rows: left out before what an origin is judged on
_FOR_A_GAP = 20  # moments, below which leaving one out would cost too much
_FEWEST = 20  # rows on either side
_FADING = 0.5  # weight of an origin's errors, of the next one's


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Indexes of rows, rising: `fit` are learned from, `judge` tell how well.

    `weight` is that of each judged row's error in an interval: an origin's is half of the next one's, because what is
    learned from fewer and older rows errs otherwise than what will be learned from all of them. `at` is the middle of
    its judged rows in time, as a share of the rows that are learned from; None where there's no time.
    """

    fit: IntArray
    judge: IntArray
    weight: float = 1.0
    at: float | None = None


def plan_folds(
    frame: pl.DataFrame, contract: Contract, target: Target, split: Split, *, rng: np.random.Generator
) -> tuple[Fold, ...]:
    """Part the rows that are learned from.

    Args:
        frame: the table of the contract.
        split: nothing but its training rows is looked at.
        rng: draws where there's no time.
    Returns:
        a rolling origin in a split by time: four blocks, each judged by what came before it, with a gap of a
        hundredth of the rows between; else five parts of whole groups where a key column repeats, or drawn by class.
        Made-up rows judge nothing, and teach only where all that they were made from does. Folds that lack a class to
        learn from are left out.
    Raises:
        TrainingRefused: fewer than two folds are left.
    """
    synthetic = synthetic_rows(frame, contract)
    learned = np.zeros(frame.height, dtype=bool)
    learned[split.train] = True
    real = np.flatnonzero(learned & ~synthetic)
    values = target_values(frame, contract, target)
    moments = row_moments(frame, contract) if split.by_time else None
    if moments is not None:
        pairs = _rolling(real, moments[real])
    else:
        part = _parts(real, values, target, row_groups(frame, contract), rng)
        pairs = [(real[part != at], real[part == at]) for at in range(FOLDS)]
    folds = []
    for at, (fit, judge) in enumerate(pairs):
        if synthetic.any():
            teaching = np.zeros(frame.height, dtype=bool)
            teaching[fit] = True
            teaching |= learned & synthetic & made_from(frame, contract, teaching)
            fit = np.flatnonzero(teaching)
        if min(len(fit), len(judge)) < _FEWEST:
            continue
        if target.classes is None or len(np.unique(values[fit])) == len(target.classes):
            if moments is None:
                folds.append(Fold(fit, judge))
            else:
                place = np.searchsorted(np.sort(moments[real]), moments[judge]).mean() / len(real)
                folds.append(Fold(fit, judge, _FADING ** (len(pairs) - 1 - at), float(place)))
    if len(folds) < 2:
        raise TrainingRefused(
            "The rows to learn from are too few, or too unlike over time, to tune on parts of them.",
            hint="Call train_model without seconds and trials, or import more rows.",
            details={"rows": len(real)},
        )
    return tuple(folds)


def _rolling(rows: IntArray, moments: IntArray) -> list[tuple[IntArray, IntArray]]:
    ordered = np.sort(moments)
    count = len(ordered)
    wanted = [_FIRST + (1.0 - _FIRST) * at / ORIGINS for at in range(ORIGINS)]
    starts = sorted({int(ordered[min(count - 1, round(share * count))]) for share in wanted})
    gapped = len(np.unique(moments)) >= _FOR_A_GAP
    pairs = []
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        judged = (moments >= start) & (True if end is None else moments < end)
        before = moments < start
        if gapped and before.any():
            earlier = np.sort(moments[before])
            # Whole moments: at least the last one before the block.
            before &= moments < earlier[len(earlier) - max(1, round(_GAP * count))]
        pairs.append((rows[before], rows[judged]))
    return pairs


def _parts(
    rows: IntArray, values: NDArray[np.float64], target: Target, groups: IntArray | None, rng: np.random.Generator
) -> IntArray:
    """The part of each row, 0 to 4."""
    part = np.empty(len(rows), dtype=np.int64)
    if groups is not None:
        distinct, inverse, counts = np.unique(groups[rows], return_inverse=True, return_counts=True)
        of_group = np.empty(len(distinct), dtype=np.int64)
        filled = np.zeros(FOLDS, dtype=np.int64)
        drawn = rng.permutation(len(distinct))
        # The largest first, each to the emptiest part.
        for group in drawn[np.argsort(-counts[drawn], kind="stable")]:
            of_group[group] = int(np.argmin(filled))
            filled[of_group[group]] += counts[group]
        part[:] = of_group[inverse]
        return part
    if target.classes is None:
        part[rng.permutation(len(rows))] = np.arange(len(rows)) % FOLDS
        return part
    offset = 0
    for index in range(len(target.classes)):
        members = rng.permutation(np.flatnonzero(values[rows] == index))
        part[members] = (np.arange(len(members)) + offset) % FOLDS
        offset += len(members)
    return part
