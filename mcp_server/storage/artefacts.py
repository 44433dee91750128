"""Artefacts: bytes under their own digest, written once, never trusted without it.

An object's name is `sha256/ab/cdef...`. It's durable before `put` returns, so a transaction may refer to it then.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore

from mcp_server.core.canonical import PREFIX, digest_of_bytes
from mcp_server.errors import CorruptArtefact, CourtsideError, DataRejected, NotFound, StorageFailed
from mcp_server.storage.failures import disk_full, translate
from mcp_server.storage.private_files import make_folder, sync_file, sync_folder

CHUNK = 1024 * 1024
STALE = timedelta(hours=24)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PROBE = "probe"
_MARKS = "removing"
_DRAFT = re.compile(r".+#[0-9]+")
"""How the store names what it's still writing."""


class Artefacts:
    """A folder of artefacts.

    Args:
        folder: made with mode 0700 where it isn't there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder).resolve()
        self._store = LocalStore(self.folder)
        self._verified: dict[str, tuple[int, int, int, int]] = {}

    async def put(self, content: bytes) -> str:
        """Store bytes.

        Returns:
            their digest; the same for the same bytes, which are stored once.
        Raises:
            DiskFull, StorageFailed: they could not be stored; nothing of them is visible.
        """
        digest = await _digest(content)
        name = _name(digest)
        if not await self._holds(digest, len(content)):
            try:
                await obstore.put_async(self._store, name, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                # Another call was quicker, or what is there is damaged: these bytes are right either way.
                await self._write(name, content)
            except (BaseError, OSError) as error:
                raise _failure(error) from error
        await self._settle(digest)
        return digest

    async def put_file(self, path: Path) -> str:
        """Store a file's content, in bounded memory; the file stays.

        Returns:
            the digest of the content.
        Raises:
            DataRejected: `E_CHANGED`; the file changed while it was read.
            DiskFull, StorageFailed: it could not be stored; nothing of it is visible.
        """
        try:
            digest, size = await asyncio.to_thread(lambda: (PREFIX + _digest_of_file(path), path.stat().st_size))
        except OSError as error:
            raise StorageFailed("The file could not be read.", hint="Check that it's still there.") from error
        if not await self._holds(digest, size):
            await self._write(_name(digest), _Copy(path, digest))
        await self._settle(digest)
        return digest

    async def get(self, digest: str) -> bytes:
        """Read bytes, checked against their digest.

        Raises:
            NotFound: nothing is stored under the digest.
            CorruptArtefact: the bytes have another digest.
            StorageFailed: they could not be read.
        """
        try:
            response = await obstore.get_async(self._store, _name(digest))
            content = bytes(await response.bytes_async())
        except (NotFoundError, FileNotFoundError):
            raise _absent() from None
        except (BaseError, OSError) as error:
            raise _failure(error) from error
        if await _digest(content) != digest:
            raise _corrupt()
        return content

    async def local_path(self, digest: str, *, again: bool = False) -> Path:
        """A file with the bytes, for a child process to read and not to change.

        The digest is checked when this process first asks, whenever the file has changed since, and on demand.

        Args:
            again: check the digest in any case.
        Raises:
            NotFound: nothing is stored under the digest.
            CorruptArtefact: the bytes have another digest.
        """
        path = self._path(digest)
        try:
            status = path.stat()
            # The change time too: the modification time can be set back.
            mark = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if again or self._verified.get(digest) != mark:
                if PREFIX + await asyncio.to_thread(_digest_of_file, path) != digest:
                    raise _corrupt()
                self._verified[digest] = mark
        except FileNotFoundError:
            raise _absent() from None
        except OSError as error:
            raise translate(error) from error
        return path

    async def exists(self, digest: str) -> bool:
        """Whether something is stored under the digest; it isn't read."""
        return await asyncio.to_thread(self._path(digest).is_file)

    async def size(self, digest: str) -> int:
        """How many bytes are stored under the digest.

        Raises:
            NotFound: nothing is.
        """
        try:
            return (await asyncio.to_thread(self._path(digest).stat)).st_size
        except FileNotFoundError:
            raise _absent() from None

    async def probe(self) -> None:
        """Write a few bytes and read them back, to see whether the store works.

        Raises:
            DiskFull, StorageFailed: it doesn't.
        """
        await self._write(_PROBE, _PROBE.encode())
        try:
            await obstore.get_async(self._store, _PROBE)
        except (BaseError, OSError) as error:
            raise _failure(error) from error

    async def sweep(self, now: datetime) -> int:
        """Remove what writers left behind that were killed more than a day ago.

        Args:
            now: aware.
        Returns:
            how many files were removed.
        """
        return await asyncio.to_thread(_sweep, self.folder, (now - STALE).timestamp())

    async def mark(self, digests: Iterable[str]) -> None:
        """Note on disk that artefacts may be removed once nothing refers to them; see `removal`."""
        await asyncio.to_thread(_mark, self.folder / _MARKS, [_name(digest) for digest in digests])

    async def marked(self) -> set[str]:
        """The digests that were noted and not removed yet."""
        return await asyncio.to_thread(_marked, self.folder / _MARKS)

    async def unmark(self, digests: Iterable[str]) -> None:
        """Forget notes: their artefacts are gone, or still referred to."""
        for digest in digests:
            (self.folder / _MARKS / digest.removeprefix(PREFIX)).unlink(missing_ok=True)

    async def remove(self, digest: str) -> bool:
        """Remove an artefact.

        Returns:
            whether it was there.
        Raises:
            StorageFailed: it could not be removed.
        """
        path = self._path(digest)
        self._verified.pop(digest, None)
        try:
            await asyncio.to_thread(_remove, path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise translate(error) from error
        return True

    async def listed(self, *, before: datetime | None = None) -> dict[str, int]:
        """Every artefact's digest and size in bytes.

        Args:
            before: aware; only those that were last written before.
        """
        moment = None if before is None else before.timestamp()
        return await asyncio.to_thread(_listed, self.folder, moment)

    def _path(self, digest: str) -> Path:
        return self.folder / _name(digest)

    async def _holds(self, digest: str, size: int) -> bool:
        """Whether the right bytes are there already; after a power cut the size alone proves nothing."""
        path = self._path(digest)

        def right() -> bool:
            try:
                return path.stat().st_size == size and PREFIX + _digest_of_file(path) == digest
            except OSError:
                return False

        return await asyncio.to_thread(right)

    async def _write(self, name: str, content: bytes | _Copy) -> None:
        try:
            await obstore.put_async(self._store, name, content, use_multipart=isinstance(content, _Copy))
        except (BaseError, OSError) as error:
            if isinstance(content, _Copy) and content.changed:
                raise DataRejected(
                    "E_CHANGED", "The file changed while it was read.", hint="Repeat it when nothing writes to it."
                ) from error
            raise _failure(error) from error

    async def _settle(self, digest: str) -> None:
        # The store itself doesn't wait for the disk.
        path = self._path(digest)

        def settle() -> None:
            path.chmod(0o600)
            sync_file(path)
            sync_folder(path.parent.parent)
            sync_folder(self.folder)

        try:
            await asyncio.to_thread(settle)
        except OSError as error:
            raise translate(error) from error


class _Copy:
    """A file's content in chunks, refused at the end unless it has the digest that it had before."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self.digest = digest
        self.changed = False

    def __iter__(self) -> Iterator[bytes]:
        hashed = hashlib.sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                hashed.update(chunk)
                yield chunk
        if PREFIX + hashed.hexdigest() != self.digest:
            self.changed = True
            raise OSError("changed while it was read")


def _name(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise CorruptArtefact("A stored reference isn't a digest.", hint="Run courtside doctor.")
    hexadecimal = digest.removeprefix(PREFIX)
    return f"sha256/{hexadecimal[:2]}/{hexadecimal[2:]}"


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sweep(folder: Path, older_than: float) -> int:
    removed = 0
    root = folder / "sha256"
    for shelf in root.iterdir() if root.is_dir() else ():
        # There may be very many files: only a draft's times are looked up.
        for entry in [entry for entry in os.scandir(shelf) if _DRAFT.fullmatch(entry.name)]:
            try:
                if entry.stat().st_mtime < older_than:
                    os.unlink(entry)
                    removed += 1
            except FileNotFoundError:  # Its writer, or another sweep, was quicker.
                continue
    return removed


def _mark(folder: Path, names: list[str]) -> None:
    make_folder(folder)
    try:
        for name in names:
            (folder / "".join(name.split("/")[1:])).touch(mode=0o600)
        sync_folder(folder)
    except OSError as error:
        raise translate(error) from error


def _marked(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    return {PREFIX + entry.name for entry in os.scandir(folder) if _DIGEST.fullmatch(PREFIX + entry.name)}


def _remove(path: Path) -> None:
    path.unlink()
    sync_folder(path.parent)


def _listed(folder: Path, before: float | None) -> dict[str, int]:
    found = {}
    root = folder / "sha256"
    for shelf in root.iterdir() if root.is_dir() else ():
        for entry in os.scandir(shelf):
            digest = PREFIX + shelf.name + entry.name
            if _DIGEST.fullmatch(digest):
                status = entry.stat()
                if before is None or status.st_mtime < before:
                    found[digest] = status.st_size
    return found


async def _digest(content: bytes) -> str:
    # A thread costs more than hashing what is small.
    return digest_of_bytes(content) if len(content) < CHUNK // 4 else await asyncio.to_thread(digest_of_bytes, content)


def _failure(error: BaseException) -> CourtsideError:
    # The store tells a full disk in words only.
    if "No space left" in str(error) or "os error 28" in str(error):
        return disk_full()
    return StorageFailed(
        "The artefact store could not be read or written.", hint="Check the data folder with courtside doctor."
    )


def _absent() -> NotFound:
    return NotFound("The stored file isn't there.", hint="Restore it from a backup; courtside doctor lists what is.")


def _corrupt() -> CorruptArtefact:
    return CorruptArtefact(
        "A stored file has changed since it was written, so it isn't used.",
        hint="Restore it from a backup, or make it again from its source.",
    )
