"""Adds one to a stored number, a hundred times; as `split`, reads and writes in two transactions.

Arguments: database URL, data folder, `whole` or `split`.
"""

import asyncio
import sys
from pathlib import Path

from mcp_server.context import SystemClock
from mcp_server.storage import open_storage


async def main(url: str, data_dir: str, mode: str) -> None:
    from sqlalchemy import select, update

    from mcp_server.storage.tables import jobs

    storage = await open_storage(database_url=url, data_dir=Path(data_dir), clock=SystemClock())
    read = select(jobs.c.progress).where(jobs.c.id == "j_sum")
    write = update(jobs).where(jobs.c.id == "j_sum")
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for _ in range(100):
        if mode == "whole":
            async with storage.database.transaction() as tx:
                total = (await tx.execute(read)).scalar_one()
                await tx.execute(write.values(progress=total + 1))
        else:
            async with storage.database.reading() as tx:
                total = (await tx.execute(read)).scalar_one()
            async with storage.database.transaction() as tx:
                await tx.execute(write.values(progress=total + 1))
    await storage.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
