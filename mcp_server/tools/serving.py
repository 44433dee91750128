"""Serving: predictions that say whether to trust them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcp_server.context import CallContext
from mcp_server.guard.spec import ADDS
from mcp_server.tools.params import Cell, DatasetRef, Limit, ModelRef
from mcp_server.tools.toolset import Toolset
from mcp_server.workflows import predicting
from mcp_server.workflows.app import App
from mcp_server.workflows.model_answers import Predicted

toolset = Toolset("serving")


@toolset.tool(title="Predict", scope="predict", hints=ADDS, keyed=True)
async def predict(
    app: App,
    call: CallContext,
    model: Annotated[ModelRef, Field(description="name@version")],
    rows: Annotated[list[dict[str, Cell]] | None, Field(min_length=1, max_length=100_000)] = None,
    dataset: DatasetRef | None = None,
    show: Limit = 20,
) -> Predicted:
    """Answer rows with value, calibrated probability or interval, and what is odd about each row.

    Give `rows` as objects of column to value, or a `dataset`. Unverified models are refused. Check the flags before
    you rely on a value.
    """
    return await predicting.predict(app, call, model, rows, dataset, show)
