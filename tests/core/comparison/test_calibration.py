from __future__ import annotations

import numpy as np

from mcp_server.core.comparison.calibration import calibration_by_chance
from mcp_server.core.metrics.reliability import CalibrationError


def test_forecasts_that_come_true_stay_below_it_in_nineteen_of_twenty_samples() -> None:
    rng = np.random.default_rng(0)
    shares = rng.beta(2, 3, 800)
    limit = calibration_by_chance(shares, rng=rng)
    above = sum(CalibrationError(rng.random(800) < shares, shares).value > limit for _ in range(400))
    assert 6 <= above <= 36  # of 5 % fewer or more come once in 200 trials


def test_forecasts_that_are_too_bold_go_beyond_it() -> None:
    rng = np.random.default_rng(1)
    shares = rng.beta(2, 2, 2_000)
    happened = rng.random(2_000) < 0.5 + (shares - 0.5) * 0.5
    assert CalibrationError(happened, shares).value > calibration_by_chance(shares, rng=rng)
