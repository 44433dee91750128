"""Data protection and tidying; this toolset is off unless the settings name it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_server.context import CallContext
from mcp_server.core.governance.standing import Approvable, Stage
from mcp_server.guard.spec import REMOVES, REPLACES
from mcp_server.tools.params import Column, ModelRef, NewName
from mcp_server.tools.toolset import Toolset
from mcp_server.workflows import deleting, erasing, governing
from mcp_server.workflows.admin_answers import Deleted, Erased, Reviewed
from mcp_server.workflows.app import App

toolset = Toolset("admin")

Confirm = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="the plan's digest, to carry it out")]
Item = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$", max_length=100, description="name@version, or id")
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
    kind: Literal["dataset", "model", "run", "report"],
    item: Item,
    cascade: bool = False,
    confirm: Confirm | None = None,
) -> Deleted:
    """Plan the deletion of a data set version, model version, run or report, with what depends on it; then delete it.

    Use to tidy up. Without confirm nothing changes; dependants block unless cascade. Next: repeat with the plan's
    digest.
    """
    return await deleting.delete(app, call, kind, item, cascade=cascade, confirm=confirm)


@toolset.tool(title="Review model", scope="admin", hints=REPLACES, seconds=120.0, keyed=True)
async def review_model(
    app: App,
    call: CallContext,
    model: ModelRef,
    owner: Annotated[str | None, Field(max_length=80, description="local or key:NAME")] = None,
    tags: Annotated[dict[str, str | None] | None, Field(max_length=20, description="null removes")] = None,
    stage: Stage | None = None,
    approve: Approvable | None = None,
    revoke: Approvable | None = None,
    note: Annotated[str | None, Field(max_length=500)] = None,
) -> Reviewed:
    """Set a version's owner, tags and stage; approve it for a stage, or take approvals back, with a note.

    A policy may guard staging and production; a refusal names each unmet rule. With the model alone, shows what holds.
    Next: search_models with stage:production.
    """
    request = governing.Review(
        model=model, owner=owner, tags=tags or {}, stage=stage, approve=approve, revoke=revoke, note=note
    )
    return await governing.review(app, call, request)
