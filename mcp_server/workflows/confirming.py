"""Plans for what can't be undone: shown first, done only when their digest is repeated."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from mcp_server.errors import Conflict

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction

DIGITS = 16


def plan_digest(plan: dict[str, Any]) -> str:
    """16 hex digits that stand for a plan; another plan has others."""
    from mcp_server.core.canonical import PREFIX, digest

    return digest(plan).removeprefix(PREFIX)[:DIGITS]


def require(confirm: str, digest: str) -> None:
    """Go on only with the plan that was shown.

    Raises:
        Conflict: the digest is another plan's: something changed since, or other arguments were given.
    """
    if confirm != digest:
        raise Conflict(
            "The digest isn't that of the plan as it is now; nothing was changed.",
            hint="Call again without confirm, read the plan, and repeat its digest.",
        )


async def refuse_running(tx: Transaction, *, datasets: Collection[str] = (), models: Collection[str] = ()) -> None:
    """Leave alone what a job is working with.

    Args:
        datasets: `name@version`; models: names, without versions.
    Raises:
        Conflict: a waiting or running job reads or makes one of them.
    """
    from mcp_server.storage import jobs

    for job in (await jobs.list_page(tx, states=["queued", "running"], limit=1_000)).items:
        if job.arguments.get("dataset") in datasets or job.arguments.get("model") in models:
            raise Conflict(
                f"Job {job.id} is working with it; nothing was changed.",
                hint="Wait for its end with get_job, or stop it with cancel_job.",
                details={"job": job.id},
            )
