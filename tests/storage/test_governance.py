"""Stages, owners, tags and approvals: kept, found, signed, and gone with the version."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from mcp_server.storage import Storage, erasure, governance, models
from mcp_server.storage.records import ModelVersion, Standing
from mcp_server.storage.tables import approvals
from storage.test_models import add as add_model

pytestmark = pytest.mark.anyio


async def standing(storage: Storage, record: ModelVersion) -> Standing:
    async with storage.database.reading() as tx:
        return await governance.get(tx, record)


async def found(storage: Storage, **asked: object) -> list[int]:
    async with storage.database.reading() as tx:
        return [one.version for one in (await models.list_page(tx, **asked)).items]  # type: ignore[arg-type]


async def test_a_version_is_a_candidate_until_it_is_moved(storage: Storage) -> None:
    record = await add_model(storage, "games")
    assert (await standing(storage, record)).stage == "candidate"
    async with storage.database.transaction() as tx:
        await governance.set_standing(tx, record, stage="staging", owner="key:ann", policy=None)
        await governance.set_standing(tx, record, stage="production", owner="key:bob", policy="sha256:1")
    kept = await standing(storage, record)
    assert (kept.stage, kept.owner, kept.policy) == ("production", "key:bob", "sha256:1")


async def test_versions_are_found_by_stage_owner_and_tags(storage: Storage) -> None:
    first, second, third = [await add_model(storage, "games", number) for number in (1, 2, 3)]
    async with storage.database.transaction() as tx:
        await governance.set_standing(tx, first, stage="production", owner="key:ann", policy=None)
        await governance.set_standing(tx, second, stage="production", owner=None, policy=None)
        await governance.set_tags(tx, first, {"team": "risk", "tier": "1"})
        await governance.set_tags(tx, third, {"team": "risk", "tier": "2"})
    assert await found(storage, stage="production") == [2, 1]
    assert await found(storage, stage="candidate") == [3]
    assert await found(storage, owner="key:ann") == [1]
    assert await found(storage, tagged={"team": "risk"}) == [3, 1]
    assert await found(storage, tagged={"team": "risk", "tier": "2"}) == [3]
    async with storage.database.reading() as tx:
        assert await governance.in_stage(tx, ["production"]) == [
            ("games", 2, "production"),
            ("games", 1, "production"),
        ]
        assert await governance.tags_of(tx, [("games", 1), ("games", 2)]) == {
            ("games", 1): {"team": "risk", "tier": "1"}
        }


async def test_an_approval_counts_once_a_person_until_it_is_revoked(storage: Storage) -> None:
    record = await add_model(storage, "games")
    async with storage.database.transaction() as tx:
        assert await governance.approve(tx, record, "production", approver="key:ann", note="Looked at it.")
        assert not await governance.approve(tx, record, "production", approver="key:ann", note="Again.")
        assert await governance.approve(tx, record, "production", approver="key:bob", note="Me too.")
        assert await governance.approve(tx, record, "staging", approver="key:ann", note="For tests.")
    assert (await standing(storage, record)).approvers() == {
        "production": frozenset({"key:ann", "key:bob"}),
        "staging": frozenset({"key:ann"}),
    }
    async with storage.database.transaction() as tx:
        assert await governance.revoke(tx, record, "production", by="key:eve") == 2
        assert await governance.revoke(tx, record, "production", by="key:eve") == 0
        taken = (await tx.execute(select(approvals.c.revoked_by).where(approvals.c.stage == "production"))).scalars()
        assert list(taken) == ["key:eve", "key:eve"], "what was taken back stays in the record"
    assert (await standing(storage, record)).approvers() == {"staging": frozenset({"key:ann"})}


@pytest.mark.parametrize("forged", [{"approver": "key:boss"}, {"stage": "production"}, {"version": 2}])
async def test_an_approval_that_was_written_by_hand_does_not_count(storage: Storage, forged: dict[str, object]) -> None:
    record, other = await add_model(storage, "games"), await add_model(storage, "games", 2)
    async with storage.database.transaction() as tx:
        await governance.approve(tx, record, "staging", approver="key:ann", note="Looked at it.")
        assert len((await governance.get(tx, record)).approvals) == 1
        await tx.execute(update(approvals).values(**forged))
    found = [await standing(storage, one) for one in (record, other)]
    assert [one.approvals for one in found] == [(), ()]
    assert sum(len(one.unsigned) for one in found) == 1


async def test_an_approval_that_was_taken_back_is_not_brought_back_by_hand(storage: Storage) -> None:
    record = await add_model(storage, "games")
    async with storage.database.transaction() as tx:
        await governance.approve(tx, record, "production", approver="key:ann", note="Looked at it.")
        await governance.revoke(tx, record, "production", by="key:ann")
        await tx.execute(update(approvals).values(revoked_at=None, revoked_by=None))
    assert (await standing(storage, record)).approvals == ()
    async with storage.database.transaction() as tx:
        assert await governance.approve(tx, record, "production", approver="key:ann", note="Looked again.")
    assert len((await standing(storage, record)).approvals) == 1


async def test_a_note_loses_an_erased_word_and_the_approval_stands(storage: Storage) -> None:
    record = await add_model(storage, "games")
    async with storage.database.transaction() as tx:
        await governance.approve(tx, record, "staging", approver="key:ann", note="Asked 'Ann Lee'.")
        await erasure.scrub(tx, {"Ann Lee"})
    (kept,) = (await standing(storage, record)).approvals
    assert kept.note == "Asked '[erased]'."


async def test_all_of_it_goes_with_its_version(storage: Storage) -> None:
    record = await add_model(storage, "games")
    async with storage.database.transaction() as tx:
        await governance.set_standing(tx, record, stage="production", owner="key:ann", policy=None)
        await governance.set_tags(tx, record, {"team": "risk"})
        await governance.approve(tx, record, "production", approver="key:ann", note="Looked at it.")
        await models.remove(tx, record)
        for table in governance.TABLES:
            assert not (await tx.execute(select(table))).all(), table.name
