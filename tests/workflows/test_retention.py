"""Who asks for the retention job and when, what a dry run counts, and that only settings let records go."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_server.context import SystemClock
from mcp_server.errors import NotFound, Transient
from mcp_server.settings import Settings
from mcp_server.storage import Storage, jobs, open_storage, predictions
from mcp_server.storage.ids import new_ids
from mcp_server.storage.records import PredictionRecord
from mcp_server.workflows import following, retention
from mcp_server.workflows.app import App
from storage.fixtures import HandClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def place(tmp_path: Path, clock: HandClock) -> AsyncIterator[Storage]:
    clock.at = SystemClock().now()  # files are dated by the machine
    storage = await open_storage(database_url=f"sqlite:///{tmp_path / 'c.db'}", data_dir=tmp_path, clock=clock)
    yield storage
    await storage.close()


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(data_dir=folder, **changes)


async def asked(storage: Storage) -> list[dict[str, Any]]:
    async with storage.database.reading() as tx:
        return [job.arguments for job in (await jobs.list_page(tx, kind=retention.KIND)).items]


async def test_it_is_asked_for_once_a_day_and_says_what_is_too_old(place: Storage, clock: HandClock, tmp_path: Path):
    kept = settings(tmp_path, keep_predictions_days=30, keep_runs_days=365)
    first = await retention.request_daily(place, kept)
    assert first is not None
    before = {days: (clock.now() - timedelta(days=days)).isoformat() for days in (30, 365)}
    assert await asked(place) == [{"before": {"predictions": before[30], "runs": before[365], "jobs": before[365]}}]
    clock.move(timedelta(hours=23))
    assert await retention.request_daily(place, kept) is None
    clock.move(timedelta(hours=1))
    assert await retention.request_daily(place, kept) is None, "the first one still waits"
    async with place.database.transaction() as tx:
        await jobs.finish(tx, first, state="succeeded", result={})
    second = await retention.request_daily(place, kept)
    assert second not in (None, first)


async def test_who_keeps_asking_goes_on_after_a_failure_of_the_database():
    times = 0

    async def ask() -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise Transient("The database is busy.", retry_after=0.1)
        if times == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await retention.keep_asking(ask, first=0, again=0)
    assert times == 3


@pytest.mark.parametrize("changes", [{}, {"keep_predictions_days": 30, "read_only": True}])
async def test_nobody_asks_where_nothing_may_go(place: Storage, tmp_path: Path, changes: dict[str, Any]):
    assert await retention.request_daily(place, settings(tmp_path, **changes)) is None
    assert await asked(place) == []


async def test_asked_for_now_it_is_the_job_that_waits_already(place: Storage, tmp_path: Path):
    kept = settings(tmp_path, keep_predictions_days=30)
    daily = await retention.request_daily(place, kept)
    assert await retention.request(place, kept, caller="local") == daily


async def test_a_dry_run_counts_and_changes_nothing(place: Storage, clock: HandClock, tmp_path: Path):
    fields: dict[str, Any] = {"model": "y", "version": 1, "digest": "sha256:1", "caller": "local", "request_id": "q"}
    records = [
        PredictionRecord(id=id, at=clock.now(), features={"x": 1}, value=0.5, **fields)
        for id in new_ids("p", 5, clock.now())
    ]
    async with place.database.transaction() as tx:
        await predictions.add(tx, records)
    await place.artefacts.put(b"loose")
    clock.move(timedelta(days=31))
    kept = settings(tmp_path, keep_predictions_days=30)
    for _ in range(2):
        assert await retention.counted(place, kept) == {"predictions": 5, "answers": 0, "files": 1, "bytes": 5}
    assert await retention.counted(place, settings(tmp_path)) == {"answers": 0, "files": 1, "bytes": 5}


async def test_the_newest_job_is_one_that_somebody_asked_for(tmp_path: Path):
    app = App(settings(tmp_path, keep_predictions_days=30), SystemClock())
    try:
        storage = await app.storage()
        id = await retention.request_daily(storage, app.settings)
        assert id is not None
        with pytest.raises(NotFound, match="There is no job yet"):
            await following.find(app, None)
        assert (await following.find(app, id)).id == id
        async with storage.database.transaction() as tx:
            removed = {"predictions": 1_200, "answers": 0, "files": 2, "bytes": 40}
            ended = await jobs.finish(tx, id, state="succeeded", result={"removed": removed, "next": "health_report."})
        told = following.answer(ended)
        assert told.lines()[1] == "Removed: 1,200 predictions, 0 answers, 2 files, 40 bytes."
        assert "train_model" not in str(told.next)
    finally:
        await app.close()
