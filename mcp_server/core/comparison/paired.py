"""Which of two models is better, on the same rows, and what this sample could have shown.

Both models' metrics are taken on the same resamples of the rows, so what makes a row hard for both cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from mcp_server.core.metrics import PRIMARY, Estimate, Measure, Task, draw, interval, measures
from mcp_server.core.metrics.measure import FloatArray, IntArray
from mcp_server.errors import BadSample

Verdict = Literal["better", "worse", "no detectable difference"]

RESAMPLES = 2_000
LEVEL = 0.95
POWER = 0.8
MINIMUM_ROWS = 20

_MOST_CELLS = 400_000_000  # rows times resamples: beyond, fewer resamples are drawn, of which fewer are needed
_ROUNDING = 1e-10  # of a metric: differences below are those of adding up in another order
_NORMAL = NormalDist()
_TITLES = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "macro_roc_auc": "ROC AUC, mean over classes",
    "accuracy": "accuracy",
    "calibration_error": "calibration error",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R2",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two models on the same rows: a row of a forest chart.

    Args:
        metric: its name.
        title: for a person.
        higher_is_better: of the metric itself.
        first, second: the metric of the candidate, and of what it is measured against.
        difference: how much better the candidate is, in the metric's unit: positive favours the candidate,
            also where lower is better.
        low, high: its 95 % interval; None where the sample is too small to tell.
        verdict: better or worse where the interval leaves 0 out.
        detectable: the smallest true difference that a sample like this shows in 80 % of cases; None as above.
        sentence: the finding; never says that the two are equal.
    """

    metric: str
    title: str
    higher_is_better: bool
    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    verdict: Verdict
    detectable: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same rows.

    Args:
        task: binary, multiclass or regression.
        rows: how many rows both answered.
        resamples: drawn for the intervals.
        level: of the intervals.
        differences: one for each metric; the deciding one is `primary`.
    """

    task: Task
    rows: int
    resamples: int
    level: float
    differences: tuple[Difference, ...]

    @property
    def primary(self) -> Difference:
        """The metric that decides: log loss for classes, RMSE for numbers."""
        return next(row for row in self.differences if row.metric == PRIMARY[self.task])

    @property
    def verdict(self) -> Verdict:
        return self.primary.verdict

    @property
    def sentence(self) -> str:
        return self.primary.sentence


def compare_predictions(
    target: Sequence[float] | FloatArray | IntArray,
    first: object,
    second: object,
    *,
    task: Task,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare a candidate's forecasts with another's on the same rows.

    Args:
        target: shape (n,), n >= 20: as for `metrics.measures`.
        first: the candidate's forecasts, as for `metrics.measures`.
        second: the forecasts that it is measured against, row for row.
        resamples: paired bootstrap resamples; fewer are drawn from 200,000 rows on.
    Returns:
        each metric's difference with its interval: BCa, stretched where the t interval reaches further, which keeps
        the share of false findings at 5 % on small samples too; for the calibration error moved percentiles.
    Raises:
        BadSample: too few rows, or what `metrics.measures` refuses.
    Source:
        Efron (1987), JASA 82(397); Gerds & Kattan (2021), Medical Risk Prediction Models, ch. 7, for pairing.
    """
    ours = measures(target, first, task=task)
    theirs = measures(target, second, task=task)
    rows = len(np.asarray(target))
    if rows < MINIMUM_ROWS:
        raise BadSample(
            f"A comparison needs at least {MINIMUM_ROWS} rows with the outcome; there are {rows}.",
            hint="Use a data set version with more rows.",
        )
    resamples = min(resamples, max(100, _MOST_CELLS // rows))
    drawn = draw([*ours, *theirs], rows=rows, rng=rng, resamples=resamples)
    differences = tuple(
        _difference(mine, other, drawn[at], drawn[at + len(ours)])
        for at, (mine, other) in enumerate(zip(ours, theirs, strict=True))
    )
    return Comparison(task, rows, resamples, LEVEL, differences)


def _difference(ours: Measure, theirs: Measure, drawn: FloatArray, their_drawn: FloatArray) -> Difference:
    sign = 1.0 if ours.higher_is_better else -1.0
    value = sign * (ours.value - theirs.value)
    influence = None
    if ours.influence is not None and theirs.influence is not None:
        influence = sign * (ours.influence - theirs.influence)
        if float(np.abs(influence).max()) + abs(value) <= _ROUNDING * max(abs(ours.value), abs(theirs.value)):
            # One model in two notations: the last digits say nothing.
            value, influence, drawn = 0.0, np.zeros_like(influence), their_drawn
    found = interval(value, sign * (drawn - their_drawn), influence, level=LEVEL)
    if influence is not None:
        found = _stretched(found, influence)
    verdict: Verdict = "no detectable difference"
    detectable = None
    if found.low is not None and found.high is not None:
        if found.low > 0.0:
            verdict = "better"
        elif found.high < 0.0:
            verdict = "worse"
        # An interval's half width is what is found half the time; 80 % of the time takes more.
        reach = _NORMAL.inv_cdf(0.5 + LEVEL / 2.0)
        detectable = (found.high - found.low) / 2.0 * (reach + _NORMAL.inv_cdf(POWER)) / reach
    title = _TITLES[ours.name]
    return Difference(
        metric=ours.name,
        title=title,
        higher_is_better=ours.higher_is_better,
        first=ours.value,
        second=theirs.value,
        difference=value,
        low=found.low,
        high=found.high,
        verdict=verdict,
        detectable=detectable,
        sentence=_sentence(title, value, found.low, found.high, verdict, detectable),
    )


def _stretched(found: Estimate, influence: FloatArray) -> Estimate:
    if found.low is None or found.high is None or found.low == found.high:
        return found
    freedom = len(influence) - 1
    z = _NORMAL.inv_cdf(0.5 + LEVEL / 2.0)
    # The quantile of Student's t by Cornish and Fisher's expansion: from 19 degrees of freedom right to 1e-4.
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    half = t * float(np.sqrt((influence**2).mean() / freedom))
    return Estimate(found.value, min(found.low, found.value - half), max(found.high, found.value + half))


def _sentence(
    title: str, value: float, low: float | None, high: float | None, verdict: Verdict, detectable: float | None
) -> str:
    if low is None or high is None or detectable is None:
        return f"{title}: no difference detected; this sample is too small to show one"
    if detectable == 0.0:
        return f"{title}: no difference detected; both models score every row of this sample alike"
    if verdict == "no detectable difference":
        return f"{title}: no difference detected; this sample would show ± {short_number(detectable)}"
    low, high = sorted((abs(low), abs(high)))
    return (
        f"{title}: {verdict} by {_digits(abs(value), low, high)}, 95 % interval "
        f"{_digits(low, low, high)} to {_digits(high, low, high)}"
    )


def short_number(value: float) -> str:
    """A positive number for a sentence: one or two significant digits, without a zero before the point.

    >>> [short_number(value) for value in (0.00312, 0.00141, 0.25, 12.43, 1834.0)]
    ['.003', '.0014', '.25', '12', '1800']
    """
    scale = np.floor(np.log10(value))
    digits = 2 if value >= 1.0 or value / 10.0**scale < 3.0 else 1
    rounded = round(value, int(digits - 1 - scale))
    places = max(0, int(digits - 1 - scale))
    return _bare(f"{rounded:.{places}f}")


def _digits(value: float, low: float, high: float) -> str:
    """A number with as many places as show two digits of the interval's width."""
    places = max(0, int(1 - np.floor(np.log10(max(high - low, 1e-12)))))
    return _bare(f"{value:.{places}f}")


def _bare(text: str) -> str:
    return text[1:] if text.startswith("0.") else text
