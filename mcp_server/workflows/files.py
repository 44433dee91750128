"""Files that a caller names: only plain files inside the allowed folders, copied before anything reads them.

The folder tree is walked from an allowed root by descriptors without following links, so a link that is swapped
in between the check and the opening leads nowhere. The copy is what gets parsed: what was hashed is what was read.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_server.core.labels import in_file
from mcp_server.errors import DataRejected, DiskFull

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion

MOST_FILES = 1_000

_CHUNK = 1024 * 1024
_LONGEST = 4_096
_ACCESS = "Give the server's user access."
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_CAN_WALK = os.open in os.supports_dir_fd and bool(_NOFOLLOW)


@dataclass(frozen=True, slots=True)
class Copied:
    """A file that was copied.

    Args:
        path: of the copy.
        name: the file's own, or None where it never had one.
        digest: SHA-256 of the content, as hex.
        size: bytes.
    """

    path: Path
    name: str | None
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Brought:
    """What a source left in the scratch folder, not read yet.

    Args:
        files: one or more plain files, compressed or not, in the order of their rows. The name of each (None where it
            has none) tells with its content what format it has.
        source: where they came from, for the version's record: `kind`, `digest`, `bytes`, and what that kind has.
        options: how they're to be read; as the caller said where None.
        notes: what was lost or changed on the way, as the reader's notes are.
        unchanged: the version that has the same content already; then nothing was brought.
    """

    files: Sequence[Copied]
    source: dict[str, Any]
    options: Mapping[str, str | list[str]] | None = None
    notes: tuple[dict[str, Any], ...] = ()
    unchanged: DatasetVersion | None = None


def copy_allowed(
    text: str,
    allowed: Sequence[Path],
    folder: Path,
    *,
    most_bytes: int,
    report: Callable[[float, str], None] | None = None,
) -> list[Copied]:
    """Copy the files that the caller may import.

    Args:
        text: an absolute path, or one relative to the first allowed folder; of a file, of a folder, whose plain files
            are meant (not hidden ones, nor those in folders within), or with `*`, `?` or `[..]` in its last part.
        allowed: the folders; they need not exist.
        folder: where the copies go; those made are removed again when anything fails.
        most_bytes: the largest size of all together.
    Returns:
        one or more, in the order of their names.
    Raises:
        DataRejected: E_PATH, E_PERMISSION, E_EMPTY, E_SIZE, E_CHANGED or E_IO; details hold `file` where there are
            several.
    """
    root, parts, pattern = _located(text, allowed)
    descriptor = _open_beneath(root, parts)
    copies: list[Copied] = []
    try:
        if pattern is None and not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return [_copied(descriptor, parts[-1], folder / "0", most_bytes, report)]
        names = _listed(descriptor, root.joinpath(*parts), pattern)
        for number, name in enumerate(names, start=1):
            left = most_bytes - sum(copy.size for copy in copies)
            try:
                copies.append(_copied_inside(descriptor, root.joinpath(*parts), name, folder / str(number), left))
            except DataRejected as refused:
                raise in_file(refused, number, name) from None
            if report is not None:
                report(number / len(names), "Copying")
    except BaseException:
        for copy in copies:
            copy.path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return copies


def copy_file(path: Path, allowed: Sequence[Path], target: Path, *, most_bytes: int) -> Copied:
    """Copy one plain file that may be imported; no folder, no pattern.

    Raises:
        DataRejected: as for `copy_allowed`.
    """
    root, parts = locate(str(path), allowed)
    descriptor = _open_beneath(root, parts)
    try:
        return _copied(descriptor, parts[-1], target, most_bytes, None)
    finally:
        os.close(descriptor)


def _located(text: str, allowed: Sequence[Path]) -> tuple[Path, tuple[str, ...], str | None]:
    """As `locate`, and the pattern for names where the last part is one and isn't a file's name itself."""
    try:
        return *locate(text, allowed, root_too=True), None
    except DataRejected:
        before, _, last = text.rpartition("/")
        if not any(mark in last for mark in "*?[") or len(text) > _LONGEST:
            raise
    # The folder itself may be an allowed one; the pattern is only ever matched with names that are in it.
    return *locate(before or ("/" if text.startswith("/") else "."), allowed, root_too=True), last


def _listed(descriptor: int, folder: Path, pattern: str | None) -> list[str]:
    """The names in an open folder that are meant, in order.

    Raises:
        DataRejected: E_PATH where there are none, or too many; a link or a device is refused when it's opened.
    """
    names = []
    try:
        with os.scandir(descriptor if os.scandir in os.supports_fd else folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.is_dir(follow_symlinks=False):
                    continue
                if pattern is None or fnmatch.fnmatchcase(entry.name, pattern):
                    names.append(entry.name)
                if len(names) > MOST_FILES:
                    raise DataRejected(
                        "E_PATH",
                        f"There are more than {MOST_FILES:,} files.",
                        hint="Import a part of them by a pattern such as season-20*.csv.",
                        details={"limit": MOST_FILES},
                    )
    except PermissionError:
        raise DataRejected("E_PERMISSION", "The folder may not be read.", hint=_ACCESS) from None
    except OSError:
        raise DataRejected("E_PATH", "The path isn't a folder.", hint="Name a folder or a file.") from None
    if not names:
        raise DataRejected("E_PATH", "No file is there by that name.", hint="Name a file, a folder, or a pattern.")
    return sorted(names)


def _copied_inside(descriptor: int, folder: Path, name: str, target: Path, most_bytes: int) -> Copied:
    inner = _open_inside(descriptor, folder, name)
    try:
        return _copied(inner, name, target, most_bytes, None)
    finally:
        os.close(inner)


def _copied(
    descriptor: int, name: str, target: Path, most_bytes: int, report: Callable[[float, str], None] | None
) -> Copied:
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise DataRejected("E_PATH", "The path isn't a plain file.", hint="Name a file, not a device.")
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
    return Copied(target, name, digest, copied)


def locate(text: str, allowed: Sequence[Path], *, root_too: bool = False) -> tuple[Path, tuple[str, ...]]:
    """The allowed folder that holds the path, and the way down from it.

    Args:
        root_too: whether an allowed folder itself is meant, too.
    Raises:
        DataRejected: E_PATH, naming the folders and how to allow one.
    """
    names = ", ".join(str(folder) for folder in allowed) or "none"
    hint = f"Allowed folders: {names}. Put the file there, or allow its folder with COURTSIDE_ALLOWED_DIRS."
    if not text or "\0" in text or len(text) > _LONGEST or not allowed:
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
        if (root_too or real != root) and real.is_relative_to(root):
            return root, real.relative_to(root).parts
    raise DataRejected("E_PATH", "There is no such file in the allowed folders.", hint=hint)


def _open_beneath(root: Path, parts: tuple[str, ...]) -> int:
    """Open what lies below the root, a file or a folder; the root itself where there are no parts."""
    with _opening():
        if not _CAN_WALK:
            return os.open(root.joinpath(*parts), os.O_RDONLY | _BINARY)
        folder = os.open(root, os.O_RDONLY | _DIRECTORY)
        for part in parts[:-1]:
            try:
                inner = os.open(part, os.O_RDONLY | _DIRECTORY | _NOFOLLOW, dir_fd=folder)
            finally:
                os.close(folder)
            folder = inner
        if not parts:
            return folder
        try:
            return _open_inside(folder, root, parts[-1])
        finally:
            os.close(folder)


def _open_inside(folder: int, path: Path, name: str) -> int:
    with _opening():
        if not _CAN_WALK:
            return os.open(path / name, os.O_RDONLY | _BINARY)
        # Non-blocking: opening a FIFO must not wait for its writer.
        return os.open(name, os.O_RDONLY | _NOFOLLOW | _NONBLOCK, dir_fd=folder)


@contextmanager
def _opening() -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise DataRejected("E_PERMISSION", "The file may not be read.", hint=_ACCESS) from None
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
