"""Reading an SQLite file: opened for reading, and every step of a statement asked for before it's run.

It's for the computing child: the file, its schema and what a statement makes of them aren't to be trusted with the
server's memory.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

from mcp_server.errors import CourtsideError, DataRejected
from mcp_server.integrations import query as queries
from mcp_server.integrations.query import Bounds, Query, QueryRows, RowsFile

_STEPS = 10_000
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
# What would run code of a library or reach files, where somebody built it in.
_UNWANTED = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "zipfile", "sqlar_uncompress"}
# What the library says where it would have to make a log to read, and may not.
_NO_LOG = {"SQLITE_CANTOPEN", "SQLITE_READONLY"}
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


def read_rows(path: Path, query: Query, target: Path, bounds: Bounds) -> QueryRows:
    """Write what a query gives into a file; blocking, and for a process of its own that is limited in memory and time.

    One row can be as large as its columns' limits allow together, and one long function can't be ended from inside.

    Args:
        path: the database; whether it may be read is the caller's to know.
        query: with `?` where parameters go.
    Raises:
        InvalidInput: the statement isn't one that reads, or isn't understood.
        DataRejected: `E_ROWS`, `E_SIZE`, `E_LINE`, `E_CELL`, `E_DEADLINE`; `E_FORMAT` where the file isn't a database;
            `E_CHANGED` where it was written to meanwhile, and couldn't be locked.
        Transient: it's locked.
    """
    try:
        return _read(path, "mode=ro", query, target, bounds)
    except sqlite3.OperationalError as failed:
        if _name(failed) not in _NO_LOG or not path.exists() or _logged(path):
            raise _translated(failed) from None
    except (sqlite3.Error, sqlite3.Warning) as failed:
        raise _translated(failed) from None
    return unlocked(path, query, target, bounds)


def unlocked(path: Path, query: Query, target: Path, bounds: Bounds) -> QueryRows:
    """As `read_rows`, without locks: for a database whose write-ahead log isn't there.

    Its log would have to be made before it can be locked, and a process that may not write beside it can't. All of it
    is in the one file then, and whether somebody writes to that meanwhile is looked at afterwards.
    """
    before = _state(path)
    try:
        found = _read(path, "mode=ro&immutable=1", query, target, bounds)
    except (sqlite3.Error, sqlite3.Warning) as failed:
        raise _changed() if _state(path) != before else _translated(failed) from None
    if _state(path) != before:
        target.unlink()
        raise _changed()
    return found


def _logged(path: Path) -> int:
    """Bytes of the write-ahead log beside a database."""
    log = path.with_name(path.name + "-wal")
    return log.stat().st_size if log.exists() else 0


def _state(path: Path) -> tuple[int, int, int]:
    now = path.stat()
    return now.st_size, now.st_mtime_ns, _logged(path)


def _changed() -> DataRejected:
    return DataRejected(
        "E_CHANGED", "The database was written to while it was read.", hint="Import it again when its writer is done."
    )


def _read(path: Path, how: str, query: Query, target: Path, bounds: Bounds) -> QueryRows:
    until = time.monotonic() + bounds.seconds
    connection = sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True, isolation_level=None, timeout=2.0)
    try:
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA trusted_schema = 0")
        # A statement that runs long without giving a row is ended from inside.
        connection.set_progress_handler(lambda: int(time.monotonic() > until), _STEPS)
        # What one function may work on is bounded; some libraries can't bound it.
        if hasattr(connection, "setlimit"):
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, queries.MOST_CELL)
        connection.set_authorizer(_authorise)
        return _written(connection.execute(query.statement, query.parameters), target, bounds)
    finally:
        connection.close()


def _written(cursor: sqlite3.Cursor, target: Path, bounds: Bounds) -> QueryRows:
    if cursor.description is None:
        raise queries.no_columns()
    names = [str(column[0]) for column in cursor.description]
    with queries.new_file(target) as file:
        # SQLite has no type for dates: texts are taken for dates where all of a column are.
        rows = RowsFile(file, names, bounds, dated=range(len(names)))
        for batch in queries.in_batches(cursor, rows):
            rows.add(batch)
        return rows.result()


def _authorise(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if (second or "").lower() in _UNWANTED else sqlite3.SQLITE_OK
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _name(failed: Exception) -> str:
    return str(getattr(failed, "sqlite_errorname", type(failed).__name__))


def _translated(failed: Exception) -> CourtsideError:
    name = _name(failed)
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
