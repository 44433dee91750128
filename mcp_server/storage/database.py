"""The database: SQLite beside the data, or PostgreSQL by URL; one code path over both.

One writing transaction runs at a time, in both: SQLite's `BEGIN IMMEDIATE`, and a lock on PostgreSQL. So what a
transaction read is still so when it writes, and no update is lost. Readers see one moment and wait for nobody.
"""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mcp_server import log
from mcp_server.context import CallContext, Clock
from mcp_server.errors import BadConfiguration, Busy, DeadlineExceeded, StorageFailed, Unsupported
from mcp_server.storage import audit, idempotency, ledger, sqlite_file
from mcp_server.storage.artefacts import Artefacts
from mcp_server.storage.audit_chain import Witness
from mcp_server.storage.failures import translate
from mcp_server.storage.keys import Keys
from mcp_server.storage.transaction import Transaction

_log = log.get("courtside.storage")

WAIT_SECONDS = 10.0
READERS = 4
WRITE_LOCK = zlib.crc32(b"courtside writes") & 0x7FFFFFFF


class Database:
    """Transactions over a bounded set of connections.

    Args:
        url: `sqlite:///path` or `postgresql://user:password@host/name`.
        clock: dates what is stored, and tells when a deadline has passed.
        artefacts: where a large answer goes.
        keys: for the columns that are encrypted.
        witness: is told each head of the audit log.
        seals: of model versions; without it, one that no witness watches.
        readers: how many reading transactions run at once.
    Raises:
        BadConfiguration: the URL can't be used.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        artefacts: Artefacts,
        keys: Keys,
        witness: Witness | None = None,
        seals: ledger.Ledger | None = None,
        readers: int = READERS,
    ) -> None:
        self.url = parse_url(url)
        self.clock = clock
        self._artefacts = artefacts
        self._keys = keys
        self._witness = witness
        self.ledger = seals or ledger.Ledger()
        self._finishing: set[asyncio.Future[None]] = set()
        if self.is_sqlite:
            self._writers = _sqlite_engine(self.url, size=1, begin="BEGIN IMMEDIATE")
            self._readers = _sqlite_engine(self.url, size=readers, begin="BEGIN", query_only=True)
        else:
            self._writers = self._readers = _postgres_engine(self.url, size=readers + 1)
        self._write_turn, self._read_turn = asyncio.Semaphore(1), asyncio.Semaphore(readers)
        self._writing: asyncio.Task[Any] | None = None

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def path(self) -> Path | None:
        """The SQLite file, or None."""
        return Path(self.url.database or "") if self.is_sqlite else None

    @asynccontextmanager
    async def transaction(self, call: CallContext | None = None) -> AsyncIterator[Transaction]:
        """A unit of work: it is committed at the end of the block, or undone by an exception.

        With a call, its audit row is written too. With a call that has a key, the key is claimed at the start, and
        the answer given to `tx.answer` is stored; use one transaction for such a call.

        Raises:
            Replayed: the call was done before; nothing was changed now.
            KeyReused: the key was used before with other arguments.
            DeadlineExceeded: the call's time was over before the commit; everything was undone.
            Busy, Transient: no turn or no lock was to be had in ten seconds.
            DiskFull, StorageFailed: the database failed; everything was undone.
        """
        if self._writing is asyncio.current_task():
            raise RuntimeError("a writing transaction inside another one would wait for itself")
        async with self._turn(self._write_turn, call) as turn:
            connection = await self._open(self._writers, turn)
            tx = self._on(connection, call)
            self._writing = asyncio.current_task()
            try:
                if not self.is_sqlite:
                    await tx.execute(_LOCK_POSTGRES, {"lock": WRITE_LOCK})
                if call is not None and call.key is not None:
                    await idempotency.claim(tx, call, call.key)
                yield tx
                await self._complete(tx, call)
            except BaseException:
                await self._undisturbed(_abandon(connection, tx), turn)
                raise
            finally:
                self._writing = None
            repeatable = call is not None and call.key is not None
            await self._undisturbed(self._finally(connection, tx, may_repeat=repeatable), turn)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """A transaction that sees one moment of the database and can't change it.

        Raises:
            Busy: every reader was taken for ten seconds.
            Transient, StorageFailed: the database failed.
        """
        async with self._turn(self._read_turn, None) as turn:
            connection = await self._open(self._readers, turn, reading=True)
            tx = self._on(connection, None)
            try:
                yield tx
            finally:
                await self._undisturbed(_abandon(connection, tx), turn)

    async def ping(self) -> float:
        """Read one value.

        Returns:
            seconds that it took.
        """
        begun = self.clock.monotonic()
        async with self.reading() as tx:
            await tx.execute(text("SELECT 1"))
        return self.clock.monotonic() - begun

    async def check(self) -> list[str]:
        """Look for damage: SQLite's integrity check, which reads the whole file.

        Returns:
            one line a problem, in SQLite's words; empty when all is well, and on PostgreSQL.
        """
        if not self.is_sqlite:
            return []
        async with self.reading() as tx:
            lines = [str(line) for line in (await tx.execute(text("PRAGMA integrity_check(20)"))).scalars()]
        return [] if lines == ["ok"] else lines

    async def forget_deleted(self) -> bool:
        """Have what was deleted leave the files too: SQLite's write-ahead log is written back and cut to nothing.

        Deleted content is overwritten in the file itself, as `secure_delete` is on. PostgreSQL keeps dead rows until
        its own VACUUM.

        Returns:
            whether the log is empty now; it isn't while someone reads an older state, or on PostgreSQL.
        """
        if self.path is None:
            return False
        return await asyncio.to_thread(sqlite_file.truncate_log, self.path)

    async def close(self) -> None:
        """End every connection, after the transactions that are being ended have been."""
        while self._finishing:
            await asyncio.wait(self._finishing)
        await self._writers.dispose()
        if self._readers is not self._writers:
            await self._readers.dispose()

    def _on(self, connection: AsyncConnection, call: CallContext | None) -> Transaction:
        return Transaction(
            connection,
            now=self.clock.now(),
            call=call,
            artefacts=self._artefacts,
            keys=self._keys,
            ledger=self.ledger,
            witness=self._witness,
        )

    async def _complete(self, tx: Transaction, call: CallContext | None) -> None:
        """Everything that belongs to the commit and can still be undone."""
        if tx.failure is not None:
            raise tx.failure
        await ledger.complete(tx)
        if call is not None:
            if call.key is not None:
                if tx.answer_content is None:
                    raise RuntimeError("a transaction of a call with a key must be given its answer")
                await idempotency.keep_answer(tx, call, call.key, tx.answer_content)
            await audit.add_change(tx, call)
        # The last place where a call that was cancelled meanwhile hears of it.
        await asyncio.sleep(0)
        if call is not None:
            _refuse_late(call)

    @asynccontextmanager
    async def _turn(self, turns: asyncio.Semaphore, call: CallContext | None) -> AsyncIterator[_Turn]:
        remaining = call.remaining() if call is not None else None
        if call is not None:
            _refuse_late(call)
        try:
            async with asyncio.timeout(WAIT_SECONDS if remaining is None else min(WAIT_SECONDS, remaining)):
                await turns.acquire()
        except TimeoutError:
            if call is not None:
                _refuse_late(call)
            raise Busy(
                "The database has no connection free.", hint="Repeat the call in a moment.", retry_after=1.0
            ) from None
        turn = _Turn(turns)
        try:
            yield turn
        finally:
            turn.leave()

    async def _open(self, engine: AsyncEngine, turn: _Turn, *, reading: bool = False) -> AsyncConnection:
        opening = asyncio.ensure_future(self._begin(engine, reading=reading))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            turn.hand_over(self._finish(_end_unwanted(opening)))
            raise

    async def _finally(self, connection: AsyncConnection, tx: Transaction, *, may_repeat: bool) -> None:
        await _commit(connection, may_repeat=may_repeat)
        for witness, head in ((self._witness, tx.audit_head), (self.ledger.witness, tx.sealed_head)):
            if witness is None or head is None:
                continue
            try:
                await asyncio.to_thread(witness.note, head)
            except OSError:
                # What was committed stays so; the witness is older than its chain until the next change.
                _log.warning("the witness of a chain couldn't be written", place=head.place)

    async def _begin(self, engine: AsyncEngine, *, reading: bool) -> AsyncConnection:
        try:
            connection = await engine.connect()
        except (DBAPIError, OSError) as error:
            raise translate(error) from error
        try:
            if reading and not self.is_sqlite:
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            await connection.begin()
        except (DBAPIError, OSError) as error:
            await _abandon(connection)
            raise translate(error) from error
        return connection

    async def _undisturbed(self, work: Coroutine[Any, Any, None], turn: _Turn) -> None:
        """Let a commit or a rollback come to its end, even when the call is cancelled meanwhile."""
        task = self._finish(work)
        turn.hand_over(task)
        await asyncio.shield(task)

    def _finish(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        """Run what `close` waits for."""
        task = asyncio.ensure_future(work)
        self._finishing.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Future[None]) -> None:
        self._finishing.discard(task)
        if not task.cancelled():
            task.exception()  # Whoever waited has it; nobody did when the call was cancelled.


class _Turn:
    """A place among the connections; given back once, and only after the connection is free again."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns = turns
        self._handed_over = False

    def hand_over(self, task: asyncio.Future[Any]) -> None:
        self._handed_over = True
        task.add_done_callback(lambda _task: self._turns.release())

    def leave(self) -> None:
        if not self._handed_over:
            self._turns.release()


