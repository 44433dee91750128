"""Stated limits for models and data, and whether what was found keeps them."""

from mcp_server.core.gates.document import (
    Bound,
    DataGates,
    FairnessGates,
    Gates,
    ModelGates,
    VersionGates,
    read_gates,
)
from mcp_server.core.gates.fairness import GroupFacts, GroupRuling, judge_groups
from mcp_server.core.gates.judge import DataFacts, ModelFacts, judge_data, judge_model
from mcp_server.core.gates.order_statistics import Quantile, quantile
from mcp_server.core.gates.outcome import Outcome, State
from mcp_server.core.gates.report import junit, markdown

__all__ = [
    "Bound",
    "DataFacts",
    "DataGates",
    "FairnessGates",
    "Gates",
    "GroupFacts",
    "GroupRuling",
    "ModelFacts",
    "ModelGates",
    "Outcome",
    "Quantile",
    "State",
    "VersionGates",
    "judge_data",
    "judge_groups",
    "judge_model",
    "junit",
    "markdown",
    "quantile",
    "read_gates",
]
