"""Why a model answers as it does: contributions to one answer, what matters overall, what would change an answer."""

from mcp_server.core.explain.attribution import (
    TOLERANCE,
    Attribution,
    Explainer,
    background_size,
    calibration_effect,
    summary_size,
)
from mcp_server.core.explain.counterfactual import Change, Counterfactual, Search
from mcp_server.core.explain.movable import Movable, movable_columns
from mcp_server.core.explain.permutation import (
    Importance,
    given_inputs,
    permutation_importance,
    sources_of,
)
from mcp_server.core.explain.rows import schema_of, typed_frame, typed_row

__all__ = [
    "TOLERANCE",
    "Attribution",
    "Change",
    "Counterfactual",
    "Explainer",
    "Importance",
    "Movable",
    "Search",
    "background_size",
    "calibration_effect",
    "given_inputs",
    "movable_columns",
    "permutation_importance",
    "schema_of",
    "sources_of",
    "summary_size",
    "typed_frame",
    "typed_row",
]
