"""The prediction log: every prediction on the disk before its answer, many to a commit.

Calls hand in records and wait. A writer of its own takes whatever has gathered meanwhile, writes it in one
transaction, waits for the disk, and only then lets the calls go on. It goes around SQLAlchemy, which would take
longer over a row than the disk does.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcp_server.errors import Busy, CourtsideError, StorageFailed
from mcp_server.storage.records import PredictionRecord

if TYPE_CHECKING:
    from mcp_server.storage.database import Database
    from mcp_server.storage.keys import Keys

CAPACITY = 50_000
"""How many records may wait; more are refused at once."""

BATCH = 2_000
"""How many records go into one transaction, unless one call alone hands in more."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call's records, and what the call waits for."""

    records: tuple[PredictionRecord, ...]
    done: asyncio.Future[None]


class PredictionLog(ABC):
    """Where predictions without an idempotency key go; used from one event loop.

    Args:
        capacity: how many records may wait.
    """

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._waiting = 0
        self._started = False
        self._open = True

    async def append(self, records: Sequence[PredictionRecord]) -> None:
        """Store records; all of them are on the disk when this returns, or none is and it raises.

        A record that is stored already is left as it is, so the same records may be handed in again.

        Raises:
            Busy: too many records wait; nothing was taken.
            Transient, DiskFull, StorageFailed: they could not be written.
            InvalidInput: a feature isn't a JSON value.
        """
        if not records:
            return
        if not self._open:
            raise _closed()
        if self._waiting + len(records) > self._capacity:
            raise Busy(
                "Too many predictions wait to be stored; none of these was taken.",
                hint="Repeat the call in a moment, or send fewer rows at once.",
                retry_after=0.5,
            )
        if not self._started:
            self._start()
            self._started = True
        request = Request(tuple(records), asyncio.get_running_loop().create_future())
        self._waiting += len(records)
        try:
            self._submit(request)
            self._see_end(request)
            await request.done
        finally:
            self._waiting -= len(records)

    async def close(self) -> None:
        """Write what waits, then end the writer; later records are refused."""
        self._open = False
        if self._started:
            await self._stop()

    @abstractmethod
    def _start(self) -> None:
        """Start the writer."""

    @abstractmethod
    def _submit(self, request: Request) -> None:
        """Hand a request to the writer."""

    @abstractmethod
    async def _stop(self) -> None:
        """Wait until the writer has written what it was handed, and has ended."""

    def _see_end(self, request: Request) -> None:
        """Its writer may have ended since the last look, without seeing this request."""
        if not self._open:
            settle([request], _closed())

    def _give_up(self, requests: Sequence[Request]) -> None:
        """For the end of a writer: nobody may wait for it any more."""
        self._open = False
        settle(requests, _closed())


def open_log(database: Database, keys: Keys, *, capacity: int = CAPACITY) -> PredictionLog:
    """The log for a database that has been migrated; its writer starts with the first record."""
    if database.path is not None:
        from mcp_server.storage.prediction_writer_sqlite import SqlitePredictionLog

        return SqlitePredictionLog(database.path, keys, capacity=capacity)
    from mcp_server.storage.prediction_writer_postgres import PostgresPredictionLog

    return PostgresPredictionLog(database.url, keys, capacity=capacity)


def settle(requests: Sequence[Request], failure: CourtsideError | None) -> None:
    """Let the calls go on that wait for these requests, or fail; from any thread."""
    if requests:
        with suppress(RuntimeError):  # The loop has been closed: nobody waits any more.
            # One wake-up for all of them: each costs a system call.
            requests[0].done.get_loop().call_soon_threadsafe(_settle, requests, failure)


def _settle(requests: Sequence[Request], failure: CourtsideError | None) -> None:
    for request in requests:
        if request.done.done():  # The call was cancelled.
            continue
        if failure is None:
            request.done.set_result(None)
        else:
            request.done.set_exception(failure)


def _closed() -> StorageFailed:
    return StorageFailed("The prediction log is closed.", hint="The server is stopping; repeat the call at the next.")
