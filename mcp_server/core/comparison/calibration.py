"""Whether a calibration error is more than chance makes of forecasts that come true exactly as often as they say."""

from __future__ import annotations

import numpy as np

from mcp_server.core.metrics.measure import FloatArray
from mcp_server.core.metrics.reliability import CalibrationError

DRAWS = 400
_MOST_CELLS = 40_000_000


def calibration_by_chance(
    probability: FloatArray, *, rng: np.random.Generator, draws: int = DRAWS, level: float = 0.95
) -> float:
    """The calibration error that perfect forecasts like these stay below in `level` of all samples.

    Args:
        probability: shape (n,), in [0, 1].
        draws: samples of outcomes; fewer from 100,000 rows on.
    Returns:
        a quantile of the error in probability; an error above it is a sign of miscalibration.
    Source:
        Broecker & Smith (2007), Weather and Forecasting 22(3), for consistency resampling.
    """
    draws = min(draws, max(100, _MOST_CELLS // len(probability)))
    errors = [CalibrationError(rng.random(len(probability)) < probability, probability).value for _ in range(draws)]
    return float(np.quantile(errors, level))
