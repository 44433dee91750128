"""How model versions treat groups of rows: what was found, the latest for the model's card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from mcp_server.storage.records import Assessment, Json
from mcp_server.storage.tables import assessments

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction


async def add(tx: Transaction, *, name: str, version: int, dataset: str, found: Json, request_id: str) -> bool:
    """Record what was found, once for each call: a call that is tried again finds it there.

    Args:
        name, version: of the model.
        dataset: `name@version` of the judged rows.
        found: as in `Assessment`.
    Returns:
        whether it was added.
    """
    statement = tx.upsert(assessments).values(
        name=name, version=version, dataset=dataset, at=tx.now, found=found, request_id=request_id
    )
    return bool((await tx.execute(statement.on_conflict_do_nothing(index_elements=["request_id"]))).rowcount)


async def latest(tx: Transaction, name: str, version: int) -> Assessment | None:
    """The latest of a version, or None where its groups were never compared."""
    query = (
        select(assessments)
        .where(assessments.c.name == name, assessments.c.version == version)
        .order_by(assessments.c.id.desc())
        .limit(1)
    )
    row: Any = (await tx.execute(query)).first()
    return None if row is None else Assessment(row.name, row.version, row.dataset, row.at, row.found)
