"""Who answers for model versions: stage and owner, tags, and approvals, which are signed and never removed alone.

An approval is signed by this installation over what it approves of which version: a row that someone wrote into the
database by hand isn't one. What stands altogether is sealed at each change, see `ledger`; a change of what isn't as
sealed is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from mcp_server.core.canonical import canonical_bytes
from mcp_server.core.governance.standing import FIRST, Approvable, Stage
from mcp_server.storage import ledger
from mcp_server.storage.records import Approval, ModelVersion, Standing
from mcp_server.storage.tables import approvals, standings, tags

if TYPE_CHECKING:
    from sqlalchemy import Table

    from mcp_server.storage.transaction import Transaction

TABLES: tuple[Table, ...] = (standings, tags, approvals)


async def get(tx: Transaction, record: ModelVersion) -> Standing:
    """A version's standing, with the approvals that stand and are genuine, the oldest first."""
    key = standings.c.name == record.name, standings.c.version == record.version
    row: Any = (await tx.execute(select(standings).where(*key))).first()
    kept = (await tags_of(tx, [(record.name, record.version)])).get((record.name, record.version), {})
    genuine, unsigned = await _approvals(tx, record)
    return Standing(
        name=record.name,
        version=record.version,
        stage=FIRST if row is None else row.stage,
        owner=None if row is None else row.owner,
        policy=None if row is None else row.policy,
        at=None if row is None else row.at,
        tags=kept,
        approvals=tuple(genuine),
        unsigned=tuple(unsigned),
    )


async def set_standing(
    tx: Transaction, record: ModelVersion, *, stage: Stage, owner: str | None, policy: str | None
) -> None:
    """Put a version into a stage, with an owner.

    Args:
        policy: digest of the policy that let it there; None where there was none.
    """
    await ledger.change(tx, record.name, record.version)
    fields = {"stage": stage, "owner": owner, "policy": policy, "at": tx.now}
    statement = tx.upsert(standings).values(name=record.name, version=record.version, **fields)
    await tx.execute(statement.on_conflict_do_update(index_elements=["name", "version"], set_=fields))


async def set_tags(tx: Transaction, record: ModelVersion, wanted: Mapping[str, str]) -> None:
    """Give a version these tags, and no others."""
    await ledger.change(tx, record.name, record.version)
    await tx.execute(delete(tags).where(tags.c.name == record.name, tags.c.version == record.version))
    if wanted:
        rows = [
            {"name": record.name, "version": record.version, "key": key, "value": value}
            for key, value in sorted(wanted.items())
        ]
        await tx.execute(insert(tags), rows)


async def tags_of(tx: Transaction, versions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], dict[str, str]]:
    """The tags of some versions, by name and number; a version without any is left out."""
    names, numbers = {name for name, _ in versions}, {number for _, number in versions}
    query = select(tags).where(tags.c.name.in_(names), tags.c.version.in_(numbers))
    rows = await tx.execute(query.order_by(tags.c.key))
    found: dict[tuple[str, int], dict[str, str]] = {}
    for row in rows:
        if (row.name, row.version) in versions:
            found.setdefault((row.name, row.version), {})[row.key] = row.value
    return found


async def approve(tx: Transaction, record: ModelVersion, stage: Approvable, *, approver: str, note: str) -> bool:
    """Approve a version for a stage; who approved it already approves it no further time.

    Returns:
        whether it was added.
    """
    if any(one.stage == stage and one.approver == approver for one in (await _approvals(tx, record))[0]):
        return False
    await ledger.change(tx, record.name, record.version)
    row = {"name": record.name, "version": record.version, "stage": stage, "approver": approver, "at": tx.now}
    signature = tx.keys.sign(_statement(record, row))
    await tx.execute(insert(approvals).values(**row, note=note, signature=signature))
    return True


async def revoke(tx: Transaction, record: ModelVersion, stage: Approvable, *, by: str) -> int:
    """Take back every approval of a version for a stage; they stay in the record as taken back.

    Returns:
        how many stood.
    """
    query = select(approvals).where(
        approvals.c.name == record.name,
        approvals.c.version == record.version,
        approvals.c.stage == stage,
        approvals.c.revoked_at.is_(None),
    )
    rows = (await tx.execute(query)).mappings().all()
    if rows:
        await ledger.change(tx, record.name, record.version)
    for row in rows:
        taken = {"revoked_at": tx.now, "revoked_by": by}
        # In the place of the first signature: emptied by hand, these two fields don't bring the approval back.
        signature = tx.keys.sign(_statement(record, row, revoked_at=tx.now.isoformat(), revoked_by=by))
        await tx.execute(update(approvals).where(approvals.c.id == row["id"]).values(**taken, signature=signature))
    return len(rows)


async def in_stage(
    tx: Transaction, stages: Sequence[Stage], *, name: str | None = None, limit: int = 100
) -> list[tuple[str, int, Stage]]:
    """Versions that have one of some stages, as name, number and stage; by name, the newest version first.

    Args:
        name: of one model only.
        limit: most versions to give.
    """
    query = (
        select(standings.c.name, standings.c.version, standings.c.stage)
        .where(standings.c.stage.in_(stages))
        .order_by(standings.c.name, standings.c.version.desc())
        .limit(limit)
    )
    if name is not None:
        query = query.where(standings.c.name == name)
    return [(row.name, row.version, row.stage) for row in await tx.execute(query)]


async def begin_again(tx: Transaction, record: ModelVersion) -> bool:
    """Have nothing known of a version whose standing isn't as sealed, and seal that.

    Returns:
        whether it wasn't as sealed.
    """
    await ledger.begin_again(tx)
    parts = await ledger.wrong(tx, record.name, record.version)
    if "standing" in parts:
        await remove(tx, record)
        ledger.seal(tx, record.name, record.version, "standing")
    return "standing" in parts


async def remove(tx: Transaction, record: ModelVersion) -> None:
    """Delete what is known of a version that goes; the audit log keeps who did what."""
    for table in TABLES:
        await tx.execute(delete(table).where(table.c.name == record.name, table.c.version == record.version))


async def _approvals(tx: Transaction, record: ModelVersion) -> tuple[list[Approval], list[Approval]]:
    """Those that are genuine, and those that no trusted key signed as they stand."""
    query = (
        select(approvals)
        .where(
            approvals.c.name == record.name,
            approvals.c.version == record.version,
            approvals.c.revoked_at.is_(None),
        )
        .order_by(approvals.c.id)
    )
    found: tuple[list[Approval], list[Approval]] = [], []
    for row in (await tx.execute(query)).mappings():
        genuine = tx.keys.verify(_statement(record, row), row["signature"])
        found[0 if genuine else 1].append(Approval(row["stage"], row["approver"], row["note"], row["at"]))
    return found


def _statement(record: ModelVersion, row: Mapping[Any, Any], **revoked: str) -> bytes:
    """What is signed: not the note, which an erasure may change.

    Args:
        revoked: when and by whom, where it's taken back.
    """
    return canonical_bytes(
        {
            "approves": f"{record.name}@{record.version}",
            "digest": record.digest,
            "stage": row["stage"],
            "approver": row["approver"],
            "at": row["at"].isoformat(),
            **revoked,
        }
    )
