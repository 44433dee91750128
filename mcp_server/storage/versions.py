"""What data sets and models share: versions numbered under a name, no two names that look alike, and deletion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Table, delete, func, insert, select

from mcp_server.core.names import check_name, fold_name
from mcp_server.errors import AlreadyExists, CorruptArtefact, NotFound
from mcp_server.storage.pages import contains
from mcp_server.storage.records import DatasetVersion, Deletion, ModelVersion
from mcp_server.storage.tables import deletions

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from mcp_server.storage.transaction import Transaction

V = TypeVar("V", DatasetVersion, ModelVersion)


async def add(
    tx: Transaction, table: Table, record: type[V], fields: Mapping[str, Any], same: ColumnElement[bool]
) -> V:
    """Add a name's next version, or give the one that is the same already.

    Args:
        table: the table of `record`.
        fields: the record's, without version and created_at.
        same: what holds for a version that would be the same.
    Returns:
        the version; a fresh one has `created_at == tx.now`.
    Raises:
        DataRejected: `E_NAME`; the name isn't allowed.
        AlreadyExists: the name differs from a taken one only in case or form.
    """
    name = fields["name"]
    number = await next_version(tx, table, name)
    existing = await find(tx, table, record, name, same)
    if existing is not None:
        return existing
    counted = {**fields, "version": number, "created_at": tx.now}
    await tx.execute(insert(table).values(folded=fold_name(name), **counted))
    return record(**counted)


async def find(tx: Transaction, table: Table, record: type[V], name: str, *conditions: ColumnElement[bool]) -> V | None:
    """The newest version of a name for which the conditions hold, or None.

    Raises:
        CorruptArtefact: its record holds what nobody here wrote.
    """
    query = (
        select(*(column for column in table.c if column.name not in ("id", "folded")))
        .where(table.c.folded == fold_name(name), *conditions)
        .order_by(table.c.version.desc())
        .limit(1)
    )
    found = await tx.execute(query)
    try:
        row: Any = found.mappings().first()
    except ValueError:  # of a column of JSON
        raise CorruptArtefact(
            f"A record of {name} can't be read: it isn't what was written.",
            hint="Restore the database from a backup; courtside audit verify says what else was touched.",
        ) from None
    return None if row is None else record(**row)


async def next_version(tx: Transaction, table: Table, name: str) -> int:
    """The number of a name's next version; it stays free until this transaction ends.

    Args:
        table: one with `name`, `folded` and `version`.
    Raises:
        DataRejected: `E_NAME`; the name isn't allowed.
        AlreadyExists: the name differs from a taken one only in case or form.
    """
    folded = fold_name(check_name(name))
    query = select(table.c.name, table.c.version).where(table.c.folded == folded)
    # A deleted version's number stays taken: the audit log and the predictions still speak of it.
    gone = select(deletions.c.name, deletions.c.version).where(
        deletions.c.kind == table.name, deletions.c.folded == folded
    )
    both = query.union_all(gone).subquery()
    row = (await tx.execute(select(both).order_by(both.c.version.desc()).limit(1))).first()
    if row is None:
        return 1
    if row.name != name:
        raise AlreadyExists(
            f"The name {name} differs from the taken name {row.name} only in case.",
            hint=f"Write {row.name} to add a version to it, or choose another name.",
        )
    return int(row.version) + 1


async def remove(tx: Transaction, table: Table, record: DatasetVersion | ModelVersion) -> None:
    """Delete a version and keep its number, its digest and when that was."""
    await tx.execute(delete(table).where(table.c.folded == fold_name(record.name), table.c.version == record.version))
    await note_deletion(tx, table.name, record.name, record.version, record.digest)


async def note_deletion(tx: Transaction, kind: str, name: str, version: int, digest: str | None) -> None:
    """Keep what is left of something that this transaction deletes."""
    await tx.execute(
        insert(deletions).values(
            kind=kind,
            folded=fold_name(name),
            name=name,
            version=version,
            digest=digest,
            at=tx.now,
            request_id=tx.call.request_id if tx.call is not None else "",
        )
    )


async def deletion(tx: Transaction, kind: str, name: str, version: int) -> Deletion | None:
    """What is left of a version that was deleted, or None where it wasn't.

    Args:
        kind: the table's name: `datasets`, `models` or `runs`.
    """
    query = select(*(column for column in deletions.c if column.name not in ("id", "folded"))).where(
        deletions.c.kind == kind, deletions.c.folded == fold_name(name), deletions.c.version == version
    )
    row: Any = (await tx.execute(query)).mappings().first()
    return None if row is None else Deletion(**row)


async def refuse_deleted(tx: Transaction, table: Table, name: str, version: int) -> None:
    """Say of a version that isn't there that it was.

    Raises:
        NotFound: it was deleted.
    """
    gone = await deletion(tx, table.name, name, version)
    if gone is not None:
        raise NotFound(
            f"{gone.name}@{gone.version} was deleted on {gone.at:%Y-%m-%d}.", hint="Use another version of it."
        )


async def refuse_put_back(tx: Transaction, table: Table, version: DatasetVersion | ModelVersion) -> None:
    """Say of a version that is there that it was deleted: its number isn't given again, so someone put it back.

    Raises:
        CorruptArtefact: it was.
    """
    gone = await deletion(tx, table.name, version.name, version.version)
    if gone is not None:
        raise CorruptArtefact(
            f"{gone.name}@{gone.version} was deleted on {gone.at:%Y-%m-%d}; someone put it back.",
            hint="Use another version; courtside audit verify says what else was touched.",
        )


async def names(tx: Transaction, table: Table, prefix: str = "", limit: int = 100) -> list[str]:
    """Names that begin with a prefix, in any case, in their order; for completion.

    Args:
        limit: most names to give.
    """
    query = (
        select(func.min(table.c.name))
        .where(table.c.folded.like(contains(fold_name(prefix[:64]))[1:], escape="\\"))
        .group_by(table.c.folded)
        .order_by(table.c.folded)
        .limit(limit)
    )
    return list((await tx.execute(query)).scalars())
