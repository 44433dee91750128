"""DBOS, behind the few things that jobs need: begin once, keep each completed step, go on after a crash.

Only the worker imports this. Nothing leaves the process: no conductor, no telemetry, and JSON instead of pickle.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from sqlalchemy.engine import URL, make_url

from mcp_server.jobs.outcome import Outcome
from mcp_server.jobs.versions import RUNTIME_VERSION

SCHEMA = "courtside_jobs"
RECOVERIES = 20
"""How often a job may be begun again after its worker died; then it's taken for what kills the workers."""

State = Literal["absent", "going", "ended", "other_version"]

_ENDED = {"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}


def system_database(database_url: str, data_dir: Path) -> str:
    """Where the completed steps are kept: a file in the data folder, or a schema of the team's PostgreSQL.

    Args:
        database_url: as the settings have it, without a driver.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        return URL.create("sqlite", database=str(data_dir / "jobs.db")).render_as_string(hide_password=False)
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


class Durable:
    """Jobs that outlive their process. There can be one in a process.

    Args:
        url: from `system_database`; an SQLite file must be in WAL mode already.
        executor: the same for each worker that takes over from this one.
        run_job: what a job is; called with its id, again after a crash, in the loop that called `launch`.
    """

    def __init__(self, url: str, *, executor: str, run_job: Callable[[str], Awaitable[None]]) -> None:
        config: DBOSConfig = {
            "name": "courtside",
            "system_database_url": url,
            "dbos_system_schema": SCHEMA,
            "application_version": RUNTIME_VERSION,
            "executor_id": executor,
            "serializer": DBOSPortableJSONSerializer(),
            "enable_otlp": False,
            "log_level": "ERROR",
        }
        DBOS(config=config)
        own = logging.getLogger("dbos")
        own.handlers.clear()
        own.propagate = True

        @DBOS.workflow(name="courtside.job", max_recovery_attempts=RECOVERIES)
        async def job(job_id: str) -> None:
            await run_job(job_id)

        self._job = job

    def launch(self) -> None:
        """Open the database, migrate it, and go on with every job of this executor that had begun.

        Call it in the loop that jobs are to run in; it blocks for some tenths of a second.
        """
        DBOS.launch()

    async def begin(self, job_id: str) -> None:
        """Begin a job, or go on with one that another worker began; harmless to repeat."""
        state = await self.state(job_id)
        if state == "going":
            await DBOS.resume_workflow_async(job_id)
            return
        if state == "other_version":
            await DBOS.delete_workflow_async(job_id)
        with SetWorkflowID(job_id):
            await DBOS.start_workflow_async(self._job, job_id)

    async def state(self, job_id: str) -> State:
        """What is known of a job here."""
        status = await DBOS.get_workflow_status_async(job_id)
        if status is None:
            return "absent"
        if status.status in _ENDED:
            return "ended"
        return "going" if status.app_version == RUNTIME_VERSION else "other_version"

    async def step(self, name: str, body: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Run a step of the job that calls this, or give what it gave when it was completed before.

        A step that was under way when the process died runs again: it must be harmless to repeat.
        """

        async def recorded() -> Outcome:
            return await body()

        return await DBOS.run_step_async({"name": name}, recorded)

    async def forget(self, job_id: str) -> None:
        """Remove what is kept of a job; its record in the queue stays."""
        await DBOS.delete_workflow_async(job_id)

    async def close(self) -> None:
        """Stop; jobs that haven't ended stay as they are."""
        await asyncio.to_thread(DBOS.destroy)
