"""Many tests at once, of which some share may be wrong: p-values under which that share stays small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import false_discovery_control


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini's and Hochberg's adjustment: of those below a level, at most that share is false on average.

    Args:
        p_values: each in [0, 1].
    Returns:
        adjusted p-values in the same order, never smaller than what was given.
    Source:
        Benjamini & Hochberg (1995), JRSS B 57(1).

    >>> [round(p, 3) for p in benjamini_hochberg([0.01, 0.04, 0.03, 0.005])]
    [0.02, 0.04, 0.04, 0.02]
    """
    if not len(p_values):
        return []
    return [float(p) for p in false_discovery_control(np.asarray(p_values, dtype=np.float64), method="bh")]
