"""Computing outside the server process: one warm child, and a fresh one for each untrusted input or while it's busy.

A runaway computation, a crash in a library or a hostile file ends a child, never the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from mcp_server.errors import Busy, ComputeFailed, CourtsideError, DeadlineExceeded
from mcp_server.jobs.process import Child, ChildLimits, OnProgress

_FRESH_AT_ONCE = 2
_PATIENCE = 0.5
"""Seconds that a call waits for a busy warm child before it starts another one."""


class Compute:
    """Runs operations by name in child processes.

    Args:
        operations: the module whose functions `(arguments, report) -> dict` are the operations.
        memory_bytes: private memory that a child may fill, interpreter and libraries included.
        cpu_seconds: computing time of a fresh child; the warm one is bounded by each call's timeout.
        scratch: made when it's missing; the only folder that a child may write to where files can be confined.
        readable: what the warm child may read besides the system's files and `scratch`; None leaves reading open.
        waiting: calls that may wait for a child; further ones are refused.
        nice: how much children give way to other processes, 0 to 19.
    """

    def __init__(
        self,
        operations: str,
        *,
        memory_bytes: int,
        cpu_seconds: int,
        scratch: Path,
        readable: Sequence[Path] | None = None,
        waiting: int = 32,
        nice: int = 0,
    ) -> None:
        self._operations = operations
        self._memory_bytes = memory_bytes
        self._cpu_seconds = cpu_seconds
        self._scratch = scratch
        self._readable = readable
        self._nice = nice
        self._free_places = waiting + 1 + _FRESH_AT_ONCE
        self._warm_turn = asyncio.Lock()
        self._fresh_turns = asyncio.Semaphore(_FRESH_AT_ONCE)
        self._warm: Child | None = None
        self._children: set[Child] = set()
        self._reported: dict[bool, dict[str, bool]] = {False: {}, True: {}}
        self._swept = False
        self._closed = False

    async def run(
        self,
        operation: str,
        arguments: dict[str, Any],
        *,
        timeout: float | None,  # noqa: ASYNC109 - it ends a process, which the caller's own timeout would too
        fresh: bool = False,
        reads: Sequence[Path] | None = None,
        progress: OnProgress | None = None,
    ) -> dict[str, Any]:
        """Run one operation; a timeout or a cancelled caller ends the child at once.

        Args:
            arguments: finite JSON values; tables go as paths.
            timeout: seconds, waiting for a turn included.
            fresh: a new process for this call alone, for input that isn't trusted.
            reads: with `fresh`, what it may read besides the system's files and `scratch`; None leaves reading open.
            progress: awaited with (fraction, message), at most ten times a second.
        Raises:
            CourtsideError: what the operation refused with.
            Busy: too many calls wait already.
            DeadlineExceeded: the timeout passed.
            ComputeFailed: the child ended or broke a limit; `details["reason"]` is memory, cpu, killed, crashed,
                failed, ended, start or protocol.
        """
        if reads is not None and not fresh:
            raise ValueError("what the warm child may read was settled when it was started")
        with self._place():
            try:
                async with asyncio.timeout(timeout):
                    turn = self._fresh(reads) if fresh else self._turn()
                    async with turn as child:
                        outcome = await child.run(operation, arguments, progress)
            except TimeoutError:
                raise DeadlineExceeded(
                    f"The computation took longer than {timeout:g} seconds and was ended.",
                    hint="Use fewer rows, or start it as a job.",
                ) from None
        if isinstance(outcome, CourtsideError):
            raise outcome
        return outcome

    async def warm(self) -> None:
        """Have the warm child up before the first call needs it.

        Raises:
            ComputeFailed: it didn't come up.
        """
        async with self._warm_turn:
            await self._warm_child()

    def isolation(self, *, fresh: bool = False) -> dict[str, bool]:
        """What held for the last child that was started; empty before the first.

        Returns:
            process: it's a process of its own; memory, cpu: bounded; network: none; files: writes, and reads where
            a call says so, are confined; orphans: it can't outlive this process, however this ends.
        """
        return dict(self._reported[fresh])

    async def close(self) -> None:
        """End every child and remove what they left."""
        self._closed = True
        children = list(self._children)
        for child in children:
            child.kill()
        for child in children:
            await child.ended()

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if self._closed:
            raise ComputeFailed("The computing processes were closed.", hint="Call again.", details={"reason": "ended"})
        if self._free_places == 0:
            raise Busy(
                "Too many computations are waiting; nothing was started.", hint="Call again shortly.", retry_after=2.0
            )
        self._free_places -= 1
        try:
            yield
        finally:
            self._free_places += 1

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[Child]:
        """The warm child, alone; it's ended when the block doesn't end in order. One more where it stays busy."""
        if not await self._is_my_turn():
            async with self._fresh_turns, self._passing(fresh=False, reads=self._readable) as child:
                yield child
            return
        try:
            child = await self._warm_child()
            done = False
            try:
                yield child
                done = True
            finally:
                if not done:
                    child.kill()
                    self._warm = None
        finally:
            self._warm_turn.release()

    async def _is_my_turn(self) -> bool:
        """Wait for the warm child; False where it's busy for long and there is room for another one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                return await self._warm_turn.acquire()
        if self._fresh_turns.locked():
            return await self._warm_turn.acquire()
        return False

    @contextlib.asynccontextmanager
    async def _fresh(self, reads: Sequence[Path] | None) -> AsyncIterator[Child]:
        async with self._fresh_turns, self._passing(fresh=True, reads=reads) as child:
            yield child

    @contextlib.asynccontextmanager
    async def _passing(self, *, fresh: bool, reads: Sequence[Path] | None) -> AsyncIterator[Child]:
        """A child for one call."""
        child = await self._start(fresh=fresh, reads=reads)
        try:
            yield child
        finally:
            child.kill()

    async def _warm_child(self) -> Child:
        if self._warm is None or not self._warm.alive:
            self._warm = await self._start(fresh=False, reads=self._readable)
        return self._warm

    async def _start(self, *, fresh: bool, reads: Sequence[Path] | None) -> Child:
        await asyncio.to_thread(self._prepare)
        child = await Child.start(
            self._operations,
            ChildLimits(
                memory_bytes=self._memory_bytes,
                cpu_seconds=self._cpu_seconds if fresh else None,
                writes=(self._scratch,),
                reads=None if reads is None else tuple(reads),
                threads=min(4, os.cpu_count() or 1),
                nice=self._nice,
            ),
        )
        self._reported[fresh] = child.isolation
        self._children.add(child)
        child.when_ended(lambda: self._children.discard(child))
        if self._closed:
            child.kill()
        return child

    def _prepare(self) -> None:
        """Make the scratch folder; remove what children of a killed server left there."""
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._swept:
            return
        self._swept = True
        for folder in self._scratch.glob("child-*-*"):
            parts = re.fullmatch(r"child-(\d+)-.+", folder.name)
            if parts is not None and not _is_running(int(parts[1])):
                shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":  # there, signal 0 isn't a question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
