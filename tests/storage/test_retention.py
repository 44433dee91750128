"""What is older than it may be goes, in pieces and the oldest first; what something still needs stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mcp_server.errors import InvalidInput
from mcp_server.storage import Storage, jobs, models, predictions, retention, runs, validations
from mcp_server.storage.ids import new_id, new_ids
from mcp_server.storage.records import PredictionRecord
from storage.fixtures import HandClock

pytestmark = pytest.mark.anyio

DAYS = timedelta(days=30)


async def predicted(storage: Storage, clock: HandClock, count: int) -> list[str]:
    ids = new_ids("p", count, clock.now())
    fields: dict[str, Any] = {"model": "y", "version": 1, "digest": "sha256:1", "caller": "local", "request_id": "q"}
    records = [PredictionRecord(id=id, at=clock.now(), features={"x": 1}, value=0.5, **fields) for id in ids]
    async with storage.database.transaction() as tx:
        await predictions.add(tx, records)
    return ids


async def counted(storage: Storage, kind: retention.Kind) -> int:
    async with storage.database.reading() as tx:
        return await retention.count(tx, kind, tx.now - DAYS)


async def removed(storage: Storage, kind: retention.Kind, limit: int = retention.BATCH) -> int:
    async with storage.database.transaction() as tx:
        return await retention.remove(tx, kind, tx.now - DAYS, limit=limit)


async def test_old_predictions_go_in_pieces_oldest_first_and_young_ones_stay(
    storage: Storage, clock: HandClock
) -> None:
    first = await predicted(storage, clock, 3)
    clock.move(timedelta(days=1))
    second = await predicted(storage, clock, 4)
    clock.move(DAYS)
    young = await predicted(storage, clock, 2)
    # Exactly as old as may be isn't older.
    assert await counted(storage, "predictions") == 3
    clock.move(timedelta(microseconds=1))
    assert await counted(storage, "predictions") == 7
    assert await removed(storage, "predictions", limit=3) == 3
    async with storage.database.reading() as tx:
        left = [one.id for one in (await predictions.list_page(tx)).items]
    assert left == sorted([*second, *young])
    assert not set(first) & set(left)
    assert [await removed(storage, "predictions", limit=3) for _ in range(3)] == [3, 1, 0]
    assert await counted(storage, "predictions") == 0


async def test_the_run_of_a_model_that_is_there_stays(storage: Storage, clock: HandClock) -> None:
    async with storage.database.transaction() as tx:
        for id in ("r_kept", "r_gone", "r_running"):
            await runs.start(tx, id=id, model="y", dataset="t@1", parameters={})
        await runs.finish(tx, "r_kept", status="succeeded")
        await runs.finish(tx, "r_gone", status="failed")
        fields: dict[str, Any] = {
            "digest": "sha256:1",
            "task": "binary",
            "target": "y",
            "artefact": "sha256:2",
            "manifest": {},
            "training_artefact": None,
            "signature": b"",
            "metrics": {},
            "dataset": "t@1",
            "created_by": "local",
        }
        await models.add_version(tx, name="y", run_id="r_kept", **fields)
    clock.move(2 * DAYS)
    assert await removed(storage, "runs") == 1
    async with storage.database.reading() as tx:
        assert {one.id for one in (await runs.list_page(tx)).items} == {"r_kept", "r_running"}


async def test_only_jobs_that_ended_go(storage: Storage, clock: HandClock) -> None:
    async with storage.database.transaction() as tx:
        for id in ("j_ended", "j_waiting"):
            await jobs.enqueue(tx, id=id, kind="train", arguments={}, caller="local", runtime_version="1")
        await jobs.finish(tx, "j_ended", state="cancelled")
    clock.move(2 * DAYS)
    assert await counted(storage, "jobs") == 1
    assert await removed(storage, "jobs") == 1
    async with storage.database.reading() as tx:
        assert [one.id for one in (await jobs.list_page(tx)).items] == ["j_waiting"]


async def test_old_validations_go(storage: Storage, clock: HandClock) -> None:
    for number in range(2):
        async with storage.database.transaction() as tx:
            said: dict[str, Any] = {"name": "t", "version": 1, "baseline": None, "verdict": "pass", "rules": {}}
            await validations.add(tx, request_id=new_id("q", clock.now()), **said)
        clock.move(number * timedelta(days=1) + DAYS)
    assert await removed(storage, "validations") == 2
    async with storage.database.reading() as tx:
        assert (await validations.list_page(tx, "t")).items == ()


async def test_nothing_else_is_let_go_of_by_its_age(storage: Storage) -> None:
    with pytest.raises(InvalidInput):
        await removed(storage, "audit")  # type: ignore[arg-type]
