"""What validations of data set versions said, so that quality can be followed over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from mcp_server.core.names import check_name, fold_name
from mcp_server.storage.pages import number_after, page_of, rows_wanted
from mcp_server.storage.records import Json, Page, Validation
from mcp_server.storage.tables import validations

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction


async def add(
    tx: Transaction,
    *,
    name: str,
    version: int,
    baseline: str | None,
    verdict: str,
    rules: Json,
    request_id: str,
    suite: str | None = None,
) -> bool:
    """Record a validation, once for each call: a call that is tried again finds it there.

    Args:
        name, version: of the data set.
        rules: as in `Validation`.
        request_id: of the call.
        suite: as in `Validation`.
    Returns:
        whether it was added.
    """
    statement = tx.upsert(validations).values(
        folded=fold_name(check_name(name)),
        version=version,
        baseline=baseline,
        suite=suite,
        at=tx.now,
        verdict=verdict,
        rules=rules,
        request_id=request_id,
    )
    return bool((await tx.execute(statement.on_conflict_do_nothing(index_elements=["request_id"]))).rowcount)


async def latest(tx: Transaction, name: str, version: int) -> Validation | None:
    """The latest validation of a version by Courtside's own checks, or None where there was none."""
    query = (
        select(validations)
        .where(
            validations.c.folded == fold_name(check_name(name)),
            validations.c.version == version,
            validations.c.suite.is_(None),
        )
        .order_by(validations.c.id.desc())
        .limit(1)
    )
    row = (await tx.execute(query)).first()
    return None if row is None else _value(row)


async def list_page(tx: Transaction, name: str, *, cursor: str | None = None, limit: int = 20) -> Page[Validation]:
    """The validations of all versions of a data set, the newest first; empty where there were none.

    Raises:
        DataRejected: `E_NAME`; the name isn't well formed.
        InvalidInput: the cursor isn't one of ours, or the limit is out of bounds.
    """
    query = select(validations).where(validations.c.folded == fold_name(check_name(name)))
    before = number_after(cursor)
    if before is not None:
        query = query.where(validations.c.id < before)
    rows = (await tx.execute(query.order_by(validations.c.id.desc()).limit(rows_wanted(limit)))).all()
    page = page_of(rows, limit, lambda row: int(row.id))
    return Page(tuple(_value(row) for row in page.items), page.next_cursor)


def _value(row: Any) -> Validation:
    return Validation(row.version, row.baseline, row.suite, row.at, row.verdict, row.rules)
