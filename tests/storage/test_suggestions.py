"""Suggested rows: remembered once for each question, with what their labels gained, until the version goes."""

from __future__ import annotations

import pytest

from mcp_server.errors import DataRejected
from mcp_server.storage import Storage, datasets, suggestions
from mcp_server.storage.records import DatasetVersion, Suggestion
from storage.test_datasets import add as add_version

pytestmark = pytest.mark.anyio

EXPECTED = {"now": {"value": 0.01, "low": -0.01, "high": 0.03}}


async def add(
    storage: Storage, dataset: DatasetVersion, pool: DatasetVersion | None = None, *, seed: int = 0, rows: int = 3
) -> bool:
    async with storage.database.transaction() as tx:
        return await suggestions.add(
            tx, dataset, pool, count=rows, seed=seed, rows=list(range(1, rows + 1)), expected=EXPECTED
        )


async def newest(storage: Storage, name: str, limit: int = 10) -> list[Suggestion]:
    async with storage.database.reading() as tx:
        return await suggestions.newest(tx, name, limit=limit)


async def test_the_same_question_is_remembered_once(storage: Storage) -> None:
    games, pool = await add_version(storage, "Games"), await add_version(storage, "pool")
    assert await add(storage, games)
    assert not await add(storage, games)
    assert await add(storage, games, pool)
    assert not await add(storage, games, pool)
    assert await add(storage, games, seed=4_294_967_295)
    found = await newest(storage, "games")
    assert [(one.dataset, one.pool) for one in found] == [("Games@1", None), ("Games@1", "pool@1"), ("Games@1", None)]
    assert (found[0].rows, found[0].expected, found[0].gain) == ((1, 2, 3), EXPECTED, None)
    assert len(await newest(storage, "games", limit=2)) == 2


async def test_a_suggestion_is_found_by_the_data_set_and_by_the_pool_and_by_no_other_name(storage: Storage) -> None:
    names = ("a_b", "a_b.c", "axb", "pool_1", "poolx1")
    made = {name: await add_version(storage, name) for name in names}
    await add(storage, made["a_b"], made["pool_1"])
    for name in names:
        assert len(await newest(storage, name)) == (1 if name in ("a_b", "pool_1") else 0), name
    assert len(await newest(storage, "POOL_1")) == 1


async def test_a_later_gain_takes_the_place_of_an_earlier_one(storage: Storage) -> None:
    await add(storage, await add_version(storage, "games"))
    (one,) = await newest(storage, "games")
    assert (one.labelled, one.open) == (0, True)
    for labelled in (2, 3):
        async with storage.database.transaction() as tx:
            await suggestions.record_gain(tx, one.id, {"labelled": labelled, "gain": 1e-17})
        (one,) = await newest(storage, "games")
        assert one.gain == {"labelled": labelled, "gain": 1e-17}
        assert (one.labelled, one.open) == (labelled, labelled < 3)


async def test_a_deleted_version_takes_its_suggestions_with_it(storage: Storage) -> None:
    games, other, pool = [await add_version(storage, name) for name in ("games", "other", "pool")]
    await add(storage, games)
    await add(storage, other, pool)
    await add(storage, other)
    async with storage.database.transaction() as tx:
        await datasets.remove(tx, games)
        await datasets.remove(tx, pool)
    assert not await newest(storage, "games")
    assert [one.pool for one in await newest(storage, "other")] == [None]


async def test_a_name_that_is_none_is_refused(storage: Storage) -> None:
    with pytest.raises(DataRejected):
        await newest(storage, "no name")
