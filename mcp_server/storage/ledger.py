"""What each model version's standing and latest verdict are, sealed: a chain of their states whose head is signed.

A row of the chain holds the digest of what the database has of a version: who made it, its stage, owner, tags and
approvals; or its latest verification. Who can write to the database, but doesn't have the keys, can change those rows
or put older ones back, with their old signatures even: they don't match the newest seal then, and no seal can be added
or taken away without the signature of the head. An older head with all before it is told by a witness beside the keys,
as of the audit log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Text, delete, func, insert, select, type_coerce

from mcp_server import log
from mcp_server.core.canonical import digest
from mcp_server.errors import CorruptArtefact, InvalidInput
from mcp_server.storage.audit_chain import EMPTY, START, Head, Witness, is_signed, sign
from mcp_server.storage.tables import approvals, models, seals, seals_head, standings, tags, verifications

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Table

    from mcp_server.storage.transaction import Transaction

_log = log.get("courtside.storage")

FORMAT = "courtside.seals/1"
MOST_AT_ONCE = 500
Part = Literal["standing", "verdict"]
PARTS: tuple[Part, ...] = ("standing", "verdict")
Version = tuple[str, int]

TOLD: dict[Part, str] = {
    "standing": "who made it, its stage, owner, tags or approvals aren't as signed",
    "verdict": "its latest verification isn't the newest that was signed",
}
NEXT: dict[Part, str] = {
    "standing": "docs/guides/governance.md, Not as signed, says how a person puts it right: courtside keys sign.",
    "verdict": "Call verify_model with model {model}; courtside audit verify says what else was touched.",
}
_HINT = NEXT["standing"]


class Ledger:
    """The chain as this process has read and checked it; what is new in it is read at each use.

    Args:
        witness: of its head; None where nothing but the signature is to tell.
    """

    def __init__(self, witness: Witness | None = None) -> None:
        self.witness = witness
        self._mark: tuple[int, int, int] | None = None
        self._seen: Head | None = None
        self.forget()

    def forget(self) -> None:
        """Have everything read and checked anew."""
        self._end = EMPTY
        self._chains = {0: START}
        self._states: dict[tuple[str, int, str], list[tuple[int, str]]] = {}

    def seen(self) -> Head | None:
        """The head that this machine saw last; asked before a transaction sees its moment of the database."""
        if self.witness is None:
            return None
        try:
            status = self.witness.path.stat()
        except FileNotFoundError:
            return None
        mark = status.st_ino, status.st_mtime_ns, status.st_size
        if mark != self._mark:
            try:
                self._seen = self.witness.read()
            except InvalidInput:
                self._seen = Head(-1, START)  # no chain has it
            self._mark = mark
        return self._seen

    async def head(self, tx: Transaction) -> Head | None:
        """The end of the chain as the transaction sees it; None where it isn't what was signed and seen before."""
        found = (await tx.execute(select(seals_head))).one_or_none()
        head = EMPTY if found is None else Head(found.place, found.chain)
        if found is not None and not is_signed(tx.keys, head, found.signature, FORMAT):
            return None
        if not await self._reaches(tx, head):
            self.forget()
            if not await self._reaches(tx, head):
                return None
        seen = tx.sealed_before
        if seen is None or (self._chains.get(seen.place) == seen.chain and seen.place <= head.place):
            return head
        return None

    def state(self, head: Head, name: str, version: int, part: Part) -> str | None:
        """The newest state that was sealed of a version up to a head; None where none was."""
        states = self._states.get((name, version, part), [])
        index = bisect_right(states, head.place, key=lambda one: one[0])
        return states[index - 1][1] if index else None

    async def _reaches(self, tx: Transaction, head: Head) -> bool:
        """Read what is new; whether the chain leads to a head."""
        new = select(seals).where(seals.c.place > self._end.place).order_by(seals.c.place)
        for row in (await tx.execute(new)).all():
            if row.place <= self._end.place:
                continue  # another task was quicker
            link = _link(self._end.chain, row.place, row.name, row.version, row.part, row.state)
            if row.place > head.place or link != row.chain:
                return False
            self._end = Head(row.place, row.chain)
            self._chains[row.place] = row.chain
            self._states.setdefault((row.name, row.version, row.part), []).append((row.place, row.state))
        return self._chains.get(head.place) == head.chain


