"""Taking away artefacts that nothing refers to: noted before a deletion commits, removed after it, swept if killed.

A note says that an artefact may go, not that it must: whoever acts on it looks, under the write lock, whether anything
refers to it still. So a note of a deletion that was undone does no harm, and neither does acting on one twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from mcp_server.errors import Transient
from mcp_server.storage.tables import datasets, metadata, models

if TYPE_CHECKING:
    from mcp_server.storage.artefacts import Artefacts
    from mcp_server.storage.database import Database
    from mcp_server.storage.transaction import Transaction

SETTLED = timedelta(hours=24)
"""How long an artefact may wait for the transaction that refers to it: longer than any import or job takes."""
BATCH = 500
"""Files that go under one lock."""


async def note(tx: Transaction, digests: Iterable[str]) -> None:
    """Note what the deletion in this transaction leaves behind; `finish` removes it after the commit."""
    await tx.artefacts.mark(digests)


async def hold(tx: Transaction, digests: Iterable[str]) -> None:
    """Make sure that artefacts are there when this transaction begins to refer to them.

    Raises:
        Transient: a deletion removed one after it was put; put it again.
    """
    for digest in digests:
        if not await tx.artefacts.exists(digest):
            raise Transient(
                "A stored file was removed with something else that was deleted just now; nothing was stored.",
                hint="Repeat the call.",
                retry_after=0.1,
            )


async def finish(database: Database, artefacts: Artefacts) -> int:
    """Remove what was noted and isn't referred to; also what a killed process left half-done.

    Returns:
        how many artefacts were removed.
    """
    if not await artefacts.marked():
        return 0
    async with database.transaction() as tx:
        # Looked up again under the lock: only a committed or undone deletion's notes are here.
        marked = await artefacts.marked()
        loose = marked - await referred(tx)
        removed = sum([await artefacts.remove(digest) for digest in sorted(loose)])
    await artefacts.unmark(marked)
    return removed


async def collect(database: Database, artefacts: Artefacts) -> int:
    """Remove the artefacts that nothing refers to and that have waited for a day, such as those of failed jobs.

    Returns:
        how many were removed.
    """
    removed = 0
    while True:
        async with database.transaction() as tx:
            some = sorted(await loose(tx))[:BATCH]
            gone = sum([await artefacts.remove(digest) for digest in some])
        removed += gone
        if gone < BATCH:
            return removed


async def loose(tx: Transaction) -> dict[str, int]:
    """The artefacts that `collect` would remove, with their sizes in bytes."""
    old = await tx.artefacts.listed(before=tx.now - SETTLED)
    named = await referred(tx) if old else set()
    return {digest: size for digest, size in old.items() if digest not in named}


async def referred(tx: Transaction) -> set[str]:
    """The digest of each artefact that a record names.

    These are every column called so, the files of signed manifests, and what a preparation fitted.
    """
    found: set[str] = set()
    for table in metadata.tables.values():
        columns = [column for column in table.c if column.name.endswith("artefact")]
        if columns:
            for row in await tx.execute(select(*columns)):
                found.update(digest for digest in row if digest is not None)
    for manifest in (await tx.execute(select(models.c.manifest))).scalars():
        files = manifest.get("files")
        found.update(files.values() if isinstance(files, dict) else ())
    for source in (await tx.execute(select(datasets.c.source))).scalars():
        found.update([source["fitted"]] if source.get("fitted") else ())
    return found
