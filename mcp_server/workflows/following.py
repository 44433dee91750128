"""Following and ending jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.errors import CODES, NotFound
from mcp_server.workflows import retention
from mcp_server.workflows.app import App
from mcp_server.workflows.model_answers import JobReport
from mcp_server.workflows.reply import Apart

if TYPE_CHECKING:
    from mcp_server.storage.records import Job

CANCEL_SECONDS = 5.0
MOST_SEARCHED = 100


async def get(app: App, call: CallContext, job: str | None, wait: float) -> JobReport:
    """A job by id, or the newest of a model; waits up to `wait` seconds for its end."""
    found = await find(app, job)
    queue = await app.queue()
    if not found.ended:
        await queue.ensure_worker()
        if wait > 0:
            found = await queue.wait(found.id, wait, progress=call.report)
    return answer(found)


async def cancel(app: App, call: CallContext, job: str) -> JobReport:
    """Ask a job to end, and wait a little for it; of one that had ended it's said that nothing was cancelled."""
    from mcp_server.storage import jobs

    found = await find(app, job)
    if found.ended:
        told = answer(found)
        before = f"Nothing was cancelled: the job was {found.state} already."
        if found.state in ("succeeded", "failed"):
            before = f"Nothing was cancelled: the job had {found.state} already."
        return told.model_copy(update={"message": before, "next": f"{before} {told.next}"})
    storage = await app.storage()
    async with storage.database.transaction(call) as tx:
        await jobs.request_cancel(tx, found.id)
        tx.about(f"job:{found.id}")
    queue = await app.queue()
    return answer(await queue.wait(found.id, CANCEL_SECONDS))


async def find(app: App, job: str | None) -> Job:
    """By id, the newest job of the model of that name, or the newest that somebody asked for. Raises NotFound."""
    from mcp_server.storage import jobs

    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await jobs.list_page(tx, limit=MOST_SEARCHED)
        asked = [one for one in page.items if one.kind != retention.KIND]
        newest = next((one for one in asked if job in (None, one.id, one.arguments.get("model"))), None)
        if newest is not None:
            return newest
        if job is None:
            raise NotFound("There is no job yet.", hint="train_model starts one.")
        return await jobs.get(tx, job)


NAMES = ("features", "left_out")


def answer(job: Job) -> JobReport:
    """A job's state as a tool answers it; the columns that it names stand apart."""
    result = job.result if job.state == "succeeded" else None
    apart = Apart()
    return JobReport(
        job=job.id,
        state=job.state,
        progress=round(job.progress, 3),
        message=job.message,
        result={name: value for name, value in result.items() if name not in NAMES} if result else None,
        error=_error(job.error, apart) if job.state == "failed" and job.error else None,
        next=_next(job),
        untrusted=({name: result[name] for name in NAMES if name in result} if result else apart.names) or None,
    )


def _error(error: dict[str, Any], apart: Apart) -> dict[str, Any]:
    """A job's error with the names that it quotes set apart."""
    told = {"code": error.get("code"), "message": apart.text(str(error.get("message", "")))}
    if error.get("hint"):
        told["hint"] = apart.text(str(error["hint"]))
    if error.get("details"):
        told["details"] = apart.value(error["details"])
    return told


def _next(job: Job) -> str:
    if job.state == "succeeded" and job.result:
        return str(job.result.get("next", "search_models"))
    if job.kind == retention.KIND and job.ended:
        return "It is asked for again within a day; courtside retention does it now. See runbook://job-failed."
    if job.state == "failed":
        code = (job.error or {}).get("code")
        book = CODES[code].runbook if code in CODES else "job-failed"
        return f"Follow the hint, then call train_model again. See runbook://{book}."
    if job.state == "cancelled":
        return "No version was registered. Call train_model when it is wanted again."
    return f"get_job with job {job.id} and wait 30."
