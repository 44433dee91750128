"""Several tests at once: p-values under which the chance of any false finding stays what a single test's is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcp_server.errors import BadSample


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: each is to be compared with the level of a single test.

    Args:
        p_values: each in [0, 1]; in any order.
    Returns:
        adjusted p-values in the same order, never smaller than what was given.
    Raises:
        BadSample: one is outside [0, 1].
    Source:
        Holm (1979), Scandinavian Journal of Statistics 6(2).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    given = np.asarray(p_values, dtype=np.float64)
    if not ((given >= 0.0) & (given <= 1.0)).all():
        raise BadSample("A p-value lies between 0 and 1.", hint="Give the tests' p-values.")
    order = np.argsort(given, kind="stable")
    raised = np.maximum.accumulate(given[order] * (len(given) - np.arange(len(given))))
    adjusted = np.empty(len(given))
    adjusted[order] = np.minimum(raised, 1.0)
    return [float(p) for p in adjusted]