async def not_as_sealed(tx: Transaction, versions: Sequence[Version] | None = None) -> dict[Version, tuple[Part, ...]]:
    """Which versions differ from the newest seal of them, and in what; one that was never sealed does.

    Args:
        versions: name and number of those to look at; None for all.
    Raises:
        CorruptArtefact: a record of theirs can't be read at all.
    """
    head = await tx.ledger.head(tx)
    if head is None:
        _log.error("the seals of model versions aren't what was signed", hint="see docs/guides/governance.md")
    found: dict[Version, tuple[Part, ...]] = {}
    for key, states in (await _states(tx, versions)).items():
        # What this transaction changes was looked at before it did.
        left = [part for part in PARTS if part not in tx.sealing.get(key, ())]
        parts = [part for part in left if head is None or tx.ledger.state(head, *key, part) != states[part]]
        if parts:
            found[key] = tuple(parts)
    return found


async def wrong(tx: Transaction, name: str, version: int) -> tuple[Part, ...]:
    """In what one version differs from its newest seal; see `not_as_sealed`."""
    return (await not_as_sealed(tx, [(name, version)])).get((name, version), ())


async def require(tx: Transaction, name: str, version: int) -> None:
    """Raise CorruptArtefact where a version's standing isn't as sealed: what rests on it would be signed anew."""
    if "standing" in await wrong(tx, name, version):
        raise CorruptArtefact(f"{name}@{version}: {TOLD['standing']}; nothing was changed.", hint=_HINT)


async def change(tx: Transaction, name: str, version: int) -> None:
    """Have a version's standing sealed at the end of this transaction; called before it's changed.

    Raises:
        CorruptArtefact: it isn't as sealed now.
    """
    if "standing" not in tx.sealing.get((name, version), ()):
        await require(tx, name, version)
        seal(tx, name, version, "standing")


def seal(tx: Transaction, name: str, version: int, *parts: Part) -> None:
    """Have what this transaction leaves of a version sealed at its end, whatever it was before."""
    tx.sealing.setdefault((name, version), set()).update(parts)


async def seal_all(tx: Transaction) -> None:
    """Seal every version as it's found, where nothing was ever sealed: what was made before there were seals."""
    if tx.sealed_before is None and await tx.ledger.head(tx) == EMPTY:
        for name, version in await _states(tx, None):
            seal(tx, name, version, *PARTS)
        await complete(tx)


async def complete(tx: Transaction) -> None:
    """Add the seals that a transaction asks for and sign the head.

    Raises:
        CorruptArtefact: the chain isn't what was signed, so nothing may be added to it but a verdict, which doesn't
            count then.
    """
    if not tx.sealing:
        return
    before = await tx.ledger.head(tx)
    wanted, tx.sealing = tx.sealing, {}
    if before is None:
        if any("standing" in parts for parts in wanted.values()):
            raise CorruptArtefact("The seals of model versions aren't what was signed.", hint=_HINT)
        return
    states = await _states(tx, list(wanted))
    rows = []
    end = before
    for key, parts in sorted(wanted.items()):
        for part in sorted(parts):
            if key not in states:
                continue  # it was removed
            content = (end.place + 1, *key, part, states[key][part])
            end = Head(end.place + 1, _link(end.chain, *content))
            rows.append(dict(zip(_COLUMNS, content, strict=True)) | {"chain": end.chain})
    if rows:
        await tx.execute(insert(seals), rows)
        await _sign(tx, end)


async def sign_again(tx: Transaction) -> None:
    """Sign the head with the key that signs now, where it's sound; before the key that signed it is revoked."""
    head = await tx.ledger.head(tx)
    if head is not None and head != EMPTY:
        await _sign(tx, head)


