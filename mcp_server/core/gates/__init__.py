"""Stated limits for models and data, and whether what was found keeps them."""

from mcp_server.core.gates.document import Bound, DataGates, Gates, ModelGates, read_gates
from mcp_server.core.gates.judge import DataFacts, ModelFacts, Outcome, judge_data, judge_model
from mcp_server.core.gates.report import junit, markdown

__all__ = [
    "Bound",
    "DataFacts",
    "DataGates",
    "Gates",
    "ModelFacts",
    "ModelGates",
    "Outcome",
    "judge_data",
    "judge_model",
    "junit",
    "markdown",
    "read_gates",
]
