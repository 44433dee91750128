"""How probable it is that one learning procedure is better, worse, or as good for all practical purposes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from mcp_server.core.comparison.corrected_t import MINIMUM_RUNS, corrected_error
from mcp_server.core.metrics.measure import FloatArray, numbers
from mcp_server.errors import BadSample


@dataclass(frozen=True, slots=True)
class Practical:
    """Posterior probabilities of a mean difference; they sum to 1.

    Args:
        worse: that it lies below the region of practical equivalence.
        inside: within it.
        better: above it.
    """

    worse: float
    inside: float
    better: float


def bayesian_t(differences: FloatArray, *, test_share: float, margin: float) -> Practical:
    """The Bayesian correlated t-test.

    Args:
        differences: shape (runs,), runs >= 3: of one metric, run by run; positive favours the first.
        test_share: judged rows over all rows of a run: the correlation of two runs.
        margin: half the region of practical equivalence, in the metric's unit, >= 0.
    Raises:
        BadSample: too few runs, a share outside (0, 1), or a negative margin.
    Source:
        Corani & Benavoli (2015), Machine Learning 100; Benavoli et al. (2017), JMLR 18(77), for the region.

    >>> found = bayesian_t(np.array([0.02, 0.01, -0.01, 0.04, 0.02]), test_share=0.2, margin=0.01)
    >>> [round(share, 3) for share in (found.worse, found.inside, found.better)]
    [0.05, 0.274, 0.676]
    """
    given = numbers(differences, "The differences")
    if len(given) < MINIMUM_RUNS:
        raise BadSample(f"A comparison of procedures needs {MINIMUM_RUNS} runs.", hint="Run more resamples.")
    if not 0.0 <= margin < np.inf:
        raise BadSample("The margin of practical equivalence is 0 or more.", hint="Write it in the metric's unit.")
    mean, error = float(given.mean()), corrected_error(given, test_share)
    if error <= 1e-12 * max(1.0, abs(mean)):
        return Practical(float(mean < -margin), float(abs(mean) <= margin), float(mean > margin))
    worse = float(stdtr(len(given) - 1, (-margin - mean) / error))
    better = float(stdtr(len(given) - 1, (mean - margin) / error))
    return Practical(worse, max(0.0, 1.0 - worse - better), better)
