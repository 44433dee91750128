"""The server's side of jobs: see that a worker is there, and wait for a job's end."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence

from mcp_server import __version__
from mcp_server.jobs.environment import for_worker
from mcp_server.jobs.lock import FolderLock, Holder
from mcp_server.jobs.places import Places
from mcp_server.jobs.versions import is_newer
from mcp_server.settings import Settings, environment
from mcp_server.storage import Storage, jobs
from mcp_server.storage.records import Job

log = logging.getLogger("mcp_server.jobs.queue")

POLL_SECONDS = 0.05
LOOK_SECONDS = 1.0
AGAIN_SECONDS = 5.0


class JobQueue:
    """Jobs, as the server sees them: rows that a worker process works off.

    Args:
        settings: the worker gets the same, save what only a server reads.
        worker_arguments: added to the worker's command line.
        version: of this program; a worker of an older one is asked to hand over.
    """

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        *,
        worker_arguments: Sequence[str] = (),
        version: str = __version__,
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._arguments = tuple(worker_arguments)
        self._version = version
        self._clock = storage.database.clock
        self._places = Places(settings.data_dir)
        self._lock = FolderLock(self._places.lock)
        self._started: subprocess.Popen[bytes] | None = None
        self._not_before = self._clock.monotonic()
        self._starting = asyncio.Lock()

    async def worker(self) -> Holder | None:
        """The worker that has the data folder, or None where none has."""
        return await asyncio.to_thread(self._lock.holder)

    async def ensure_worker(self) -> bool:
        """Start the worker unless one of this version or a newer one lives. Call it after a job was committed.

        Returns:
            whether one is there or on its way; when False, the log says why, and the job waits.
        """
        async with self._starting:
            holder = await self.worker()
            if holder is not None and not (holder.version and is_newer(self._version, holder.version)):
                await asyncio.to_thread(self._places.wake)
                return True
            if self._started is not None and self._started.poll() is None:
                return True
            if self._clock.monotonic() < self._not_before:
                return False
            self._not_before = self._clock.monotonic() + AGAIN_SECONDS
            return await asyncio.to_thread(self._start)

    async def wait(
        self, job_id: str, seconds: float, *, progress: Callable[[float, str], Awaitable[None]] | None = None
    ) -> Job:
        """Wait for a job's end; a worker that died meanwhile is replaced.

        Args:
            seconds: how long at most; 0 only looks.
            progress: awaited with (fraction, message) whenever they changed.
        Returns:
            the job as it is then, ended or not.
        Raises:
            NotFound: there is no such job.
        """
        end = self._clock.monotonic() + seconds
        next_look = self._clock.monotonic()
        told: tuple[float, str] | None = None
        while True:
            async with self._storage.database.reading() as tx:
                job = await jobs.get(tx, job_id)
            now = self._clock.monotonic()
            if progress is not None and told != (job.progress, job.message):
                told = (job.progress, job.message)
                await progress(*told)
            if job.ended or now >= end:
                return job
            if now >= next_look:
                next_look = now + LOOK_SECONDS
                await self.ensure_worker()
            await asyncio.sleep(min(POLL_SECONDS, max(0.0, end - now)))

    def _start(self) -> bool:
        """Start a worker that outlives this process; what it says goes to its log file."""
        self._places.make()
        command = [sys.executable, "-P", "-m", "mcp_server.worker", *self._arguments]
        detached = 0
        if sys.platform == "win32":
            detached = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        log_file = os.open(self._places.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                cwd=self._settings.data_dir,
                env=for_worker(environment(), self._settings),
                start_new_session=True,
                creationflags=detached,
            )
        except OSError:
            log.exception("the worker could not be started")
            return False
        finally:
            os.close(log_file)
        return True
