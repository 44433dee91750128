"""Two learning procedures over resampled runs: a t-test whose spread allows for the runs' overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from mcp_server.core.comparison.spread import two_sided
from mcp_server.core.metrics.measure import FloatArray, numbers
from mcp_server.errors import BadSample

MINIMUM_RUNS = 3


@dataclass(frozen=True, slots=True)
class CorrectedT:
    """The mean difference of two procedures.

    Args:
        difference: mean over the runs.
        error: its corrected standard error.
        freedom: degrees of freedom: runs minus 1.
        low, high: the interval of the difference.
        p: two-sided; where no run differs from another, 1 for a difference of 0 and 0 for any other.
    """

    difference: float
    error: float
    freedom: int
    low: float
    high: float
    p: float


def corrected_t(differences: FloatArray, *, test_share: float, level: float = 0.95) -> CorrectedT:
    """Test whether two procedures, trained and judged again and again on parts of one table, are as good.

    The runs share rows, so that their plain t-test finds differences where there are none; the variance is raised by
    the ratio of judged to learned rows.

    Args:
        differences: shape (runs,), runs >= 3: of one metric, run by run.
        test_share: judged rows over all rows of a run, such as 0.2; in k-fold cross-validation 1 / k.
        level: of the interval.
    Raises:
        BadSample: too few runs, or a share outside (0, 1).
    Source:
        Nadeau & Bengio (2003), Machine Learning 52; Bouckaert & Frank (2004), PAKDD, for repeated folds.

    >>> found = corrected_t(np.array([0.02, 0.01, -0.01, 0.04, 0.02]), test_share=0.2)
    >>> round(found.difference, 3), round(found.error, 4), round(found.p, 3)
    (0.016, 0.0122, 0.259)
    """
    given = numbers(differences, "The differences")
    if len(given) < MINIMUM_RUNS:
        raise BadSample(f"A comparison of procedures needs {MINIMUM_RUNS} runs.", hint="Run more resamples.")
    mean, error = float(given.mean()), corrected_error(given, test_share)
    freedom = len(given) - 1
    half = float(stdtrit(freedom, 0.5 + level / 2.0)) * error
    p = two_sided(mean, error, lambda z: float(stdtr(freedom, z)))
    return CorrectedT(mean, error, freedom, mean - half, mean + half, p)


def corrected_error(differences: FloatArray, test_share: float) -> float:
    """The standard error of a mean over runs that share rows.

    Raises:
        BadSample: a share outside (0, 1).
    """
    if not 0.0 < test_share < 1.0:
        raise BadSample("The share of judged rows is between 0 and 1.", hint="Write 0.2 for a fifth.")
    overlap = 1.0 / len(differences) + test_share / (1.0 - test_share)
    return float(np.sqrt(overlap * differences.var(ddof=1)))
