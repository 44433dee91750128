"""What health_report asks somebody to attend to."""

from pathlib import Path

import pytest

from mcp_server.context import SystemClock
from mcp_server.settings import Settings
from mcp_server.storage import jobs
from mcp_server.storage.ids import new_id
from mcp_server.workflows import health
from mcp_server.workflows.app import App

pytestmark = pytest.mark.anyio


async def test_a_refused_job_is_no_health_problem_and_hides_none(tmp_path: Path):
    app = App(Settings(data_dir=tmp_path), SystemClock())
    try:
        storage = await app.storage()
        refusals = ["E_EXPRESSION", "E_TRAINING", "E_PLAN", "E_ARG", "E_CONTRACT", "E_LEAK"]
        for codes in (["E_COMPUTE"], refusals):
            for code in codes:
                async with storage.database.transaction() as tx:
                    one = await jobs.enqueue(
                        tx, id=new_id("j", tx.now), kind="train", arguments={}, caller="local", runtime_version="1"
                    )
                    await jobs.finish(tx, one.id, state="failed", error={"code": code, "message": "It failed."})
            told = await health.report(app)
            assert [item["runbook"] for item in told.attention] == ["runbook://compute-failed"]
    finally:
        await app.close()
