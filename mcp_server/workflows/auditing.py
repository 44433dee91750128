"""The log of changes: whether it is as it was written, and its head, to be noted where nobody here can write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from mcp_server.errors import InvalidInput
from mcp_server.settings import Settings
from mcp_server.workflows.app import own_app

if TYPE_CHECKING:
    from mcp_server.storage.audit import ChainReport
    from mcp_server.storage.audit_chain import Head

MOST_VERSIONS = 10


async def head(settings: Settings) -> Head:
    """The end of the log, as it stands."""
    from mcp_server.storage import audit

    async with own_app(settings) as app, (await app.storage()).database.reading() as tx:
        return await audit.last(tx)


async def verify(settings: Settings, noted: Iterable[str] = ()) -> ChainReport:
    """Read the whole log and say what isn't as it was written; also which model versions aren't as they were sealed.

    Args:
        noted: heads that `head` gave before, as text; the log must still hold them.
    Raises:
        InvalidInput: a head isn't one.
    """
    from mcp_server.storage import audit, ledger
    from mcp_server.storage.audit_chain import Head

    seen = [Head.parse(text) for text in noted]
    async with own_app(settings) as app:
        storage = await app.storage()
        problems: tuple[str, ...] = ()
        try:
            witnessed = storage.witness.read()
            seen += [witnessed] if witnessed is not None else []
        except InvalidInput as damaged:
            problems = (f"{damaged.message} {damaged.hint}",)
        async with storage.database.reading() as tx:
            report = await audit.check_chain(tx, seen=seen)
            unsealed = await ledger.not_as_sealed(tx)
    versions = [
        f"Model {name}@{version}: {ledger.TOLD[part]}." for (name, version), parts in unsealed.items() for part in parts
    ]
    if (more := len(versions) - MOST_VERSIONS) > 0:
        versions[MOST_VERSIONS:] = [f"And {more} more of that kind."]
    return replace(report, problems=(*problems, *report.problems, *versions))
