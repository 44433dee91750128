"""Labels: which ones to ask a person for; this toolset is off unless the settings name it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcp_server.context import CallContext
from mcp_server.guard.spec import ADDS_ONCE
from mcp_server.tools.params import DatasetRef, Limit
from mcp_server.tools.toolset import Toolset
from mcp_server.workflows import labelling
from mcp_server.workflows.app import App
from mcp_server.workflows.label_answers import Suggested

toolset = Toolset("labels")


@toolset.tool(title="Suggest labels", scope="data", hints=ADDS_ONCE, seconds=300.0, keyed=True)
async def suggest_labels(
    app: App,
    call: CallContext,
    dataset: DatasetRef,
    pool: Annotated[DatasetRef | None, Field(description="data set of unlabelled rows")] = None,
    count: Limit = 20,
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0,
) -> Suggested:
    """Name the rows most worth labelling, with reasons, and what labelling them should gain.

    Use when labels are dear: rows without a target, here or in a `pool` of the same columns. Earlier suggestions show
    what their labels gained. Next: label the rows, then import_data.
    """
    return await labelling.suggest(app, call, dataset, pool, count=count, seed=seed)
