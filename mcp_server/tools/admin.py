"""Data protection and tidying; this toolset is off unless the settings name it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_server.context import CallContext
from mcp_server.guard.spec import REMOVES
from mcp_server.tools.params import Column, NewName
from mcp_server.tools.toolset import Toolset
from mcp_server.workflows import deleting, erasing
from mcp_server.workflows.admin_answers import Deleted, Erased
from mcp_server.workflows.app import App

toolset = Toolset("admin")

Confirm = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="the plan's digest, to carry it out")]
Item = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$", max_length=100, description="name@version or run id")
]


@toolset.tool(title="Erase subject", scope="admin", hints=REMOVES, seconds=600.0)
async def erase_subject(
    app: App,
    call: CallContext,
    column: Column,
    value: Annotated[str, Field(min_length=1, max_length=256)],
    dataset: NewName | None = None,
    export: Annotated[
        Literal["json", "csv"] | None, Field(description="write their data to a file, with a plan")
    ] = None,
    confirm: Confirm | None = None,
) -> Erased:
    """Plan what is stored of a person, then erase it: rows, predictions, stored answers, models that hold them.

    Use on a person's request. Without confirm nothing changes; models trained on the rows are listed. Next: repeat
    with the plan's digest, then train_model again.
    """
    return await erasing.erase(app, call, erasing.Subject(column, value, dataset), confirm=confirm, export=export)


@toolset.tool(title="Delete item", scope="admin", hints=REMOVES, seconds=120.0)
async def delete_item(
    app: App,
    call: CallContext,
    kind: Literal["dataset", "model", "run"],
    item: Item,
    cascade: bool = False,
    confirm: Confirm | None = None,
) -> Deleted:
    """Plan the deletion of a data set version, model version or run, with what depends on it; then delete it.

    Use to tidy up. Without confirm nothing changes; dependants block unless cascade. Next: repeat with the plan's
    digest.
    """
    return await deleting.delete(app, call, kind, item, cascade=cascade, confirm=confirm)
