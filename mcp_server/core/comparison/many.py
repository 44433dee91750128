"""Two to eight models on the same rows: every pair, with what testing several pairs and metrics costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from mcp_server.core.comparison.delong import delong
from mcp_server.core.comparison.equivalence import Equivalence, equivalence
from mcp_server.core.comparison.holm import holm
from mcp_server.core.comparison.mcnemar import mcnemar
from mcp_server.core.comparison.paired import (
    MINIMUM_ROWS,
    RESAMPLES,
    Difference,
    Verdict,
    difference,
    draw_all,
    interval_of,
    paired_influence,
)
from mcp_server.core.comparison.spread import LEVEL
from mcp_server.core.metrics import PRIMARY, Estimate, Measure, Task, interval, measures
from mcp_server.core.metrics.measure import FloatArray, IntArray
from mcp_server.errors import BadSample

MOST_MODELS = 8
ALPHA = 0.05
_TURNED: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}
_TESTS = {"roc_auc": "DeLong", "accuracy": "exact McNemar", "calibration_error": "bootstrap"}


@dataclass(frozen=True, slots=True)
class Tested:
    """One metric of a pair, its p-value held against all others of its family.

    Args:
        found: the difference; `p` is by `test`, and the verdict stands after the correction.
        test: which one gave `p`.
        corrected: p after Holm: of the deciding metric over the pairs, of the other metrics over all of those and
            the pairs.
        tests: how many its family has.
    """

    found: Difference
    test: str
    corrected: float | None
    tests: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models, by their places.

    Args:
        first, second: places among the models.
        metrics: one for each metric; the deciding one is `primary`.
        equivalence: against the margin that was stated, by the deciding metric.
    """

    first: int
    second: int
    metrics: tuple[Tested, ...]
    primary: Tested
    equivalence: Equivalence | None

    @property
    def verdict(self) -> Verdict:
        return self.primary.found.verdict

    def turned(self) -> Pair:
        """The same with the second model in front."""
        metrics = {one.found.metric: _turned(one) for one in self.metrics}
        held = self.equivalence
        if held is not None:
            held = replace(held, low=-held.high, high=-held.low)
        return Pair(self.second, self.first, tuple(metrics.values()), metrics[self.primary.found.metric], held)


@dataclass(frozen=True, slots=True)
class Field:
    """Models on the same rows.

    Args:
        rows: how many all answered.
        resamples: drawn for the intervals.
        estimates: of each model, each metric with its interval.
        order: the models' places by the deciding metric, the best first.
        pairs: all, the place of the first below that of the second.
    """

    task: Task
    rows: int
    resamples: int
    estimates: tuple[dict[str, Estimate], ...]
    order: tuple[int, ...]
    pairs: tuple[Pair, ...]

    def pair(self, first: int, second: int) -> Pair:
        """Two models, the first in front."""
        for one in self.pairs:
            if (one.first, one.second) == (first, second):
                return one
        return next(one for one in self.pairs if (one.second, one.first) == (first, second)).turned()


def compare_all(
    target: Sequence[float] | FloatArray | IntArray,
    forecasts: Sequence[object],
    *,
    task: Task,
    rng: np.random.Generator,
    margin: float | None = None,
    resamples: int = RESAMPLES,
) -> Field:
    """Compare every pair of models on the same rows.

    Args:
        target: shape (n,), n >= 20: as for `metrics.measures`.
        forecasts: of 2 to 8 models, as for `metrics.measures`, row for row.
        margin: the largest difference of the deciding metric that doesn't matter, > 0, in its unit.
        resamples: of the paired bootstrap.
    Returns:
        for each pair and metric the difference with its interval as `compare_predictions` gives it. Its p-value comes
        from the bootstrap and the t-test, whichever is larger; for the area under the ROC curve from DeLong's test,
        for accuracy from the exact McNemar test. A verdict of better or worse needs an interval without 0 and a
        p-value below 5 % after Holm's correction.
    Raises:
        BadSample: too few or many models, too few rows, or what `metrics.measures` refuses.
    """
    if not 2 <= len(forecasts) <= MOST_MODELS:
        raise BadSample(f"2 to {MOST_MODELS} models can be compared.", hint="Leave some out.")
    measured = [measures(target, forecast, task=task) for forecast in forecasts]
    rows = len(np.asarray(target))
    if rows < MINIMUM_ROWS:
        raise BadSample(
            f"A comparison needs at least {MINIMUM_ROWS} rows with the outcome; there are {rows}.",
            hint="Use a data set version with more rows.",
        )
    resamples, drawn = draw_all(measured, rows=rows, rng=rng, resamples=resamples)
    estimates = tuple(
        {one.name: _estimate(one, values) for one, values in zip(own, theirs, strict=True)}
        for own, theirs in zip(measured, drawn, strict=True)
    )
    places = list(combinations(range(len(forecasts)), 2))
    names = [one.name for one in measured[0]]
    deciding = names.index(PRIMARY[task])
    # A pair's other metrics stand among those of all pairs.
    tests = [len(places) if at == deciding else len(places) * (len(names) - 1) for at in range(len(names))]
    found = {
        (first, second): [
            _by_its_test(
                difference(
                    measured[first][at],
                    measured[second][at],
                    drawn[first][at],
                    drawn[second][at],
                    rows=rows,
                    tests=tests[at],
                ),
                np.asarray(target),
                forecasts[first],
                forecasts[second],
                task,
            )
            for at in range(len(names))
        ]
        for first, second in places
    }
    corrected = _corrected(found, deciding)
    pairs = []
    for first, second in places:
        metrics = corrected[first, second]
        held = None
        if margin is not None:
            ours, theirs = measured[first][deciding], measured[second][deciding]
            held = _held(ours, theirs, drawn[first][deciding], drawn[second][deciding], margin)
        pairs.append(Pair(first, second, metrics, metrics[deciding], held))
    sign = -1.0 if measured[0][deciding].higher_is_better else 1.0
    order = sorted(range(len(forecasts)), key=lambda place: sign * measured[place][deciding].value)
    return Field(task, rows, resamples, estimates, tuple(order), tuple(pairs))


