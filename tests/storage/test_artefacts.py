"""Artefacts: content-addressed, whole, durable, never trusted without their digest."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcp_server.core.canonical import digest_of_bytes
from mcp_server.errors import CorruptArtefact, DataRejected, NotFound, StorageFailed
from mcp_server.storage import artefacts as artefacts_module
from mcp_server.storage.artefacts import Artefacts

pytestmark = pytest.mark.anyio

LARGE = 12 * 1024 * 1024


@pytest.fixture
def artefacts(tmp_path: Path) -> Artefacts:
    return Artefacts(tmp_path / "artefacts")


def place(artefacts: Artefacts, digest: str) -> Path:
    hexadecimal = digest.removeprefix("sha256:")
    return artefacts.folder / "sha256" / hexadecimal[:2] / hexadecimal[2:]


def files(artefacts: Artefacts) -> list[Path]:
    return [path for path in artefacts.folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"x", b"courtside" * 100_000])
async def test_bytes_come_back_under_their_digest(artefacts: Artefacts, content: bytes) -> None:
    digest = await artefacts.put(content)
    assert digest == "sha256:" + hashlib.sha256(content).hexdigest()
    assert await artefacts.get(digest) == content
    assert await artefacts.size(digest) == len(content)
    assert await artefacts.exists(digest)
    assert (await artefacts.local_path(digest)) == place(artefacts, digest)


async def test_the_same_bytes_are_stored_once(artefacts: Artefacts) -> None:
    digest = await artefacts.put(b"same")
    before = place(artefacts, digest).stat()
    assert await artefacts.put(b"same") == digest
    after = place(artefacts, digest).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert len(files(artefacts)) == 1


async def test_many_that_put_the_same_bytes_at_once_all_succeed(artefacts: Artefacts) -> None:
    content = os.urandom(500_000)
    digests = await asyncio.gather(*(artefacts.put(content) for _ in range(20)))
    assert set(digests) == {digest_of_bytes(content)}
    assert await artefacts.get(digests[0]) == content
    assert len(files(artefacts)) == 1


async def test_a_file_is_stored_like_its_bytes(artefacts: Artefacts, tmp_path: Path) -> None:
    content = os.urandom(LARGE)
    path = tmp_path / "table.parquet"
    path.write_bytes(content)
    digest = await artefacts.put_file(path)
    assert digest == await artefacts.put(content)
    assert await artefacts.get(digest) == content
    assert path.read_bytes() == content
    assert len(files(artefacts)) == 1


async def test_a_file_that_changes_while_it_is_read_is_refused_and_leaves_nothing(
    artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(b"x" * LARGE)
    copying = artefacts_module._Copy.__iter__

    def change_first(copy: artefacts_module._Copy) -> Iterator[bytes]:
        path.write_bytes(b"y" * LARGE)
        return copying(copy)

    monkeypatch.setattr(artefacts_module._Copy, "__iter__", change_first)
    with pytest.raises(DataRejected) as refused:
        await artefacts.put_file(path)
    assert refused.value.code == "E_CHANGED"
    assert files(artefacts) == []


async def test_a_file_that_is_not_there_cannot_be_stored(artefacts: Artefacts, tmp_path: Path) -> None:
    with pytest.raises(StorageFailed):
        await artefacts.put_file(tmp_path / "nothing")


@pytest.mark.parametrize("position", [0, 100, -1])
async def test_a_changed_byte_is_found(artefacts: Artefacts, position: int) -> None:
    digest = await artefacts.put(os.urandom(1_000))
    flip(place(artefacts, digest), position)
    with pytest.raises(CorruptArtefact):
        await artefacts.get(digest)
    with pytest.raises(CorruptArtefact):
        await artefacts.local_path(digest)


async def test_a_file_that_was_cut_is_found(artefacts: Artefacts) -> None:
    digest = await artefacts.put(b"whole")
    place(artefacts, digest).write_bytes(b"who")
    with pytest.raises(CorruptArtefact):
        await artefacts.get(digest)


async def test_a_path_handed_out_before_is_checked_when_the_file_has_changed(artefacts: Artefacts) -> None:
    digest = await artefacts.put(b"a" * 1_000)
    path = await artefacts.local_path(digest)
    path.write_bytes(b"b" * 1_000)
    with pytest.raises(CorruptArtefact):
        await artefacts.local_path(digest)


async def test_a_file_whose_modification_time_was_set_back_is_checked_again(artefacts: Artefacts) -> None:
    digest = await artefacts.put(b"a" * 1_000)
    path = await artefacts.local_path(digest)
    status = path.stat()
    path.write_bytes(b"b" * 1_000)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CorruptArtefact):
        await artefacts.local_path(digest)


async def test_putting_the_right_bytes_again_mends_a_damaged_file(artefacts: Artefacts, tmp_path: Path) -> None:
    digest = await artefacts.put(b"right")
    for mend in ("bytes", "file"):
        flip(place(artefacts, digest), 0)
        if mend == "bytes":
            await artefacts.put(b"right")
        else:
            (tmp_path / "right").write_bytes(b"right")
            await artefacts.put_file(tmp_path / "right")
        assert await artefacts.get(digest) == b"right"


async def test_what_was_never_stored_is_not_found(artefacts: Artefacts) -> None:
    digest = digest_of_bytes(b"never")
    assert not await artefacts.exists(digest)
    for ask in (artefacts.get, artefacts.local_path, artefacts.size):
        with pytest.raises(NotFound):
            await ask(digest)


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../etc/passwd", "md5:" + "0" * 64, "sha256:" + "A" * 64])
async def test_what_is_no_digest_never_becomes_a_path(artefacts: Artefacts, digest: str) -> None:
    with pytest.raises(CorruptArtefact):
        await artefacts.get(digest)


async def test_artefacts_are_readable_by_their_owner_alone(artefacts: Artefacts) -> None:
    digest = await artefacts.put(b"private")
    assert stat.S_IMODE(place(artefacts, digest).stat().st_mode) == 0o600
    assert stat.S_IMODE(artefacts.folder.stat().st_mode) == 0o700


async def test_bytes_are_on_the_disk_before_put_returns(artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    fsync = os.fsync

    def watch(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr("mcp_server.storage.private_files.os.fsync", watch)
    path = place(artefacts, await artefacts.put(b"durable"))
    expected = {each.stat().st_ino for each in (path, path.parent, path.parent.parent, artefacts.folder)}
    assert expected <= synced


async def test_what_killed_writers_left_is_swept_after_a_day_and_nothing_else(artefacts: Artefacts) -> None:
    path = place(artefacts, await artefacts.put(b"kept"))
    old, young = path.with_name(path.name + "#1"), path.with_name(path.name + "#2")
    now = datetime(2026, 3, 1, tzinfo=UTC)
    for draft, age in ((old, timedelta(hours=25)), (young, timedelta(hours=23)), (path, timedelta(days=9))):
        draft.touch()
        os.utime(draft, times=((now - age).timestamp(),) * 2)
    assert await artefacts.sweep(now) == 1
    assert set(files(artefacts)) == {path, young}


async def test_a_store_that_works_passes_its_probe(artefacts: Artefacts) -> None:
    await artefacts.probe()
    await artefacts.probe()


async def test_a_store_whose_folder_is_a_file_fails_its_probe(artefacts: Artefacts) -> None:
    artefacts.folder.rmdir()
    artefacts.folder.write_bytes(b"")
    with pytest.raises(StorageFailed):
        await artefacts.probe()


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
