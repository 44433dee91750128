"""Jobs: what was asked for, who runs it, how far it is and how it ended."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from mcp_server.errors import Conflict, NotFound
from mcp_server.storage.pages import page_of, rows_wanted, text_after
from mcp_server.storage.records import Job, JobState, Json, Page
from mcp_server.storage.tables import jobs

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction

MAX_MESSAGE = 500


async def enqueue(tx: Transaction, *, id: str, kind: str, arguments: Json, caller: str, runtime_version: str) -> Job:
    """Add a job to the queue, in the transaction of whatever asks for it; the same id again gives the job there.

    Args:
        id: from `ids.new_id("j", ...)`.
        runtime_version: of the program that may run it.
    """
    existing = await _find(tx, id)
    if existing is not None:
        return existing
    job = Job(
        id=id,
        kind=kind,
        arguments=arguments,
        caller=caller,
        state="queued",
        progress=0.0,
        message="",
        result=None,
        error=None,
        created_at=tx.now,
        started_at=None,
        ended_at=None,
        cancel_requested=False,
        runtime_version=runtime_version,
    )
    await tx.execute(insert(jobs).values({column.name: getattr(job, column.name) for column in jobs.c}))
    return job


async def claim_next(
    tx: Transaction, *, worker: str, runtime_version: str, kinds: Collection[str] | None = None
) -> Job | None:
    """Take the oldest waiting job for a worker.

    Args:
        worker: an id of the process.
        runtime_version: jobs of other versions are left alone.
        kinds: the kinds that this worker runs; all when None.
    Returns:
        the job, now running, or None where none waits.
    """
    query = select(jobs.c.id).where(jobs.c.state == "queued", jobs.c.runtime_version == runtime_version)
    if kinds is not None:
        query = query.where(jobs.c.kind.in_(kinds))
    found = (await tx.execute(query.order_by(jobs.c.id).limit(1))).scalar()
    return None if found is None else await start(tx, found, worker=worker)


async def start(tx: Transaction, id: str, *, worker: str) -> Job:
    """Say that a worker runs a job; again after a crash, the time of the first start stays.

    Raises:
        NotFound: there's no such job.
        Conflict: it has ended.
    """
    job = await get(tx, id)
    if job.ended:
        raise _has_ended(job)
    await _change(tx, id, state="running", worker=worker, heartbeat_at=tx.now, started_at=job.started_at or tx.now)
    return await get(tx, id)


async def heartbeat(tx: Transaction, *, worker: str) -> int:
    """Say that a worker lives.

    Returns:
        how many jobs it runs.
    """
    statement = update(jobs).where(jobs.c.state == "running", jobs.c.worker == worker).values(heartbeat_at=tx.now)
    return (await tx.execute(statement)).rowcount


async def requeue_silent(tx: Transaction, *, silent_since: datetime) -> list[Job]:
    """Put jobs back into the queue whose worker hasn't been heard of; one that was to be cancelled ends so.

    Args:
        silent_since: aware; a heartbeat before this counts as dead.
    Returns:
        the jobs that were changed.
    """
    query = select(jobs.c.id, jobs.c.cancel_requested).where(
        jobs.c.state == "running", jobs.c.heartbeat_at < silent_since
    )
    found = (await tx.execute(query)).all()
    for row in found:
        end = {"state": "cancelled", "ended_at": tx.now} if row.cancel_requested else {"state": "queued"}
        await _change(tx, row.id, worker=None, heartbeat_at=None, **end)
    return [await get(tx, row.id) for row in found]


async def set_progress(tx: Transaction, id: str, progress: float, message: str) -> bool:
    """Record how far a running job is; nothing happens to one that has ended.

    Args:
        progress: clipped to 0.0 ... 1.0.
        message: what it is doing; at most 500 characters are kept.
    Returns:
        whether it should stop, as a cancel was asked for.
    Raises:
        NotFound: there's no such job.
    """
    job = await get(tx, id)
    if job.state == "running":
        await _change(tx, id, progress=min(1.0, max(0.0, progress)), message=_plain(message), heartbeat_at=tx.now)
    return job.cancel_requested


async def finish(
    tx: Transaction, id: str, *, state: JobState, result: Json | None = None, error: Json | None = None
) -> Job:
    """Record how a job ended; the same end again changes nothing.

    Args:
        state: `succeeded`, `failed` or `cancelled`.
        error: `code`, `message`, `hint`, `details`.
    Raises:
        NotFound: there's no such job.
        Conflict: it has ended otherwise.
    """
    job = await get(tx, id)
    if job.ended:
        if job.state != state:
            raise _has_ended(job)
        return job
    progress = 1.0 if state == "succeeded" else job.progress
    await _change(tx, id, state=state, progress=progress, result=result, error=error, ended_at=tx.now)
    return await get(tx, id)


async def request_cancel(tx: Transaction, id: str) -> Job:
    """Ask for a job's end: a waiting one is cancelled at once, a running one is marked, an ended one stays.

    Raises:
        NotFound: there's no such job.
    """
    job = await get(tx, id)
    if job.state == "queued":
        await _change(tx, id, state="cancelled", cancel_requested=True, ended_at=tx.now)
    elif job.state == "running":
        await _change(tx, id, cancel_requested=True)
    else:
        return job
    return await get(tx, id)


async def get(tx: Transaction, id: str) -> Job:
    """A job.

    Raises:
        NotFound: there's no such job.
    """
    job = await _find(tx, id)
    if job is None:
        raise NotFound("There is no such job.", hint="get_job without an id shows the latest job.")
    return job


async def list_page(
    tx: Transaction,
    *,
    caller: str | None = None,
    kind: str | None = None,
    states: Collection[JobState] | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> Page[Job]:
    """Jobs, the latest first.

    Raises:
        InvalidInput: the cursor isn't one of ours, or the limit is out of bounds.
    """
    query = select(jobs)
    if caller is not None:
        query = query.where(jobs.c.caller == caller)
    if kind is not None:
        query = query.where(jobs.c.kind == kind)
    if states is not None:
        query = query.where(jobs.c.state.in_(states))
    before = text_after(cursor)
    if before is not None:
        query = query.where(jobs.c.id < before)
    rows = (await tx.execute(query.order_by(jobs.c.id.desc()).limit(rows_wanted(limit)))).mappings()
    return page_of([Job(**row) for row in rows], limit, lambda job: job.id)


async def count_by_state(tx: Transaction) -> dict[str, int]:
    """How many jobs are in each state that any is in."""
    rows = await tx.execute(select(jobs.c.state, func.count().label("number")).group_by(jobs.c.state))
    return {str(row.state): int(row.number) for row in rows}


async def _change(tx: Transaction, id: str, **values: Any) -> None:
    await tx.execute(update(jobs).where(jobs.c.id == id).values(**values))


async def _find(tx: Transaction, id: str) -> Job | None:
    row: Any = (await tx.execute(select(jobs).where(jobs.c.id == id))).mappings().first()
    return None if row is None else Job(**row)


def _plain(message: str) -> str:
    # PostgreSQL stores neither NUL nor half a surrogate pair.
    return message[:MAX_MESSAGE].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _has_ended(job: Job) -> Conflict:
    return Conflict(f"The job has ended already ({job.state}).", hint="Call get_job for how it ended.")
