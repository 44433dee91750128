"""How far apart the mean ranks of two models must lie to count, among several models on several data sets."""

from __future__ import annotations

from math import inf, sqrt

from scipy.stats import studentized_range

from mcp_server.errors import BadSample


def critical_distance(models: int, sets: int, *, level: float = 0.95) -> float:
    """The difference of mean ranks from which on two of the models differ; all pairs are allowed for.

    Args:
        models: >= 2.
        sets: data sets, >= 2.
        level: 1 minus the chance of any false finding.
    Raises:
        BadSample: fewer than two of either.
    Source:
        Nemenyi (1963), Distribution-free Multiple Comparisons; Demsar (2006), JMLR 7, table 5.

    >>> round(critical_distance(4, 14), 2)
    1.25
    """
    if models < 2 or sets < 2:
        raise BadSample("Ranks over data sets need two models on two data sets.", hint="Name more data sets.")
    return float(studentized_range.ppf(level, models, inf)) / sqrt(2.0) * sqrt(models * (models + 1) / (6.0 * sets))
