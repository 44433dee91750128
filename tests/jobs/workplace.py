"""A data folder with real workers on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from jobs.waiting import text_of, until
from mcp_server.context import SystemClock
from mcp_server.jobs.environment import for_worker
from mcp_server.jobs.places import Places
from mcp_server.jobs.queue import JobQueue
from mcp_server.jobs.versions import RUNTIME_VERSION
from mcp_server.settings import Settings
from mcp_server.storage import Storage, jobs, open_storage
from mcp_server.storage.ids import new_id
from mcp_server.storage.records import Job

SAMPLES = ("--workflows", "sample_workflows:WORKFLOWS", "--operations", "sample_operations")


PROGRAM = ("-m", "mcp_server.worker")


class Workplace:
    """Storage as the server has it, and worker processes beside it."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self.settings = settings
        self.storage = storage
        self.places = Places(settings.data_dir)
        self.workers: list[asyncio.subprocess.Process] = []

    async def start_worker(self, *arguments: str, program: Sequence[str] = PROGRAM) -> asyncio.subprocess.Process:
        """Start a worker; `program` is what Python is given to run."""
        self.places.make()
        with self.places.log.open("ab") as log:
            worker = await asyncio.create_subprocess_exec(
                sys.executable, *program, *SAMPLES, *arguments,
                env=for_worker(os.environ, self.settings), stdout=log, stderr=log,
            )  # fmt: skip
        self.workers.append(worker)
        return worker

    def queue(self, **changes: Any) -> JobQueue:
        return JobQueue(self.storage, self.settings, worker_arguments=SAMPLES, **changes)

    async def enqueue(self, kind: str, **arguments: Any) -> str:
        job_id = new_id("j", SystemClock().now())
        async with self.storage.database.transaction() as tx:
            await jobs.enqueue(
                tx, id=job_id, kind=kind, arguments=arguments, caller="local", runtime_version=RUNTIME_VERSION
            )
        self.places.wake()
        return job_id

    async def operate(self, operation: str, **arguments: Any) -> str:
        return await self.enqueue("one_operation", operation=operation, arguments=arguments)

    async def job(self, job_id: str) -> Job:
        async with self.storage.database.reading() as tx:
            return await jobs.get(tx, job_id)

    async def ended(self, job_id: str, *, within: float = 40.0) -> Job:
        async def end() -> Job | None:
            return job if (job := await self.job(job_id)).ended else None

        try:
            found: Job = await until(end, within=within)
            return found
        except TimeoutError:
            raise AssertionError(f"{await self.job(job_id)}\n{self.log()[-4000:]}") from None

    async def cancel(self, job_id: str) -> None:
        async with self.storage.database.transaction() as tx:
            await jobs.request_cancel(tx, job_id)

    def folder(self, job_id: str) -> Path:
        return self.places.job_folders / job_id

    def marks(self, job_id: str) -> list[tuple[str, int]]:
        """(step, process) of each time that a step began."""
        lines = text_of(self.folder(job_id) / "marks").splitlines()
        return [(line.split()[0], int(line.split()[1])) for line in lines if len(line.split()) == 2]

    def log(self) -> str:
        return text_of(self.places.log)

    async def close(self) -> None:
        for worker in self.workers:
            if worker.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    worker.send_signal(signal.SIGKILL)
                await worker.wait()
        holder = await self.queue().worker()
        if holder is not None and holder.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGKILL)
        await self.storage.close()


@contextlib.asynccontextmanager
async def workplace(data_dir: Path, **changes: Any) -> AsyncIterator[Workplace]:
    """Open a data folder; whatever runs on it is killed at the end."""
    settings = Settings(data_dir=data_dir, **{"worker_idle_seconds": 60.0, **changes})
    storage = await open_storage(database_url=settings.database, data_dir=data_dir, clock=SystemClock())
    place = Workplace(settings, storage)
    try:
        yield place
    finally:
        await place.close()
