"""Which SQLite library the process uses.

SQLite 3.7.0 to 3.51.2 can corrupt a WAL database that several connections write (fixed in 3.51.3, and in 3.50.7 and
3.44.6). Many Pythons carry such a library, so every process calls `install` first: it puts the current library of
the `pysqlite3` wheel in place of the standard one, and aiosqlite, SQLAlchemy and DBOS then import that.
"""

from __future__ import annotations

import sys
from types import ModuleType

from mcp_server.errors import BadConfiguration

Version = tuple[int, int, int]

DRIVERS = ("aiosqlite", "dbos")
"""What may hold on to the `sqlite3` that it was imported with, and opens our files with it."""


def is_sound(version: Version) -> bool:
    """Whether a release is safe for a WAL database with several connections.

    >>> is_sound((3, 40, 1)), is_sound((3, 44, 6)), is_sound((3, 51, 2)), is_sound((3, 51, 3))
    (False, True, False, True)
    """
    if version == (3, 52, 0):  # Withdrawn by its makers.
        return False
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)


def install() -> Version:
    """Make `import sqlite3` give a sound library from here on; cheap, and harmless to repeat.

    Something that imported the standard library earlier, for files of its own, keeps it: two libraries in one process
    harm nothing unless both open the same file.

    Returns:
        the version that is in use.
    Raises:
        BadConfiguration: a driver has been imported with an unsound library already, or there's no sound one.
    """
    present = sys.modules.get("sqlite3")
    version = _version(present) if present is not None else _standard_version()
    if version is not None and is_sound(version):
        return version
    if present is not None and any(driver in sys.modules for driver in DRIVERS):
        raise BadConfiguration(
            "A database driver was imported before the SQLite library was replaced, and that library "
            f"({_text(version)}) can corrupt data.",
            hint="Start through the courtside command, or call mcp_server.storage.sqlite_library.install() first.",
        )
    version = _swap()
    if not is_sound(version):
        raise BadConfiguration(
            f"The SQLite libraries at hand (the newest is {_text(version)}) can corrupt data.",
            hint="Install pysqlite3 0.6.1 or later, or a Python whose SQLite is 3.51.3 or later.",
        )
    return version


def _standard_version() -> Version | None:
    try:
        import _sqlite3
    except ImportError:  # A Python that was built without SQLite.
        return None
    major, minor, patch = _sqlite3.sqlite_version.split(".")
    return int(major), int(minor), int(patch)


def _version(module: ModuleType) -> Version:
    major, minor, patch = module.sqlite_version_info
    return int(major), int(minor), int(patch)


def _swap() -> Version:
    try:
        import pysqlite3
        import pysqlite3.dbapi2
    except ImportError:
        raise BadConfiguration(
            "The SQLite library of this Python can corrupt data, and the current one isn't installed.",
            hint="Install it with: pip install 'pysqlite3>=0.6.1'.",
        ) from None
    version = _version(pysqlite3)
    if is_sound(version):
        sys.modules["sqlite3"] = pysqlite3
        sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2
    return version


def _text(version: Version | None) -> str:
    return "none" if version is None else ".".join(map(str, version))
