"""How a model treats groups: the latest counts, once for each call, gone with the version."""

from __future__ import annotations

import pytest

from mcp_server.storage import Storage, assessments, erasure, models
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


async def test_a_group_that_is_named_by_an_erased_value_loses_its_name(storage: Storage) -> None:
    found = {"rows": 40, "columns": [{"reference": "Ann Lee", "groups": [{"name": "Ann Lee"}, {"name": "others"}]}]}
    async with storage.database.transaction() as tx:
        await assessments.add(tx, name="games", version=1, dataset="games@1", found=found, request_id="a")
        assert await erasure.scrub(tx, {"Ann Lee", "rows"}) == 1
        kept = await assessments.latest(tx, "games", 1)
    assert kept is not None
    assert kept.found == {
        "rows": 40,
        "columns": [{"reference": "[erased]", "groups": [{"name": "[erased]"}, {"name": "others"}]}],
    }
