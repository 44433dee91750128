"""Model versions and their verifications."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from mcp_server.core.canonical import canonical_bytes
from mcp_server.core.governance.standing import Stage
from mcp_server.errors import AlreadyExists, Conflict, DataRejected, NotFound, Unverified
from mcp_server.storage import Storage, governance, models
from mcp_server.storage.records import ModelVersion, Verdict
from mcp_server.storage.tables import standings
from storage.fixtures import HandClock

pytestmark = pytest.mark.anyio


async def add(storage: Storage, name: str, number: int = 1, **changes: Any) -> ModelVersion:
    values: dict[str, Any] = {
        "digest": f"sha256:{number}",
        "task": "binary",
        "target": "home_win",
        "artefact": "sha256:f",
        "training_artefact": None,
        "manifest": {"z": 1e16, "a": [-0.0, 0.1]},
        "signature": bytes(range(64)),
        "metrics": {"log_loss": 0.6},
        "dataset": "games@1",
        "run_id": f"r_{name}_{number}",
        "created_by": "local",
    }
    async with storage.database.transaction() as tx:
        return await models.add_version(tx, name=name, **{**values, **changes})


async def verify(storage: Storage, name: str, version: int, verdict: Verdict) -> None:
    async with storage.database.transaction() as tx:
        await models.set_verification(tx, name, version, verdict=verdict, checks=[{"name": "digest", "state": verdict}])


async def test_a_version_reads_back_as_it_was_written(storage: Storage) -> None:
    added = await add(storage, "winner")
    async with storage.database.reading() as tx:
        assert await models.get(tx, "winner", 1) == added


async def test_a_signature_made_before_storing_still_fits_the_manifest_after(storage: Storage) -> None:
    manifest = {"b": 1e16, "a": -0.0, "n": 2**63, "t": "é\u0000", "l": [1.0, 1]}
    signature = storage.keys.sign(canonical_bytes(manifest))
    await add(storage, "winner", manifest=manifest, signature=signature)
    async with storage.database.reading() as tx:
        read = await models.get(tx, "winner")
    assert storage.keys.verify(canonical_bytes(read.manifest), read.signature)


async def test_the_same_digest_is_the_version_that_is_there(storage: Storage) -> None:
    first = await add(storage, "winner")
    await add(storage, "winner", 2)
    assert await add(storage, "winner", 1, run_id="r_other") == first


async def test_a_version_is_found_by_its_digest_under_its_name(storage: Storage) -> None:
    first = await add(storage, "winner")
    await add(storage, "other", 2)
    async with storage.database.reading() as tx:
        assert await models.of_digest(tx, "winner", first.digest) == first
        assert await models.of_digest(tx, "winner", "sha256:2") is None


async def test_a_step_repeated_by_its_run_adds_one_version(storage: Storage) -> None:
    first = await add(storage, "winner")
    assert await add(storage, "winner", digest="sha256:differs", run_id=first.run_id) == first


async def test_a_name_that_differs_in_case_alone_is_refused(storage: Storage) -> None:
    await add(storage, "winner")
    with pytest.raises(AlreadyExists):
        await add(storage, "Winner", 2)


async def test_a_name_alone_stands_for_its_only_version(storage: Storage) -> None:
    await add(storage, "winner")
    async with storage.database.reading() as tx:
        assert (await models.resolve(tx, "winner")).version == 1


async def test_a_name_with_several_versions_must_say_which(storage: Storage) -> None:
    await add(storage, "winner")
    await add(storage, "winner", 2)
    async with storage.database.reading() as tx:
        with pytest.raises(Conflict, match="2 versions") as refused:
            await models.resolve(tx, "winner")
        assert (await models.resolve(tx, "winner@1")).version == 1
    assert "winner@2" in refused.value.hint


async def test_an_unknown_model_tells_the_client_where_to_look(storage: Storage) -> None:
    async with storage.database.reading() as tx:
        with pytest.raises(NotFound) as refused:
            await models.resolve(tx, "winner@1")
    assert "search_models" in refused.value.hint


async def test_the_latest_verification_counts(storage: Storage, clock: HandClock) -> None:
    await add(storage, "winner")
    async with storage.database.reading() as tx:
        assert await models.latest_verification(tx, "winner", 1) is None
    await verify(storage, "winner", 1, "passed")
    clock.move(-timedelta(hours=3))  # A clock that is set back doesn't change which one is the latest.
    await verify(storage, "winner", 1, "failed")
    async with storage.database.reading() as tx:
        latest = await models.latest_verification(tx, "winner", 1)
    assert latest is not None
    assert (latest.verdict, latest.checks, latest.at) == (
        "failed",
        [{"name": "digest", "state": "failed"}],
        clock.now(),
    )


async def test_a_version_that_does_not_exist_cannot_be_verified(storage: Storage) -> None:
    with pytest.raises(NotFound):
        await verify(storage, "winner", 1, "passed")


async def test_the_list_shows_versions_newest_first_with_their_verdicts(storage: Storage) -> None:
    await add(storage, "a")
    await add(storage, "a", 2)
    await add(storage, "b", task="regression")
    await verify(storage, "a", 1, "failed")
    await verify(storage, "a", 1, "passed")
    async with storage.database.reading() as tx:
        first = await models.list_page(tx, limit=2)
        rest = await models.list_page(tx, limit=2, cursor=first.next_cursor)
        regressions = await models.list_page(tx, task="regression")
        of_a = await models.list_page(tx, name="A")
    shown = [(item.name, item.version, item.verdict) for item in first.items + rest.items]
    assert shown == [("b", 1, None), ("a", 2, None), ("a", 1, "passed")]
    assert rest.next_cursor is None
    assert [item.name for item in regressions.items] == ["b"]
    assert [item.version for item in of_a.items] == [2, 1]


@pytest.mark.parametrize("search", ["WIN", "HOME_w", "games@1"])
async def test_a_search_looks_at_name_target_and_data(storage: Storage, search: str) -> None:
    await add(storage, "winner")
    await add(storage, "other", target="points", dataset="seasons@1")
    async with storage.database.reading() as tx:
        found = await models.list_page(tx, search=search)
    assert [item.name for item in found.items] == ["winner"]


async def test_names_are_completed_and_versions_counted(storage: Storage) -> None:
    await add(storage, "winner")
    await add(storage, "winner", 2)
    async with storage.database.reading() as tx:
        assert await models.names(tx, "W") == ["winner"]
        assert await models.count(tx) == 2


async def test_a_stage_stands_for_the_one_version_that_has_it(storage: Storage) -> None:
    for number in (1, 2, 3):
        await add(storage, "Winner", number)

    async def put(number: int, stage: Stage) -> None:
        async with storage.database.transaction() as tx:
            record = await models.get(tx, "winner", number)
            await governance.set_standing(tx, record, stage=stage, owner=None, policy=None)

    async def resolved(reference: str) -> int:
        async with storage.database.reading() as tx:
            return (await models.resolve(tx, reference)).version

    with pytest.raises(NotFound, match="No version of Winner is in production"):
        await resolved("winner@production")
    await put(2, "production")
    await put(3, "staging")
    assert [await resolved(f"winner@{stage}") for stage in ("production", "staging")] == [2, 3]
    await put(3, "production")
    with pytest.raises(Conflict, match="Winner@3, Winner@2"):
        await resolved("winner@production")
    await put(2, "archived")
    assert await resolved("winner@production") == 3
    for reference in ("winner@archived", "winner@Production", "winner@production@2", "winner@ production"):
        with pytest.raises(DataRejected):
            await resolved(reference)
    async with storage.database.transaction() as tx:
        await tx.execute(update(standings).where(standings.c.version == 2).values(stage="production"))
        await tx.execute(update(standings).where(standings.c.version == 3).values(stage="archived"))
    with pytest.raises(Unverified, match="aren't as signed"):
        await resolved("winner@production")
