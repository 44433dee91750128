"""The worker's composition root: settings -> storage -> durable jobs, one process for each data folder.

The server starts it on the first job; `courtside worker` starts it by hand. It outlives the conversation, ends when it
has been idle, and hands over when a newer version of the program asks.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_server import __version__
from mcp_server import settings as configuration
from mcp_server.context import SystemClock
from mcp_server.errors import BadConfiguration, Cancelled, CourtsideError
from mcp_server.jobs.lock import FolderLock, Holder
from mcp_server.jobs.places import Places, bound
from mcp_server.jobs.versions import is_newer
from mcp_server.settings import MIB, Settings
from mcp_server.storage import sqlite_library

if TYPE_CHECKING:
    from mcp_server.integrations.openlineage import Sink
    from mcp_server.jobs.steps import JobRun
    from mcp_server.jobs.supervisor import Supervisor, Workflow
    from mcp_server.storage import Storage
    from mcp_server.workflows.mlflow_history import Mirror

WORKFLOWS = "mcp_server.workflows.registry:WORKFLOWS"
OPERATIONS = "mcp_server.workflows.operations"
MAKE_NOTHING = ("retention",)

LOCK_SECONDS = 2.0
POLL_SECONDS = 0.1
LOG_BYTES = 5 * MIB
NICE = 5
"""Jobs give way to what people wait for."""

log = logging.getLogger("mcp_server.worker")


def main(argv: Sequence[str] | None = None) -> int:
    """What the server starts: settings come from the environment that it gives."""
    parser = argparse.ArgumentParser(prog="python -m mcp_server.worker")
    parser.add_argument("--workflows", default=WORKFLOWS, help="module:NAME of a mapping from kind to function")
    parser.add_argument("--operations", default=OPERATIONS, help="the module that computing children import")
    parser.add_argument("--program-version", default=__version__, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    return run(
        configuration.load(),
        workflows=options.workflows,
        operations=options.operations,
        version=options.program_version,
    )


def run(
    settings: Settings, *, workflows: str = WORKFLOWS, operations: str = OPERATIONS, version: str = __version__
) -> int:
    """Run jobs until idle.

    Args:
        workflows: `module:NAME` of a mapping from a job's kind to `async (run, storage) -> dict`.
        operations: the module whose functions the jobs' computing children run.
        version: of this program, for the handover between versions.
    Returns:
        0, also when another worker has the data folder already.
    Raises:
        BadConfiguration: a setting or a module can't be used.
    """
    sqlite_library.install()
    from mcp_server import log as logs

    logs.configure(settings.log_level, debug=settings.debug)
    return asyncio.run(_work(settings, workflows, operations, version))


async def _work(settings: Settings, workflows: str, operations: str, version: str) -> int:
    places = Places(settings.data_dir)
    places.make()
    lock = await _take_folder(places, version)
    if lock is None:
        log.info("another worker has this data folder")
        return 0
    try:
        await _serve(settings, places, lock, _registered(workflows), operations, version)
    finally:
        lock.release()
    return 0


async def _serve(
    settings: Settings,
    places: Places,
    lock: FolderLock,
    workflows: Mapping[str, Workflow],
    operations: str,
    version: str,
) -> None:
    from mcp_server.jobs.compute import Compute
    from mcp_server.jobs.durable import Durable, system_database
    from mcp_server.jobs.supervisor import Supervisor
    from mcp_server.storage import idempotency, open_storage, sqlite_file
    from mcp_server.workflows import retention
    from mcp_server.workflows.app import lineage_sink
    from mcp_server.workflows.mlflow_history import Mirror

    clock = SystemClock()
    storage = await open_storage(database_url=settings.database, data_dir=settings.data_dir, clock=clock)
    async with storage.database.transaction() as tx:
        await idempotency.forget_expired(tx)

    async def ask() -> None:
        await retention.request_daily(storage, settings)

    await ask()
    url = system_database(settings.database, settings.data_dir)
    if url.startswith("sqlite"):
        await asyncio.to_thread(sqlite_file.prepare, places.steps)

    def make_compute(folder: Path) -> Compute:
        return Compute(
            operations,
            memory_bytes=settings.child_memory_mib * MIB,
            cpu_seconds=settings.child_cpu_seconds,
            scratch=folder,
            readable=[places.artefacts],
            nice=NICE,
        )

    sink = lineage_sink(settings)
    mirror = None if settings.mlflow_url is None else Mirror(storage, settings)
    if mirror is not None:
        workflows = _copied(workflows, mirror)
    supervisor = Supervisor(
        storage=storage,
        workflows=workflows if sink is None else _told_outside(workflows, sink),
        make_compute=make_compute,
        scratch=places.job_folders,
        clock=clock,
        worker=places.executor(),
        job_seconds=settings.job_seconds,
        idle_seconds=settings.worker_idle_seconds,
        handover=lambda: is_newer(places.asked_for(), version),
        woken=places.woken,
        leave=lock.release,
        enter=lock.acquire,
    )
    durable = Durable(url, executor=places.executor(), run_job=supervisor.run_job)
    _stop_on_signals(supervisor)
    beside = [asyncio.create_task(_bound_log()), asyncio.create_task(retention.keep_asking(ask))]
    log.info("worker %s has the data folder", version)
    try:
        await supervisor.run(durable)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await durable.close()
        if sink is not None:
            await sink.close()
        if mirror is not None:
            await mirror.close()
        await storage.close()
    log.info("worker %s ends", version)


def _told_outside(workflows: Mapping[str, Workflow], sink: Sink) -> Mapping[str, Workflow]:
    """The workflows; each that makes something also tells its OpenLineage events."""
    from mcp_server.integrations import openlineage

    def told(workflow: Workflow) -> Workflow:
        async def run_told(run: JobRun, storage: Storage) -> dict[str, Any]:
            subject = run.arguments.get("model") or run.id
            data = run.arguments.get("dataset")
            facts: dict[str, Any] = {
                "run": run.id,
                "job": f"{run.kind} {subject}",
                "inputs": [openlineage.dataset(data)] if data else [],
            }

            async def tell(kind: openlineage.EventType, outputs: list[dict[str, Any]]) -> None:
                event = openlineage.run_event(kind, at=run.clock.now(), outputs=outputs, **facts)
                await sink.tell([event])

            await tell("START", [])
            try:
                result = await workflow(run, storage)
            except CourtsideError as failed:
                await tell("ABORT" if isinstance(failed, Cancelled) else "FAIL", [])
                raise
            versions = [openlineage.dataset(one["model"], digest=one["digest"]) for one in result.get("versions", ())]
            await tell("COMPLETE", versions)
            return result

        return run_told

    return {kind: workflow if kind in MAKE_NOTHING else told(workflow) for kind, workflow in workflows.items()}


def _copied(workflows: Mapping[str, Workflow], mirror: Mirror) -> Mapping[str, Workflow]:
    """The workflows; the runs of each are copied to MLflow when it has ended, well or not."""

    def copied(workflow: Workflow) -> Workflow:
        async def run_copied(run: JobRun, storage: Storage) -> dict[str, Any]:
            try:
                return await workflow(run, storage)
            finally:
                mirror.tell(run.id)

        return run_copied

    return {kind: workflow if kind in MAKE_NOTHING else copied(workflow) for kind, workflow in workflows.items()}


async def _take_folder(places: Places, version: str) -> FolderLock | None:
    """The data folder's lock; None where no older worker has it, or a newer one waits for it already."""
    me = Holder(os.getpid(), version, SystemClock().now().isoformat())
    lock, turn = FolderLock(places.lock, me), FolderLock(places.turn, me)
    waited = 0.0
    try:
        while not lock.acquire():
            holder = lock.holder()
            if holder is not None and is_newer(version, holder.version) and holder.version:
                if not (turn.held or turn.acquire()):
                    return None
                places.ask(version)
            elif waited >= LOCK_SECONDS:
                return None
            # A server that only looks holds the lock for a moment: that isn't a worker.
            waited += POLL_SECONDS
            await asyncio.sleep(POLL_SECONDS)
    finally:
        turn.release()
    places.forget_request()
    return lock


def _registered(name: str) -> Mapping[str, Workflow]:
    module, colon, attribute = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as missing:
        raise BadConfiguration(f"There are no workflows at {name[:200]!r}.", hint="Write module:NAME.") from missing
    if not colon or not isinstance(found, Mapping):
        raise BadConfiguration(f"{name[:200]!r} isn't a mapping of workflows.", hint="Write module:NAME.")
    return found


def _stop_on_signals(supervisor: Supervisor) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(supervisor.stop))
        else:
            loop.add_signal_handler(number, supervisor.stop)


async def _bound_log() -> None:
    """Keep the file behind standard error bounded, where it is one."""
    while True:
        await asyncio.sleep(60.0)
        await asyncio.to_thread(bound, sys.stderr.fileno(), LOG_BYTES)


if __name__ == "__main__":
    sys.exit(main())
