"""The retention job in a real worker: what it removed is counted exactly, also when the worker is killed on the way."""

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from jobs.waiting import in_loop, until
from jobs.workplace import Workplace, workplace
from mcp_server.storage import audit, predictions
from mcp_server.storage.ids import new_ids
from mcp_server.storage.records import PredictionRecord
from mcp_server.storage.tables import predictions as table

REAL = ("--workflows", "mcp_server.workflows.registry:WORKFLOWS")
OLD, YOUNG, BATCH = 3_000, 40, 50


async def predicted(place: Workplace, at: datetime, count: int) -> None:
    fields: dict[str, Any] = {"model": "y", "version": 1, "digest": "sha256:1", "caller": "local", "request_id": "q"}
    records = [PredictionRecord(id=id, at=at, features={"x": 1}, value=0.5, **fields) for id in new_ids("p", count, at)]
    async with place.storage.database.transaction() as tx:
        await predictions.add(tx, records)


async def left(place: Workplace) -> int:
    async with place.storage.database.reading() as tx:
        return int((await tx.execute(select(func.count(table.c.id)))).scalar_one())


async def pieces(place: Workplace, job_id: str) -> list[dict[str, Any]]:
    async with place.storage.database.reading() as tx:
        page = await audit.list_page(tx, request_id=job_id, limit=1_000)
    return [row.details["removed"] for row in page.items]


@pytest.mark.fault
@in_loop
async def test_a_worker_killed_in_the_midst_removes_no_more_and_no_less_and_counts_every_row(tmp_path):
    async with workplace(tmp_path) as place:
        now = datetime.now(UTC)
        await predicted(place, now - timedelta(days=40), OLD)
        await predicted(place, now, YOUNG)
        before = {"predictions": (now - timedelta(days=30)).isoformat()}
        worker = await place.start_worker(*REAL)
        job_id = await place.enqueue("retention", before=before, batch=BATCH)

        async def begun() -> bool:
            return len(await pieces(place, job_id)) >= 3

        await until(begun)
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        part = await left(place)
        assert YOUNG < part < OLD + YOUNG, "the kill came in the midst"
        assert sum(one["predictions"] for one in await pieces(place, job_id)) == OLD + YOUNG - part

        await place.start_worker(*REAL)
        job = await place.ended(job_id)
        assert job.state == "succeeded", job.error
        assert job.result["removed"] == {"predictions": OLD, "answers": 0, "files": 0, "bytes": 0}
        assert await left(place) == YOUNG
        assert all(one["predictions"] <= BATCH for one in await pieces(place, job_id))


@in_loop
async def test_a_worker_asks_for_the_job_when_it_starts_where_a_setting_says_so(tmp_path):
    async with workplace(tmp_path, keep_predictions_days=30) as place:
        await predicted(place, datetime.now(UTC) - timedelta(days=31), 7)
        await place.start_worker(*REAL)

        async def gone() -> bool:
            return await left(place) == 0

        await until(gone, within=40)
