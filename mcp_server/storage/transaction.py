"""What the functions of this package run their statements on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Executable, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from mcp_server.errors import CourtsideError, StorageFailed
from mcp_server.storage.failures import translate

if TYPE_CHECKING:
    from sqlalchemy import CursorResult
    from sqlalchemy.ext.asyncio import AsyncConnection

    from mcp_server.context import CallContext
    from mcp_server.storage.artefacts import Artefacts
    from mcp_server.storage.audit_chain import Head, Witness
    from mcp_server.storage.keys import Keys
    from mcp_server.storage.ledger import Ledger, Part

T = TypeVar("T")


class Transaction:
    """One transaction: all of it is committed, or nothing.

    Args:
        connection: with the transaction begun.
        now: aware; the one moment that everything in the transaction is dated with.
        call: whose unit of work this is, or None.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        *,
        now: datetime,
        call: CallContext | None,
        artefacts: Artefacts,
        keys: Keys,
        ledger: Ledger,
        witness: Witness | None = None,
    ) -> None:
        self.now = now
        self.call = call
        self.artefacts = artefacts
        self.keys = keys
        self.witness = witness
        self.ledger = ledger
        # Before the first statement: the transaction sees this head or a later one.
        self.sealed_before = ledger.seen()
        self.sealing: dict[tuple[str, int], set[Part]] = {}
        self.sealed_head: Head | None = None
        self.subject: str | None = None
        self.details: dict[str, Any] = {}
        self.answer_content: bytes | None = None
        self.failure: CourtsideError | None = None
        self.audit_head: Head | None = None
        self._connection = connection
        self._running: asyncio.Future[Any] | None = None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._connection.dialect.name

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | list[dict[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run one statement; its rows are already fetched.

        After a failure nothing more runs and the transaction can't be committed: SQLite may have rolled it back by
        itself, and what ran after that would be committed alone.

        Raises:
            Transient, DiskFull, Conflict, StorageFailed: as `failures.translate` says.
        """
        return await self._guarded(self._connection.execute(statement, parameters))

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run synchronous SQLAlchemy code on the connection, such as a migration or an inspection."""
        return await self._guarded(self._connection.run_sync(work))

    def upsert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that has `on_conflict_do_nothing` and `on_conflict_do_update`."""
        return sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)

    def answer(self, result: Mapping[str, Any]) -> None:
        """Say what the call answers, to be stored and replayed; required where the call has an idempotency key.

        Args:
            result: a JSON object with finite numbers; taken as it is now.
        """
        self.answer_content = json.dumps(result, allow_nan=False, separators=(",", ":")).encode()

    def about(self, subject: str, **details: Any) -> None:
        """Say what the audit row should name.

        Args:
            subject: such as `model:games@3`; at most 256 characters are kept.
            details: small JSON values, no personal data.
        """
        self.subject = subject[:256]
        self.details.update(details)

    async def settle(self) -> None:
        """Wait for the statement that a cancelled call left running."""
        while self._running is not None and not self._running.done():
            await asyncio.wait([self._running])
        if self._running is not None and not self._running.cancelled():
            self._running.exception()  # Whoever ran it has it, or has gone.

    async def _guarded(self, work: Coroutine[Any, Any, T]) -> T:
        if self.failure is not None:
            work.close()
            raise self.failure
        if self._running is not None and not self._running.done():
            work.close()
            self.failure = _interrupted()
            raise RuntimeError("a transaction runs one statement at a time")
        # A cancelled call stops waiting, but its statement comes to its end: a driver that is cancelled twice in one
        # place, as scopes do, leaves tasks behind that nothing ends.
        self._running = running = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(running)
        except (DBAPIError, OSError) as error:
            self.failure = translate(error)
            raise self.failure from error
        except BaseException:
            # Interrupted or refused half-way: what was done is unknown here, so none of it may be committed.
            self.failure = _interrupted()
            raise


def _interrupted() -> StorageFailed:
    return StorageFailed("The transaction was interrupted; nothing of it was stored.", hint="Repeat the call.")
