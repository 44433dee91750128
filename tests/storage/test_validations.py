"""The quality history: one line for each call, in order, in bounded parts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mcp_server.errors import DataRejected
from mcp_server.storage import Storage, validations
from storage.fixtures import HandClock

pytestmark = pytest.mark.anyio

RULES = {"duplicates.rows": {"severity": "warn", "findings": 1, "count": 3}}


async def add(storage: Storage, name: str, version: int, request_id: str) -> bool:
    async with storage.database.transaction() as tx:
        return await validations.add(
            tx, name=name, version=version, baseline=None, verdict="warn", rules=RULES, request_id=request_id
        )


async def test_a_call_that_is_tried_again_leaves_one_line(storage: Storage) -> None:
    assert await add(storage, "games", 1, "a")
    assert not await add(storage, "games", 1, "a")
    assert await add(storage, "games", 1, "b")
    async with storage.database.reading() as tx:
        assert len((await validations.list_page(tx, "games")).items) == 2


async def test_the_newest_come_first_and_the_rest_by_cursor(storage: Storage, clock: HandClock) -> None:
    for at in range(5):
        await add(storage, "games", at + 1, f"call {at}")
        await add(storage, "other", 9, f"other {at}")
        clock.move(timedelta(minutes=1))
    async with storage.database.reading() as tx:
        first = await validations.list_page(tx, "Games", limit=3)
        rest = await validations.list_page(tx, "games", limit=3, cursor=first.next_cursor)
    assert [one.version for one in (*first.items, *rest.items)] == [5, 4, 3, 2, 1]
    assert rest.next_cursor is None
    assert first.items[0].rules == RULES
    assert first.items[0].at > first.items[1].at


async def test_a_suite_that_passes_is_not_the_latest_word_of_our_own_checks(storage: Storage) -> None:
    await add(storage, "games", 1, "own")
    said = {"version": 1, "baseline": None, "verdict": "pass", "rules": {}, "request_id": "suite", "suite": "sha256:0"}
    async with storage.database.transaction() as tx:
        await validations.add(tx, name="games", **said)
        latest = await validations.latest(tx, "games", 1)
        page = await validations.list_page(tx, "games")
    assert latest is not None
    assert (latest.verdict, latest.suite) == ("warn", None)
    assert [one.suite for one in page.items] == ["sha256:0", None]


async def test_a_name_that_is_none_is_refused(storage: Storage) -> None:
    with pytest.raises(DataRejected):
        await add(storage, "no name", 1, "a")
