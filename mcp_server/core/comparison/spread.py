"""Standard errors, half widths of intervals and p-values of a value, from what each row adds to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from mcp_server.core.metrics.measure import FloatArray

LEVEL = 0.95


def t_half_width(influence: FloatArray, level: float = LEVEL) -> float:
    """Half the width of a value's t interval, from the influence of each row on it."""
    return float(stdtrit(len(influence) - 1, 0.5 + level / 2.0)) * standard_error(influence)


def p_of_t(value: float, influence: FloatArray) -> float:
    """Student's two-sided p of no difference; 1 where nothing differs, 0 where every row differs alike."""
    return two_sided(value, standard_error(influence), lambda z: float(stdtr(len(influence) - 1, z)))


def p_of_normal(value: float, error: float) -> float:
    """As `p_of_t`, of a value with a standard error from many rows."""
    return two_sided(value, error, lambda z: float(ndtr(z)))


def two_sided(value: float, error: float, below: Callable[[float], float]) -> float:
    """The p of no difference under a distribution of the value over its error; where that is 0, 1 or 0."""
    if error <= 1e-12 * max(1.0, abs(value)):
        return 1.0 if abs(value) <= 1e-12 else 0.0
    return 2.0 * below(-abs(value) / error)


def standard_error(influence: FloatArray) -> float:
    """The standard error of a value, from the influence of each row on it, shape (n,), n >= 2."""
    return float(np.sqrt((influence**2).mean() / (len(influence) - 1)))
