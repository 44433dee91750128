"""Metrics with intervals: each can be asked for the sample and for its resamples."""

from mcp_server.core.metrics.forecasts import PRIMARY, Task, class_probabilities, log_losses, measures, probability
from mcp_server.core.metrics.measure import MeanLoss, Measure
from mcp_server.core.metrics.reliability import (
    ReliabilityBin,
    binomial_band,
    calibration_by_chance,
    reliability_table,
    wilson_interval,
)
from mcp_server.core.metrics.resampling import Estimate, draw, estimate, interval

__all__ = [
    "PRIMARY",
    "Estimate",
    "MeanLoss",
    "Measure",
    "ReliabilityBin",
    "Task",
    "binomial_band",
    "calibration_by_chance",
    "class_probabilities",
    "draw",
    "estimate",
    "interval",
    "log_losses",
    "measures",
    "probability",
    "reliability_table",
    "wilson_interval",
]
