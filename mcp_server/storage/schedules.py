"""Tools that run by a schedule: what runs when and for whom, signed, and how the latest runs ended."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, update

from mcp_server.core.canonical import canonical_bytes
from mcp_server.core.names import check_name, fold_name
from mcp_server.core.reports.sheet import leaves
from mcp_server.storage import erasure
from mcp_server.storage.records import Json, Schedule
from mcp_server.storage.tables import schedules

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from mcp_server.storage.keys import Keys
    from mcp_server.storage.transaction import Transaction

KEPT = 10
"""How many runs' ends are kept."""


async def put(
    tx: Transaction,
    name: str,
    *,
    cron: str,
    timezone: str,
    tool: str,
    arguments: Json,
    created_by: str,
    next_at: datetime,
) -> None:
    """Keep a schedule in the place of one of that name, whose runs stay told: a job of theirs may go on.

    Raises:
        DataRejected: `E_NAME`; the name isn't well formed.
    """
    fields = {
        "name": check_name(name),
        "cron": cron,
        "timezone": timezone,
        "tool": tool,
        "arguments": arguments,
        "created_by": created_by,
        "created_at": tx.now,
    }
    fields |= {"signature": tx.keys.sign(_statement(fields)), "next_at": next_at}
    statement = tx.upsert(schedules).values(folded=fold_name(name), recent=[], **fields)
    await tx.execute(statement.on_conflict_do_update(index_elements=["folded"], set_=fields))


async def remove(tx: Transaction, name: str) -> bool:
    """Whether there was one."""
    return bool((await tx.execute(delete(schedules).where(schedules.c.folded == fold_name(name)))).rowcount)


async def owner(tx: Transaction, name: str) -> str | None:
    """For whom a schedule of that name runs; None where there's none."""
    query = select(schedules.c.created_by).where(schedules.c.folded == fold_name(name))
    return (await tx.execute(query)).scalar_one_or_none()


async def count(tx: Transaction, *, but: str) -> int:
    """How many there are of other names."""
    query = select(func.count()).select_from(schedules).where(schedules.c.folded != fold_name(but))
    return int((await tx.execute(query)).scalar_one())


async def all_of(tx: Transaction, *, due: datetime | None = None, limit: int = 100) -> list[Schedule]:
    """Schedules, the next to run first.

    Args:
        due: only those that were to run by then.
    """
    query = select(*(column for column in schedules.c if column.name != "folded"))
    if due is not None:
        query = query.where(schedules.c.next_at <= due)
    rows = (await tx.execute(query.order_by(schedules.c.next_at, schedules.c.folded).limit(limit))).mappings()
    return [Schedule(**row) for row in rows]


async def stands(tx: Transaction, schedule: Schedule) -> bool:
    """Whether it's still there as it was read, and still to run at that time."""
    query = select(schedules.c.name).where(*_same(schedule))
    return (await tx.execute(query)).first() is not None


async def ran(tx: Transaction, schedule: Schedule, *, next_at: datetime, ended: Json) -> bool:
    """Record how a run ended and when the next one is.

    Returns:
        False where the schedule was changed, removed or run by somebody else meanwhile: then nothing is recorded.
    """
    statement = (
        update(schedules).where(*_same(schedule)).values(next_at=next_at, recent=[*schedule.recent, ended][-KEPT:])
    )
    return bool((await tx.execute(statement)).rowcount)


async def holding(tx: Transaction, words: Collection[str]) -> list[str]:
    """The names of schedules whose arguments quote one of some values, each as a word of its own."""
    inside = erasure.said(words)
    rows = await tx.execute(select(schedules.c.name, schedules.c.arguments).order_by(schedules.c.name))
    return [
        row.name
        for row in rows
        if any(inside.search(str(text).casefold()) for fact in leaves(row.arguments, "") for text in fact)
    ]


def _same(schedule: Schedule) -> tuple[ColumnElement[bool], ...]:
    return (
        schedules.c.folded == fold_name(schedule.name),
        schedules.c.next_at == schedule.next_at,
        schedules.c.created_at == schedule.created_at,
    )


def genuine(keys: Keys, schedule: Schedule) -> bool:
    """Whether this installation signed what runs, when and for whom: a row that was written by hand isn't run."""
    fields = {name: getattr(schedule, name) for name in _SIGNED}
    return keys.verify(_statement(fields), schedule.signature)


_SIGNED = ("name", "cron", "timezone", "tool", "arguments", "created_by", "created_at")


def _statement(fields: dict[str, Any]) -> bytes:
    return canonical_bytes(
        {**{name: fields[name] for name in _SIGNED}, "created_at": fields["created_at"].isoformat(), "runs": True}
    )
