"""Jobs: follow or end long work."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcp_server.context import CallContext
from mcp_server.guard.spec import READ_ONLY, Hints
from mcp_server.tools.toolset import Toolset
from mcp_server.workflows import following
from mcp_server.workflows.app import App
from mcp_server.workflows.model_answers import JobReport

toolset = Toolset("jobs")

JobRef = Annotated[str, Field(max_length=128, description="id or model name")]


@toolset.tool(title="Get job", scope="read", hints=READ_ONLY, seconds=90.0)
async def get_job(
    app: App,
    call: CallContext,
    job: JobRef | None = None,
    wait: Annotated[float, Field(ge=0, le=50, description="seconds")] = 0.0,
) -> JobReport:
    """Show a job's state, progress, result or error; by default the newest. `wait` holds the answer till it ends.

    Next: compare_models; after a failure, its hint.
    """
    return await following.get(app, call, job, wait)


@toolset.tool(
    title="Cancel job",
    scope="train",
    hints=Hints(read_only=False, destructive=True, idempotent=True, open_world=False),
)
async def cancel_job(app: App, call: CallContext, job: JobRef) -> JobReport:
    """End a queued or running job within seconds; a finished one stays.

    Nothing half-done is kept. Next: get_job to see that it ended.
    """
    return await following.cancel(app, call, job)
