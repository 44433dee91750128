"""One computing child as its parent sees it: started, asked, and ended without waiting."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from mcp_server.errors import ComputeFailed, CourtsideError, Unsupported, from_code
from mcp_server.jobs import frames
from mcp_server.jobs.environment import for_child
from mcp_server.settings import environment

log = logging.getLogger("mcp_server.jobs.compute")

OnProgress = Callable[[float, str], Awaitable[None]]

_EXIT_MEMORY = 71  # child.EXIT_MEMORY; the child's module isn't imported here
_START_SECONDS = 60.0
_BUFFER = 1024 * 1024
_LINE = 16 * 1024
_LINES = 200
_OUT_OF_MEMORY = ("memory allocation of", "bad_alloc", "MemoryError", "Cannot allocate memory", "OutOfMemory")


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What a child may use.

    Args:
        memory_bytes: private memory, interpreter and libraries included.
        cpu_seconds: computing time of the process, or None.
        writes: folders that it may write to; the first is its working folder.
        reads: files and folders that it may read besides the system's and `writes`; None leaves reading open.
        threads: cap for each numerical library.
        nice: how much it gives way to other processes, 0 to 19.
    """

    memory_bytes: int
    cpu_seconds: int | None
    writes: tuple[Path, ...]
    reads: tuple[Path, ...] | None = None
    threads: int = 2
    nice: int = 0


class Child:
    """A process that runs operations, one at a time."""

    def __init__(self, process: asyncio.subprocess.Process, home: Path) -> None:
        self.pid = process.pid
        self.isolation: dict[str, bool] = {}
        self._process = process
        self._home = home
        self._numbers = itertools.count(1)
        self._tail: deque[str] = deque(maxlen=20)
        self._lines_left = _LINES
        self._killed = False
        self._relay = asyncio.create_task(self._relay_log())
        self._reaper = asyncio.create_task(self._reap())

    @classmethod
    async def start(cls, operations: str, limits: ChildLimits) -> Child:
        """Start a process and wait until it has limited itself and imported the operations.

        Raises:
            ComputeFailed: it didn't come up.
        """
        home = Path(tempfile.mkdtemp(prefix=f"child-{os.getpid()}-", dir=limits.writes[0]))
        command = [sys.executable, "-P", "-m", "mcp_server.jobs.child", "--operations", operations]
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=home,
                env=for_child(environment(), home=home, threads=limits.threads),
                start_new_session=True,
                limit=_BUFFER,
            )
        except OSError as failed:
            shutil.rmtree(home, ignore_errors=True)
            message, hint = _REASONS["start"]
            raise ComputeFailed(message, hint=hint, details={"reason": "start", "errno": failed.errno}) from failed
        child = cls(process, home)
        opened = False
        try:
            async with asyncio.timeout(_START_SECONDS):
                opening = await child._exchange({"limits": _as_json(limits)})
            child.isolation = opening["ready"]
            opened = True
        except TimeoutError:
            raise child._broken("start") from None
        finally:
            if not opened:
                child.kill()
        return child

    @property
    def alive(self) -> bool:
        return not self._killed and self._process.returncode is None and not self._reaper.done()

    async def run(
        self, operation: str, arguments: dict[str, Any], progress: OnProgress | None
    ) -> dict[str, Any] | CourtsideError:
        """Run one operation; when this raises anything, or is cancelled, the child must be killed.

        Returns:
            the operation's result, or the deliberate error that it ended with.
        Raises:
            ComputeFailed: the process ended, or didn't keep to the protocol.
        """
        number = next(self._numbers)
        self._lines_left = _LINES
        reply = await self._exchange({"id": number, "operation": operation, "arguments": arguments})
        while reply.get("id") == number and "progress" in reply:
            if progress is not None:
                await progress(float(reply["progress"]), str(reply["message"]))
            reply = await self._next()
        if reply.get("id") != number:
            raise self._broken("protocol")
        error = reply.get("error")
        if error is not None:
            return from_code(error["code"], error["message"], hint=error["hint"], details=error["details"])
        result = reply.get("result")
        if not isinstance(result, dict):
            raise self._broken("protocol")
        return result

    def kill(self) -> None:
        """End the process and everything that it started, at once; its folder is removed in the background."""
        self._killed = True
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if hasattr(os, "killpg"):
                    os.killpg(self.pid, signal.SIGKILL)
                else:
                    self._process.kill()

    def when_ended(self, callback: Callable[[], None]) -> None:
        self._reaper.add_done_callback(lambda _: callback())

    async def ended(self) -> None:
        """Return when the process is gone and its folder removed."""
        await asyncio.shield(self._reaper)

    async def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            data = frames.encode(message)
        except frames.BadFrame as wrong:
            raise Unsupported("The arguments of a computation must be plain, finite JSON values.") from wrong
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        try:
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise await self._death() from None
        return await self._next()

    async def _next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            return await frames.receive(self._process.stdout)
        except asyncio.IncompleteReadError:
            raise await self._death() from None
        except frames.BadFrame:
            raise self._broken("protocol") from None

    async def _death(self) -> ComputeFailed:
        """What the process's end says about its reason."""
        try:
            await asyncio.wait_for(self._process.wait(), timeout=5)
            await asyncio.wait_for(asyncio.shield(self._relay), timeout=1)
        except TimeoutError:  # it closed the pipe and lives, or left its standard error to another process
            return self._broken("protocol")
        code = self._process.returncode or 0
        if self._killed:
            return self._broken("ended")
        if code == _EXIT_MEMORY or any(sign in line for line in self._tail for sign in _OUT_OF_MEMORY):
            return self._broken("memory", exit_code=code)
        if code < 0:
            name = _signal_name(-code)
            kind = {"SIGXCPU": "cpu", "SIGKILL": "killed"}.get(name, "crashed")
            return self._broken(kind, signal=name)
        return self._broken("failed", exit_code=code)

    def _broken(self, reason: str, **details: object) -> ComputeFailed:
        message, hint = _REASONS[reason]
        reference = uuid4().hex[:12]
        log.error("computing child %d is unusable: %s %s reference=%s", self.pid, reason, details, reference)
        return ComputeFailed(message, hint=hint, details={"reason": reason, "reference": reference, **details})

    async def _relay_log(self) -> None:
        """Put the child's lines into this process's log, bounded; text that isn't a log record is quoted."""
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # longer than the limit: what was buffered is dropped
                continue
            if not line:
                return
            text = line.decode("utf-8", "backslashreplace").rstrip()
            self._tail.append(text[:500])
            self._lines_left -= 1
            if self._lines_left > 0:
                _log_line(self.pid, text)
            elif self._lines_left == 0:
                log.warning("computing child %d: further lines are dropped until the next operation", self.pid)

    async def _reap(self) -> None:
        await self._process.wait()
        # Whatever the child started goes with it: it led a process group of its own.
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)
        await self._relay


