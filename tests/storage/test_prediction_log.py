"""The prediction log and what it stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from mcp_server.context import CallContext
from mcp_server.errors import Busy, CorruptArtefact, InvalidInput, NotFound, StorageFailed
from mcp_server.storage import Storage, open_storage, predictions
from mcp_server.storage.ids import new_id, new_ids
from mcp_server.storage.in_flight import Replayed
from mcp_server.storage.records import PredictionRecord
from mcp_server.storage.tables import predictions as table
from storage.fixtures import HandClock

pytestmark = pytest.mark.anyio

Make = Callable[..., PredictionRecord]


@pytest.fixture
def make_record(clock: HandClock) -> Make:
    def make(**changes: Any) -> PredictionRecord:
        values: dict[str, Any] = {
            "id": new_id("p", clock.now()),
            "at": clock.now(),
            "model": "winner",
            "version": 1,
            "digest": "sha256:1",
            "caller": "local",
            "request_id": "q1",
            "features": {"home_elo": 1512.5, "team": "Ōsaka\u0000", "email": "ada@example.org", "big": 2**70},
            "value": "1",
            "probability": 0.61,
            "answer": {"probabilities": {"0": 0.39, "1": 0.61}},
            "flags": [{"column": "home_elo", "kind": "out_of_range"}],
            "personal": frozenset({"email", "absent"}),
        }
        return PredictionRecord(**{**values, **changes})

    return make


async def stored(storage: Storage) -> list[str]:
    async with storage.database.reading() as tx:
        return list((await tx.execute(select(table.c.id).order_by(table.c.id))).scalars())


async def test_what_is_appended_reads_back_with_personal_columns_hashed(storage: Storage, make_record: Make) -> None:
    record = make_record()
    await storage.predictions.append([record])
    async with storage.database.reading() as tx:
        read = await predictions.get(tx, record.id)
    expected = {**record.features, "email": storage.keys.pseudonym("email", "ada@example.org")}
    assert read.features == expected
    for name in ("at", "model", "version", "digest", "caller", "request_id", "value", "probability", "answer", "flags"):
        assert getattr(read, name) == getattr(record, name), name


async def test_both_ways_of_storing_store_the_same(storage: Storage, make_record: Make) -> None:
    logged, in_transaction = make_record(value=0.25, probability=None), make_record(value=0.25, probability=None)
    await storage.predictions.append([logged])
    async with storage.database.transaction() as tx:
        await predictions.add(tx, [in_transaction])
        await predictions.add(tx, [])
    columns = [column for column in table.c if column.name not in ("id", "features")]
    async with storage.database.reading() as tx:
        one, other = (await tx.execute(select(*columns))).all()
        page = await predictions.list_page(tx)
    assert one == other
    assert page.items[0].features == page.items[1].features


async def test_features_are_not_readable_in_the_database(storage: Storage, make_record: Make) -> None:
    await storage.predictions.append([make_record()])
    async with storage.database.reading() as tx:
        row = (await tx.execute(select(table))).one()
    assert not any(word in repr(tuple(row)) for word in ('home_elo": 15', "ada@", "saka"))


async def test_features_moved_to_another_row_do_not_open(storage: Storage, make_record: Make) -> None:
    one, other = make_record(), make_record()
    await storage.predictions.append([one, other])
    async with storage.database.transaction() as tx:
        sealed = (await tx.execute(select(table.c.features).where(table.c.id == one.id))).scalar_one()
        await tx.execute(table.update().where(table.c.id == other.id).values(features=sealed))
    async with storage.database.reading() as tx:
        with pytest.raises(CorruptArtefact):
            await predictions.get(tx, other.id)


async def test_the_same_record_again_is_stored_once(storage: Storage, make_record: Make) -> None:
    record = make_record()
    await storage.predictions.append([record, record])
    await storage.predictions.append([record])
    async with storage.database.transaction() as tx:
        await predictions.add(tx, [record])
    assert await stored(storage) == [record.id]


async def test_many_callers_are_stored_together_and_each_in_its_order(
    storage: Storage, make_record: Make, clock: HandClock
) -> None:
    batches = [[make_record(id=id) for id in new_ids("p", 5, clock.now())] for _ in range(200)]
    await asyncio.gather(*(storage.predictions.append(batch) for batch in batches))
    assert await stored(storage) == [record.id for batch in batches for record in batch]


async def test_nothing_to_append_needs_no_writer(storage: Storage) -> None:
    await storage.predictions.append([])


async def test_a_value_that_is_not_json_is_refused_and_its_neighbours_are_stored(
    storage: Storage, make_record: Make
) -> None:
    good, bad, other = make_record(), make_record(features={"x": object()}), make_record()
    ended = await asyncio.gather(
        *(storage.predictions.append([record]) for record in (good, bad, other)), return_exceptions=True
    )
    assert [type(end) for end in ended] == [type(None), InvalidInput, type(None)]
    assert await stored(storage) == [good.id, other.id]


async def test_a_call_of_several_rows_is_stored_whole_or_not_at_all(storage: Storage, make_record: Make) -> None:
    with pytest.raises(InvalidInput):
        await storage.predictions.append([make_record(), make_record(answer={"x": object()})])
    assert await stored(storage) == []


async def test_a_failure_reaches_every_caller_and_the_next_call_works(storage: Storage, make_record: Make) -> None:
    async with storage.database.transaction() as tx:
        await tx.execute(text("ALTER TABLE predictions RENAME TO hidden"))
    ended = await asyncio.gather(
        *(storage.predictions.append([make_record()]) for _ in range(20)), return_exceptions=True
    )
    async with storage.database.transaction() as tx:
        await tx.execute(text("ALTER TABLE hidden RENAME TO predictions"))
    assert all(isinstance(end, StorageFailed) for end in ended)
    record = make_record()
    await storage.predictions.append([record])
    assert await stored(storage) == [record.id]


async def test_over_its_bound_the_log_refuses_at_once(
    database_url: str, tmp_path: Path, clock: HandClock, make_record: Make
) -> None:
    storage = await open_storage(database_url=database_url, data_dir=tmp_path / "data", clock=clock, log_capacity=10)
    with pytest.raises(Busy) as busy:
        await storage.predictions.append([make_record() for _ in range(11)])
    ended = await asyncio.gather(
        *(storage.predictions.append([make_record()]) for _ in range(30)), return_exceptions=True
    )
    done = ended.count(None)
    assert busy.value.retry_after == 0.5
    assert done == 10
    assert all(isinstance(end, Busy) for end in ended if end is not None)
    assert len(await stored(storage)) == done
    await storage.predictions.append([make_record() for _ in range(10)])
    await storage.close()


async def test_closing_stores_what_waits_and_refuses_what_comes(storage: Storage, make_record: Make) -> None:
    waiting = [asyncio.ensure_future(storage.predictions.append([make_record()])) for _ in range(50)]
    await asyncio.sleep(0)
    await storage.predictions.close()
    await asyncio.gather(*waiting)
    assert len(await stored(storage)) == 50
    with pytest.raises(StorageFailed, match="closed"):
        await storage.predictions.append([make_record()])


async def test_a_cancelled_call_leaves_the_log_working(storage: Storage, make_record: Make) -> None:
    calls = [asyncio.ensure_future(storage.predictions.append([make_record()] * 100)) for _ in range(5)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    record = make_record()
    await storage.predictions.append([record])
    assert record.id in await stored(storage)


async def test_writing_transactions_and_the_log_do_not_disturb_each_other(storage: Storage, make_record: Make) -> None:
    async def in_transaction() -> None:
        async with storage.database.transaction() as tx:
            await predictions.add(tx, [make_record()])

    works = [in_transaction() if index % 2 else storage.predictions.append([make_record()]) for index in range(60)]
    await asyncio.gather(*works)
    assert len(await stored(storage)) == 60


async def test_predictions_are_found_by_model_and_time_in_pages(
    storage: Storage, make_record: Make, clock: HandClock
) -> None:
    begun = clock.now()
    made = []
    for index in range(10):
        made.append(make_record(model="winner" if index % 2 else "other", version=1 + index // 5))
        clock.move(timedelta(hours=1))
    await storage.predictions.append(made)
    async with storage.database.reading() as tx:
        first = await predictions.list_page(tx, model="winner", limit=3)
        rest = await predictions.list_page(tx, model="winner", limit=3, cursor=first.next_cursor)
        since, until = begun + timedelta(hours=2), begun + timedelta(hours=5)
        middle = await predictions.list_page(tx, since=since, until=until)
        assert await predictions.count(tx, since=since, until=until) == 3
        assert await predictions.count(tx, model="winner", version=2) == 3
    assert [item.id for item in first.items + rest.items] == [record.id for record in made[1::2]]
    assert [item.id for item in middle.items] == [record.id for record in made[2:5]]


async def test_an_unknown_prediction_is_not_found(storage: Storage) -> None:
    async with storage.database.reading() as tx:
        with pytest.raises(NotFound):
            await predictions.get(tx, "p_nothing")


async def test_a_prediction_with_a_key_is_stored_once_with_its_answer(
    storage: Storage, make_record: Make, make_call: Callable[..., CallContext]
) -> None:
    async def predict() -> None:
        async with storage.database.transaction(make_call(key="k1")) as tx:
            await predictions.add(tx, [make_record()])
            tx.answer({"value": "1"})

    await predict()
    with pytest.raises(Replayed):
        await predict()
    assert len(await stored(storage)) == 1


async def test_ids_ascend_whatever_the_clock_does(clock: HandClock) -> None:
    made = new_ids("p", 70_000, clock.now())
    clock.move(-timedelta(days=400))
    made += new_ids("p", 10, clock.now())
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {len(id) for id in made} == {41}
