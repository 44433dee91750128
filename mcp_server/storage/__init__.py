"""All SQL, all artefact files and the keys; reached through `open_storage`.

Importing this package is cheap: the database's libraries are loaded when storage is opened.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_server.storage import sqlite_library

if TYPE_CHECKING:
    from mcp_server.context import Clock
    from mcp_server.storage.artefacts import Artefacts
    from mcp_server.storage.audit_chain import Witness
    from mcp_server.storage.database import Database
    from mcp_server.storage.keys import Keys
    from mcp_server.storage.prediction_log import PredictionLog

__all__ = ["Storage", "open_storage"]


@dataclass(frozen=True, slots=True)
class Storage:
    """What a process keeps open for as long as it runs.

    Args:
        database: transactions.
        artefacts: bytes under their digest.
        keys: encrypts, signs and hashes.
        predictions: the log for predictions without an idempotency key.
        witness: of the audit log.
    """

    database: Database
    artefacts: Artefacts
    keys: Keys
    predictions: PredictionLog
    witness: Witness

    async def close(self) -> None:
        """Write what waits and end every connection."""
        await self.predictions.close()
        await self.database.close()


async def open_storage(
    *, database_url: str, data_dir: Path, clock: Clock, readers: int = 4, log_capacity: int = 50_000
) -> Storage:
    """Open the storage, making and migrating what isn't there; several processes may do so at once.

    Args:
        database_url: `sqlite:///path` or `postgresql://user:password@host/name`, as in `Settings.database`.
        data_dir: made with mode 0700; holds the keys, the artefacts and, with SQLite, the database.
        clock: dates what is stored.
        readers: how many reading transactions run at once.
        log_capacity: how many predictions may wait to be stored.
    Raises:
        BadConfiguration: the URL, a key's mode or the schema's version can't be used, or SQLite is an unsound one.
        Transient, StorageFailed: the database can't be reached, made or opened.
    """
    sqlite_library.install()
    artefacts, keys = await asyncio.to_thread(_open_files, data_dir)
    from mcp_server.storage import key_changes, migrations, removal, sqlite_file
    from mcp_server.storage.audit_chain import Witness
    from mcp_server.storage.database import Database
    from mcp_server.storage.ledger import Ledger
    from mcp_server.storage.prediction_log import open_log

    witness = Witness(data_dir / "keys" / "audit.head")
    seals = Ledger(Witness(data_dir / "keys" / "seals.head", "seals"))
    database = Database(
        database_url,
        clock=clock,
        artefacts=artefacts,
        keys=keys,
        witness=witness,
        seals=seals,
        readers=readers,
    )
    try:
        if database.path is not None:
            await asyncio.to_thread(sqlite_file.prepare, database.path)
        await migrations.upgrade(database)
        await key_changes.finish(database, keys)
        await artefacts.sweep(clock.now())
        await removal.finish(database, artefacts)
    except BaseException:
        await database.close()
        raise
    return Storage(database, artefacts, keys, open_log(database, keys, capacity=log_capacity), witness)


def _open_files(data_dir: Path) -> tuple[Artefacts, Keys]:
    """Everything that blocks: files, and the third of a second that the database's libraries take to import."""
    import_module("mcp_server.storage.database")
    from mcp_server.storage.artefacts import Artefacts
    from mcp_server.storage.keys import Keys
    from mcp_server.storage.private_files import make_folder

    make_folder(data_dir)
    return Artefacts(data_dir / "artefacts"), Keys.open(data_dir / "keys")