def _as_json(limits: ChildLimits) -> dict[str, Any]:
    return {
        "memory": limits.memory_bytes,
        "cpu": limits.cpu_seconds,
        "writes": [str(folder) for folder in limits.writes],
        "reads": None if limits.reads is None else [str(path) for path in limits.reads],
        "parent": os.getpid(),
        "nice": limits.nice,
    }


def _log_line(pid: int, text: str) -> None:
    try:
        record = json.loads(text)
        level, logger, message = int(record["level"]), str(record["logger"]), str(record["text"])
    except (ValueError, TypeError, KeyError):
        level, logger, message = logging.WARNING, "stderr", text
    log.log(level, "computing child %d, %s: %s", pid, logger, message[:_LINE])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_REASONS = {
    "start": ("The computing process could not be started.", "Call health_report; the machine may be out of memory."),
    "memory": (
        "The computation needed more memory than a computing process may use.",
        "Use fewer rows or columns, or raise COURTSIDE_CHILD_MEMORY_MIB.",
    ),
    "cpu": (
        "The computation took more processor time than a computing process may use.",
        "Use fewer rows or columns, or raise COURTSIDE_CHILD_CPU_SECONDS.",
    ),
    "killed": (
        "The computing process was killed from outside, most often because the machine ran out of memory.",
        "Call again; if it happens again, use fewer rows or free memory.",
    ),
    "crashed": ("The computing process crashed.", "Call again; the log has the signal under the reference."),
    "failed": ("The computation stopped on an unexpected error.", "The log has the details under the reference."),
    "ended": ("The computing process was ended.", "Call again."),
    "protocol": ("The computing process gave an unusable answer.", "The log has the details under the reference."),
}
