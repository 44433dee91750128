"""Missing values: in which pattern, whether the rest of the row predicts them, and what a trained model makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

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
_RANKED = 100
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
        reason = f"Mostly missing in runs of {_LONG_RUN} rows or more: a block, such as a time or a source without them."
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
        values = _as_numbers(sample.get_column(column.name))
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
                f"proof. The statistic is the area under the ROC curve, 95 % interval {area.low:.2f} to {area.high:.2f}."
            )
            yield Finding("missing.predictable", "warn", (name,), int(missing[name].sum()), (), reason, area.value)


def predictability(others: Floats, missing: Bools, rng: np.random.Generator) -> Estimate | None:
    """How well the other columns predict which rows lack a value.

    Args:
        others: shape (n, columns), NaN where missing.
        missing: shape (n,), at least 20 of each kind.
    Returns:
        the area under the ROC curve of forecasts out of fold by small boosted trees, with its 95 % interval by the
        bootstrap over rows; 0.5 says nothing, below as much. None where no column has a value to learn from.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    varied = np.array([np.unique(column[~np.isnan(column)]).size > 1 or np.isnan(column).any() for column in others.T])
    if not varied.any():
        return None
    folds = np.empty(missing.size, dtype=np.intp)
    for kind in (missing, ~missing):
        at = rng.permutation(np.flatnonzero(kind))
        folds[at] = np.arange(at.size) % _FOLDS
    scores = np.empty(missing.size)
    for fold in range(_FOLDS):
        held = folds == fold
        model = HistGradientBoostingClassifier(
            max_iter=20, max_leaf_nodes=8, min_samples_leaf=10, learning_rate=0.2, early_stopping=False, random_state=0
        )
        # So small a fit takes longer on several threads, and far longer where others want the processors too.
        with threadpool_limits(limits=1):
            model.fit(others[~held][:, varied], missing[~held])
            scores[held] = model.predict_proba(others[held][:, varied])[:, 1]
    return estimate([RankArea(missing, scores)], rows=missing.size, rng=rng, resamples=400)["roc_auc"]


def _as_numbers(series: pl.Series) -> Floats | None:
    """A column for small trees: numbers as they are, dates as days, the most frequent texts by rank; NaN where missing."""
    if series.null_count() == series.len():
        return None
    if series.dtype == pl.String:
        return _ranks(series)
    if series.dtype.is_temporal():
        series = series.dt.epoch("s") if series.dtype.base_type() == pl.Datetime else series.cast(pl.Int32)
    values: Floats = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)


def _ranks(series: pl.Series) -> Floats:
    counted = series.drop_nulls().alias("value").value_counts(name="count")
    ranked = counted.sort("count", "value", descending=[True, False]).get_column("value").head(_RANKED).to_list()
    ranks = series.replace_strict(ranked, list(range(len(ranked))), default=len(ranked), return_dtype=pl.Float64)
    return np.where(series.is_null().to_numpy(), np.nan, ranks.fill_null(np.nan).to_numpy())


def _consequences(contract: Contract, missing: dict[str, Bools]) -> Iterator[Finding]:
    """What training does about features with missing values, as `core.training.prepare` has it."""
    groups: dict[str, list[str]] = {}
    for name in missing:
        column = contract.column(name)
        if column.role == "feature" and column.kind != "text":
            groups.setdefault(_TREATMENT.get(column.kind, _NUMBERS), []).append(name)
    for reason, names in groups.items():
        yield Finding("missing.training", "info", tuple(names), len(names), (), reason)


_NUMBERS = (
    "Boosting takes these missing values as they are and learns where they lead; the linear model fills in the median of "
    "its training rows, without a mark that it did."
)
_TREATMENT = {
    "category": (
        "Boosting takes these missing values as they are; in the linear model they are no category at all, which is the "
        "same as all zeros."
    ),
    "date": "Dates are no features by default; where they are stated, missing ones are treated as numbers are.",
    "datetime": "Times are no features by default; where they are stated, missing ones are treated as numbers are.",
}
