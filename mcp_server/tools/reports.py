"""Reports: several answers in one document that stays."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcp_server.context import CallContext
from mcp_server.errors import InvalidInput
from mcp_server.guard.spec import ADDS
from mcp_server.tools.toolset import Toolset
from mcp_server.workflows import reporting
from mcp_server.workflows.app import App
from mcp_server.workflows.report_answers import Reported
from mcp_server.workflows.reporting import Form

toolset = Toolset("reports")


@toolset.tool(title="Create report", scope="train", hints=ADDS, seconds=300.0, keyed=True)
async def create_report(
    app: App,
    call: CallContext,
    title: Annotated[str | None, Field(max_length=120)] = None,
    sections: Annotated[
        list[Annotated[str, Field(max_length=2_100)]] | None, Field(min_length=1, max_length=12)
    ] = None,
    export: Annotated[list[Form] | None, Field(max_length=4)] = None,
    report: Annotated[str | None, Field(max_length=64, description="id of one made before, to export")] = None,
) -> Reported:
    """Put what several tools say into one document that stays at report://ID, and into files.

    Sections: data, validation, model, explanation, fairness, lineage (each as model:NAME@V), comparison:A,B,
    history:MODEL, health, note:TEXT. Next: read report://ID.
    """
    if report is not None:
        if title is not None or sections is not None or not export:
            raise InvalidInput("A report that was made stays as it is.", hint="Give report and export alone.")
        return await reporting.export(app, call, report, export)
    if title is None or sections is None:
        raise InvalidInput(
            "A report needs title and sections.",
            hint='Such as sections ["model:games@2", "comparison:games@1,games@2"].',
        )
    return await reporting.create(app, call, title, sections, export or [])
