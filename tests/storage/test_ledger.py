"""Who can write the database but hasn't the keys changes nothing that counts: each way to try is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from mcp_server.context import SystemClock
from mcp_server.core.governance.standing import Stage
from mcp_server.errors import CorruptArtefact
from mcp_server.serving.seals import sealed
from mcp_server.storage import Storage, governance, key_changes, ledger, models, open_storage
from mcp_server.storage.records import ModelVersion, Verdict
from mcp_server.storage.tables import approvals, seals, seals_head, standings, tags, verifications
from mcp_server.storage.tables import models as versions
from mcp_server.storage.transaction import Transaction
from storage.test_models import add as add_model

pytestmark = pytest.mark.anyio

KEY = "games", 1
Attack = Callable[[Transaction], Awaitable[object]]


async def decide(storage: Storage, record: ModelVersion, stage: Stage, *, approve: bool = False) -> None:
    async with storage.database.transaction() as tx:
        await governance.set_standing(tx, record, stage=stage, owner="key:ann", policy=None)
        await governance.set_tags(tx, record, {"team": "risk"})
        if approve:
            await governance.approve(tx, record, "production", approver="key:bob", note="Looked at it.")


async def verify(storage: Storage, record: ModelVersion, verdict: Verdict) -> None:
    async with storage.database.transaction() as tx:
        checks = sealed(storage.keys, record, verdict, [{"name": "digest", "state": verdict, "detail": "Read."}])
        await models.set_verification(tx, record.name, record.version, verdict=verdict, checks=checks)


async def decided(storage: Storage) -> ModelVersion:
    record = await add_model(storage, "games")
    await verify(storage, record, "passed")
    await verify(storage, record, "failed")
    await decide(storage, record, "staging", approve=True)
    await decide(storage, record, "production")
    return record


async def behind(storage: Storage, attack: Attack) -> None:
    async with storage.database.transaction() as tx:
        await attack(tx)


async def told(storage: Storage) -> tuple[ledger.Part, ...]:
    async with storage.database.reading() as tx:
        return await ledger.wrong(tx, *KEY)


async def older_verdict(tx: Transaction) -> None:
    """The first verdict, sealed by this installation as it is, becomes the latest."""
    columns = [column for column in verifications.c if column.name != "id"]
    row = (await tx.execute(select(*columns).order_by(verifications.c.id))).mappings().first()
    assert row is not None
    await tx.execute(insert(verifications).values(**row))


ATTACKS: dict[str, tuple[ledger.Part, Attack]] = {
    "stage": ("standing", lambda tx: tx.execute(update(standings).values(stage="staging"))),
    "owner": ("standing", lambda tx: tx.execute(update(standings).values(owner="key:eve"))),
    "policy": ("standing", lambda tx: tx.execute(update(standings).values(policy="sha256:0"))),
    "no standing": ("standing", lambda tx: tx.execute(delete(standings))),
    "tag": ("standing", lambda tx: tx.execute(update(tags).values(value="marketing"))),
    "tag added": ("standing", lambda tx: tx.execute(insert(tags).values(name="games", version=1, key="a", value="b"))),
    "trainer": ("standing", lambda tx: tx.execute(update(versions).values(created_by="key:eve"))),
    "approval dropped": ("standing", lambda tx: tx.execute(delete(approvals))),
    "verdict put back": ("verdict", older_verdict),
    "newest verdict dropped": (
        "verdict",
        lambda tx: tx.execute(delete(verifications).where(verifications.c.verdict == "failed")),
    ),
    "verdict written": ("verdict", lambda tx: tx.execute(update(verifications).values(verdict="passed"))),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_was_changed_behind_the_keys_isnt_as_sealed(storage: Storage, name: str) -> None:
    await decided(storage)
    assert await told(storage) == (), "the control: untouched, nothing is said"
    part, attack = ATTACKS[name]
    await behind(storage, attack)
    assert await told(storage) == (part,)


async def test_an_approval_that_was_taken_back_doesnt_come_back_with_its_old_signature(storage: Storage) -> None:
    record = await decided(storage)
    async with storage.database.reading() as tx:
        before = dict((await tx.execute(select(approvals))).mappings().one())
    async with storage.database.transaction() as tx:
        await governance.revoke(tx, record, "production", by="key:ann")
    assert await told(storage) == ()
    await behind(storage, lambda tx: tx.execute(update(approvals).values(**before)))
    async with storage.database.reading() as tx:
        standing = await governance.get(tx, record)
    assert [one.approver for one in standing.approvals] == ["key:bob"], "the control: its own signature is genuine"
    assert await told(storage) == ("standing",)


async def test_nothing_is_decided_about_what_isnt_as_sealed_until_a_person_begins_again(storage: Storage) -> None:
    record = await decided(storage)
    await behind(storage, ATTACKS["owner"][1])
    with pytest.raises(CorruptArtefact, match="aren't as signed; nothing was changed"):
        await decide(storage, record, "archived")
    async with storage.database.transaction() as tx:
        with pytest.raises(CorruptArtefact):
            await governance.approve(tx, record, "staging", approver="key:bob", note="Fine.")
    async with storage.database.transaction() as tx:
        assert await governance.begin_again(tx, record)
    async with storage.database.reading() as tx:
        standing = await governance.get(tx, record)
    assert (standing.stage, standing.owner, standing.tags, standing.approvals) == ("candidate", None, {}, ())
    assert await told(storage) == ()


async def test_a_new_verification_takes_the_place_of_a_verdict_that_was_put_back(storage: Storage) -> None:
    record = await decided(storage)
    await behind(storage, older_verdict)
    await verify(storage, record, "passed")
    assert await told(storage) == ()


async def rows_of(storage: Storage, *tables: Any) -> dict[Any, list[dict[str, Any]]]:
    async with storage.database.reading() as tx:
        return {table: [dict(row) for row in (await tx.execute(select(table))).mappings()] for table in tables}


async def put_back(tx: Transaction, state: dict[Any, list[dict[str, Any]]]) -> None:
    for table, rows in state.items():
        await tx.execute(delete(table))
        if rows:
            await tx.execute(insert(table), rows)


async def test_a_whole_old_state_with_its_signed_head_is_told_by_the_witness(
    storage: Storage, tmp_path: Path, database_url: str
) -> None:
    record = await decided(storage)
    old = await rows_of(storage, standings, tags, approvals, verifications, seals, seals_head)
    await verify(storage, record, "failed")
    await decide(storage, record, "archived")
    await behind(storage, lambda tx: put_back(tx, old))
    assert await told(storage) == ledger.PARTS
    other = await open_storage(database_url=database_url, data_dir=tmp_path / "data", clock=SystemClock())
    try:
        assert await told(other) == ledger.PARTS, "another process tells it too"
        next((tmp_path / "data").rglob("seals.head")).unlink()
        assert await told(other) == (), "the control: without the witness it's as it was signed then"
    finally:
        await other.close()


@pytest.mark.parametrize(
    "what", ["row dropped", "state changed", "moved", "head dropped", "all dropped", "added", "beyond"]
)
async def test_seals_that_were_touched_seal_nothing(storage: Storage, what: str) -> None:
    record = await decided(storage)
    last = (await rows_of(storage, seals))[seals][-1]
    attacks: dict[str, Attack] = {
        "row dropped": lambda tx: tx.execute(delete(seals).where(seals.c.place == last["place"])),
        "state changed": lambda tx: tx.execute(update(seals).where(seals.c.place == 2).values(state="sha256:0")),
        "moved": lambda tx: tx.execute(update(seals).where(seals.c.place == 2).values(version=2)),
        "head dropped": lambda tx: tx.execute(delete(seals_head)),
        "all dropped": lambda tx: put_back(tx, {seals: [], seals_head: []}),
        "added": lambda tx: put_forged(tx, last),
        "beyond": lambda tx: tx.execute(insert(seals).values(**{**last, "place": last["place"] + 1})),
    }
    await behind(storage, attacks[what])
    storage.database.ledger.forget()  # as a process that begins
    assert await told(storage) == ledger.PARTS
    with pytest.raises(CorruptArtefact, match="aren't as signed"):
        await decide(storage, record, "archived")
    await verify(storage, record, "passed")
    assert await told(storage) == ledger.PARTS, "a verdict is kept, and counts for nothing"
    async with storage.database.transaction() as tx:
        await governance.begin_again(tx, record)
        await models.set_verification(tx, "games", 1, verdict="passed", checks=[])
    assert await told(storage) == ()


async def put_forged(tx: Transaction, last: dict[str, Any]) -> None:
    """The newest seal once more, of another state, with a head that the old signature is put on."""
    row = {**last, "place": last["place"] + 1, "state": "sha256:" + "1" * 64}
    content = row["name"], row["version"], row["part"], row["state"]
    row["chain"] = ledger._link(last["chain"], row["place"], *content)
    await tx.execute(insert(seals), [row])
    await tx.execute(update(seals_head).values(place=row["place"], chain=row["chain"]))


async def test_a_reader_of_an_older_moment_isnt_told_of_an_attack(storage: Storage) -> None:
    record = await decided(storage)
    async with storage.database.reading() as tx:
        await tx.execute(select(seals_head))  # its moment is this one
        await decide(storage, record, "archived")
        assert await told(storage) == ()
        assert await ledger.wrong(tx, *KEY) == ()


async def test_what_was_undone_leaves_no_seal(storage: Storage) -> None:
    record = await decided(storage)

    async def interrupted() -> None:
        async with storage.database.transaction() as tx:
            await governance.set_tags(tx, record, {"team": "other"})
            await ledger.complete(tx)
            assert await ledger.wrong(tx, *KEY) == ()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await interrupted()
    assert await told(storage) == ()
    await decide(storage, record, "archived")
    assert await told(storage) == ()


async def test_seals_outlive_the_revocation_of_the_key_that_signed_them(
    storage: Storage, make_call: Callable[..., Any]
) -> None:
    await decided(storage)
    first = storage.keys.ring.signing.id
    await key_changes.rotate(storage.database, storage.keys, make_call())
    assert await told(storage) == ()
    await key_changes.revoke(storage.database, storage.keys, make_call(), first, "it leaked")
    assert await told(storage) == ()


async def test_versions_from_before_there_were_seals_are_sealed_once_as_they_are(storage: Storage) -> None:
    record = await decided(storage)
    await behind(storage, lambda tx: put_back(tx, {seals: [], seals_head: []}))
    async with storage.database.transaction() as tx:
        await ledger.seal_all(tx)
    assert await told(storage) == ledger.PARTS, "not where something was sealed before"
    witness = storage.database.ledger.witness
    assert witness is not None
    witness.path.unlink()
    async with storage.database.transaction() as tx:
        await ledger.seal_all(tx)
    assert await told(storage) == ()
    await decide(storage, record, "archived")
    await behind(storage, ATTACKS["stage"][1])
    assert await told(storage) == ("standing",)
