"""The area under the ROC curve by ranks, for the sample and for its resamples.

Source: Hanley & McNeil (1982), Radiology 143(1), for the area as a probability of the right order; DeLong, DeLong &
Clarke-Pearson (1988), Biometrics 44(3), for the placement values that give the influence of a row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.metrics.direction import HIGHER_IS_BETTER
from mcp_server.core.metrics.measure import FloatArray, IntArray
from mcp_server.errors import BadSample


class RankArea:
    """The probability that a positive row scores above a negative one; a tie counts half.

    Args:
        positive: shape (n,), at least one true and one false.
        scores: shape (n,), finite; only their order matters.
    Raises:
        BadSample: one of the two classes has no row.
    """

    def __init__(self, positive: NDArray[np.bool_], scores: FloatArray, name: str = "roc_auc") -> None:
        positives = int(positive.sum())
        negatives = len(positive) - positives
        if not positives or not negatives:
            raise BadSample(
                "The area under the ROC curve needs rows of both classes.",
                hint="Use rows on which both outcomes happened.",
            )
        self.name = name
        self.higher_is_better = name in HIGHER_IS_BETTER
        self._positive = np.flatnonzero(positive)
        ranked = np.argsort(scores[~positive], kind="stable")
        self._negative = np.flatnonzero(~positive)[ranked]
        below = np.searchsorted(scores[self._negative], scores[self._positive], side="left")
        upto = np.searchsorted(scores[self._negative], scores[self._positive], side="right")
        self._below = below
        self._upto = None if np.array_equal(below, upto) else upto
        share = positives / len(positive)
        self.placed: FloatArray = np.empty(len(positive))
        """Empirical influence of each row, from the share of the other class that it is in the right order with."""
        won = (below + upto) / (2.0 * negatives)
        self.value = float(won.mean())
        self.placed[self._positive] = (won - self.value) / share
        losing = np.sort(scores[self._positive])
        above = positives - np.searchsorted(losing, scores[self._negative], side="right")
        from_here = positives - np.searchsorted(losing, scores[self._negative], side="left")
        self.placed[self._negative] = ((above + from_here) / (2.0 * positives) - self.value) / (1.0 - share)
        self.influence: FloatArray | None = self.placed

    def at(self, weights: FloatArray) -> FloatArray:
        # Row k is the weight of the k lowest negatives: what a positive above k of them wins.
        lower = np.zeros((len(self._negative) + 1, weights.shape[1]))
        np.cumsum(weights[self._negative], axis=0, out=lower[1:])
        positive = weights[self._positive]
        wins = np.einsum("ij,ij->j", positive, lower[self._below])
        if self._upto is not None:
            wins = (wins + np.einsum("ij,ij->j", positive, lower[self._upto])) / 2.0
        pairs = lower[-1] * (len(weights) - lower[-1])
        areas: FloatArray = np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0.0)
        return areas


class AveragePrecision:
    """The precision at each score that a positive row has, averaged over the positive rows; ties count together.

    Args:
        positive: shape (n,), at least one true and one false.
        scores: shape (n,), finite; only their order matters.
    Raises:
        BadSample: one of the two classes has no row.
    Source:
        Davis & Goadrich (2006), ICML, for why the curve isn't joined by straight lines.
    """

    name = "average_precision"
    higher_is_better = name in HIGHER_IS_BETTER

    def __init__(self, positive: NDArray[np.bool_], scores: FloatArray) -> None:
        if not positive.any() or positive.all():
            raise BadSample(
                "Average precision needs rows of both classes.", hint="Use rows on which both outcomes happened."
            )
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        self._ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # the last row of each run of ties
        self._positive = positive[self._order].astype(np.float64)
        self.value = float(self.at(np.ones((len(positive), 1)))[0])
        self.influence: FloatArray | None = self._influence()

    def at(self, weights: FloatArray) -> FloatArray:
        ranked = weights[self._order]
        found = np.cumsum(ranked * self._positive[:, None], axis=0)[self._ends]
        taken = np.cumsum(ranked, axis=0)[self._ends]
        total = found[-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(taken > 0.0, found / taken, 0.0)
            gained = np.diff(found, axis=0, prepend=0.0)
            result: FloatArray = (gained * precision).sum(axis=0) / total
        # As for the area, rows of one class have no order.
        return np.where((total > 0.0) & (total < taken[-1]), result, np.nan)

    def _influence(self) -> FloatArray:
        """How the value moves with the weight of each row: the derivative of `at`, centred."""
        found = np.cumsum(self._positive)[self._ends]
        taken = self._ends + 1.0
        gained = np.diff(found, prepend=0.0)
        precision, total = found / taken, found[-1]
        run = np.searchsorted(self._ends, np.arange(len(self._order)))
        # Every run at or below a row sees one more row, and one more positive where it's one.
        more = np.cumsum((gained / taken)[::-1])[::-1][run]
        fewer = np.cumsum((gained * found / taken**2)[::-1])[::-1][run]
        own = self._positive * (precision[run] + more - self.value) - fewer
        influence: FloatArray = np.empty(len(own))
        influence[self._order] = own / total * len(own)
        influence -= influence.mean()
        return influence


class MacroArea:
    """The mean of the areas of each class against the rest, over the classes that occur.

    Args:
        target: class indexes, shape (n,).
        probabilities: shape (n, classes).
    Raises:
        BadSample: fewer than two classes occur.
    """

    name = "macro_roc_auc"
    higher_is_better = name in HIGHER_IS_BETTER

    def __init__(self, target: IntArray, probabilities: FloatArray) -> None:
        present = np.unique(target)
        if len(present) < 2:
            raise BadSample(
                "The area under the ROC curve needs rows of at least two classes.",
                hint="Use rows on which more than one outcome happened.",
            )
        self._areas = [RankArea(target == index, probabilities[:, index]) for index in present]
        self.value = float(np.mean([area.value for area in self._areas]))
        self.influence: FloatArray | None = np.mean([area.placed for area in self._areas], axis=0)

    def at(self, weights: FloatArray) -> FloatArray:
        total = np.zeros(weights.shape[1])
        for area in self._areas:
            total += area.at(weights)
        return total / len(self._areas)
