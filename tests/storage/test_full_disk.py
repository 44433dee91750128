"""A full disk: writing is refused with its own error, reading goes on, and freeing space is all it takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mcp_server.errors import DiskFull
from mcp_server.storage import Storage, jobs, open_storage, predictions
from mcp_server.storage.ids import new_id
from mcp_server.storage.records import PredictionRecord
from storage.fixtures import HandClock

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if sys.platform != "linux" or os.geteuid() != 0 or not mount or not umount:
        pytest.skip("needs root on Linux to mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount a small disk here")
    yield folder
    subprocess.run([umount, "-l", str(folder)], check=True)


@pytest.fixture
async def small_storage(small_disk: Path, clock: HandClock) -> AsyncIterator[Storage]:
    data_dir = small_disk / "data"
    storage = await open_storage(database_url=f"sqlite:///{data_dir}/courtside.db", data_dir=data_dir, clock=clock)
    yield storage
    await storage.close()


def fill(disk: Path) -> Path:
    """Take the last byte of a disk."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return path


async def enqueue(storage: Storage, id: str, size: int = 10_000) -> None:
    async with storage.database.transaction() as tx:
        await jobs.enqueue(tx, id=id, kind="train", arguments={"x": "x" * size}, caller="local", runtime_version="1")


def record(clock: HandClock, size: int = 10_000) -> PredictionRecord:
    return PredictionRecord(
        id=new_id("p", clock.now()),
        at=clock.now(),
        model="winner",
        version=1,
        digest="sha256:1",
        caller="local",
        request_id="q",
        features={"x": "x" * size},
        value="1",
    )


async def test_a_transaction_on_a_full_disk_is_refused_whole_and_works_again_with_space(
    small_disk: Path, small_storage: Storage
) -> None:
    await enqueue(small_storage, "j_1")
    filler = fill(small_disk)
    for number in range(20):
        with pytest.raises(DiskFull):
            await enqueue(small_storage, f"j_full_{number}", 200_000)
    async with small_storage.database.reading() as tx:
        assert [job.id for job in (await jobs.list_page(tx)).items] == ["j_1"]
    filler.unlink()
    await enqueue(small_storage, "j_2")
    async with small_storage.database.reading() as tx:
        assert {job.id for job in (await jobs.list_page(tx)).items} == {"j_1", "j_2"}
    assert await small_storage.database.check() == []


async def test_nothing_after_the_failure_is_committed_alone(small_disk: Path, small_storage: Storage) -> None:
    filler = fill(small_disk)

    async def go_on_regardless() -> None:
        async with small_storage.database.transaction() as tx:
            try:
                await jobs.enqueue(
                    tx, id="j_1", kind="t", arguments={"x": "x" * 500_000}, caller="local", runtime_version="1"
                )
            except DiskFull:
                filler.unlink()
            await jobs.enqueue(tx, id="j_2", kind="t", arguments={}, caller="local", runtime_version="1")

    with pytest.raises(DiskFull):
        await go_on_regardless()
    async with small_storage.database.reading() as tx:
        assert (await jobs.list_page(tx)).items == ()


async def test_the_prediction_log_tells_every_caller_and_recovers(
    small_disk: Path, small_storage: Storage, clock: HandClock
) -> None:
    kept = record(clock)
    await small_storage.predictions.append([kept])
    filler = fill(small_disk)
    for _ in range(5):
        with pytest.raises(DiskFull):
            await small_storage.predictions.append([record(clock, 200_000)])
    filler.unlink()
    again = record(clock)
    await small_storage.predictions.append([again])
    async with small_storage.database.reading() as tx:
        assert [item.id for item in (await predictions.list_page(tx)).items] == [kept.id, again.id]


async def test_an_artefact_on_a_full_disk_is_refused_and_leaves_nothing(
    small_disk: Path, small_storage: Storage, tmp_path: Path
) -> None:
    content = os.urandom(1_500_000)
    (tmp_path / "large").write_bytes(content)
    filler = fill(small_disk)
    before = sorted(small_storage.artefacts.folder.rglob("*"))
    with pytest.raises(DiskFull):
        await small_storage.artefacts.put(content)
    with pytest.raises(DiskFull):
        await small_storage.artefacts.put_file(tmp_path / "large")
    left = [path for path in small_storage.artefacts.folder.rglob("*") if path.is_file() and path not in before]
    filler.unlink()
    assert left == []
    digest = await small_storage.artefacts.put(content)
    assert await small_storage.artefacts.get(digest) == content
