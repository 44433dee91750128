"""Several models on several data sets, by ranks: do they differ at all, and which of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, fdtrc
from scipy.stats import rankdata

from mcp_server.core.metrics.measure import FloatArray
from mcp_server.errors import BadSample


@dataclass(frozen=True, slots=True)
class Friedman:
    """Whether models rank alike over data sets.

    Args:
        ranks: mean rank of each model, 1 the best, shape (models,).
        statistic: chi squared with models - 1 degrees of freedom, corrected for ties.
        p: of that.
        f_statistic, f_p: Iman's and Davenport's F, which is less cautious; infinite and 0 where every data set ranks
            the models alike.
    """

    ranks: FloatArray
    statistic: float
    p: float
    f_statistic: float
    f_p: float


def friedman(losses: FloatArray) -> Friedman:
    """Test whether models rank alike over data sets.

    Args:
        losses: shape (sets, models), at least 2 by 2, finite: less is better.
    Raises:
        BadSample: another shape, or a figure that isn't finite.
    Source:
        Friedman (1937), JASA 32(200); Iman & Davenport (1980), Communications in Statistics A9(6); Demsar (2006),
        JMLR 7, for their use on classifiers.

    >>> found = friedman(np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0], [2.0, 1.0, 3.0]]))
    >>> [float(rank) for rank in found.ranks], round(found.statistic, 2)
    ([1.25, 2.0, 2.75], 4.5)
    """
    table = np.asarray(losses, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise BadSample("Ranks over data sets need two models on two data sets.", hint="Name more data sets.")
    sets, models = table.shape
    ranked = rankdata(table, axis=1)
    ranks: FloatArray = ranked.mean(axis=0)
    # The ranks' spread within the data sets; ties make it smaller.
    within = float(((ranked - (models + 1) / 2.0) ** 2).sum()) / (sets * (models - 1))
    if within <= 0.0:
        return Friedman(ranks, 0.0, 1.0, 0.0, 1.0)
    statistic = sets * float(((ranks - (models + 1) / 2.0) ** 2).sum()) / within
    left = sets * (models - 1) - statistic
    if left <= 1e-9 * sets:
        f_statistic, f_p = float("inf"), 0.0
    else:
        f_statistic = (sets - 1) * statistic / left
        f_p = float(fdtrc(models - 1, (models - 1) * (sets - 1), f_statistic))
    return Friedman(ranks, statistic, float(chdtrc(models - 1, statistic)), f_statistic, f_p)
