"""What was kept long enough: counting it, and removing it in bounded pieces."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from sqlalchemy import and_, delete, func, select

from mcp_server.errors import InvalidInput
from mcp_server.storage.records import FINAL_STATES
from mcp_server.storage.tables import claims, jobs, models, predictions, run_metrics, runs, validations

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement

    from mcp_server.storage.transaction import Transaction

Kind = Literal["predictions", "validations", "runs", "jobs"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BATCH = 5_000
"""Rows that go in one transaction: others wait for the lock no longer than that takes."""


async def count(tx: Transaction, kind: Kind, before: datetime) -> int:
    """How many are older than a moment.

    Args:
        kind: `runs` are those that ended and whose model versions are gone or were never made; `jobs` those that ended.
        before: aware.
    """
    id, old = _old(kind, before)
    return int((await tx.execute(select(func.count(id)).where(old))).scalar_one())


async def has_old(tx: Transaction, kind: Kind, before: datetime) -> bool:
    """Whether `count` would count any; it looks for the first alone."""
    id, old = _old(kind, before)
    return (await tx.execute(select(id).where(old).limit(1))).first() is not None


async def remove(tx: Transaction, kind: Kind, before: datetime, *, limit: int = BATCH) -> int:
    """Remove the first of those that `count` counts.

    Args:
        limit: how many at most.
    Returns:
        how many were removed.
    """
    id, old = _old(kind, before)
    first = select(id).where(old).order_by(id).limit(limit)
    if kind == "runs":
        await tx.execute(delete(run_metrics).where(run_metrics.c.run_id.in_(first)))
    return (await tx.execute(delete(id.table).where(id.in_(first)))).rowcount


async def count_answers(tx: Transaction) -> int:
    """How many stored answers of repeated calls have expired; `idempotency.forget_expired` removes them."""
    query = select(func.count()).select_from(claims).where(claims.c.expires_at <= tx.now)
    return int((await tx.execute(query)).scalar_one())


def _old(kind: Kind, before: datetime) -> tuple[Column[Any], ColumnElement[bool]]:
    match kind:
        case "predictions":
            return predictions.c.id, predictions.c.at < before
        case "validations":
            return validations.c.id, validations.c.at < before
        case "runs":
            return runs.c.id, and_(runs.c.ended_at < before, runs.c.id.not_in(select(models.c.run_id)))
        case "jobs":
            return jobs.c.id, and_(jobs.c.ended_at < before, jobs.c.state.in_(FINAL_STATES))
    raise InvalidInput("Nothing of that kind is kept for a time only.", hint=f"The kinds are {', '.join(KINDS)}.")
