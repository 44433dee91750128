"""Data set versions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mcp_server.errors import AlreadyExists, DataRejected, InvalidInput, NotFound
from mcp_server.storage import Storage, datasets
from mcp_server.storage.records import DatasetVersion
from storage.fixtures import HandClock

pytestmark = pytest.mark.anyio


async def add(storage: Storage, name: str, digest: str = "sha256:1", **changes: Any) -> DatasetVersion:
    values: dict[str, Any] = {
        "artefact": "sha256:a",
        "rows": 10,
        "columns": 2,
        "contract": {"columns": [{"name": "z", "minimum": 1e16}, {"name": "a", "minimum": -0.0}]},
        "profile": {"text": "é🏀\u0000"},
        "source": {"file": "games.csv"},
        "parent": None,
        "created_by": "local",
    }
    async with storage.database.transaction() as tx:
        return await datasets.add_version(tx, name=name, digest=digest, **{**values, **changes})


async def test_a_version_reads_back_as_it_was_written(storage: Storage, clock: HandClock) -> None:
    added = await add(storage, "games", parent="raw@3")
    async with storage.database.reading() as tx:
        read = await datasets.get(tx, "games", 1)
    assert read == added
    assert repr(read.contract) == repr(added.contract)
    assert read.created_at == clock.now()
    assert read.created_at.utcoffset() == timedelta(0)


async def test_versions_are_numbered_from_one_for_each_name(storage: Storage) -> None:
    numbers = [(await add(storage, name, f"sha256:{index}")).version for index, name in enumerate("aabab")]
    assert numbers == [1, 2, 1, 3, 2]


async def test_the_same_digest_under_the_same_name_is_the_version_that_is_there(
    storage: Storage, clock: HandClock
) -> None:
    first = await add(storage, "games")
    await add(storage, "games", "sha256:2")
    clock.move(timedelta(hours=1))
    assert await add(storage, "games") == first
    assert (await add(storage, "other")).version == 1


async def test_a_name_that_differs_in_case_alone_is_refused(storage: Storage) -> None:
    await add(storage, "Games")
    with pytest.raises(AlreadyExists, match="Games"):
        await add(storage, "games", "sha256:2")


async def test_a_name_that_is_not_allowed_is_refused(storage: Storage) -> None:
    with pytest.raises(DataRejected, match="letters outside"):
        await add(storage, "gаmes")  # A Cyrillic letter.


async def test_without_a_number_the_newest_version_is_meant(storage: Storage) -> None:
    await add(storage, "games", "sha256:1")
    await add(storage, "games", "sha256:2")
    async with storage.database.reading() as tx:
        assert (await datasets.get(tx, "GAMES")).version == 2
        assert (await datasets.resolve(tx, "games@1")).digest == "sha256:1"


async def test_an_unknown_data_set_says_where_to_look(storage: Storage) -> None:
    async with storage.database.reading() as tx:
        with pytest.raises(NotFound) as refused:
            await datasets.get(tx, "games")
    assert "import_data" in refused.value.hint


async def test_an_unknown_version_of_a_known_data_set_is_told_apart(storage: Storage) -> None:
    await add(storage, "games")
    async with storage.database.reading() as tx:
        with pytest.raises(NotFound, match="no version 7"):
            await datasets.get(tx, "games", 7)


async def test_the_list_shows_each_name_once_in_pages(storage: Storage) -> None:
    for index in range(7):
        await add(storage, f"set-{index}", "sha256:1")
        await add(storage, f"set-{index}", "sha256:2", rows=index)
    seen = []
    cursor = None
    async with storage.database.reading() as tx:
        while True:
            page = await datasets.list_page(tx, cursor=cursor, limit=3)
            assert len(page.items) <= 3
            seen += [(item.name, item.version, item.rows) for item in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert seen == [(f"set-{index}", 2, index) for index in range(7)]


@pytest.mark.parametrize(("search", "found"), [("GAME", ["games"]), ("_", ["a_b"]), ("%", []), ("", ["a_b", "games"])])
async def test_a_search_takes_its_text_literally(storage: Storage, search: str, found: list[str]) -> None:
    await add(storage, "games")
    await add(storage, "a_b")
    async with storage.database.reading() as tx:
        assert [item.name for item in (await datasets.list_page(tx, search=search)).items] == found


async def test_the_versions_of_a_name_come_newest_first_in_pages(storage: Storage) -> None:
    for index in range(5):
        await add(storage, "games", f"sha256:{index}")
    async with storage.database.reading() as tx:
        first = await datasets.list_versions(tx, "games", limit=3)
        rest = await datasets.list_versions(tx, "games", limit=3, cursor=first.next_cursor)
    assert [item.version for item in first.items + rest.items] == [5, 4, 3, 2, 1]
    assert rest.next_cursor is None


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "bnVsbA", "dHJ1ZQ", "W10", "é", "a" * 600, "MQ"])
async def test_a_cursor_that_no_list_gave_is_refused(storage: Storage, cursor: str) -> None:
    async with storage.database.reading() as tx:
        with pytest.raises(InvalidInput, match="cursor"):
            await datasets.list_page(tx, cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1_001])
async def test_a_limit_out_of_bounds_is_refused(storage: Storage, limit: int) -> None:
    async with storage.database.reading() as tx:
        with pytest.raises(InvalidInput, match="limit"):
            await datasets.list_page(tx, limit=limit)


async def test_names_are_completed_from_their_beginning(storage: Storage) -> None:
    for name in ("games", "Gains", "nba-games"):
        await add(storage, name)
    async with storage.database.reading() as tx:
        assert await datasets.names(tx, "ga") == ["Gains", "games"]
        assert await datasets.count(tx) == 3


async def test_two_names_may_hold_the_same_data(storage: Storage) -> None:
    one, other = await add(storage, "one"), await add(storage, "other")
    assert replace(one, name="other") == other
