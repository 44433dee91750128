"""Files that a caller names: only plain files inside the allowed folders, copied before anything reads them.

The folder tree is walked from an allowed root by descriptors without following links, so a link that is swapped
in between the check and the opening leads nowhere. The copy is what gets parsed: what was hashed is what was read.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from mcp_server.errors import DataRejected, DiskFull

_CHUNK = 1024 * 1024
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_CAN_WALK = os.open in os.supports_dir_fd and bool(_NOFOLLOW)


def copy_allowed(
    text: str,
    allowed: Sequence[Path],
    target: Path,
    *,
    most_bytes: int,
    report: Callable[[float, str], None] | None = None,
) -> tuple[str, int, str]:
    """Copy a file that the caller may import.

    Args:
        text: an absolute path, or one relative to the first allowed folder.
        allowed: the folders; they need not exist.
        target: where the copy goes; removed again when anything fails.
        most_bytes: the largest size.
    Returns:
        (SHA-256 of the content as hex, bytes, the file's own name).
    Raises:
        DataRejected: E_PATH, E_PERMISSION, E_EMPTY, E_SIZE, E_CHANGED or E_IO.
    """
    root, parts = locate(text, allowed)
    descriptor = _open_beneath(root, parts)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise DataRejected("E_PATH", "The path isn't a plain file.", hint="Name a file, not a folder or a device.")
        if before.st_size == 0:
            raise DataRejected("E_EMPTY", "The file is empty.", hint="Check that the export finished.")
        if before.st_size > most_bytes:
            raise DataRejected(
                "E_SIZE",
                f"The file has {before.st_size:,} bytes; {most_bytes:,} are allowed.",
                hint="Import a part of it, or raise COURTSIDE_MAX_IMPORT_MIB.",
            )
        digest, copied = _copy(descriptor, target, before.st_size, report)
        after = os.fstat(descriptor)
        if copied != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise DataRejected(
                "E_CHANGED", "The file changed while it was read.", hint="Import it again when its writer is done."
            )
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return digest, copied, parts[-1]


def locate(text: str, allowed: Sequence[Path]) -> tuple[Path, tuple[str, ...]]:
    """The allowed folder that holds the path, and the way down from it.

    Raises:
        DataRejected: E_PATH, naming the folders and how to allow one.
    """
    names = ", ".join(str(folder) for folder in allowed) or "none"
    hint = f"Allowed folders: {names}. Put the file there, or allow its folder with COURTSIDE_ALLOWED_DIRS."
    if not text or "\0" in text or len(text) > 4_096 or not allowed:
        raise DataRejected("E_PATH", "The path can't be used.", hint=hint)
    path = Path(text).expanduser() if text.startswith("~/") else Path(text)
    wanted = path if path.is_absolute() else allowed[0] / path
    try:
        real = Path(os.path.realpath(wanted, strict=True))
    except (OSError, ValueError):
        # One answer inside and outside the allowed folders: it must not tell what exists elsewhere.
        raise DataRejected("E_PATH", "There is no such file in the allowed folders.", hint=hint) from None
    for folder in allowed:
        root = Path(os.path.realpath(folder))
        if real != root and real.is_relative_to(root):
            return root, real.relative_to(root).parts
    raise DataRejected("E_PATH", "There is no such file in the allowed folders.", hint=hint)


def _open_beneath(root: Path, parts: tuple[str, ...]) -> int:
    try:
        if not _CAN_WALK:
            return os.open(root.joinpath(*parts), os.O_RDONLY | _BINARY)
        folder = os.open(root, os.O_RDONLY | _DIRECTORY)
        try:
            for part in parts[:-1]:
                inner = os.open(part, os.O_RDONLY | _DIRECTORY | _NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            # Non-blocking: opening a FIFO must not wait for its writer.
            return os.open(parts[-1], os.O_RDONLY | _NOFOLLOW | _NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)
    except PermissionError:
        raise DataRejected("E_PERMISSION", "The file may not be read.", hint="Give the server's user access.") from None
    except OSError:
        raise DataRejected("E_PATH", "The path changed or isn't a plain file.", hint="Name the file itself.") from None


def _copy(descriptor: int, target: Path, size: int, report: Callable[[float, str], None] | None) -> tuple[str, int]:
    digest, copied = hashlib.sha256(), 0
    try:
        with open(target, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
            while chunk := os.read(descriptor, _CHUNK):
                digest.update(chunk)
                out.write(chunk)
                copied += len(chunk)
                if copied > size:
                    break
                if report is not None:
                    report(copied / size, "Copying")
    except OSError as failed:
        if failed.errno == errno.ENOSPC:
            raise DiskFull(
                "The disk is full; nothing was stored.", hint="Free some space, then import again."
            ) from None
        raise DataRejected("E_IO", "The file could not be read to its end.", hint="Check the disk.") from None
    return digest.hexdigest(), copied
