"""Letting go of what was kept long enough: what that is now, and who asks for it when; the work is `retention_job`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mcp_server.errors import CourtsideError, JobFailed
from mcp_server.settings import Settings
from mcp_server.workflows.app import own_app

if TYPE_CHECKING:
    from mcp_server.storage import Storage
    from mcp_server.storage.transaction import Transaction

KIND = "retention"
CALLER, LOCAL = "schedule", "local"
EVERY = timedelta(days=1)
FIRST_SECONDS, AGAIN_SECONDS = 30.0, 3_600.0

log = logging.getLogger("mcp_server.retention")


def days_kept(settings: Settings) -> dict[str, int]:
    """For each kind of record that is kept for a time only, the days."""
    days = {
        "predictions": settings.keep_predictions_days,
        "validations": settings.keep_validations_days,
        "runs": settings.keep_runs_days,
        "jobs": settings.keep_runs_days,
    }
    return {kind: kept for kind, kept in days.items() if kept}


async def counted(storage: Storage, settings: Settings) -> dict[str, int]:
    """What a job would remove if it ran now; nothing is changed.

    Returns:
        records by kind, `answers` of repeated calls, and `files` that nothing refers to with their `bytes`.
    """
    from mcp_server.storage import removal, retention

    async with storage.database.reading() as tx:
        found = {
            kind: await retention.count(tx, kind, datetime.fromisoformat(before))  # type: ignore[arg-type]
            for kind, before in _before(settings, tx.now).items()
        }
        found["answers"] = await retention.count_answers(tx)
        loose = await removal.loose(tx)
    return {**found, "files": len(loose), "bytes": sum(loose.values())}


async def counted_here(settings: Settings) -> dict[str, int]:
    """`counted` for a process that does nothing else."""
    async with own_app(settings) as app:
        return await counted(await app.storage(), settings)


async def run_here(settings: Settings) -> dict[str, int]:
    """Ask for a job and wait for its end.

    Returns:
        what was removed, by kind.
    Raises:
        JobFailed: it ended otherwise, or hasn't ended in the time that a job may take.
    """
    async with own_app(settings) as app:
        id = await request(await app.storage(), settings, caller=LOCAL)
        queue = await app.queue()
        await queue.ensure_worker()
        job = await queue.wait(id, settings.job_seconds)
    if job.state != "succeeded" or job.result is None:
        raise JobFailed(f"Job {id} is {job.state}.", hint="courtside call get_job says why.")
    removed: dict[str, int] = job.result["removed"]
    return removed


async def request(storage: Storage, settings: Settings, *, caller: str) -> str:
    """Put a job into the queue; one that waits or runs already is the same.

    Returns:
        its id.
    """
    async with storage.database.transaction() as tx:
        return await _waiting(tx) or await _enqueue(tx, settings, caller)


async def request_daily(storage: Storage, settings: Settings) -> str | None:
    """Put a job into the queue where something is kept for a time only and the last job is a day old.

    Returns:
        its id, or None where it isn't time.
    """
    if not days_kept(settings) or settings.read_only:
        return None
    async with storage.database.reading() as tx:
        if not await _due(tx):
            return None
    async with storage.database.transaction() as tx:
        # Looked up again under the lock: of several servers and workers, one asks.
        if not await _due(tx) or await _waiting(tx):
            return None
        return await _enqueue(tx, settings, CALLER)


async def keep_asking(
    ask: Callable[[], Awaitable[object]], *, first: float = FIRST_SECONDS, again: float = AGAIN_SECONDS
) -> None:
    """Ask for the daily job for as long as this process lives; a failure is logged, and the next hour tries again.

    Args:
        first, again: seconds before the first time and between two; whether it's time, `request_daily` decides.
    """
    await asyncio.sleep(first)
    while True:
        try:
            await ask()
        except CourtsideError as failed:
            log.warning("the daily retention job can't be asked for (%s)", failed.code)
        await asyncio.sleep(again)


def _before(settings: Settings, now: datetime) -> dict[str, str]:
    return {kind: (now - timedelta(days=days)).isoformat() for kind, days in days_kept(settings).items()}


async def _due(tx: Transaction) -> bool:
    from mcp_server.storage import jobs

    latest = (await jobs.list_page(tx, kind=KIND, limit=1)).items
    return not latest or tx.now - latest[0].created_at >= EVERY


async def _waiting(tx: Transaction) -> str | None:
    from mcp_server.storage import jobs

    found = (await jobs.list_page(tx, kind=KIND, states=["queued", "running"], limit=1)).items
    return found[0].id if found else None


async def _enqueue(tx: Transaction, settings: Settings, caller: str) -> str:
    from mcp_server.jobs.versions import RUNTIME_VERSION
    from mcp_server.storage import jobs
    from mcp_server.storage.ids import new_id

    arguments: dict[str, Any] = {"before": _before(settings, tx.now)}
    job = await jobs.enqueue(
        tx, id=new_id("j", tx.now), kind=KIND, arguments=arguments, caller=caller, runtime_version=RUNTIME_VERSION
    )
    return job.id
