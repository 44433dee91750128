"""Processes that are killed again and again without paying for their imports each time.

A script calls `serve(work)`: for each line on its standard input it forks a child that runs `work(line)`. The child
says `ack ...` lines by `say`; the script says `pid N` at a child's start and `ended N` at its end. A test drives it
with `Rounds`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent


def say(line: str) -> None:
    """Write a line at once and whole: a pipe takes up to 4 KiB as one."""
    os.write(1, line.encode() + b"\n")


def serve(work: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Fork a child for each line of the input; to be called before any thread or loop was started."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(work(line.strip()))
            finally:
                os._exit(0)
        say(f"pid {child}")
        os.waitpid(child, 0)
        say(f"ended {child}")


class Rounds:
    """The other end of `serve`.

    Args:
        script: beside this file.
        arguments: of its command line.
    """

    def __init__(self, script: str, *arguments: str) -> None:
        self._process = start(script, *arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def run(self, line: str) -> list[str]:
        """Run a child to its end, by itself or by its own hand; gives what it acknowledged."""
        return self.kill_after(sys.maxsize, line)

    def kill_after(self, acknowledgements: int, line: str, *, share: float = 0.0) -> list[str]:
        """Run a child and kill it with SIGKILL when it has said so much.

        Args:
            share: how much of its next piece of work it gets to, 0..1, by its pace so far: a delay in seconds would
                fall into the beginning only where the machine is slow. Needs two acknowledgements.
        Returns:
            all that it acknowledged, the last moments before the kill included.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        child = None
        acknowledged: list[str] = []
        killed, began = False, 0.0
        for said in self._process.stdout:
            kind, _, rest = said.strip().partition(" ")
            if kind == "pid":
                child = int(rest)
            elif kind == "ack":
                acknowledged.append(rest)
                began = began or time.monotonic()
            elif kind == "ended":
                return acknowledged
            if child is not None and not killed and len(acknowledged) >= acknowledgements:
                if share:
                    time.sleep(share * (time.monotonic() - began) / (len(acknowledged) - 1))
                os.kill(child, signal.SIGKILL)
                killed = True
        raise AssertionError("the process ended by itself")


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a script beside this file; it finds modules where this process does."""
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
