"""Doing a repeated call once: its claim and its answer, in the transaction of its change.

A key belongs to a caller and a tool, is tied to the digest of the arguments, and is kept for 24 hours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update

from mcp_server.context import CallContext
from mcp_server.errors import CorruptArtefact, InvalidInput, KeyReused, NotFound
from mcp_server.storage.in_flight import Replayed, in_flight
from mcp_server.storage.tables import claims

if TYPE_CHECKING:
    from mcp_server.storage.transaction import Transaction

__all__ = ["KEPT", "MAX_INLINE", "Replayed", "claim", "find", "forget_expired", "in_flight", "keep_answer"]

KEPT = timedelta(hours=24)
MAX_INLINE = 64 * 1024
MAX_KEY = 256


async def find(tx: Transaction, caller: str, tool: str, key: str, digest: str, now: datetime) -> dict[str, Any] | None:
    """The answer that was stored under a key.

    Args:
        digest: of the arguments of this call.
        now: aware; what has expired by then isn't found.
    Returns:
        the answer, or None where the key is free.
    Raises:
        KeyReused: the key was used with other arguments.
        CorruptArtefact: the answer was large and its bytes have changed.
    """
    row = (
        await tx.execute(
            select(claims).where(
                claims.c.caller == caller, claims.c.tool == tool, claims.c.key == key, claims.c.expires_at > now
            )
        )
    ).first()
    if row is None:
        return None
    if row.arguments_digest != digest:
        raise KeyReused(
            "This idempotency key was used before with other arguments.",
            hint="Use a fresh key for another call, or repeat the first call exactly.",
        )
    content = row.answer if row.answer_artefact is None else await tx.artefacts.get(row.answer_artefact)
    answer: dict[str, Any] = json.loads(content)
    return answer


async def claim(tx: Transaction, call: CallContext, key: str) -> None:
    """Take the key for this transaction; whoever comes later waits for its end.

    Raises:
        Replayed: the call was done before; it carries the answer.
        KeyReused: the key was used with other arguments.
        InvalidInput: the key is empty or longer than 256 characters.
    """
    if not 0 < len(key) <= MAX_KEY:
        raise InvalidInput(f"An idempotency key has 1 to {MAX_KEY} characters.", hint="Use a UUID.")
    fresh = {
        "arguments_digest": call.arguments_digest,
        "request_id": call.request_id,
        "answer": None,
        "answer_artefact": None,
        "created_at": tx.now,
        "expires_at": tx.now + KEPT,
    }
    statement = tx.upsert(claims).values(caller=call.caller.id, tool=call.tool, key=key, **fresh)
    taken = await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["caller", "tool", "key"], set_=fresh, where=claims.c.expires_at <= tx.now
        )
    )
    if taken.rowcount:
        return
    answer = await find(tx, call.caller.id, call.tool, key, call.arguments_digest, tx.now)
    raise Replayed(answer if answer is not None else {})


async def keep_answer(tx: Transaction, call: CallContext, key: str, content: bytes) -> None:
    """Store the answer beside the claim, or as an artefact when it is over 64 KiB.

    Args:
        content: the answer's JSON.
    """
    stored: dict[str, Any] = (
        {"answer": content} if len(content) <= MAX_INLINE else {"answer_artefact": await tx.artefacts.put(content)}
    )
    await tx.execute(
        update(claims)
        .where(claims.c.caller == call.caller.id, claims.c.tool == call.tool, claims.c.key == key)
        .values(**stored)
    )


async def holding(
    tx: Transaction, holds: Callable[[bytes], bool], *, requests: Collection[str] = ()
) -> list[tuple[tuple[str, str, str], str | None]]:
    """The claims whose stored answers hold something.

    Args:
        holds: whether an answer's JSON does; one whose bytes are gone or damaged counts as holding it.
        requests: ids of requests whose claims count in any case.
    Returns:
        caller, tool and key of each, and the digest of its artefact where the answer is large.
    """
    found = []
    for row in (await tx.execute(select(claims))).all():
        if row.request_id not in requests:
            try:
                content = row.answer if row.answer_artefact is None else await tx.artefacts.get(row.answer_artefact)
                if content is None or not holds(content):
                    continue
            except (NotFound, CorruptArtefact):
                pass  # nobody can say what stood in it, and it can't be given as an answer any more
        found.append(((row.caller, row.tool, row.key), row.answer_artefact))
    return found


async def purge(tx: Transaction, holds: Callable[[bytes], bool], *, requests: Collection[str] = ()) -> list[str]:
    """Remove the claims that `holding` finds; a call that is repeated with such a key is done anew.

    Returns:
        the digests of the large answers among them, whose artefacts are still there.
    """
    artefacts = []
    for (caller, tool, key), artefact in await holding(tx, holds, requests=requests):
        await tx.execute(delete(claims).where(claims.c.caller == caller, claims.c.tool == tool, claims.c.key == key))
        artefacts += [artefact] if artefact is not None else []
    return artefacts


async def forget_expired(tx: Transaction) -> int:
    """Remove the claims whose time is over.

    Returns:
        how many there were.
    """
    return (await tx.execute(delete(claims).where(claims.c.expires_at <= tx.now))).rowcount
