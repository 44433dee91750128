"""What a driver's error means to a caller."""

from __future__ import annotations

import errno
import sqlite3

import pytest

from mcp_server.errors import Conflict, CourtsideError, DiskFull, StorageFailed, Transient
from mcp_server.storage.failures import translate

SECRET = "hunter2"


def of_sqlite(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError(SECRET)
    error.sqlite_errorcode = code
    return error


class Around(Exception):
    """As SQLAlchemy wraps a driver's error."""

    def __init__(self, orig: BaseException) -> None:
        super().__init__(SECRET)
        self.orig = orig


@pytest.mark.parametrize(
    ("error", "kind", "word"),
    [
        (of_sqlite(5), Transient, "Another process"),
        (of_sqlite(517), Transient, "Another process"),  # BUSY_SNAPSHOT
        (of_sqlite(6), Transient, "Another process"),
        (of_sqlite(13), DiskFull, "full"),
        (of_sqlite(4874), DiskFull, "full"),  # IOERR_SHMSIZE
        (of_sqlite(2067), Conflict, "changed meanwhile"),  # CONSTRAINT_UNIQUE
        (of_sqlite(11), StorageFailed, "damaged"),
        (of_sqlite(26), StorageFailed, "damaged"),
        (of_sqlite(14), StorageFailed, "opened"),
        (of_sqlite(8), StorageFailed, "opened"),
        (of_sqlite(778), StorageFailed, "read or written"),  # IOERR_WRITE
        (Around(of_sqlite(5)), Transient, "Another process"),
        (OSError(errno.ENOSPC, SECRET), DiskFull, "full"),
        (PermissionError(errno.EACCES, SECRET), StorageFailed, "opened"),
        (TimeoutError(SECRET), Transient, "reached"),
        (ConnectionRefusedError(errno.ECONNREFUSED, SECRET), Transient, "reached"),
        (sqlite3.InterfaceError(SECRET), Transient, "reached"),
        (sqlite3.ProgrammingError(SECRET), StorageFailed, "statement"),
    ],
)
def test_an_error_becomes_ours_without_its_text(error: BaseException, kind: type[CourtsideError], word: str) -> None:
    told = translate(error)
    assert type(told) is kind
    assert word in told.message
    assert told.hint
    assert SECRET not in told.message + told.hint + repr(told.details)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SerializationError", Transient),
        ("DeadlockDetectedError", Transient),
        ("LockNotAvailableError", Transient),
        ("TooManyConnectionsError", Transient),
        ("AdminShutdownError", Transient),
        ("ConnectionDoesNotExistError", Transient),
        ("DiskFullError", DiskFull),
        ("UniqueViolationError", Conflict),
        ("InvalidPasswordError", StorageFailed),
        ("InvalidCatalogNameError", StorageFailed),
        ("InsufficientPrivilegeError", StorageFailed),
        ("UndefinedTableError", StorageFailed),
    ],
)
def test_an_error_of_postgresql_becomes_ours(name: str, kind: type[CourtsideError]) -> None:
    asyncpg = pytest.importorskip("asyncpg", reason="asyncpg isn't installed")
    told = translate(Around(getattr(asyncpg, name)(SECRET)))
    assert type(told) is kind
    assert SECRET not in told.message + told.hint + repr(told.details)
