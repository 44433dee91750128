"""The SQLite database file: made private, in WAL mode, before anything else opens it."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from mcp_server.storage.failures import translate

BUSY_MILLISECONDS = 5_000
ATTEMPTS = 250
PAUSE_SECONDS = 0.02

PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_MILLISECONDS}",
    "PRAGMA synchronous=FULL",  # NORMAL loses acknowledged commits when the power goes.
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # What is erased must not stay behind in free pages.
    "PRAGMA trusted_schema=OFF",
    "PRAGMA journal_size_limit=67108864",
)
"""What every connection sets; WAL itself stays in the file."""


def prepare(path: Path) -> None:
    """Make the file where there is none, readable by its owner alone, and put it in WAL mode.

    Blocking: call it in a thread. Several processes may call it at once.

    Raises:
        StorageFailed: the file can't be made, opened or read as a database.
        Transient: other processes kept it locked for five seconds.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            _enter_wal(connection)
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        raise translate(error) from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection outside SQLAlchemy, with the same guarantees; transactions are begun by hand.

    Raises:
        sqlite3.Error: as the driver says it; the caller translates.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in PRAGMAS:
        connection.execute(pragma)
    return connection


def truncate_log(path: Path, *, vacuum: bool = False) -> bool:
    """Write the write-ahead log back into the database and cut it to nothing; blocking, up to the busy timeout.

    Args:
        vacuum: write the whole file anew before, for one in which deleted content isn't overwritten by itself.
    Returns:
        whether it could be: a reader of an older state prevents it.
    Raises:
        Transient, StorageFailed: the database can't be opened or written.
    """
    try:
        connection = connect(path)
        try:
            if vacuum:
                connection.execute("VACUUM")
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translate(error) from error
    return not busy


def _enter_wal(connection: sqlite3.Connection) -> None:
    # Changing the mode of a file that others are opening fails at once: the busy handler isn't asked.
    for attempt in range(ATTEMPTS):
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            busy = (error.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or attempt == ATTEMPTS - 1:
                raise
        else:
            if mode == "wal":
                return
        time.sleep(PAUSE_SECONDS)
    raise sqlite3.OperationalError("WAL mode was not granted")
