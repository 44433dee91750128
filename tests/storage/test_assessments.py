"""How a model treats groups: the latest counts, once for each call, gone with the version."""

from __future__ import annotations

import pytest

from mcp_server.storage import Storage, assessments, models
from storage.test_models import add as add_model

pytestmark = pytest.mark.anyio


async def add(storage: Storage, version: int, request_id: str, rows: int) -> bool:
    async with storage.database.transaction() as tx:
        return await assessments.add(
            tx, name="games", version=version, dataset="games@1", found={"rows": rows}, request_id=request_id
        )


async def test_the_latest_of_a_version_counts_and_a_call_that_is_tried_again_leaves_one(storage: Storage) -> None:
    assert await add(storage, 1, "a", 10)
    assert await add(storage, 1, "b", 20)
    assert not await add(storage, 1, "a", 30)
    assert await add(storage, 2, "c", 40)
    async with storage.database.reading() as tx:
        found = await assessments.latest(tx, "games", 1)
        assert found is not None
        assert (found.dataset, found.found) == ("games@1", {"rows": 20})
        assert await assessments.latest(tx, "games", 3) is None


async def test_it_goes_with_its_version(storage: Storage) -> None:
    record = await add_model(storage, "games")
    await add(storage, record.version, "a", 10)
    async with storage.database.transaction() as tx:
        await models.remove(tx, record)
        assert await assessments.latest(tx, "games", record.version) is None
