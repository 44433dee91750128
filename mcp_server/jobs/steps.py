"""What a job's workflow function gets: durable steps, progress, and a folder that lasts as long as the job.

A workflow is a plain async function `(run, storage) -> dict`, listed by the name of its kind. It may be begun again at
any point, so everything that it does beyond reading happens in steps, and each step is harmless to repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from mcp_server.context import CallContext, Caller, Clock
from mcp_server.errors import Busy, Cancelled, DeadlineExceeded, Transient
from mcp_server.jobs.compute import Compute
from mcp_server.jobs.frames import BadFrame, encode
from mcp_server.jobs.outcome import Outcome, error_in, outcome_of
from mcp_server.retry import retry_with_backoff
from mcp_server.storage.records import Job

Act = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""A step that runs in the worker itself, such as one that writes to storage: it must only wait, never compute."""

GRACE_SECONDS = 10.0
"""What a job that was cancelled or is out of time has left to put its records in order."""


class Steps(Protocol):
    """What keeps completed steps."""

    async def step(self, name: str, body: Callable[[], Awaitable[Outcome]]) -> Outcome: ...


class JobRun:
    """One job while it runs.

    Args:
        job: as it was when this run of it began.
        compute: ended with the run; what it writes goes to `scratch`.
        scratch: the job's own folder; it lasts until the job has ended, also when the worker is replaced meanwhile.
        ends_at: on `clock.monotonic()`, when the job's time is over.
        draining: set when this worker is to hand over; the next step is then left to its successor.
    """

    def __init__(
        self,
        job: Job,
        *,
        steps: Steps,
        compute: Compute,
        scratch: Path,
        clock: Clock,
        ends_at: float,
        draining: asyncio.Event,
    ) -> None:
        self.id = job.id
        self.kind = job.kind
        self.arguments = job.arguments
        self.caller = job.caller
        self.scratch = scratch
        self.clock = clock
        self.cancelled = job.cancel_requested
        self.parked = False
        self.latest: tuple[float, str] = (job.progress, job.message)
        self._steps = steps
        self._compute = compute
        self._ends_at = ends_at
        self._draining = draining
        self._computing: asyncio.Future[dict[str, Any]] | None = None
        self._told = False

    @property
    def call(self) -> CallContext:
        """A context for `database.transaction`: its audit row names the job and whoever asked for it."""
        return CallContext(
            caller=Caller(self.caller, frozenset()), request_id=self.id, tool=f"job:{self.kind}", clock=self.clock
        )

    def progress(self, fraction: float, message: str) -> None:
        """Say how far the job is, 0 to 1; it's written down a few times a second."""
        self.latest = (min(1.0, max(0.0, fraction)), message)

    async def step(
        self,
        name: str,
        what: str | Act,
        arguments: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it ends the computing child
        fresh: bool = False,
        reads: Sequence[Path] | None = None,
        share: tuple[float, float] | None = None,
    ) -> dict[str, Any]:
        """Run a step, unless an earlier run of this job completed it: then give what it gave.

        Args:
            name: the same in each run, like the order of steps.
            what: an operation's name, run in the job's computing child, or an async function.
            arguments: finite JSON values.
            timeout: seconds; the job's remaining time bounds it in any case.
            fresh, reads: as in `Compute.run`.
            share: where the step's own progress lies within the job's, such as (0.2, 0.6).
        Returns:
            the step's result, through JSON.
        Raises:
            CourtsideError: the step's refusal, the same each time. Passing failures are retried before.
            Cancelled, DeadlineExceeded: the job is to end. Steps that act still run after that, for ten seconds, so
                that a workflow can leave its records in order; steps that compute don't.
        """
        if self._draining.is_set():
            await self._park()
        given = arguments or {}
        options = {"fresh": fresh, "reads": reads, "progress": self._within(share)}

        @retry_with_backoff(max_retries=4, base_delay=0.2, max_delay=5.0, exceptions=(Transient, Busy))
        async def attempt() -> dict[str, Any]:
            if isinstance(what, str):
                return await self._compute_step(what, given, timeout, options)
            return await self._act_step(what, given, timeout)

        async def body() -> Outcome:
            return await outcome_of(attempt(), what=f"job {self.id}, step {name}")

        outcome = await self._steps.step(name, body)
        error = error_in(outcome)
        if error is not None:
            self._told = self._told or isinstance(error, Cancelled | DeadlineExceeded)
            raise error
        result: dict[str, Any] = outcome["result"]
        if share is not None:
            self.progress(share[1], self.latest[1])
        return result

    def cancel(self) -> None:
        """End the computing that is under way; the workflow gets `Cancelled` from this step, or from the next."""
        self.cancelled = True
        if self._computing is not None:
            self._computing.cancel()

    async def _compute_step(
        self, operation: str, arguments: dict[str, Any], seconds: float | None, options: dict[str, Any]
    ) -> dict[str, Any]:
        if self.cancelled:
            raise cancelled()
        bound, error = self._bound(seconds, self._ends_at - self.clock.monotonic())
        self._computing = asyncio.ensure_future(self._compute.run(operation, arguments, timeout=bound, **options))
        try:
            return await self._computing
        except DeadlineExceeded:
            raise error from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the whole job is being ended, not its computing
            raise cancelled() from None
        finally:
            self._computing = None

    async def _act_step(self, act: Act, arguments: dict[str, Any], seconds: float | None) -> dict[str, Any]:
        left = self._ends_at - self.clock.monotonic()
        if self._told:
            left = max(left, GRACE_SECONDS)
        elif self.cancelled:
            raise cancelled()
        bound, error = self._bound(seconds, left)
        try:
            async with asyncio.timeout(bound):
                return _plain(await act(arguments))
        except TimeoutError:
            raise error from None

    def _bound(self, seconds: float | None, left: float) -> tuple[float, DeadlineExceeded]:
        """The seconds that a step may take, and the error for taking longer."""
        if left <= 0:
            raise out_of_time()
        if seconds is None or left < seconds:
            return left, out_of_time()
        return seconds, DeadlineExceeded(
            f"A step took longer than the {seconds:g} seconds that it may.", hint="Use fewer rows or columns."
        )

    def _within(self, share: tuple[float, float] | None) -> Callable[[float, str], Awaitable[None]] | None:
        if share is None:
            return None
        begin, end = share

        async def note(fraction: float, message: str) -> None:
            self.progress(begin + (end - begin) * fraction, message)

        return note

    async def _park(self) -> None:
        """Wait for the end of this worker: its successor goes on here."""
        self.parked = True
        await asyncio.Event().wait()


def cancelled() -> Cancelled:
    return Cancelled("The job was cancelled.", hint="Start it again when it is wanted.")


def out_of_time() -> DeadlineExceeded:
    return DeadlineExceeded(
        "The job took longer than a job may.", hint="Use fewer rows, or raise COURTSIDE_JOB_SECONDS."
    )


def _plain(result: dict[str, Any]) -> dict[str, Any]:
    """Refuse now what couldn't be kept: the next run would get something else than this one."""
    try:
        encode(result)
    except BadFrame as wrong:
        raise TypeError("a step's result isn't plain, finite JSON") from wrong
    return result