def _estimate(measure: Measure, drawn: FloatArray | None) -> Estimate:
    if drawn is None:
        return interval_of(measure.value, None, measure.influence)
    found = interval(measure.value, drawn, measure.influence, level=LEVEL)
    if measure.influence is None and found.low is not None:
        return Estimate(found.value, max(0.0, found.low), found.high)  # an error is never negative
    return found


def _by_its_test(found: Difference, target: IntArray, first: object, second: object, task: Task) -> Difference:
    """The difference with the p-value of the test that is made for its metric."""
    if task == "regression" or found.p is None:
        return found
    ours, theirs = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if found.metric == "roc_auc":
        happened = target == 1
        if min(happened.sum(), (~happened).sum()) >= 2:
            return replace(found, p=delong(happened, ours, theirs).p)
    if found.metric == "accuracy":
        answers = [(one > 0.5) if one.ndim == 1 else one.argmax(axis=1) for one in (ours, theirs)]
        return replace(found, p=mcnemar(answers[0] == target, answers[1] == target).exact)
    return found


def _corrected(
    found: dict[tuple[int, int], list[Difference]], deciding: int
) -> dict[tuple[int, int], tuple[Tested, ...]]:
    """Holm over each family: the deciding metric of all pairs; all other metrics of all pairs."""
    raised: dict[tuple[tuple[int, int], int], float] = {}
    sizes: dict[bool, int] = {}
    for family in (True, False):
        keys = [
            (pair, at)
            for pair, metrics in found.items()
            for at, one in enumerate(metrics)
            if (at == deciding) is family and one.p is not None
        ]
        p_values = [p for pair, at in keys if (p := found[pair][at].p) is not None]
        raised.update(zip(keys, holm(p_values), strict=True))
        sizes[family] = len(keys)
    return {
        pair: tuple(_tested(one, raised.get((pair, at)), sizes[at == deciding]) for at, one in enumerate(metrics))
        for pair, metrics in found.items()
    }


def _tested(found: Difference, corrected: float | None, tests: int) -> Tested:
    test = _TESTS.get(found.metric, "paired bootstrap and t")
    if corrected is None or corrected >= ALPHA:
        found = replace(found, verdict="no detectable difference")
    return Tested(found, test, corrected, tests)


def _held(
    ours: Measure, theirs: Measure, drawn: FloatArray | None, their_drawn: FloatArray | None, margin: float
) -> Equivalence:
    influence = paired_influence(ours, theirs)
    assert influence is not None
    sign = 1.0 if ours.higher_is_better else -1.0
    resampled = None if drawn is None or their_drawn is None else sign * (drawn - their_drawn)
    found = interval_of(
        sign * (ours.value - theirs.value),
        resampled,
        sign * influence,
        level=1.0 - 2.0 * ALPHA,
    )
    assert found.low is not None
    assert found.high is not None
    return equivalence(found.low, found.high, margin=margin)


def _turned(one: Tested) -> Tested:
    found = one.found
    return replace(
        one,
        found=replace(
            found,
            first=found.second,
            second=found.first,
            difference=-found.difference,
            low=None if found.high is None else -found.high,
            high=None if found.low is None else -found.low,
            verdict=_TURNED.get(found.verdict, found.verdict),
        ),
    )
