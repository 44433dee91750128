"""The serving form of a model and its evaluation: row by row in plain Python, by table in `batch`."""

from mcp_server.core.predictor.flags import Flag, FlagKind
from mcp_server.core.predictor.form import FORMAT, Form, read_form
from mcp_server.core.predictor.row import Answer, Predictor, compile_form

__all__ = ["FORMAT", "Answer", "Flag", "FlagKind", "Form", "Predictor", "compile_form", "read_form"]
