"""The worker's loop: take jobs from the queue, run them, tell how far they are, end those that were cancelled."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from mcp_server.context import Clock
from mcp_server.errors import Cancelled, Conflict, CourtsideError, JobFailed, NotFound, Unsupported
from mcp_server.jobs.compute import Compute
from mcp_server.jobs.durable import Durable
from mcp_server.jobs.outcome import Outcome, error_outcome, outcome_of
from mcp_server.jobs.steps import GRACE_SECONDS, JobRun, cancelled, out_of_time
from mcp_server.jobs.versions import ACCEPTED
from mcp_server.storage import Storage, jobs
from mcp_server.storage.records import Job, JobState

log = logging.getLogger("mcp_server.jobs.worker")

T = TypeVar("T")

Workflow = Callable[[JobRun, Storage], Awaitable[dict[str, Any]]]

TICK_SECONDS = 0.1
LOOK_SECONDS = 2.0
HEARTBEAT_SECONDS = 5.0
SILENT_SECONDS = 30.0
SETTLE_SECONDS = 1.0
IDLE_SETTLE_SECONDS = 5.0
ENTER_ATTEMPTS = 5

_WAITING: tuple[JobState, ...] = ("queued",)
_RUNNING: tuple[JobState, ...] = ("running",)


@dataclass(slots=True)
class _Active:
    task: asyncio.Task[Any]
    run: JobRun
    written: tuple[float, str]
    deadline: float | None = None
    settled: bool = False


class Supervisor:
    """Runs up to `at_once` jobs.

    Args:
        workflows: kind -> function.
        make_compute: makes the computing children of one job, given its folder.
        scratch: holds one folder for each job that hasn't ended.
        worker: the executor's id, which a successor shares.
        job_seconds: the most that one run of a job may take.
        idle_seconds: without a job for so long, `run` returns.
        handover: whether another program asks for the data folder.
        woken: changes when there may be a new job; without that, the queue is looked at every two seconds.
        leave, enter: give the data folder back, and take it again if nobody else has meanwhile.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        workflows: Mapping[str, Workflow],
        make_compute: Callable[[Path], Compute],
        scratch: Path,
        clock: Clock,
        worker: str,
        job_seconds: float,
        idle_seconds: float,
        handover: Callable[[], bool],
        woken: Callable[[], int],
        leave: Callable[[], None],
        enter: Callable[[], bool],
        at_once: int = 2,
    ) -> None:
        self._storage = storage
        self._workflows = workflows
        self._make_compute = make_compute
        self._scratch = scratch
        self._clock = clock
        self._worker = worker
        self._job_seconds = job_seconds
        self._idle_seconds = idle_seconds
        self._handover = handover
        self._woken = woken
        self._leave = leave
        self._enter = enter
        self._at_once = at_once
        self._active: dict[str, _Active] = {}
        self._over: list[str] = []
        self._draining = asyncio.Event()
        self._stopping = False
        self._last_job = clock.monotonic()
        self._next_heartbeat = self._next_settling = self._next_look = clock.monotonic()
        self._last_wake = 0
        self._steps: Durable | None = None

    def stop(self) -> None:
        """End soon: what runs is left to the next worker, which goes on after the last completed step."""
        self._stopping = True

    async def run(self, durable: Durable) -> None:
        """Work until idle, told to stop, or asked to hand over."""
        self._steps = durable
        durable.launch()
        await self._clear_folders()
        while not self._is_over():
            try:
                await self._tick(durable)
                if self._is_idle() and await self._has_left():
                    break
            except CourtsideError as failed:
                log.warning("the queue can't be reached (%s): %s", failed.code, failed.message)
                await asyncio.sleep(failed.retry_after or 1.0)
            except Exception:
                log.exception("the worker's loop goes on after an unexpected error")
                await asyncio.sleep(1.0)
            await asyncio.sleep(TICK_SECONDS)
        for active in self._active.values():
            active.task.cancel()
        await asyncio.gather(*(active.task for active in self._active.values()), return_exceptions=True)

    async def run_job(self, job_id: str) -> None:
        """The durable body of a job; begun again after a crash."""
        assert self._steps is not None
        job = await self._persistently(lambda: self._read(job_id), f"job {job_id} can't be read yet")
        if job.ended:
            self._over.append(job_id)
            return
        folder = self._scratch / job_id
        compute = self._make_compute(folder)
        run = JobRun(
            job,
            steps=self._steps,
            compute=compute,
            scratch=folder,
            clock=self._clock,
            ends_at=self._clock.monotonic() + self._job_seconds,
            draining=self._draining,
        )
        task = asyncio.current_task()
        assert task is not None
        active = self._active[job_id] = _Active(task, run, run.latest)
        try:
            await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
            outcome = await self._outcome(run)
            active.settled = True
        except asyncio.CancelledError:
            if not run.cancelled:
                raise  # the worker ends; its successor goes on with the job
            task.uncancel()
            active.settled = True
            outcome = error_outcome(cancelled())
        finally:
            await compute.close()
            if not active.settled:
                del self._active[job_id]
        await self._record(job_id, outcome)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        del self._active[job_id]
        self._over.append(job_id)
        self._next_look = self._next_settling = self._clock.monotonic()

    async def _outcome(self, run: JobRun) -> Outcome:
        workflow = self._workflows.get(run.kind)
        if workflow is None:
            return error_outcome(
                Unsupported(f"No job of kind {run.kind[:40]!r} is known here.", hint="Update the worker.")
            )
        try:
            async with asyncio.timeout(self._job_seconds + 2 * GRACE_SECONDS) as bound:
                return await outcome_of(workflow(run, self._storage), what=f"job {run.id}")
        except TimeoutError:
            if not bound.expired():
                raise
            return error_outcome(out_of_time())

    async def _record(self, job_id: str, outcome: Outcome) -> None:
        """Write how a job ended, however long the database takes to be back."""
        error = outcome.get("error")
        state: JobState = "succeeded"
        if error is not None:
            state = "cancelled" if error["code"] == Cancelled.code else "failed"

        async def write() -> None:
            async with self._storage.database.transaction() as tx:
                await jobs.finish(tx, job_id, state=state, result=outcome.get("result"), error=error)

        try:
            await self._persistently(write, f"the end of job {job_id} can't be written yet")
        except Conflict:
            log.warning("job %s had ended otherwise already", job_id)

    async def _persistently(self, action: Callable[[], Awaitable[T]], complaint: str) -> T:
        pause = 0.2
        while True:
            try:
                return await action()
            except (Conflict, NotFound):
                raise
            except CourtsideError as failed:
                log.warning("%s (%s)", complaint, failed.code)
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 2)

    async def _read(self, job_id: str) -> Job:
        async with self._storage.database.reading() as tx:
            return await jobs.get(tx, job_id)

    async def _clear_folders(self) -> None:
        """Remove the folders of jobs that ended as a worker died."""
        for folder in await asyncio.to_thread(lambda: list(self._scratch.iterdir())):
            try:
                gone = (await self._read(folder.name)).ended
            except NotFound:
                gone = True
            if gone:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _is_over(self) -> bool:
        if self._active:
            self._last_job = self._clock.monotonic()
        if self._stopping:
            return True
        if self._draining.is_set():
            return all(active.run.parked for active in self._active.values())
        return False

    def _is_idle(self) -> bool:
        return not self._active and self._clock.monotonic() - self._last_job >= self._idle_seconds

    async def _has_left(self) -> bool:
        """Give the folder back, then look once more: a server that still saw a worker here started none."""
        self._leave()
        if not await self._waiting():
            return True
        for _ in range(ENTER_ATTEMPTS):
            if self._enter():
                return False
            await asyncio.sleep(TICK_SECONDS)
        return True

    async def _tick(self, durable: Durable) -> None:
        now = self._clock.monotonic()
        if not self._draining.is_set() and self._handover():
            log.info("another version takes over: no further step is begun")
            self._draining.set()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_SECONDS
            await self._heartbeat()
        await self._watch()
        if now >= self._next_settling:
            self._next_settling = now + (SETTLE_SECONDS if self._active or self._over else IDLE_SETTLE_SECONDS)
            await self._settle(durable)
        wake = self._woken()
        if (wake != self._last_wake or now >= self._next_look) and not self._draining.is_set():
            self._last_wake, self._next_look = wake, now + LOOK_SECONDS
            while await self._take(durable):
                self._last_job = self._clock.monotonic()

    async def _take(self, durable: Durable) -> bool:
        """Begin the next waiting job; False when there's none, or no place for it."""
        # Not the active ones: some of an earlier worker's may be about to be.
        if not await self._waiting() or len(await self._running()) >= self._at_once:
            return False
        for version in ACCEPTED:
            async with self._storage.database.transaction() as tx:
                job = await jobs.claim_next(tx, worker=self._worker, runtime_version=version)
            if job is not None:
                await durable.begin(job.id)
                return True
        return False

    async def _waiting(self) -> bool:
        async with self._storage.database.reading() as tx:
            return bool((await jobs.list_page(tx, states=_WAITING, limit=1)).items)

    async def _heartbeat(self) -> None:
        silent_since = self._clock.now() - timedelta(seconds=SILENT_SECONDS)
        async with self._storage.database.transaction() as tx:
            await jobs.heartbeat(tx, worker=self._worker)
            for job in await jobs.requeue_silent(tx, silent_since=silent_since):
                log.warning("job %s is taken over from a worker that fell silent", job.id)

    async def _watch(self) -> None:
        """Write progress, and end what was cancelled: its children at once."""
        for job_id, active in list(self._active.items()):
            if active.settled:
                continue
            if active.run.cancelled:
                # A workflow ends by itself at its next step; one that doesn't is ended.
                if active.deadline is not None and self._clock.monotonic() > active.deadline:
                    active.task.cancel()
                    active.deadline = None
                continue
            if (await self._read(job_id)).cancel_requested:
                active.run.cancel()
                active.deadline = self._clock.monotonic() + 2 * GRACE_SECONDS
            elif active.run.latest != active.written:
                fraction, message = active.written = active.run.latest
                async with self._storage.database.transaction() as tx:
                    await jobs.set_progress(tx, job_id, fraction, message)

    async def _settle(self, durable: Durable) -> None:
        """Begin jobs of ours that a crash left claimed only, and end those that can't go on."""
        for job_id in list(self._over):
            if await durable.state(job_id) == "ended":
                await durable.forget(job_id)
                self._over.remove(job_id)
        for job in await self._running():
            if job.id not in self._active:
                await self._settle_one(durable, job)

    async def _running(self) -> list[Job]:
        async with self._storage.database.reading() as tx:
            page = await jobs.list_page(tx, states=_RUNNING, limit=100)
        return [job for job in page.items if job.worker == self._worker]

    async def _settle_one(self, durable: Durable, job: Job) -> None:
        state = await durable.state(job.id)
        if state in ("absent", "other_version") and not self._draining.is_set():
            await durable.begin(job.id)
        elif state == "ended":
            failed = JobFailed(
                "The job could not be brought to an end: its worker died each time.",
                hint="Look into the worker's log, then start it again with less data.",
            )
            await self._record(job.id, error_outcome(failed))
