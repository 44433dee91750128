"""Reading from MariaDB and MySQL: one prepared query in a read-only session of an account that can't write files."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from mcp_server.errors import BadConfiguration, CourtsideError, Unsupported
from mcp_server.integrations import query as queries
from mcp_server.integrations.query import CONNECT_SECONDS, Bounds, Query, QueryRows, RowsFile, Stop

if TYPE_CHECKING:
    import pymysql

# SELECT ... INTO OUTFILE writes a file in a read-only transaction too; only an account without the right doesn't.
_POWERFUL = {"FILE", "ALL PRIVILEGES"}
_SYNTAX = 1064
_WRONG = {1146: "table", 1054: "column", 1305: "function", _SYNTAX: "syntax", 1210: "parameters"}
PORT = 3306


async def read_rows(url: str, query: Query, target: Path, bounds: Bounds) -> QueryRows:
    """Write what a query gives into a file.

    Args:
        url: `mysql://user:password@host/name`; with `?ssl=true` the connection is encrypted and the server's
            certificate checked.
        query: with `?` where parameters go.
    Raises:
        InvalidInput: the statement isn't one that reads, or isn't understood.
        BadConfiguration: the URL can't be used, or the account isn't let in or may do more than it should.
        DataRejected: `E_ROWS`, `E_SIZE`, `E_LINE`, `E_CELL`, `E_DEADLINE`; `E_PERMISSION` where the account may not
            read that.
        Transient: the database can't be reached.
        Unsupported: the driver isn't installed.
    """
    try:
        import pymysql
    except ImportError:
        raise Unsupported(
            "Reading from MySQL or MariaDB needs a driver that isn't installed.", hint="Install courtside[mysql]."
        ) from None

    def read(stop: Stop) -> QueryRows:
        parts = urlsplit(url)
        try:
            wire = socket.create_connection(
                (parts.hostname or "localhost", parts.port or PORT), timeout=CONNECT_SECONDS
            )
            # Encryption takes the socket over; its twin still ends the connection, also from another thread.
            with wire.dup() as twin:
                stop.interrupts(lambda: _shut(twin))
                try:
                    return _read(_connected(parts, wire, bounds), query, target, bounds, stop)
                finally:
                    # Not in good order: that would first read the rest of the rows.
                    _shut(twin)
                    wire.close()
        except pymysql.MySQLError as failed:
            raise _translated(failed) from None
        except (OSError, RuntimeError) as failed:
            raise queries.unreachable(type(failed).__name__) from None

    return await queries.in_thread(read, bounds.seconds)


def _connected(parts: SplitResult, wire: socket.socket, bounds: Bounds) -> pymysql.Connection[Any]:
    from pymysql.constants import FIELD_TYPE
    from pymysql.converters import conversions

    options = parse_qs(parts.query)
    if options.keys() - {"ssl"}:
        raise BadConfiguration("A MySQL source has an unknown option.", hint="The one option is ?ssl=true.")
    # As text, for 0000-00-00 and times over a day have no value in Python.
    dated = (FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP, FIELD_TYPE.TIME)
    connection: pymysql.Connection[Any] = _counting()(
        host=parts.hostname or "localhost",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or "").encode(),  # as text, the driver would take it for Latin-1
        database=unquote(parts.path.lstrip("/")) or None,
        charset="utf8mb4",
        conv={kind: how for kind, how in conversions.items() if kind not in dated},
        ssl=ssl.create_default_context() if options.get("ssl") == ["true"] else None,
        read_timeout=max(1, int(bounds.seconds) + 1),
        write_timeout=CONNECT_SECONDS,
        defer_connect=True,
    )
    connection.connect(wire)
    return connection


def _shut(wire: socket.socket) -> None:
    try:
        wire.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended already


def _read(connection: pymysql.Connection[Any], query: Query, target: Path, bounds: Bounds, stop: Stop) -> QueryRows:
    from pymysql.constants import FIELD_TYPE
    from pymysql.cursors import SSCursor

    with connection.cursor() as cursor:
        if "mariadb" in str(connection.get_server_info()).lower():
            cursor.execute("SET SESSION max_statement_time = %s", (bounds.seconds,))
        else:
            cursor.execute("SET SESSION max_execution_time = %s", (int(bounds.seconds * 1_000),))
        cursor.execute("SET SESSION time_zone = '+00:00'")
        cursor.execute("SHOW GRANTS")
        if any(_is_powerful(str(line[0])) for line in cursor.fetchall()):
            raise queries.too_powerful()
        cursor.execute("SET SESSION TRANSACTION READ ONLY")
        cursor.execute("START TRANSACTION READ ONLY")
        _prepare(cursor, query.statement)
        for number, text in enumerate(query.parameters):
            cursor.execute(f"SET @courtside_{number} = %s", (text,))
    marks = ", ".join(f"@courtside_{number}" for number in range(len(query.parameters)))
    flowing = connection.cursor(SSCursor)
    flowing.execute("EXECUTE courtside" + (f" USING {marks}" if marks else ""))
    if flowing.description is None:
        raise queries.no_columns()
    dated = (FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP)
    with queries.new_file(target) as file:
        rows = RowsFile(
            file,
            [column[0] for column in flowing.description],
            bounds,
            dated=[at for at, column in enumerate(flowing.description) if column[1] in dated],
        )
        for batch in queries.in_batches(_one_by_one(connection, flowing), rows):
            if stop.asked:
                raise queries.too_slow()
            rows.add(batch)
        return rows.result()


def _one_by_one(connection: Any, flowing: Any) -> Iterator[Sequence[Any]]:
    while True:
        connection.came = 0
        row = flowing.fetchone()
        if row is None:
            return
        yield row


def _counting() -> type:
    """A connection that takes no row larger than any that is read, whatever the server sends."""
    import pymysql

    class Counting(pymysql.connections.Connection):  # type: ignore[misc]
        came = 0

        def _read_bytes(self, num_bytes: int) -> bytes:
            self.came += num_bytes
            if self.came > queries.MOST_ROW:
                if self._result is not None:
                    self._result.unbuffered_active = False  # or its cursor would read on to the end
                raise queries.too_long()
            return bytes(super()._read_bytes(num_bytes))

    return Counting


def _prepare(cursor: Any, statement: str) -> None:
    """Prepare the statement as a query: what is prepared is one statement, and one in parentheses can only be a query.

    Some versions take no WITH in parentheses, but all do where a table is named; the order of the rows may be lost.
    """
    import pymysql

    try:
        cursor.execute("PREPARE courtside FROM %s", (f"(\n{statement}\n)",))
    except pymysql.MySQLError as failed:
        if failed.args[:1] != (_SYNTAX,):
            raise
        # The database judges the statement; nothing of it is ours to quote.
        table = f"SELECT * FROM (\n{statement}\n) AS courtside_rows"  # noqa: S608
        cursor.execute("PREPARE courtside FROM %s", (table,))


def _is_powerful(grant: str) -> bool:
    rights, _, where = grant.removeprefix("GRANT ").partition(" ON ")
    return where.startswith("*.*") and bool(_POWERFUL & set(rights.split(", ")))


def _translated(failed: pymysql.MySQLError) -> CourtsideError:
    code = failed.args[0] if failed.args and isinstance(failed.args[0], int) else 0
    name = f"MySQL {code}"
    if code in (1792, 1290, 1044):
        return queries.would_write() if code == 1792 else queries.may_not_read()
    if code in (1969, 3024, 1317):
        return queries.too_slow()
    if code in (1142, 1143, 1370, 1227):
        return queries.may_not_read()
    if code in (1045, 1049, 1698, 1130):
        return queries.no_login(name)
    if code in (0, 1040, 1203, 1205, 1213) or 2000 <= code < 3000:
        return queries.unreachable(name)
    return queries.refused(name, wrong=_WRONG.get(code))
