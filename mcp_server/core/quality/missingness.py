"""Missing values: in which pattern, whether the rest of the row predicts them, and what training makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.metrics import Estimate, estimate
from mcp_server.core.metrics.rank import RankArea
from mcp_server.core.quality.numbers import Bools, Floats
from mcp_server.core.quality.report import Finding

MAX_FITTED = 4_000
"""Rows that the prediction of missing values is tried on, evenly spread."""

MAX_PREDICTED = 6
"""Columns whose missing values are tried to predict, those with the most first."""

MAX_PREDICTORS = 30

TELLING = 0.6
"""The lower end of the area's interval from which a prediction is worth a hint."""

_LEAST = 20
_SHARE = 0.01
_SAME_ROWS = 0.95
_FOLDS = 4
_CATEGORIES = 10
_RIDGE = 1.0
_ROUNDS = 8
_LONG_RUN = 10
_IN_RUNS = 0.8

Codes = npt.NDArray[np.int64]


def missingness_findings(frame: pl.DataFrame, contract: Contract, rng: np.random.Generator) -> Iterator[Finding]:
    """Patterns and hints about columns of which 1 % or more is missing, and at least 20 values.

    Args:
        rng: splits rows into folds and resamples for intervals.
    """
    missing = _missing(frame, contract)
    if not missing:
        return
    yield from _together(missing)
    yield from _pattern(missing)
    yield from _mechanism(frame, contract, missing, rng)
    yield from _consequences(contract, missing)


def _missing(frame: pl.DataFrame, contract: Contract) -> dict[str, Bools]:
    """By column, which rows lack it, for columns where that is worth a word; the most often missing first."""
    found: dict[str, Bools] = {}
    for column in contract.columns:
        count = frame.get_column(column.name).null_count()
        if column.role != "ignored" and max(_LEAST, _SHARE * frame.height) <= count < frame.height:
            found[column.name] = frame.get_column(column.name).is_null().to_numpy()
    return dict(sorted(found.items(), key=lambda item: -int(item[1].sum())))


def _together(missing: dict[str, Bools]) -> Iterator[Finding]:
    """Groups of columns that are missing in the same rows."""
    left = list(missing)
    while left:
        first = left.pop(0)
        group = [name for name in left if _overlap(missing[first], missing[name]) >= _SAME_ROWS]
        left = [name for name in left if name not in group]
        if group:
            both = np.logical_and.reduce([missing[name] for name in (first, *group)])
            reason = "Missing in the same rows, so probably from one source; the statistic is their number of rows."
            yield Finding("missing.together", "info", (first, *group), 1 + len(group), (), reason, float(both.sum()))


def _overlap(one: Bools, other: Bools) -> float:
    return float((one & other).sum() / max(int((one | other).sum()), 1))


def _pattern(missing: dict[str, Bools]) -> Iterator[Finding]:
    """Which columns lack values in long runs of rows, which one after the other, and which here and there."""
    runs = tuple(name for name, rows in missing.items() if in_runs(rows))
    if runs:
        reason = (
            f"Mostly missing in runs of {_LONG_RUN} rows or more: a block, such as a time or a source without them."
        )
        yield Finding("missing.block", "info", runs, len(runs), (), reason)
    different = [name for name in missing if name not in runs]
    if len(different) >= 3 and monotone([missing[name] for name in different]):
        reason = "Whoever lacks a later one of these columns lacks the earlier ones too, as when a form is broken off."
        names = tuple(different)
        yield Finding("missing.monotone", "info", names, len(names), (), reason)
    elif different:
        reason = "Missing here and there, in no run of rows and no order of columns."
        yield Finding("missing.scattered", "info", tuple(different), len(different), (), reason)


