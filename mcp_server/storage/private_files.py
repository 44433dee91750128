"""Folders and files that only their owner may read, and that are there after the power went."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from mcp_server.errors import BadConfiguration, StorageFailed

_POSIX = sys.platform != "win32"


def make_folder(folder: Path) -> Path:
    """Make a folder, and those above it, with mode 0700; one that is there keeps its mode.

    Raises:
        StorageFailed: it can't be made there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        raise StorageFailed(
            f"The folder {folder} can't be made.", hint="Set COURTSIDE_DATA_DIR to a folder that this user may write."
        ) from None
    return folder


def create_once(path: Path, content: bytes) -> bool:
    """Make a file with mode 0600 and all of its content, or leave the one that is there.

    Of several processes that race, one makes it; no reader ever sees a part.

    Returns:
        whether this call made it.
    """
    draft = _drafted(path, content)
    try:
        # Unlike a POSIX rename, a link never replaces what is there; on Windows a rename doesn't either.
        _put_in_place(draft, path)
    except FileExistsError:
        return False
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    sync_folder(path.parent)
    return True


def replace_whole(path: Path, content: bytes) -> None:
    """Put a file with mode 0600 in the place of the one that is there, if any; readers see the one or the other.

    Whatever ends the process meanwhile, and after a power cut, one of the two is there, whole.
    """
    draft = _drafted(path, content)
    try:
        os.replace(draft, path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    sync_folder(path.parent)


def _drafted(path: Path, content: bytes) -> Path:
    """The content in a file beside it, on the disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


def refuse_readable(path: Path) -> None:
    """Refuse a file or folder that others may read, change or replace.

    Raises:
        BadConfiguration: its mode gives the group or everyone anything, it's a link, or it belongs to someone else.
    """
    if not _POSIX:
        return
    status = path.lstat()
    wanted = "700" if stat.S_ISDIR(status.st_mode) else "600"
    if stat.S_ISLNK(status.st_mode):
        raise BadConfiguration(f"{path} is a link; a key must be a file of its own.", hint="Put the file itself there.")
    if status.st_mode & 0o077:
        raise BadConfiguration(
            f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):o}).",
            hint=f"Run: chmod {wanted} '{path}'. If someone may have read it, make fresh keys.",
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise BadConfiguration(f"{path} belongs to another user.", hint="Give it to the user that Courtside runs as.")


def sync_file(path: Path) -> None:
    """Wait until a file's content and its name are on the disk."""
    handle = os.open(path, os.O_RDONLY if _POSIX else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until a folder's entries are on the disk; Windows does so by itself."""
    if not _POSIX:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(draft: Path, path: Path) -> None:
    if _POSIX:
        os.link(draft, path)
    else:
        draft.rename(path)
