"""What data sets and models share: versions numbered under a name, and no two names that look alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Table, func, select

from mcp_server.core.names import check_name, fold_name
from mcp_server.errors import AlreadyExists
from mcp_server.storage.pages import contains

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction


async def next_version(tx: Transaction, table: Table, name: str) -> int:
    """The number of a name's next version; it stays free until this transaction ends.

    Args:
        table: one with `name`, `folded` and `version`.
    Raises:
        DataRejected: `E_NAME`; the name isn't allowed.
        AlreadyExists: the name differs from a taken one only in case or form.
    """
    row = (
        await tx.execute(
            select(table.c.name, table.c.version)
            .where(table.c.folded == fold_name(check_name(name)))
            .order_by(table.c.version.desc())
            .limit(1)
        )
    ).first()
    if row is None:
        return 1
    if row.name != name:
        raise AlreadyExists(
            f"The name {name} differs from the taken name {row.name} only in case.",
            hint=f"Write {row.name} to add a version to it, or choose another name.",
        )
    return int(row.version) + 1


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
