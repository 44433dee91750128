"""Which rows are most worth labelling, and what labels gain."""

from mcp_server.core.labelling.choosing import Chosen, can_ask_models, choose, choose_spread, choose_with
from mcp_server.core.labelling.committee import Committee, ForecastKind, Forecasts
from mcp_server.core.labelling.gain import ExpectedGain, Tried, expected_gain, measured_gain, scores

__all__ = [
    "Chosen",
    "Committee",
    "ExpectedGain",
    "ForecastKind",
    "Forecasts",
    "Tried",
    "can_ask_models",
    "choose",
    "choose_spread",
    "choose_with",
    "expected_gain",
    "measured_gain",
    "scores",
]
