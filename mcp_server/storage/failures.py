"""What a driver's error means to us: one of our errors, with our message and the next step."""

from __future__ import annotations

import errno

from mcp_server.errors import Conflict, CourtsideError, DiskFull, StorageFailed, Transient

# https://www.sqlite.org/rescode.html; the low byte of an extended code is the primary one.
_BUSY, _LOCKED, _FULL, _CONSTRAINT = 5, 6, 13, 19
_UNREACHABLE = {3, 8, 14, 23}  # PERM, READONLY, CANTOPEN, AUTH
_DAMAGED = {11, 26}  # CORRUPT, NOTADB
_IOERR_SHMSIZE = 4874  # The shared-memory file of the WAL couldn't grow.

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING = {"40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53300", "25P03"}
_POSTGRES_FULL = {"53100"}


def translate(error: BaseException) -> CourtsideError:
    """Turn an error of a database driver, or of SQLAlchemy around one, into ours.

    Args:
        error: anything that a database call raised; its text is never shown.
    Returns:
        `Transient` for a lock or a lost connection, `DiskFull`, `Conflict` for a broken constraint, or `StorageFailed`.
    """
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        return _from_sqlite(int(code), str(getattr(cause, "sqlite_errorname", code)))
    state = getattr(cause, "sqlstate", None)
    if state:
        return _from_postgres(str(state))
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full()
    if isinstance(cause, PermissionError):
        return _unreachable({})
    if isinstance(cause, OSError) or getattr(error, "connection_invalidated", False):
        return _lost()  # TimeoutError and ConnectionError among them.
    if type(cause).__name__ in ("InterfaceError", "InternalClientError", "ConnectionDoesNotExistError"):
        return _lost()
    return StorageFailed(
        "The database refused a statement.",
        hint="Call health_report; if it stays, run courtside doctor.",
        details={"database": type(cause).__name__},
    )


def disk_full() -> DiskFull:
    """The disk is full, wherever that was noticed."""
    return DiskFull(
        "The disk is full, so nothing was written; reading goes on.",
        hint="Free space on the disk of the data folder, then repeat the call.",
    )


def _from_sqlite(code: int, name: str) -> CourtsideError:
    details = {"database": name}
    primary = code & 0xFF
    if primary in (_BUSY, _LOCKED):
        return Transient(
            "Another process is writing to the database.",
            hint="Repeat the call in a moment.",
            details=details,
            retry_after=0.5,
        )
    if primary == _FULL or code == _IOERR_SHMSIZE:
        return disk_full()
    if primary == _CONSTRAINT:
        return _broken_constraint(details)
    if primary in _DAMAGED:
        return StorageFailed(
            "The database file is damaged.",
            hint="Run courtside doctor, and restore the data folder from a backup.",
            details=details,
        )
    if primary in _UNREACHABLE:
        return _unreachable(details)
    return StorageFailed(
        "The database could not be read or written.",
        hint="Check the disk of the data folder with courtside doctor.",
        details=details,
    )


def _from_postgres(state: str) -> CourtsideError:
    details = {"database": state}
    if state in _POSTGRES_FULL:
        return disk_full()
    if state in _PASSING or state.startswith("08"):
        return _lost(details)
    if state.startswith("23"):
        return _broken_constraint(details)
    if state.startswith("28") or state in ("3D000", "42501"):
        return StorageFailed(
            "The database server refused the user, the password or the database's name.",
            hint="Check COURTSIDE_DATABASE_URL with courtside doctor.",
            details=details,
        )
    return StorageFailed(
        "The database refused a statement.",
        hint="Call health_report; if it stays, run courtside doctor.",
        details=details,
    )


def _lost(details: dict[str, str] | None = None) -> Transient:
    return Transient(
        "The database is busy or can't be reached.",
        hint="Repeat the call in a moment; if it stays, run courtside doctor.",
        details=details,
        retry_after=1.0,
    )


def _broken_constraint(details: dict[str, str]) -> Conflict:
    return Conflict(
        "What was to be written contradicts what is stored; something changed meanwhile.",
        hint="Read the current state, then decide again.",
        details=details,
    )


def _unreachable(details: dict[str, str]) -> StorageFailed:
    return StorageFailed(
        "The database file can't be opened or written.",
        hint="Check that the data folder exists and belongs to this user; courtside doctor shows where it is.",
        details=details,
    )
