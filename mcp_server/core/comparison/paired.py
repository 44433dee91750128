"""Which of two models is better, on the same rows, and what this sample could have shown.

Both models' metrics are taken on the same resamples of the rows, so what makes a row hard for both cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from mcp_server.core.comparison.power import detectable, rows_needed
from mcp_server.core.comparison.spread import LEVEL, p_of_t, t_half_width
from mcp_server.core.metrics import PRIMARY, Estimate, Measure, Task, draw, interval, measures
from mcp_server.core.metrics.measure import FloatArray, IntArray, RootMeanSquare
from mcp_server.errors import BadSample

Verdict = Literal["better", "worse", "no detectable difference"]

RESAMPLES = 2_000
MINIMUM_ROWS = 20

_MOST_CELLS = 100_000_000  # rows times resamples of two models: beyond, fewer are drawn
_FEWEST_FOR_BCA = 1_000
_ROUGH = 200
_ROUNDING = 1e-10  # of a metric: differences below are those of adding up in another order
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
        p: two-sided, of no difference: below 5 % where the interval leaves 0 out; None as above.
        verdict: better or worse where the interval leaves 0 out.
        detectable: the smallest true difference that a sample like this shows in 80 % of cases; None as above.
        rows_needed: how many rows would show a true difference of this size in 80 % of cases; None as above, and
            where there are none or too many.
    """

    metric: str
    title: str
    higher_is_better: bool
    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    verdict: Verdict
    detectable: float | None
    rows_needed: int | None

    @property
    def sentence(self) -> str:
        """The finding; never says that the two are equal."""
        if self.low is None or self.high is None or self.detectable is None:
            return f"{self.title}: no difference detected; this sample is too small to show one"
        if self.detectable == 0.0:
            return f"{self.title}: no difference detected; both models score every row of this sample alike"
        if self.verdict == "no detectable difference":
            return f"{self.title}: no difference detected; this sample would show ± {short_number(self.detectable)}"
        low, high = sorted((abs(self.low), abs(self.high)))
        return (
            f"{self.title}: {self.verdict} by {_digits(abs(self.difference), low, high)}, 95 % interval "
            f"{_digits(low, low, high)} to {_digits(high, low, high)}"
        )


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
        resamples: paired bootstrap resamples; fewer are drawn from 50,000 rows on, and from 100,000 on 200, for metrics
            that aren't smooth alone.
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
    resamples, (first_drawn, second_drawn) = draw_all([ours, theirs], rows=rows, rng=rng, resamples=resamples)
    differences = tuple(
        difference(*one, rows=rows) for one in zip(ours, theirs, first_drawn, second_drawn, strict=True)
    )
    return Comparison(task, rows, resamples, LEVEL, differences)


