"""Reading from PostgreSQL: one prepared statement in a read-only transaction of an account that can't write files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_server.errors import CourtsideError, InvalidInput, Unsupported
from mcp_server.integrations import query as queries
from mcp_server.integrations.query import CONNECT_SECONDS, Bounds, Query, QueryRows, RowsFile

if TYPE_CHECKING:
    import asyncpg

CLOSE_SECONDS = 2.0
MOST_FETCHED = 1_000
_WRONG = {"42P01": "table", "42703": "column", "42883": "function", "42601": "syntax", "42P02": "parameters"}
# As text, for `infinity` and years before 1 have no date in Python.
_DATED = ("date", "timestamp", "timestamptz")
# Read-only transactions don't stop a query from writing files on the server; only an account without the right does.
# Asking is also the transaction's first look at the data, after which PostgreSQL won't let it be turned into a writing
# one.
_POWERFUL = """
SELECT bool_or(rolsuper OR pg_has_role(oid, 'pg_write_server_files', 'MEMBER')
               OR pg_has_role(oid, 'pg_execute_server_program', 'MEMBER'))
FROM pg_catalog.pg_roles WHERE rolname IN (current_user, session_user)
"""
_NUMBERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), int),
    **dict.fromkeys(("float4", "float8"), float),
    "numeric": Decimal,
    "bool": {"true": True, "false": False}.__getitem__,
}


async def read_rows(url: str, query: Query, target: Path, bounds: Bounds) -> QueryRows:
    """Write what a query gives into a file.

    Args:
        url: `postgresql://user:password@host/name`.
        query: with `$1`, `$2` where parameters go.
    Raises:
        InvalidInput: the statement isn't one that reads, or isn't understood.
        BadConfiguration: the account isn't let in, or may do more than it should.
        DataRejected: `E_ROWS`, `E_SIZE`, `E_LINE`, `E_CELL`, `E_DEADLINE`; `E_PERMISSION` where the account may not
            read that.
        Transient: the database can't be reached.
        Unsupported: the driver isn't installed.
    """
    try:
        import asyncpg
    except ImportError:
        raise Unsupported(
            "Reading from PostgreSQL needs a driver that isn't installed.", hint="Install courtside[postgres]."
        ) from None
    try:
        async with asyncio.timeout(bounds.seconds):
            try:
                connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, statement_cache_size=0)
            except TimeoutError:
                raise queries.unreachable("no answer") from None
            try:
                return await _read(connection, query, target, bounds)
            finally:
                # Never a commit: whatever a query did besides reading is undone. What still runs there is cancelled.
                with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await connection.close(timeout=CLOSE_SECONDS)
    except TimeoutError:
        raise queries.too_slow() from None
    except asyncpg.PostgresError as failed:
        raise _translated(failed) from None
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as failed:
        if isinstance(failed, ValueError):  # how the driver says that a parameter doesn't fit
            raise _wrong_parameter() from None
        raise queries.unreachable(type(failed).__name__) from None


async def _read(connection: asyncpg.Connection, query: Query, target: Path, bounds: Bounds) -> QueryRows:
    await connection.transaction(isolation="repeatable_read", readonly=True).start()
    await connection.execute(
        "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL lock_timeout = '2s'; "
        f"SET LOCAL statement_timeout = {max(1, int(bounds.seconds * 1_000))}"
    )
    if await connection.fetchval(_POWERFUL):
        raise queries.too_powerful()
    for kind in _DATED:
        await connection.set_type_codec(kind, schema="pg_catalog", encoder=str, decoder=str, format="text")
    # A prepared statement is one statement, and one in parentheses is a query: both by PostgreSQL's own grammar.
    prepared = await connection.prepare(f"(\n{query.statement}\n)")
    columns = prepared.get_attributes()
    if not columns:
        raise queries.no_columns()
    wanted = prepared.get_parameters()
    if len(wanted) != len(query.parameters):
        raise InvalidInput(
            f"The query has {len(wanted)} parameters; {len(query.parameters)} are given.",
            hint="Give options.parameters as many texts as the query has marks $1, $2 and so on.",
        )
    values = [_parameter(kind.name, text) for kind, text in zip(wanted, query.parameters, strict=True)]
    dated = [at for at, column in enumerate(columns) if column.type.name in _DATED]
    cursor = await prepared.cursor(*values)
    counted = _Counted.of(connection)
    with queries.new_file(target) as file:
        rows = RowsFile(file, [column.name for column in columns], bounds, dated=dated)
        while batch := await counted.fetch(cursor, min(rows.batch, MOST_FETCHED)):
            await asyncio.to_thread(_add, rows, batch)
        return rows.result()


def _add(rows: RowsFile, fetched: list[Any]) -> None:
    for batch in queries.in_batches(fetched, rows):
        rows.add(batch)


class _Counted(asyncio.Protocol):
    """Between the wire and the driver: ends a connection whose server sends more than is to be held in memory.

    The driver keeps all rows of a batch before anybody sees one, and how wide they are only the server knows.
    """

    def __init__(self, transport: asyncio.Transport, driver: asyncio.Protocol) -> None:
        self._transport, self._driver = transport, driver
        self._came = 0
        self.connection_lost = driver.connection_lost  # type: ignore[method-assign]
        self.eof_received = driver.eof_received  # type: ignore[method-assign]
        self.pause_writing = driver.pause_writing  # type: ignore[method-assign]
        self.resume_writing = driver.resume_writing  # type: ignore[method-assign]

    @classmethod
    def of(cls, connection: asyncpg.Connection) -> _Counted:
        """Count what comes on a connection from here on."""
        transport = connection._transport
        counted = cls(transport, transport.get_protocol())
        transport.set_protocol(counted)
        return counted

    def data_received(self, data: bytes) -> None:
        self._came += len(data)
        if self._came > queries.MOST_AT_ONCE:
            self._transport.abort()
        else:
            self._driver.data_received(data)

    async def fetch(self, cursor: Any, rows: int) -> list[Any]:
        """The next rows of a cursor.

        Raises:
            DataRejected: `E_SIZE`: they are too wide to be held at a time.
        """
        import asyncpg

        self._came = 0
        try:
            return list(await cursor.fetch(rows))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            if self._came > queries.MOST_AT_ONCE:
                raise queries.too_much() from None
            raise


def _parameter(kind: str, text: str) -> Any:
    try:
        return _NUMBERS.get(kind, str)(text)
    except (ValueError, KeyError, InvalidOperation):
        raise _wrong_parameter() from None


def _wrong_parameter() -> InvalidInput:
    return InvalidInput(
        "A parameter isn't of the type that the query wants.", hint="Cast it in the query, as in $1::text."
    )


def _translated(failed: asyncpg.PostgresError) -> CourtsideError:
    state = str(failed.sqlstate)
    if state == "25006":
        return queries.would_write()
    if state == "57014":
        return queries.too_slow()
    if state == "42501":
        return queries.may_not_read()
    if state.startswith("28") or state == "3D000":
        return queries.no_login(state)
    if state.startswith(("08", "40", "53", "55", "57")):
        return queries.unreachable(state)
    position = str(getattr(failed, "position", None) or "")
    # Two characters were put before the statement.
    at = max(1, int(position) - 2) if position.isdecimal() else None
    return queries.refused(state, wrong=_WRONG.get(state), position=at)
