"""What was acknowledged survives kill -9, whole and once; each test has a control that fails the same check."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from mcp_server.storage import Storage, audit, open_storage
from mcp_server.storage import tables as t
from storage.fixtures import HandClock
from storage.rounds import Rounds

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.fault,
    pytest.mark.skipif(sys.platform == "win32", reason="needs fork"),
]

ROUNDS = int(os.environ.get("KILLS", "25"))


def kill_in_rounds(script: str, database_url: str, tmp_path: Path, mode: str) -> list[str]:
    """Kill a process again and again, at different moments of its work."""
    chance = random.Random(7)
    acknowledged: list[str] = []
    with Rounds(script, database_url, str(tmp_path / "data"), mode) as rounds:
        for number in range(ROUNDS):
            acknowledged += rounds.kill_after(chance.randrange(2, 7), str(number), share=chance.random())
    return acknowledged


async def reopened(database_url: str, tmp_path: Path, clock: HandClock) -> Storage:
    storage = await open_storage(database_url=database_url, data_dir=tmp_path / "data", clock=clock)
    assert await storage.database.check() == []
    return storage


async def broken_units(storage: Storage, acknowledged: list[str]) -> list[str]:
    """The keys whose unit of work is there in part, twice, or not at all although it was acknowledged."""
    async with storage.database.reading() as tx:
        claims = (await tx.execute(select(t.claims))).all()
        changes = Counter((await tx.execute(select(t.jobs.c.id))).scalars())
        audited = Counter((await tx.execute(select(t.audit.c.request_id))).scalars())
    broken = set(acknowledged) - {claim.key for claim in claims}
    for key in {claim.key for claim in claims} | {id.removeprefix("j_") for id in changes} | set(audited):
        claim = next((claim for claim in claims if claim.key == key), None)
        answered = claim is not None and (
            claim.answer is not None or await storage.artefacts.exists(claim.answer_artefact or "")
        )
        if not answered or changes[f"j_{key}"] != 1 or audited[key] != 1:
            broken.add(key)
    return sorted(broken)


async def lost_or_doubled(storage: Storage, acknowledged: list[str]) -> list[str]:
    """Acknowledged predictions that aren't stored exactly once, and calls of which only some rows are stored."""
    async with storage.database.reading() as tx:
        rows = (await tx.execute(select(t.predictions.c.id, t.predictions.c.request_id))).all()
    stored = Counter(row.id for row in rows)
    wanted = [id for line in acknowledged for id in line.split()]
    calls = Counter(row.request_id for row in rows)
    partial = [call for call, count in calls.items() if count != 1 + int(call.rpartition("-")[2]) % 3]
    return [id for id in wanted if stored[id] != 1] + partial


async def test_a_unit_of_work_is_there_whole_or_not_at_all(database_url: str, tmp_path: Path, clock: HandClock) -> None:
    acknowledged = kill_in_rounds("working_process.py", database_url, tmp_path, "whole")
    storage = await reopened(database_url, tmp_path, clock)
    assert len(acknowledged) >= ROUNDS
    assert await broken_units(storage, acknowledged) == []
    witnessed = storage.witness.read()
    assert witnessed is not None
    async with storage.database.reading() as tx:
        assert (await audit.check_chain(tx, seen=[witnessed])).problems == ()
    await storage.close()


async def test_the_control_that_writes_its_audit_row_apart_is_caught(
    database_url: str, tmp_path: Path, clock: HandClock
) -> None:
    acknowledged = kill_in_rounds("working_process.py", database_url, tmp_path, "split")
    storage = await reopened(database_url, tmp_path, clock)
    assert await broken_units(storage, acknowledged) != []
    await storage.close()


async def test_no_acknowledged_prediction_is_lost_or_doubled(
    database_url: str, tmp_path: Path, clock: HandClock
) -> None:
    acknowledged = kill_in_rounds("predicting_process.py", database_url, tmp_path, "after")
    storage = await reopened(database_url, tmp_path, clock)
    assert len(acknowledged) >= ROUNDS
    assert await lost_or_doubled(storage, acknowledged) == []
    await storage.close()


async def test_the_control_that_acknowledges_before_the_commit_is_caught(
    database_url: str, tmp_path: Path, clock: HandClock
) -> None:
    acknowledged = kill_in_rounds("predicting_process.py", database_url, tmp_path, "before")
    storage = await reopened(database_url, tmp_path, clock)
    assert await lost_or_doubled(storage, acknowledged) != []
    await storage.close()
