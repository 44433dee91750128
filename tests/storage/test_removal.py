"""What is deleted goes whole: record and files, even when the process is killed between the two."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_server.context import CallContext, SystemClock
from mcp_server.errors import NotFound, Transient
from mcp_server.storage import Storage, audit, datasets, open_storage, removal
from mcp_server.storage.erasure import copies, holds, without
from mcp_server.storage.records import DatasetVersion
from storage.fixtures import HandClock

pytestmark = pytest.mark.anyio

PROCESS = Path(__file__).parent / "deleting_process.py"


async def added(storage: Storage, content: bytes, name: str = "games", **changes: Any) -> DatasetVersion:
    artefact = await storage.artefacts.put(content)
    fields: dict[str, Any] = {
        "name": name,
        "digest": artefact,
        "artefact": artefact,
        "rows": 1,
        "columns": 1,
        "contract": {},
        "profile": {},
        "source": {},
        "parent": None,
        "created_by": "local",
    }
    async with storage.database.transaction() as tx:
        return await datasets.add_version(tx, **{**fields, **changes})


async def deleted(storage: Storage, version: DatasetVersion, call: CallContext | None = None) -> None:
    async with storage.database.transaction(call) as tx:
        await datasets.remove(tx, version)
        await removal.note(tx, [version.artefact])


async def test_a_deleted_versions_file_goes_and_its_number_isnt_given_again(
    storage: Storage, make_call: Callable[..., CallContext]
) -> None:
    await added(storage, b"one")
    second = await added(storage, b"two")
    await deleted(storage, second, make_call())
    assert await removal.finish(storage.database, storage.artefacts) == 1
    assert not await storage.artefacts.exists(second.artefact)
    assert (await added(storage, b"three")).version == 3
    async with storage.database.reading() as tx:
        with pytest.raises(NotFound, match="was deleted on 2026-03-01"):
            await datasets.get(tx, "games", 2)
        rows = await audit.list_page(tx)
    assert len(rows.items) == 1


async def test_a_name_whose_every_version_was_deleted_goes_on_counting(storage: Storage) -> None:
    await deleted(storage, await added(storage, b"one"))
    assert (await added(storage, b"two")).version == 2


async def test_a_file_that_something_else_refers_to_stays(storage: Storage) -> None:
    mine = await added(storage, b"same")
    await added(storage, b"same", name="others")
    await deleted(storage, mine)
    assert await removal.finish(storage.database, storage.artefacts) == 0
    assert await storage.artefacts.get(mine.artefact) == b"same"
    assert await storage.artefacts.marked() == set()


async def test_a_deletion_that_is_undone_removes_nothing(storage: Storage) -> None:
    version = await added(storage, b"one")

    async def broken() -> None:
        async with storage.database.transaction() as tx:
            await datasets.remove(tx, version)
            await removal.note(tx, [version.artefact])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken()
    assert await removal.finish(storage.database, storage.artefacts) == 0
    async with storage.database.reading() as tx:
        assert (await datasets.get(tx, "games", 1)).artefact == version.artefact
    assert await storage.artefacts.exists(version.artefact)


async def test_whoever_put_the_same_content_meanwhile_is_told_to_put_it_again(storage: Storage) -> None:
    version = await added(storage, b"one")
    again = await storage.artefacts.put(b"one")
    await deleted(storage, version)
    await removal.finish(storage.database, storage.artefacts)
    with pytest.raises(Transient):
        async with storage.database.transaction() as tx:
            await removal.hold(tx, [again])


async def test_only_what_has_waited_for_a_day_is_collected(storage: Storage, clock: HandClock) -> None:
    clock.at = SystemClock().now()  # files are dated by the machine
    kept = await added(storage, b"kept")
    loose = await storage.artefacts.put(b"loose")
    assert await removal.collect(storage.database, storage.artefacts) == 0
    clock.move(timedelta(hours=25))
    assert await removal.collect(storage.database, storage.artefacts) == 1
    assert not await storage.artefacts.exists(loose)
    assert await storage.artefacts.exists(kept.artefact)


@pytest.mark.fault
@pytest.mark.parametrize(("moment", "there"), [("before", True), ("after", False)])
async def test_a_kill_before_the_commit_keeps_all_and_after_it_the_next_start_ends_what_was_begun(
    tmp_path: Path, migrated_file: Path, clock: HandClock, moment: str, there: bool
) -> None:
    folder = tmp_path / "data"

    async def opened() -> Storage:
        return await open_storage(database_url=f"sqlite:///{folder / 'courtside.db'}", data_dir=folder, clock=clock)

    storage = await opened()
    version = await added(storage, b"one")
    await storage.close()
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(PROCESS), str(folder), moment], capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = folder / "artefacts" / "sha256" / version.artefact[7:9] / version.artefact[9:]
    assert left.exists(), "the control: the kill came before the file was removed"
    storage = await opened()
    try:
        async with storage.database.reading() as tx:
            known = [one.version for one in await datasets.every(tx, "games")]
        assert bool(known) is there
        assert left.exists() is there
        assert await storage.artefacts.marked() == set()
    finally:
        await storage.close()


def test_copies_are_counted_across_the_edges_of_chunks(tmp_path: Path) -> None:
    from mcp_server.storage import erasure

    word = "ann@example.org"
    for at in range(erasure.CHUNK - 20, erasure.CHUNK + 2):
        (tmp_path / "file").write_bytes(b"x" * at + word.encode() + b"y" * 30)
        assert copies(tmp_path, {word}) == {"file": 1}


def test_a_word_is_found_and_replaced_as_text_and_as_json_writes_it() -> None:
    assert holds('{"a":"J\\u00f6rg Ä"}'.encode(), {"Jörg Ä"[:4]})
    assert without({"Jörg": ["x == 'Jörg'", "Jörg > 1"], "n": 1}, {"Jörg"}) == {
        "Jörg": ["x == '[erased]'", "Jörg > 1"],
        "n": 1,
    }
