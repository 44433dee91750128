"""Deletes a data set version, and is killed by itself at the moment that it's told: `FOLDER commit|after`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from mcp_server.context import SystemClock
from mcp_server.storage import datasets, open_storage, removal


async def main(folder: Path, moment: str) -> None:
    storage = await open_storage(
        database_url=f"sqlite:///{folder / 'courtside.db'}", data_dir=folder, clock=SystemClock()
    )
    async with storage.database.transaction() as tx:
        version = await datasets.get(tx, "games", 1)
        await datasets.remove(tx, version)
        await removal.note(tx, [version.artefact])
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
