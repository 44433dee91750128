"""Jobs and runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mcp_server.errors import Conflict, NotFound
from mcp_server.storage import Storage, jobs, runs
from mcp_server.storage.ids import new_id
from mcp_server.storage.records import Job, RunFilter
from storage.fixtures import HandClock

pytestmark = pytest.mark.anyio


async def enqueue(storage: Storage, **changes: Any) -> Job:
    async with storage.database.transaction() as tx:
        values: dict[str, Any] = {
            "id": new_id("j", tx.now),
            "kind": "train",
            "arguments": {"model": "winner"},
            "caller": "local",
            "runtime_version": "1",
        }
        return await jobs.enqueue(tx, **{**values, **changes})


async def claim(storage: Storage, worker: str = "w1", **changes: Any) -> Job | None:
    async with storage.database.transaction() as tx:
        return await jobs.claim_next(tx, worker=worker, **{"runtime_version": "1", **changes})


async def finish(storage: Storage, id: str, **end: Any) -> Job:
    async with storage.database.transaction() as tx:
        return await jobs.finish(tx, id, **end)


async def test_a_job_runs_from_the_queue_to_its_end(storage: Storage, clock: HandClock) -> None:
    job = await enqueue(storage)
    assert (job.state, job.created_at) == ("queued", clock.now())
    clock.move(timedelta(seconds=1))
    running = await claim(storage)
    assert running is not None
    assert (running.id, running.state, running.worker, running.started_at) == (job.id, "running", "w1", clock.now())
    async with storage.database.transaction() as tx:
        assert await jobs.set_progress(tx, job.id, 0.4, "fitting\0") is False
    async with storage.database.reading() as tx:
        assert ((await jobs.get(tx, job.id)).progress, (await jobs.get(tx, job.id)).message) == (0.4, "fitting\\0")
    clock.move(timedelta(seconds=1))
    ended = await finish(storage, job.id, state="succeeded", result={"model": "winner@1"})
    assert (ended.state, ended.progress, ended.result, ended.ended_at) == (
        "succeeded",
        1.0,
        {"model": "winner@1"},
        clock.now(),
    )


async def test_the_oldest_job_of_the_right_version_and_kind_is_claimed(storage: Storage) -> None:
    await enqueue(storage, runtime_version="0")
    await enqueue(storage, kind="scan")
    wanted = await enqueue(storage)
    await enqueue(storage)
    claimed = await claim(storage, kinds=["train"])
    assert claimed is not None
    assert claimed.id == wanted.id


async def test_a_job_is_claimed_once(storage: Storage) -> None:
    await enqueue(storage)
    assert await claim(storage) is not None
    assert await claim(storage, "w2") is None


async def test_the_same_id_again_is_the_job_that_is_there(storage: Storage) -> None:
    job = await enqueue(storage, id="j_1")
    assert await enqueue(storage, id="j_1", arguments={}) == job


async def test_a_waiting_job_is_cancelled_at_once(storage: Storage) -> None:
    job = await enqueue(storage)
    async with storage.database.transaction() as tx:
        assert (await jobs.request_cancel(tx, job.id)).state == "cancelled"
    assert await claim(storage) is None


async def test_a_running_job_learns_of_its_cancellation_when_it_reports(storage: Storage) -> None:
    job = await enqueue(storage)
    await claim(storage)
    async with storage.database.transaction() as tx:
        asked = await jobs.request_cancel(tx, job.id)
        assert (asked.state, asked.cancel_requested) == ("running", True)
        assert await jobs.set_progress(tx, job.id, 0.5, "")
    assert (await finish(storage, job.id, state="cancelled")).state == "cancelled"


async def test_an_end_said_twice_changes_nothing(storage: Storage, clock: HandClock) -> None:
    job = await enqueue(storage)
    await claim(storage)
    first = await finish(storage, job.id, state="failed", error={"code": "E_TARGET"})
    clock.move(timedelta(minutes=1))
    assert await finish(storage, job.id, state="failed", error={"code": "E_OTHER"}) == first


async def test_a_job_that_has_ended_cannot_end_otherwise(storage: Storage) -> None:
    job = await enqueue(storage)
    await claim(storage)
    await finish(storage, job.id, state="cancelled")
    with pytest.raises(Conflict, match="ended already"):
        await finish(storage, job.id, state="succeeded")


async def test_a_job_that_has_ended_cannot_be_started(storage: Storage) -> None:
    job = await enqueue(storage)
    await finish(storage, job.id, state="cancelled")
    with pytest.raises(Conflict):
        async with storage.database.transaction() as tx:
            await jobs.start(tx, job.id, worker="w1")


async def test_the_jobs_of_a_silent_worker_go_back_to_the_queue(storage: Storage, clock: HandClock) -> None:
    silent, cancelled, alive = [await enqueue(storage) for _ in range(3)]
    for worker in ("dead", "dead", "alive"):
        await claim(storage, worker)
    clock.move(timedelta(seconds=60))
    async with storage.database.transaction() as tx:
        await jobs.request_cancel(tx, cancelled.id)
        assert await jobs.heartbeat(tx, worker="alive") == 1
        changed = await jobs.requeue_silent(tx, silent_since=clock.now() - timedelta(seconds=30))
        states = {job.id: (job.state, job.worker) for job in changed}
        assert (await jobs.get(tx, alive.id)).state == "running"
    assert states == {silent.id: ("queued", None), cancelled.id: ("cancelled", None)}


async def test_jobs_are_listed_latest_first_and_counted(storage: Storage, clock: HandClock) -> None:
    made = []
    for caller in ("local", "key:ci", "local"):
        clock.move(timedelta(seconds=1))
        made.append((await enqueue(storage, caller=caller)).id)
    await claim(storage)
    async with storage.database.reading() as tx:
        everything = await jobs.list_page(tx)
        first = await jobs.list_page(tx, limit=2)
        rest = await jobs.list_page(tx, limit=2, cursor=first.next_cursor)
        mine = await jobs.list_page(tx, caller="key:ci")
        waiting = await jobs.list_page(tx, states=["queued"], kind="train")
        assert await jobs.count_by_state(tx) == {"queued": 2, "running": 1}
    assert [job.id for job in everything.items] == made[::-1]
    assert first.items + rest.items == everything.items
    assert [job.id for job in mine.items] == [made[1]]
    assert [job.id for job in waiting.items] == [made[2], made[1]]


async def test_an_unknown_job_is_not_found(storage: Storage) -> None:
    async with storage.database.reading() as tx:
        with pytest.raises(NotFound):
            await jobs.get(tx, "j_nothing")


async def test_a_run_is_recorded_once_and_ends_once(storage: Storage, clock: HandClock) -> None:
    async with storage.database.transaction() as tx:
        begun = await runs.start(tx, id="r_1", model="winner", dataset="games@1", parameters={"seed": 0}, job_id="j_1")
        assert await runs.start(tx, id="r_1", model="winner", dataset="games@2", parameters={}) == begun
    clock.move(timedelta(minutes=1))
    async with storage.database.transaction() as tx:
        ended = await runs.finish(tx, "r_1", status="succeeded", metrics={"auc": 0.72})
        assert await runs.finish(tx, "r_1", status="failed") == ended
    assert (ended.status, ended.metrics, ended.ended_at) == ("succeeded", {"auc": 0.72}, clock.now())


async def test_runs_are_listed_latest_first(storage: Storage) -> None:
    async with storage.database.transaction() as tx:
        for model in ("a", "b", "a"):
            await runs.start(tx, id=new_id("r", tx.now), model=model, dataset="games@1", parameters={})
    wanted = RunFilter(model="a")
    async with storage.database.reading() as tx:
        everything = (await runs.list_page(tx)).items
        of_a = await runs.list_page(tx, wanted=wanted, limit=1)
        rest = await runs.list_page(tx, wanted=wanted, limit=1, cursor=of_a.next_cursor)
    assert [run.model for run in everything] == ["a", "b", "a"]
    assert of_a.items + rest.items == (everything[0], everything[2])


async def test_an_unknown_run_is_not_found(storage: Storage) -> None:
    async with storage.database.reading() as tx:
        with pytest.raises(NotFound):
            await runs.get(tx, "r_nothing")
