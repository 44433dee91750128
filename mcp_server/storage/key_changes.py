"""Replacing and revoking the key that signs, with the audit row about it: both of them, or neither.

The change is proposed in the keys folder inside the transaction that writes the row, and made once that is committed. A
process that was killed between the two leaves a proposal; whoever opens the storage next makes it or drops it, as the
audit log says. All of it happens under the write lock, so no head of the log is signed meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from mcp_server.context import CallContext
from mcp_server.storage import ledger
from mcp_server.storage.tables import audit

if TYPE_CHECKING:
    from mcp_server.storage.database import Database
    from mcp_server.storage.key_ring import SigningKey, SigningKeys
    from mcp_server.storage.keys import Keys
    from mcp_server.storage.transaction import Transaction


async def rotate(database: Database, keys: Keys, call: CallContext) -> SigningKey:
    """Have a new key sign from now on; what the present one signed stays trusted, and its private part is removed.

    Returns:
        the new key.
    """
    async with database.transaction(call) as tx:
        ring = await _settled(tx)
        before = ring.signing.id
        change = ring.propose_rotation(tx.now)
        tx.about(f"key:{change.key}", change=change.token, do="rotate", before=before)
    await finish(database, keys)
    return keys.ring.get(change.key)


async def revoke(database: Database, keys: Keys, call: CallContext, key: str, why: str) -> SigningKey:
    """Have what a key signed trusted no longer.

    Raises:
        NotFound: there is no such key.
        Conflict: it signs now, or is revoked already.
    """
    async with database.transaction(call) as tx:
        ring = await _settled(tx)
        # This transaction's own row has the head of the log signed anew, by the key that signs now.
        change = ring.propose_revocation(key, tx.now, why)
        await ledger.sign_again(tx)
        tx.about(f"key:{key}", change=change.token, do="revoke", why=why)
    await finish(database, keys)
    return keys.ring.get(key)


async def finish(database: Database, keys: Keys) -> None:
    """Make or drop what is proposed; also what a killed process left."""
    if keys.ring.unsettled:
        async with database.transaction() as tx:
            await _settled(tx)


async def _settled(tx: Transaction) -> SigningKeys:
    ring = tx.keys.ring
    change = ring.pending
    if ring.unsettled:
        query = select(audit.c.details).where(audit.c.subject == (f"key:{change.key}" if change else None))
        rows = (await tx.execute(query)).scalars().all() if change else []
        ring.settle(committed=any(change is not None and row.get("change") == change.token for row in rows))
    return ring