async def begin_again(tx: Transaction) -> None:
    """Drop a chain that isn't what was signed; every version is without a seal then until a person signs it."""
    if await tx.ledger.head(tx) is None:
        found = (await tx.execute(select(seals_head))).one_or_none()
        signed = found is not None and is_signed(tx.keys, Head(found.place, found.chain), found.signature, FORMAT)
        places = [tx.sealed_before.place if tx.sealed_before else 0, found.place if found and signed else 0]
        await tx.execute(delete(seals))
        place, state = max(0, *places) + 1, digest("begun again")
        end = Head(place, _link(START, place, "", 0, "", state))
        row = {"place": place, "name": "", "version": 0, "part": "", "state": state, "chain": end.chain}
        await tx.execute(insert(seals), [row])
        await _sign(tx, end)
        tx.sealed_before = end


_COLUMNS = ("place", "name", "version", "part", "state")


async def _sign(tx: Transaction, head: Head) -> None:
    signed = {"place": head.place, "chain": head.chain, "signature": sign(tx.keys, head, FORMAT)}
    await tx.execute(
        tx.upsert(seals_head).values(id=1, **signed).on_conflict_do_update(index_elements=["id"], set_=signed)
    )
    tx.sealed_head = head


def _link(before: str, *content: object) -> str:
    return digest([FORMAT, before, *content])


async def _states(tx: Transaction, versions: Sequence[Version] | None) -> dict[Version, dict[Part, str]]:
    """The digest of each part of each version as the database has it now."""
    if versions is None:
        query = select(models.c.name, models.c.version).order_by(models.c.id)
        versions = [(row.name, row.version) for row in await tx.execute(query)]
    if len(versions) > MOST_AT_ONCE:
        # In parts, so that others are served in between.
        parts = [versions[start : start + MOST_AT_ONCE] for start in range(0, len(versions), MOST_AT_ONCE)]
        return {key: state for part in parts for key, state in (await _states(tx, part)).items()}
    try:
        return await _digests(tx, versions)
    except (ValueError, InvalidInput):  # a moment that is none, or text that nobody could have stored here
        raise CorruptArtefact(
            "A record of a model version can't be read: it isn't what was written.", hint=_HINT
        ) from None


async def _digests(tx: Transaction, versions: Sequence[Version]) -> dict[Version, dict[Part, str]]:
    made = models.c.name, models.c.version, models.c.digest, models.c.created_at, models.c.created_by
    # As text: exactly what is stored, whether or not it can be read.
    checks = type_coerce(verifications.c.checks, Text).label("checks")
    verdict = verifications.c.name, verifications.c.version, verifications.c.verdict, checks, verifications.c.at
    # Not the note, which an erasure may change.
    approved = [column for column in approvals.c if column.name != "note"]
    facts: dict[Version, dict[Part, list[Any]]] = {}
    for row in await _rows(tx, models, made, versions):
        said = _plain(row)
        facts[row.name, row.version] = {"standing": [["standing", *said]], "verdict": [["verdict", *said[:3]]]}
    for table, columns in ((standings, standings.c), (tags, tags.c), (approvals, approved)):
        for row in await _rows(tx, table, columns, versions):
            if (row.name, row.version) in facts:
                facts[row.name, row.version]["standing"].append([table.name, *_plain(row)])
    newest = (
        select(func.max(verifications.c.id))
        .where(*_among(verifications, versions))
        .group_by(verifications.c.name, verifications.c.version)
    )
    for row in await tx.execute(select(*verdict).where(verifications.c.id.in_(newest))):
        if (row.name, row.version) in facts:
            facts[row.name, row.version]["verdict"].append(_plain(row))
    return {version: {part: digest(said) for part, said in parts.items()} for version, parts in facts.items()}


async def _rows(tx: Transaction, table: Table, columns: Iterable[Any], versions: Sequence[Version]) -> list[Any]:
    query = select(*columns).where(*_among(table, versions)).order_by(*table.primary_key)
    wanted = set(versions)
    return [row for row in await tx.execute(query) if (row.name, row.version) in wanted]


def _among(table: Table, versions: Sequence[Version]) -> list[ColumnElement[bool]]:
    names, numbers = {name for name, _ in versions}, {number for _, number in versions}
    return [table.c.name.in_(names), table.c.version.in_(numbers)]


def _plain(row: Iterable[Any]) -> list[Any]:
    """A row as JSON has it."""
    return [
        value.isoformat() if isinstance(value, datetime) else value.hex() if isinstance(value, bytes) else value
        for value in row
    ]
