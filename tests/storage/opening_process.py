"""Waits for a line, then opens the keys or migrates a database, and says what it found.

Arguments: `keys` and a data folder; or `migrate`, a data folder and a database URL.
"""

import asyncio
import sys
from pathlib import Path

from mcp_server.context import SystemClock
from mcp_server.storage import sqlite_library

sqlite_library.install()

from mcp_server.storage import migrations, sqlite_file  # noqa: E402
from mcp_server.storage.artefacts import Artefacts  # noqa: E402
from mcp_server.storage.database import Database  # noqa: E402
from mcp_server.storage.keys import Keys  # noqa: E402


def keys(data_dir: Path) -> None:
    opened = Keys.open(data_dir / "keys")
    print(opened.public_key_id, opened.pseudonym("a", 1), opened._id.hex())


async def migrate(data_dir: Path, url: str) -> None:
    opened = Keys.open(data_dir / "keys")
    database = Database(url, clock=SystemClock(), artefacts=Artefacts(data_dir / "artefacts"), keys=opened)
    if database.path is not None:
        await asyncio.to_thread(sqlite_file.prepare, database.path)
    print("migrated" if await migrations.upgrade(database) else "found")
    await database.close()


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    if sys.argv[1] == "keys":
        keys(Path(sys.argv[2]))
    else:
        asyncio.run(migrate(Path(sys.argv[2]), sys.argv[3]))
