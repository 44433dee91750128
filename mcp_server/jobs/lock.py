"""One worker for each data folder: a file lock that the system takes back however its holder ends."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

# Locked bytes can't be read on Windows, so the lock is on one beyond the text.
_BEYOND = 1 << 20


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock.

    Args:
        pid: its process.
        version: of the program that it runs.
        since: ISO 8601, UTC.
    """

    pid: int
    version: str
    since: str


class FolderLock:
    """A lock on a file, which also says who holds it.

    Args:
        path: made when it's missing, and never removed: another process may be about to lock it.
        me: who takes it; None for one that only looks.
    """

    def __init__(self, path: Path, me: Holder | None = None) -> None:
        self._path = path
        self._me = me
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock if it's free; False when another process holds it, or looks at it right now."""
        if self._me is None:
            raise ValueError("a lock that is only looked at can't be taken")
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _try(descriptor, shared=False):
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, json.dumps(asdict(self._me)).encode())
        self._descriptor = descriptor
        return True

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def release(self) -> None:
        """Give the lock back; nothing happens when it isn't held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            _release(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> Holder | None:
        """Who holds the lock, or None where nobody does.

        A holder that hasn't yet said who it is has process 0 and no version.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            if _try(descriptor, shared=True):
                _release(descriptor)
                return None
            text = os.read(descriptor, 4_096)
        finally:
            os.close(descriptor)
        with contextlib.suppress(ValueError, TypeError, KeyError):
            found = json.loads(text)
            return Holder(int(found["pid"]), str(found["version"]), str(found["since"]))
        return Holder(0, "", "")


if sys.platform == "win32":
    import msvcrt

    def _try(descriptor: int, *, shared: bool) -> bool:  # noqa: ARG001 - there's only one kind
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

    def _release(descriptor: int) -> None:
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try(descriptor: int, *, shared: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
