"""Appends predictions from eight tasks until it's killed, and acknowledges each after the log did.

Arguments: database URL, data folder, `after`, or `before` to acknowledge before the log did.
Each line of the input: the number of the round.
"""

import asyncio
import sys
from itertools import count
from pathlib import Path

from mcp_server.context import SystemClock
from mcp_server.storage import open_storage, sqlite_library
from mcp_server.storage.ids import new_ids
from mcp_server.storage.records import PredictionRecord
from storage.rounds import say, serve

sqlite_library.install()

import mcp_server.storage.database  # noqa: E402, F401

URL, DATA_DIR, MODE = sys.argv[1:]


async def work(line: str) -> None:
    clock = SystemClock()
    storage = await open_storage(database_url=URL, data_dir=Path(DATA_DIR), clock=clock)

    async def predict(task: int) -> None:
        for number in count():
            records = [
                PredictionRecord(
                    id=id,
                    at=clock.now(),
                    model="winner",
                    version=1,
                    digest="sha256:1",
                    caller="local",
                    request_id=f"{line}-{task}-{number}",
                    features={"n": number},
                    value="1",
                )
                for id in new_ids("p", 1 + number % 3, clock.now())
            ]
            acknowledgement = "ack " + " ".join(record.id for record in records)
            if MODE == "before":
                say(acknowledgement)
            await storage.predictions.append(records)
            if MODE == "after":
                say(acknowledgement)

    await asyncio.gather(*(predict(task) for task in range(8)))


if __name__ == "__main__":
    serve(work)
