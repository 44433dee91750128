"""Two to eight models on the same rows: paired differences with intervals, and a verdict that never says "equal"."""

from mcp_server.core.comparison.many import MOST_MODELS, Field, Pair, compare_all
from mcp_server.core.comparison.paired import (
    Comparison,
    Difference,
    Verdict,
    compare_predictions,
    short_number,
)

__all__ = [
    "MOST_MODELS",
    "Comparison",
    "Difference",
    "Field",
    "Pair",
    "Verdict",
    "compare_all",
    "compare_predictions",
    "short_number",
]