_LOCK_POSTGRES = text("SELECT pg_advisory_xact_lock(:lock, hashtext(current_schema()))")


def parse_url(url: str) -> URL:
    """The URL with the driver that we use.

    Raises:
        BadConfiguration: it isn't an SQLite file's or a PostgreSQL database's; the URL is not repeated, as it may
            hold a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _bad_url() from None
    kind = parsed.drivername.partition("+")[0]
    if kind == "sqlite" and parsed.database and parsed.database != ":memory:" and not parsed.host:
        return parsed.set(drivername="sqlite+aiosqlite", query={})
    if kind in ("postgresql", "postgres") and parsed.database:
        query = dict(parsed.query)
        if "sslmode" in query:  # libpq's name for what asyncpg calls ssl.
            query["ssl"] = query.pop("sslmode")
        return parsed.set(drivername="postgresql+asyncpg", query=query)
    raise _bad_url()


def _bad_url() -> BadConfiguration:
    return BadConfiguration(
        "COURTSIDE_DATABASE_URL isn't a URL that can be used.",
        hint="Write postgresql://user:password@host:5432/name, or leave it empty for SQLite in the data folder.",
    )


def _write_json(value: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _sqlite_engine(url: URL, *, size: int, begin: str, query_only: bool = False) -> AsyncEngine:
    # Its debug lines hold the parameters of statements, and with them people's data.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        # The driver's own transactions begin late, and lose updates silently.
        connect_args={"isolation_level": None},
        json_serializer=_write_json,
    )
    pragmas = (*sqlite_file.PRAGMAS, "PRAGMA query_only=ON") if query_only else sqlite_file.PRAGMAS

    @event.listens_for(engine.sync_engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _postgres_engine(url: URL, *, size: int) -> AsyncEngine:
    try:
        return create_async_engine(
            url,
            pool_size=size,
            max_overflow=0,
            pool_timeout=WAIT_SECONDS,
            pool_pre_ping=True,
            connect_args={
                "timeout": WAIT_SECONDS,
                "command_timeout": 60.0,
                "server_settings": {
                    "application_name": "courtside",
                    "lock_timeout": "10s",
                    "idle_in_transaction_session_timeout": "60s",
                },
            },
            json_serializer=_write_json,
        )
    except ModuleNotFoundError:
        raise Unsupported(
            "The driver for PostgreSQL isn't installed.", hint="Install it with: pip install 'courtside[postgres]'."
        ) from None


def _refuse_late(call: CallContext) -> None:
    remaining = call.remaining()
    if remaining is not None and remaining <= 0:
        raise DeadlineExceeded(
            "The call ran out of time; nothing of it was stored.",
            hint="Repeat it, with less work in one call if it happens again.",
        )


async def _commit(connection: AsyncConnection, *, may_repeat: bool) -> None:
    try:
        if connection.dialect.name == "sqlite":
            driver = (await connection.get_raw_connection()).driver_connection
            # A full disk can have ended the transaction; COMMIT would then say that all is well.
            if driver is None or not driver.in_transaction:
                raise StorageFailed("The database undid the transaction; nothing of it was stored.")
        await connection.commit()
    except (DBAPIError, OSError) as error:
        failure = translate(error)
        if failure.transient and not may_repeat and getattr(error, "connection_invalidated", False):
            # The server may have committed before the line went dead: repeating could do it twice.
            raise StorageFailed(
                "The connection was lost during the commit, so whether it was stored is unknown.",
                hint="Look whether the change is there before you repeat the call.",
            ) from error
        raise failure from error
    finally:
        await _close(connection)


async def _abandon(connection: AsyncConnection, tx: Transaction | None = None) -> None:
    if tx is not None:
        await tx.settle()
    try:
        await connection.rollback()
    except (DBAPIError, OSError, InvalidRequestError):
        # There is nothing left to undo, or nobody to tell: closing drops whatever there was.
        await connection.invalidate()
    finally:
        await _close(connection)


async def _end_unwanted(opening: asyncio.Future[AsyncConnection]) -> None:
    """End the transaction of a call that was cancelled while it began."""
    await asyncio.wait([opening])
    if not opening.cancelled() and opening.exception() is None:
        await _abandon(opening.result())


async def _close(connection: AsyncConnection) -> None:
    try:
        await connection.close()
    except (DBAPIError, OSError):
        return
