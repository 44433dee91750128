"""The audit log: what was changed, refused or decided, by whom, in the transaction of the change itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from mcp_server.context import CallContext
from mcp_server.storage.pages import number_after, page_of, rows_wanted
from mcp_server.storage.records import AuditRow, Page
from mcp_server.storage.tables import audit

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction


async def add(
    tx: Transaction,
    call: CallContext,
    *,
    action: str,
    outcome: str,
    subject: str | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Write a row.

    Args:
        action: `change`, `deny`, ...; at most 20 characters.
        outcome: `ok` or an error code.
        subject: what it was about, such as `model:games@3`.
        details: small JSON values, no personal data.
    """
    await tx.execute(
        insert(audit).values(
            at=tx.now,
            request_id=call.request_id,
            caller=call.caller.id,
            tool=call.tool,
            action=action,
            outcome=outcome,
            subject=subject,
            arguments_digest=call.arguments_digest,
            trace_id=call.trace_id,
            details=details or {},
        )
    )


async def add_change(tx: Transaction, call: CallContext) -> None:
    """Write the row of a transaction's own change; `Database.transaction` does it for every call."""
    await add(tx, call, action="change", outcome="ok", subject=tx.subject, details=tx.details)


async def list_page(
    tx: Transaction,
    *,
    caller: str | None = None,
    request_id: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[AuditRow]:
    """Rows, the latest first.

    Raises:
        InvalidInput: the cursor isn't one of ours, or the limit is out of bounds.
    """
    query = select(audit).order_by(audit.c.id.desc())
    if caller is not None:
        query = query.where(audit.c.caller == caller)
    if request_id is not None:
        query = query.where(audit.c.request_id == request_id)
    before = number_after(cursor)
    if before is not None:
        query = query.where(audit.c.id < before)
    rows = (await tx.execute(query.limit(rows_wanted(limit)))).mappings()
    return page_of([AuditRow(**row) for row in rows], limit, lambda row: row.id)
