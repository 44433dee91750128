"""What the tools and workflows of one server share: settings, clock, and parts that load when first needed."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_server.context import Caller, Clock, SystemClock
from mcp_server.settings import MIB, Settings

if TYPE_CHECKING:
    from mcp_server.integrations.openlineage import Sink
    from mcp_server.jobs.compute import Compute
    from mcp_server.jobs.queue import JobQueue
    from mcp_server.serving.predictors import Predictors
    from mcp_server.storage import Storage

OPERATIONS = "mcp_server.workflows.operations"


class App:
    """One server's parts.

    Storage, the computing child and the predictors are made on first use: importing and opening them at start
    would delay the first answer of every conversation.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.started_at = clock.now()
        self._storage: Storage | None = None
        self._opening = asyncio.Lock()
        self._compute: Compute | None = None
        self._queue: JobQueue | None = None
        self._predictors: Predictors | None = None
        self._lineage: Sink | None = None
        self.refuse_call: Callable[[Caller, str, Mapping[str, Any]], None] = lambda *_: None
        """Raises what the guard would say of a call, before it's made; the guard puts it here."""

    @property
    def opened(self) -> Storage | None:
        """The storage where it is open already."""
        return self._storage

    async def storage(self) -> Storage:
        """The storage, opened and migrated on first use."""
        if self._storage is None:
            async with self._opening:
                if self._storage is None:
                    from mcp_server.storage import open_storage

                    self._storage = await open_storage(
                        database_url=self.settings.database, data_dir=self.settings.data_dir, clock=self.clock
                    )
        return self._storage

    async def compute(self) -> Compute:
        """The computing child of this server; of the data folder it may read the artefacts alone, never the keys."""
        await self.storage()
        if self._compute is None:
            from mcp_server.jobs.compute import Compute

            self._compute = Compute(
                OPERATIONS,
                memory_bytes=self.settings.child_memory_mib * MIB,
                cpu_seconds=self.settings.child_cpu_seconds,
                scratch=self.settings.data_dir / "scratch",
                readable=[self.settings.data_dir / "artefacts"],
            )
        return self._compute

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """A folder for one piece of work, gone when the block ends.

        It's named as the computing children's own are, so that what a killed server leaves is swept with theirs.
        """
        folder = self.settings.data_dir / "scratch" / f"child-{os.getpid()}-{uuid.uuid4().hex}"
        folder.mkdir(mode=0o700, parents=True)
        try:
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def queue(self) -> JobQueue:
        """The server's side of the job queue."""
        storage = await self.storage()
        if self._queue is None:
            from mcp_server.jobs.queue import JobQueue

            self._queue = JobQueue(storage, self.settings)
        return self._queue

    async def predictors(self) -> Predictors:
        """The compiled models that are in memory."""
        storage = await self.storage()
        if self._predictors is None:
            from mcp_server.serving.predictors import Predictors

            self._predictors = Predictors(storage, self.clock)
        return self._predictors

    def lineage(self) -> Sink | None:
        """Where OpenLineage events go; None where the settings name nothing."""
        if self._lineage is None:
            self._lineage = lineage_sink(self.settings)
        return self._lineage

    async def close(self) -> None:
        """End the child and close the storage; waits for predictions that are being written."""
        if self._lineage is not None:
            await self._lineage.close()
        if self._compute is not None:
            await self._compute.close()
        if self._storage is not None:
            await self._storage.close()
        self._compute = self._queue = self._predictors = self._storage = self._lineage = None


@asynccontextmanager
async def own_app(settings: Settings) -> AsyncIterator[App]:
    """The parts of a process that does one thing and ends, such as a command; closed at the end of the block."""
    app = App(settings, SystemClock())
    try:
        yield app
    finally:
        await app.close()


def lineage_sink(settings: Settings) -> Sink | None:
    """Where the settings have OpenLineage events go; None where nowhere."""
    if settings.openlineage_file is None and settings.openlineage_url is None:
        return None
    from mcp_server.integrations.openlineage import Sink
    from mcp_server.log import register_secret

    key = None if settings.openlineage_key is None else settings.openlineage_key.get_secret_value()
    if key:
        register_secret(key)
    return Sink(file=settings.openlineage_file, url=settings.openlineage_url, key=key)
