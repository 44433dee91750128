"""Jobs: follow or end long work, or have it done at certain times."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mcp_server.context import CallContext
from mcp_server.errors import InvalidInput
from mcp_server.guard.spec import READ_ONLY, REPLACES, Hints
from mcp_server.tools.params import NewName
from mcp_server.tools.toolset import Toolset
from mcp_server.workflows import following, scheduling
from mcp_server.workflows.app import App
from mcp_server.workflows.model_answers import JobReport
from mcp_server.workflows.schedule_answers import Schedules
from mcp_server.workflows.scheduling import Schedulable, ScheduleRequest

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


@toolset.tool(title="Schedule job", scope="train", hints=REPLACES)
async def schedule_job(
    app: App,
    call: CallContext,
    name: NewName | None = None,
    cron: Annotated[str | None, Field(max_length=100, description="5 fields")] = None,
    timezone: Annotated[str, Field(max_length=64)] = "UTC",
    tool: Schedulable | None = None,
    arguments: dict[str, Any] | None = None,
    remove: bool = False,
) -> Schedules:
    """Run a tool at certain times, such as train_model every Monday on the newest version; replace or remove that.

    Without name, lists schedules with their latest ends. Next: get_job.
    """
    if name is None:
        if any((cron, tool, arguments, remove)):
            raise InvalidInput("A schedule needs a name.", hint="Give name; without any argument, all are listed.")
        return await scheduling.listed(app, call)
    if remove:
        return await scheduling.remove(app, call, name)
    if cron is None or tool is None:
        raise InvalidInput(
            "A schedule needs cron and tool.", hint='Such as cron "0 6 * * 1", tool train_model and its arguments.'
        )
    request = ScheduleRequest(name=name, cron=cron, timezone=timezone, tool=tool, arguments=arguments or {})
    return await scheduling.keep(app, call, request)
