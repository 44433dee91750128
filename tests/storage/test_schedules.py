"""Schedules: one of a name, signed; a run's end is recorded once, whoever ran it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from mcp_server.errors import DataRejected
from mcp_server.storage import Storage, schedules
from mcp_server.storage.records import Schedule
from mcp_server.storage.tables import schedules as table

pytestmark = pytest.mark.anyio


async def put(storage: Storage, name: str = "Nightly", *, days: int = 1, **changes: Any) -> None:
    async with storage.database.transaction() as tx:
        fields: dict[str, Any] = {
            "cron": "0 3 * * *",
            "timezone": "UTC",
            "tool": "validate_data",
            "arguments": {"dataset": "games", "limits": [1e16, -0.0, 0.1]},
            "created_by": "local",
            "next_at": tx.now + timedelta(days=days),
        }
        await schedules.put(tx, name, **{**fields, **changes})


async def every(storage: Storage) -> list[Schedule]:
    async with storage.database.reading() as tx:
        return await schedules.all_of(tx)


async def test_a_name_has_one_schedule_whatever_its_letters_and_the_next_to_run_comes_first(storage: Storage) -> None:
    await put(storage, days=3)
    await put(storage, "weekly", days=2)
    await put(storage, "NIGHTLY", days=1, cron="0 4 * * *")
    assert [(one.name, one.cron) for one in await every(storage)] == [("NIGHTLY", "0 4 * * *"), ("weekly", "0 3 * * *")]
    async with storage.database.transaction() as tx:
        assert await schedules.count(tx, but="nightly") == 1
        assert await schedules.remove(tx, "nightly")
        assert not await schedules.remove(tx, "nightly")
    assert [one.name for one in await every(storage)] == ["weekly"]


async def test_a_name_that_is_none_is_refused(storage: Storage) -> None:
    with pytest.raises(DataRejected):
        await put(storage, "../x")
    assert await every(storage) == []


async def test_only_what_is_due_is_given(storage: Storage) -> None:
    await put(storage, "soon", days=1)
    await put(storage, "later", days=9)
    async with storage.database.reading() as tx:
        found = await schedules.all_of(tx, due=tx.now + timedelta(days=2))
    assert [one.name for one in found] == ["soon"]


async def test_of_two_that_ran_the_same_time_one_records_it(storage: Storage) -> None:
    await put(storage)
    (one,) = await every(storage)
    later = one.next_at + timedelta(days=1)
    for first in (True, False):
        async with storage.database.transaction() as tx:
            assert await schedules.ran(tx, one, next_at=later, ended={"code": "ok"}) is first
    (after,) = await every(storage)
    assert (after.next_at, after.recent) == (later, [{"code": "ok"}])


async def test_a_run_of_a_schedule_that_was_replaced_meanwhile_is_not_the_new_one_s(
    storage: Storage, clock: Any
) -> None:
    await put(storage)
    (one,) = await every(storage)
    clock.move(timedelta(seconds=1))
    await put(storage, tool="verify_model", next_at=one.next_at)
    async with storage.database.transaction() as tx:
        assert not await schedules.ran(tx, one, next_at=one.next_at + timedelta(days=1), ended={"code": "ok"})
    assert (await every(storage))[0].recent == []


async def test_the_latest_ten_ends_are_kept(storage: Storage) -> None:
    await put(storage)
    for number in range(12):
        (one,) = await every(storage)
        async with storage.database.transaction() as tx:
            await schedules.ran(tx, one, next_at=one.next_at + timedelta(days=1), ended={"number": number})
    assert [past["number"] for past in (await every(storage))[0].recent] == list(range(2, 12))


@pytest.mark.parametrize(
    "change",
    [
        {"tool": "import_data"},
        {"arguments": {"dataset": "other"}},
        {"created_by": "key:boss"},
        {"cron": "*/5 * * * *"},
        {"timezone": "Asia/Tokyo"},
        {"name": "other"},
    ],
)
async def test_a_row_that_was_changed_by_hand_is_not_genuine(storage: Storage, change: dict[str, Any]) -> None:
    await put(storage)
    assert schedules.genuine(storage.keys, (await every(storage))[0])
    async with storage.database.transaction() as tx:
        await tx.execute(update(table).values(**change))
    assert not schedules.genuine(storage.keys, (await every(storage))[0])


async def test_when_it_runs_next_is_not_signed_so_that_a_run_needs_no_key(storage: Storage) -> None:
    await put(storage)
    (one,) = await every(storage)
    assert schedules.genuine(storage.keys, replace(one, next_at=one.created_at, recent=[{"code": "ok"}]))
