"""The audit log: what was changed, refused or decided, by whom, in the transaction of the change itself.

Its rows are a chain whose head is signed; see `audit_chain`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from mcp_server import log
from mcp_server.context import CallContext
from mcp_server.storage.audit_chain import BROKEN, EMPTY, Head, is_signed, link, sign
from mcp_server.storage.pages import number_after, page_of, rows_wanted
from mcp_server.storage.records import AuditRow, Page
from mcp_server.storage.tables import audit, audit_head

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction

_log = log.get("courtside.storage")

CHECKED_AT_ONCE = 1_000
MOST_PROBLEMS = 10


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
    before = await _before(tx)
    row = {
        "at": tx.now,
        "request_id": call.request_id,
        "caller": call.caller.id,
        "tool": call.tool,
        "action": action,
        "outcome": outcome,
        "subject": subject,
        "arguments_digest": call.arguments_digest,
        "trace_id": call.trace_id,
        "details": details or {},
        "place": before.place + 1,
    }
    head = Head(before.place + 1, link(before.chain, row))
    await tx.execute(insert(audit).values(**row, chain=head.chain))
    signed = {"place": head.place, "chain": head.chain, "signature": sign(tx.keys, head)}
    await tx.execute(
        tx.upsert(audit_head).values(id=1, **signed).on_conflict_do_update(index_elements=["id"], set_=signed)
    )
    tx.audit_head = head


async def add_change(tx: Transaction, call: CallContext) -> None:
    """Write the row of a transaction's own change; `Database.transaction` does it for every call."""
    await add(tx, call, action="change", outcome="ok", subject=tx.subject, details=tx.details)


async def _before(tx: Transaction) -> Head:
    """What the next row goes on from: the last row, where that is what was signed, and witnessed before.

    Otherwise the chain goes on from a digest that no row has: the break shows for good, and nothing that was forged
    is signed along with what comes after it.
    """
    end, signed = await last(tx), await _signed_head(tx)
    seen = tx.witness.seen() if tx.witness is not None else None
    if signed is None:
        sound = seen is None  # nothing was ever signed here: an empty log, or rows from before there was a chain
    else:
        head, signature = signed
        sound = head == end and is_signed(tx.keys, head, signature) and await _holds(tx, seen, end)
    if sound:
        return end
    _log.error("the audit log isn't what was signed", place=end.place, hint="courtside audit verify says more")
    places = [end.place, signed[0].place if signed else 0, seen.place if seen else 0]
    return Head(max(places), BROKEN)


async def _holds(tx: Transaction, seen: Head | None, end: Head) -> bool:
    """Whether the log holds a head that was seen before."""
    if seen is None or seen == end:
        return True
    found = (await tx.execute(select(audit.c.chain).where(audit.c.place == seen.place))).scalar()
    return bool(found == seen.chain)


async def _signed_head(tx: Transaction) -> tuple[Head, bytes] | None:
    found = (await tx.execute(select(audit_head))).one_or_none()
    return None if found is None else (Head(found.place, found.chain), found.signature)


async def last(tx: Transaction) -> Head:
    """The end of the chain, as its last row has it."""
    query = select(audit.c.place, audit.c.chain).order_by(audit.c.place.desc()).limit(1)
    found = (await tx.execute(query)).one_or_none()
    return EMPTY if found is None else Head(found.place, found.chain)


async def changed_by(tx: Transaction, tools: Collection[str], *, since: Head) -> bool:
    """Whether one of some tools changed anything after a place in the log."""
    query = select(audit.c.place).where(audit.c.place > since.place, audit.c.tool.in_(list(tools))).limit(1)
    return (await tx.execute(query)).first() is not None


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a look through the whole log found.

    Args:
        head: where the rows end.
        problems: one sentence each, the first ten; none where every row is as it was written.
    """

    head: Head
    problems: tuple[str, ...]


async def check_chain(tx: Transaction, *, seen: Sequence[Head] = ()) -> ChainReport:
    """Read every row and compare it with the chain, the chain with its signature, and both with heads seen before.

    Args:
        seen: heads that were noted elsewhere; the log must still hold them.
    """
    problems: list[str] = []
    before, number = EMPTY, 0
    noted = {head.place: head for head in seen}
    while True:
        query = select(audit).where(audit.c.place > before.place).order_by(audit.c.place).limit(CHECKED_AT_ONCE)
        rows = (await tx.execute(query)).mappings().all()
        if not rows:
            break
        for row in rows:
            if row["place"] != before.place + 1:
                problems.append(f"The rows between {before.place} and {row['place']} are missing.")
            elif link(before.chain, dict(row)) != row["chain"]:
                problems.append(f"Row {row['place']} isn't what was written, or what stood before it isn't.")
            if row["id"] <= number:
                problems.append(f"Row {row['place']} was moved.")
            # From here on as the log says, so that one change isn't told once for each row after it.
            before, number = Head(row["place"], row["chain"]), row["id"]
            head = noted.pop(before.place, before)
            if head != before:
                problems.append(f"Up to row {head.place} the log isn't the one that was seen before.")
        if len(problems) > MOST_PROBLEMS:
            break
    beyond = [head.place for head in noted.values() if head.place > before.place]
    if beyond:
        problems.append(f"The log ends at row {before.place}; it was seen to reach row {max(beyond)}.")
    problems += await _unsigned(tx, before)
    return ChainReport(before, tuple(problems[:MOST_PROBLEMS]))


async def _unsigned(tx: Transaction, end: Head) -> list[str]:
    signed = await _signed_head(tx)
    if signed is None:
        return [] if end == EMPTY else ["The head of the log has no signature."]
    head, signature = signed
    if not is_signed(tx.keys, head, signature):
        return ["The signature of the log's head isn't this installation's."]
    if head != end:
        return [f"The log ends at row {end.place}; its signed head is of row {head.place}."]
    return []


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
