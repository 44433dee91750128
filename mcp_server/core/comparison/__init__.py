"""Two models on the same rows: paired differences with intervals, and a verdict that never says "equal"."""

from mcp_server.core.comparison.paired import (
    Comparison,
    Difference,
    Verdict,
    compare_predictions,
    short_number,
)

__all__ = ["Comparison", "Difference", "Verdict", "compare_predictions", "short_number"]