def draw_all(
    models: Sequence[Sequence[Measure]], *, rows: int, rng: np.random.Generator, resamples: int
) -> tuple[int, list[list[FloatArray | None]]]:
    """Each metric of each model on the same resamples.

    Args:
        models: the metrics of each, on the same `rows` rows.
        resamples: wanted; as many are drawn as bounded time allows.
    Returns:
        how many were drawn, and for each metric of each model an array of that shape. None for a smooth metric of so
        many rows that under 1,000 resamples are affordable: those would leave p-values coarse, and the normal limit is
        as good there.
    """
    affordable = max(100, _MOST_CELLS * 2 // (rows * len(models)))
    limited = affordable < min(resamples, _FEWEST_FOR_BCA)
    resamples = min(resamples, affordable, _ROUGH if limited else resamples)
    wanted = [one for measured in models for one in measured if one.influence is None or not limited]
    drawn = iter(draw(wanted, rows=rows, rng=rng, resamples=resamples))
    return resamples, [
        [None if limited and one.influence is not None else next(drawn) for one in measured] for measured in models
    ]


def difference(
    ours: Measure,
    theirs: Measure,
    drawn: FloatArray | None,
    their_drawn: FloatArray | None,
    *,
    rows: int,
    tests: int = 1,
) -> Difference:
    """How much better one model's metric is than another's on the same rows.

    Args:
        drawn, their_drawn: both on the same resamples, as `draw_all` gives them.
        rows: of the sample.
        tests: among how many this one stands: `detectable` and `rows_needed` allow for them.
    """
    sign = 1.0 if ours.higher_is_better else -1.0
    value = sign * (ours.value - theirs.value)
    influence = paired_influence(ours, theirs)
    influence = None if influence is None else sign * influence
    resampled = None if drawn is None or their_drawn is None else sign * (drawn - their_drawn)
    if influence is not None:
        most = float(np.abs(influence).max(initial=0.0)) + abs(value)
        if most <= _ROUNDING * max(abs(ours.value), abs(theirs.value)):
            # One model in two notations: the last digits say nothing.
            value, influence = 0.0, np.zeros_like(influence)
            resampled = None if resampled is None else np.zeros_like(resampled)
    found, p = interval_of(value, resampled, influence), p_value(value, resampled, influence)
    verdict: Verdict = "no detectable difference"
    shown = needed = None
    if found.low is not None and found.high is not None and p is not None:
        if found.low > 0.0:
            verdict = "better"
        elif found.high < 0.0:
            verdict = "worse"
        # Both come from the same resamples, but quantiles and shares of them needn't meet in the last resample.
        p = max(p, 1.0 - LEVEL) if verdict == "no detectable difference" else min(p, 1.0 - LEVEL)
        shown = detectable((found.high - found.low) / 2.0, tests=tests)
        needed = rows_needed(value, shown, rows)
    return Difference(
        metric=ours.name,
        title=_TITLES[ours.name],
        higher_is_better=ours.higher_is_better,
        first=ours.value,
        second=theirs.value,
        difference=value,
        low=found.low,
        high=found.high,
        p=p,
        verdict=verdict,
        detectable=shown,
        rows_needed=needed,
    )


def paired_influence(ours: Measure, theirs: Measure) -> FloatArray | None:
    """The influence of each row on one metric minus the other, shape (n,); None where the metric isn't smooth.

    Of two roots the difference is that of the squares over their sum: its t-test is then that of the squares, which
    keeps its level on small samples where that of the roots doesn't.
    """
    if isinstance(ours, RootMeanSquare) and isinstance(theirs, RootMeanSquare) and ours.value + theirs.value > 0.0:
        gaps = ours.squares - theirs.squares
        result: FloatArray = (gaps - gaps.mean()) / (ours.value + theirs.value)
        return result
    if ours.influence is None or theirs.influence is None:
        return None
    return ours.influence - theirs.influence


def interval_of(
    value: float, drawn: FloatArray | None, influence: FloatArray | None, *, level: float = LEVEL
) -> Estimate:
    """BCa, stretched where the t interval reaches further; the t interval alone where nothing was drawn."""
    found = Estimate(value, value, value) if drawn is None else interval(value, drawn, influence, level=level)
    if influence is None or found.low is None or found.high is None or (drawn is not None and found.low == found.high):
        return found
    half = t_half_width(influence, level)
    return Estimate(value, min(found.low, value - half), max(found.high, value + half))


def p_value(value: float, drawn: FloatArray | None, influence: FloatArray | None) -> float | None:
    """The level at which the interval just reaches 0, two-sided.

    Args:
        value: the difference.
        drawn: on resamples, shape (b,), or None.
        influence: of each row on the difference, or None for a metric that isn't smooth.
    Returns:
        None where too many resamples are undefined.
    Source:
        DiCiccio & Romano (1988), JRSS B 50(3), for inverting bootstrap limits.
    """
    if drawn is None:
        assert influence is not None
        return p_of_t(value, influence)
    usable = drawn[np.isfinite(drawn)]
    if len(usable) < 0.9 * len(drawn):
        return None
    least = 1.0 / (len(usable) + 1.0)
    if influence is None:
        beyond = usable - np.median(usable) + value
        if not np.ptp(beyond):
            return 1.0 if value == 0.0 else least
        return max(least, min(1.0, 2.0 * min(_share_below(beyond, 0.0), _share_below(-beyond, 0.0))))
    of_t = p_of_t(value, influence)
    below = _share_below(usable, 0.0)
    if not least <= below <= 1.0 - least or not influence.any():
        return of_t
    bias = float(ndtri(np.clip(_share_below(usable, value), least, 1.0 - least)))
    acceleration = float((influence**3).sum()) / (6.0 * float((influence**2).sum()) ** 1.5)
    reach = float(ndtri(below)) - bias
    z = reach / max(1e-6, 1.0 + acceleration * reach) - bias
    return max(of_t, float(2.0 * ndtr(-abs(z))))


def _share_below(values: FloatArray, limit: float) -> float:
    """The share below a limit; what lies at it counts half."""
    return float(((values < limit).sum() + (values <= limit).sum()) / (2.0 * len(values)))


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
