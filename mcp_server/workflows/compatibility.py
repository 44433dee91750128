"""What a version of a data set is to who used the version before it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp_server.errors import CourtsideError, NotFound
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
    return await asyncio.to_thread(_compared, before, record.contract)


async def against_newest(tx: Transaction, name: str, contract: dict[str, Any]) -> Compatibility:
    """Compare the contract of what would be a data set's next version with its newest."""
    from mcp_server.storage import datasets

    try:
        newest = await datasets.get(tx, name)
    except NotFound:
        return Compatibility()
    return await asyncio.to_thread(_compared, newest, contract)


async def not_newest(tx: Transaction, record: DatasetVersion) -> list[str]:
    """Which version is the newest, where a version that was held already isn't it; nothing where it is."""
    from mcp_server.storage import datasets

    newest = await datasets.get(tx, record.name)
    if newest.version == record.version:
        return []
    return [
        f"{newest.name}@{newest.version} is the newest, and stays it: prepare_data of {record.name}@{record.version} "
        "with a step restore makes this one the newest."
    ]


def _compared(before: DatasetVersion, contract: dict[str, Any]) -> Compatibility:
    from mcp_server.core.contract import from_dict
    from mcp_server.core.contract.compatibility import breaks

    reference = f"{before.name}@{before.version}"
    try:
        found = [str(one) for one in breaks(from_dict(before.contract), from_dict(contract))]
    except CourtsideError:
        return Compatibility(f"Not compared with {reference}: a contract can't be read.")
    if not found:
        return Compatibility(f"Compatible with {reference}.")
    sentence = f"Breaks {counted(len(found), 'promise')} of {reference}: see untrusted.breaks."
    return Compatibility(sentence, tuple(found[:MOST_BREAKS]))
