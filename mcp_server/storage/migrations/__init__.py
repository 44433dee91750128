"""Bringing the database's schema up to what this program needs.

The steps are Alembic's, in `versions/`. They run inside one writing transaction, which is also the lock: of several
processes that start at once, one migrates and the others wait and find nothing to do; a kill undoes the lot.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from mcp_server.errors import BadConfiguration
from mcp_server.storage import ledger

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from mcp_server.storage.database import Database

VERSION_TABLE = "courtside_schema"
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012")
"""Every revision, oldest first; known here so that a current schema is recognised without importing Alembic."""


async def upgrade(database: Database) -> bool:
    """Migrate where that's needed.

    Returns:
        whether anything changed.
    Raises:
        BadConfiguration: a newer program made the schema.
        StorageFailed: a step failed; nothing of it stays.
    """
    async with database.reading() as tx:
        if _is_current(await tx.run(_revision)):
            return False
    await asyncio.to_thread(import_module, "alembic.command")  # 0.1 s: not while the lock is held.
    async with database.transaction() as tx:
        if _is_current(await tx.run(_revision)):
            return False
        await tx.run(_run_steps)
        # What was made before there were seals is sealed as it's found.
        await ledger.seal_all(tx)
    return True


def configuration(connection: Connection | None = None) -> Config:
    """What Alembic's commands take.

    Args:
        connection: inside the transaction that the steps belong to; None where a command needs none.
    """
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _run_steps(connection: Connection) -> None:
    from alembic import command

    command.upgrade(configuration(connection), "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    # The name is a constant of ours.
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return found


def _is_current(revision: str | None) -> bool:
    if revision is not None and revision not in REVISIONS:
        raise BadConfiguration(
            f"The database was made by a newer Courtside (schema {revision[:16]}; this one knows {REVISIONS[-1]}).",
            hint="Update Courtside, or point COURTSIDE_DATA_DIR or COURTSIDE_DATABASE_URL at another database.",
        )
    return revision == REVISIONS[-1]
