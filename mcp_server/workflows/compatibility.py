"""What a version of a data set is to who used the version before it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcp_server.errors import CourtsideError
from mcp_server.workflows.reply import counted

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion
    from mcp_server.storage.transaction import Transaction

MOST_BREAKS = 20


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Whether a version can stand in for the one before it.

    Args:
        sentence: of ours; empty where no earlier version is there.
        breaks: what breaks who used the one before, with names from the data.
    """

    sentence: str = ""
    breaks: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """The sentence, if there is one."""
        return [self.sentence] if self.sentence else []

    @property
    def apart(self) -> dict[str, list[str]]:
        """What goes with an answer's untrusted text."""
        return {"breaks": list(self.breaks)} if self.breaks else {}


async def against_previous(tx: Transaction, record: DatasetVersion) -> Compatibility:
    """Compare a version's contract with that of the newest version before it that is still there."""
    from mcp_server.storage import datasets

    before = await datasets.before(tx, record)
    if before is None:
        return Compatibility()
    return await asyncio.to_thread(_compared, before, record)


def _compared(before: DatasetVersion, record: DatasetVersion) -> Compatibility:
    from mcp_server.core.contract import from_dict
    from mcp_server.core.contract.compatibility import breaks

    reference = f"{before.name}@{before.version}"
    try:
        found = [str(one) for one in breaks(from_dict(before.contract), from_dict(record.contract))]
    except CourtsideError:
        return Compatibility(f"Not compared with {reference}: a contract can't be read.")
    if not found:
        return Compatibility(f"Compatible with {reference}.")
    sentence = f"Breaks {counted(len(found), 'promise')} of {reference}: see untrusted.breaks."
    return Compatibility(sentence, tuple(found[:MOST_BREAKS]))
