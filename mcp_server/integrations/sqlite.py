"""Reading an SQLite file: opened for reading, and every step of a statement asked for before it's run."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from mcp_server.errors import CourtsideError, DataRejected
from mcp_server.integrations import query as queries
from mcp_server.integrations.query import Bounds, Query, QueryRows, RowsFile, Stop

_STEPS = 10_000
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
# What would run code of a library or reach files, where somebody built it in.
_UNWANTED = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "zipfile", "sqlar_uncompress"}
_TABLES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
_WRONG = (
    ("only execute one statement", "statements"),
    ("number of bindings", "parameters"),
    ("no such table: ", "table"),
    ("no such column: ", "column"),
    ("no such function: ", "function"),
    ("syntax error", "syntax"),
    ("incomplete input", "syntax"),
    ("unrecognized token", "syntax"),
)


async def read_rows(path: Path, query: Query, target: Path, bounds: Bounds) -> QueryRows:
    """Write what a query gives into a file.

    Args:
        path: the database; whether it may be read is the caller's to know.
        query: with `?` where parameters go.
    Raises:
        InvalidInput: the statement isn't one that reads, or isn't understood.
        DataRejected: `E_ROWS`, `E_SIZE`, `E_DEADLINE`; `E_FORMAT` where the file isn't a database.
        Transient: it's locked.
    """
    return await queries.in_thread(lambda stop: _read(path, query, target, bounds, stop), bounds.seconds)


def _read(path: Path, query: Query, target: Path, bounds: Bounds, stop: Stop) -> QueryRows:
    until = time.monotonic() + bounds.seconds
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=2.0)
        try:
            stop.interrupts(lambda: _interrupt(connection))
            connection.execute("PRAGMA query_only = 1")
            connection.execute("PRAGMA trusted_schema = 0")
            # A statement that runs long without giving a row is ended from inside.
            connection.set_progress_handler(lambda: int(stop.asked or time.monotonic() > until), _STEPS)
            # What one function may work on is bounded, as it can't be ended from inside; some libraries can't bound it.
            if hasattr(connection, "setlimit"):
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, queries.MOST_CELL)
            connection.set_authorizer(_authorise)
            return _written(connection.execute(query.statement, query.parameters), target, bounds)
        finally:
            connection.close()
    except (sqlite3.Error, sqlite3.Warning) as failed:
        raise _translated(failed) from None


def _interrupt(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.ProgrammingError):  # closed meanwhile
        connection.interrupt()


def _written(cursor: sqlite3.Cursor, target: Path, bounds: Bounds) -> QueryRows:
    if cursor.description is None:
        raise queries.no_columns()
    names = [str(column[0]) for column in cursor.description]
    with queries.new_file(target) as file:
        # SQLite has no type for dates: texts are taken for dates where all of a column are.
        rows = RowsFile(file, names, bounds, dated=range(len(names)))
        while batch := cursor.fetchmany(rows.batch):
            rows.add(batch)
        return rows.result()


def _authorise(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if (second or "").lower() in _UNWANTED else sqlite3.SQLITE_OK
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _translated(failed: Exception) -> CourtsideError:
    name = str(getattr(failed, "sqlite_errorname", type(failed).__name__))
    if name.startswith("SQLITE_INTERRUPT"):
        return queries.too_slow()
    if name == "SQLITE_TOOBIG":
        return queries.too_wide()
    if name in ("SQLITE_AUTH", "SQLITE_READONLY"):
        return queries.would_write()
    # What follows READONLY_ is about the file: a journal that only a writer may play back.
    if name.startswith(("SQLITE_READONLY_", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_IOERR")):
        return queries.unreachable(name)
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return DataRejected("E_FORMAT", "The source isn't an SQLite database.", hint="Check the file.")
    # There is one code for all of these: its text tells which, and none of the text goes on.
    text = str(failed)
    wrong = next((wrong for start, wrong in _WRONG if start in text), None)
    return queries.refused(name if name.startswith("SQLITE") else "SQLite", wrong=wrong, tables=_TABLES)
