"""Where the worker keeps its files in the data folder."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path


class Places:
    """The worker's files.

    Args:
        data_dir: the data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir
        self.lock = data_dir / "worker.lock"
        self.turn = data_dir / "worker.next.lock"
        self.artefacts = data_dir / "artefacts"
        self.steps = data_dir / "jobs.db"
        self.log = data_dir / "logs" / "worker.log"
        self.job_folders = data_dir / "scratch" / "jobs"
        self._wake = data_dir / "worker.wake"
        self._request = data_dir / "worker.handover"
        self._executor = data_dir / "worker.id"

    def make(self) -> None:
        """Make the folders, for their owner alone."""
        for folder in (self.root, self.log.parent, self.job_folders.parent, self.job_folders):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def executor(self) -> str:
        """An id that each worker of this folder has: what one began, the next one goes on with."""
        known = self._executor.read_text(encoding="ascii").strip() if self._executor.exists() else ""
        if not known:
            # Whoever asks holds the folder's lock, so nobody else writes it.
            known = f"worker-{secrets.token_hex(8)}"
            self._executor.write_text(known, encoding="ascii")
        return known

    def wake(self) -> None:
        """Have the worker look for jobs now instead of a little later."""
        self._wake.touch(mode=0o600)

    def woken(self) -> int:
        """Changes with each `wake`."""
        return self._wake.stat().st_mtime_ns if self._wake.exists() else 0

    def ask(self, version: str) -> None:
        """Ask the worker that has the folder to leave it to another version."""
        if self.asked_for() != version:
            self._request.write_text(version, encoding="utf-8")

    def asked_for(self) -> str:
        """The version that asks for the folder, or nothing."""
        try:
            return self._request.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""

    def forget_request(self) -> None:
        """The request was answered."""
        self._request.unlink(missing_ok=True)


def bound(descriptor: int, most: int) -> None:
    """Empty a plain file that has grown over `most` bytes; it must have been opened for appending."""
    state = os.fstat(descriptor)
    if stat.S_ISREG(state.st_mode) and state.st_size > most:
        os.ftruncate(descriptor, 0)
