"""kill -9 for workers, at random moments of their work."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from mcp_server.jobs.lock import FolderLock

WAIT_SECONDS = 60.0


class WorkerKills:
    """Kills the workers of a data folder, each at a moment drawn anew; the same process never counts twice.

    Args:
        longest: a worker is left alone for so many seconds at most.
    """

    def __init__(self, env: dict[str, str], *, seed: int, longest: float) -> None:
        self._env = env
        self._lock = FolderLock(Path(env["COURTSIDE_DATA_DIR"]) / "worker.lock")
        self._chance = random.Random(seed)
        self._longest = longest

    def kill(self) -> None:
        """Have a worker, leave it alone for a while, and kill it."""
        worker = None if self._living() else self._start()
        end = time.monotonic() + WAIT_SECONDS
        while not (pid := self._living()):
            assert time.monotonic() < end, "a worker takes the folder"
            time.sleep(0.02)
        time.sleep(self._chance.uniform(0.0, self._longest))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if worker is not None:
            # Where the server was quicker, this one found the folder taken and ended by itself.
            worker.kill()
            worker.wait()
        while self._living() == pid:
            time.sleep(0.02)

    def _living(self) -> int:
        """The process that holds the folder; 0 for none."""
        holder = self._lock.holder()
        return holder.pid if holder else 0

    def _start(self) -> subprocess.Popen[bytes]:
        # The server waits some seconds before it replaces a second one; whoever starts it, the job is the same.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "mcp_server.worker"],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