def in_runs(rows: Bools) -> bool:
    """Whether most missing values stand in runs that chance hardly makes.

    >>> in_runs(np.arange(1_000) < 40), in_runs(np.arange(1_000) % 25 == 0)
    (True, False)
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rows, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    # A column that is nearly empty has long runs whatever the pattern.
    least = max(_LONG_RUN, int(np.ceil(np.log(max(rows.size, 2)) / -np.log(min(max(rows.mean(), 1e-9), 0.999)))))
    return bool(lengths[lengths >= least].sum() >= _IN_RUNS * rows.sum())


def monotone(columns: list[Bools]) -> bool:
    """Whether the rows that lack one column all lack the ones that are missing more often; at least two differ.

    Args:
        columns: masks of shape (n,), the most often missing first.
    """
    nested = all(not (less & ~more).any() for more, less in pairwise(columns))
    return nested and len({int(column.sum()) for column in columns}) > 2


def _mechanism(
    frame: pl.DataFrame, contract: Contract, missing: dict[str, Bools], rng: np.random.Generator
) -> Iterator[Finding]:
    step = -(-frame.height // MAX_FITTED)
    sample = frame.gather_every(step)
    predictors = {}
    for column in contract.columns:
        values = _design(sample.get_column(column.name))
        if values is not None and column.role != "ignored" and not column.unique:
            predictors[column.name] = values
    tried: list[tuple[Bools, str]] = []
    for name in list(missing)[:MAX_PREDICTED]:
        rows = missing[name][::step]
        if any(_overlap(rows, other) >= _SAME_ROWS for other, _ in tried):
            continue
        tried.append((rows, name))
        if min(int(rows.sum()), int((~rows).sum())) < _LEAST:
            continue
        # What is missing in the same rows tells nothing else than that.
        others = [
            values
            for other, values in predictors.items()
            if other != name and not (other in missing and _overlap(rows, missing[other][::step]) >= _SAME_ROWS)
        ][:MAX_PREDICTORS]
        area = predictability(np.column_stack(others), rows, rng) if others else None
        if area is not None and area.low is not None and area.low > TELLING:
            reason = (
                "Which rows lack it can be predicted from the other columns, so they differ from the rest: a hint, no "
                f"proof. The statistic is the area under the ROC curve, in 95 % {area.low:.2f} to {area.high:.2f}."
            )
            yield Finding("missing.predictable", "warn", (name,), int(missing[name].sum()), (), reason, area.value)


def predictability(others: Floats, missing: Bools, rng: np.random.Generator) -> Estimate | None:
    """How well the other columns predict which rows lack a value.

    Args:
        others: shape (n, columns), finite, as `_design` makes them.
        missing: shape (n,), at least 20 of each kind.
    Returns:
        the area under the ROC curve of forecasts out of fold by penalised logistic regression, with its 95 % interval
        by the bootstrap over rows; 0.5 says nothing, below as much. None where no column varies.
    """
    varied = others.std(axis=0) > 0.0
    if not varied.any():
        return None
    design = np.column_stack([np.ones(missing.size), others[:, varied]])
    folds = np.empty(missing.size, dtype=np.intp)
    for kind in (missing, ~missing):
        at = rng.permutation(np.flatnonzero(kind))
        folds[at] = np.arange(at.size) % _FOLDS
    scores = np.empty(missing.size)
    for fold in range(_FOLDS):
        held = folds == fold
        scores[held] = design[held] @ _logistic(design[~held], missing[~held].astype(np.float64))
    return estimate([RankArea(missing, scores)], rows=missing.size, rng=rng, resamples=400)["roc_auc"]


def _logistic(design: Floats, happened: Floats) -> Floats:
    """The weights of a logistic regression with a ridge, by reweighted least squares.

    In a line of linear algebra each round, as importing scikit-learn's takes longer than all of it.
    """
    weights = np.zeros(design.shape[1])
    share = happened.mean()
    weights[0] = np.log(share / (1.0 - share))
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[0] = 0.0
    for _ in range(_ROUNDS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -20.0, 20.0)))
        spread = np.maximum(chance * (1.0 - chance), 1e-6)
        slope = design.T @ (happened - chance) - penalty * weights
        weights = weights + np.linalg.solve((design.T * spread) @ design + np.diag(penalty + 1e-9), slope)
    return weights


def _design(series: pl.Series) -> Floats | None:
    """A column for a linear forecast, shape (n, parts): whether it's missing, and what it is where it isn't.

    Numbers and dates by their rank in [-1, 1] and its square, text by its ten most frequent values.
    """
    known = series.is_not_null().to_numpy()
    if not known.any():
        return None
    parts = [(~known).astype(np.float64)]
    if series.dtype == pl.String:
        counted = series.drop_nulls().alias("value").value_counts(name="count")
        ranked = counted.sort("count", "value", descending=[True, False]).get_column("value").head(_CATEGORIES)
        parts += [(series == value).fill_null(False).to_numpy().astype(np.float64) for value in ranked]
    else:
        place = series.rank("average").cast(pl.Float64).fill_null(np.nan).to_numpy()
        rank = np.where(known, 2.0 * (place - 0.5) / known.sum() - 1.0, 0.0)
        parts += [rank, np.where(known, rank**2 - 1.0 / 3.0, 0.0)]
    return np.column_stack(parts)


def _consequences(contract: Contract, missing: dict[str, Bools]) -> Iterator[Finding]:
    """What training does about missing values, as `core.training.prepare` and `core.training.split` have it."""
    groups: dict[str, list[str]] = {}
    for name in missing:
        column = contract.column(name)
        if column.role == "time":
            groups[_TIMELESS] = [name]
        elif column.role == "feature" and column.kind != "text":
            groups.setdefault(_TREATMENT.get(column.kind, _NUMBERS), []).append(name)
    for reason, names in groups.items():
        yield Finding("missing.training", "info", tuple(names), len(names), (), reason)


_NUMBERS = (
    "Boosting takes these missing values as they are and learns where they lead; the linear model fills in the median "
    "of its training rows, without a mark that it did."
)
_TIMELESS = "Rows without a time are left out where training and test rows are split by time."
_TREATMENT = {
    "category": (
        "Boosting takes these missing values as they are; in the linear model they are no category at all: all zeros."
    ),
    "date": "Dates are no features by default; where they are stated, missing ones are treated as numbers are.",
    "datetime": "Times are no features by default; where they are stated, missing ones are treated as numbers are.",
}
