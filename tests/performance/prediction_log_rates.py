"""What it costs to store a prediction before it's answered.

    python tests/performance/prediction_log_rates.py [DATABASE_URL]

Prints, for appends of one row: the time of one awaited append alone, and rows a second with 16 writers; the same for
a transaction of each append's own, as the comparison. The folder is a temporary one on the disk of TMPDIR.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from mcp_server.context import SystemClock
from mcp_server.storage import Storage, open_storage
from mcp_server.storage.ids import new_ids
from mcp_server.storage.records import PredictionRecord

ALONE = 2_000
WRITERS = 16
SECONDS = 3.0
FEATURES = {f"feature_{number}": number * 1.25 for number in range(12)} | {"team": "Boston"}

Append = Callable[[list[PredictionRecord]], Awaitable[None]]


def make(count: int) -> list[PredictionRecord]:
    now = SystemClock().now()
    return [
        PredictionRecord(
            id=id,
            at=now,
            model="winner",
            version=1,
            digest="sha256:" + "0" * 64,
            caller="local",
            request_id="0123456789abcdef",
            features=FEATURES,
            value="1",
            probability=0.61,
            answer={"probabilities": {"0": 0.39, "1": 0.61}},
        )
        for id in new_ids("p", count, now)
    ]


async def alone(append: Append, count: int) -> str:
    """Milliseconds of one append after the other."""
    taken = []
    for record in make(count):
        begun = time.perf_counter()
        await append([record])
        taken.append((time.perf_counter() - begun) * 1_000)
    cuts = statistics.quantiles(taken, n=100)
    return f"p50 {cuts[49]:.3f} ms, p99 {cuts[98]:.3f} ms"


async def together(append: Append, rows: int = 1) -> str:
    """Rows a second of 16 writers that each wait for their append, and the processor time of a row."""
    end = time.perf_counter() + SECONDS
    stored = 0

    async def write() -> None:
        nonlocal stored
        while time.perf_counter() < end:
            await append(make(rows))
            stored += rows

    begun, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    rate, used = stored / (time.perf_counter() - begun), (time.process_time() - used) / stored
    return f"{rate:,.0f} rows/s, {used * 1e6:.0f} us of processor a row"


def disk(folder: str) -> str:
    """Milliseconds until 8 KiB are on the disk: no append that is acknowledged after its commit can take less."""
    taken = []
    with (Path(folder) / "probe").open("wb", buffering=0) as file:
        for _ in range(ALONE // 4):
            begun = time.perf_counter()
            file.write(b"x" * 8_192)
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - begun) * 1_000)
    cuts = statistics.quantiles(taken, n=100)
    return f"p50 {cuts[49]:.3f} ms, p99 {cuts[98]:.3f} ms"


async def measure(storage: Storage) -> None:
    from mcp_server.storage import predictions

    async def in_transaction(records: list[PredictionRecord]) -> None:
        async with storage.database.transaction() as tx:
            await predictions.add(tx, records)

    await storage.predictions.append(make(100))
    print("log, one writer:                  ", await alone(storage.predictions.append, ALONE))
    print("log, 16 writers, 1 row each:      ", await together(storage.predictions.append))
    print("log, 16 writers, 50 rows each:    ", await together(storage.predictions.append, 50))
    print("a transaction each, one writer:   ", await alone(in_transaction, ALONE // 10))
    print("a transaction each, 16 writers:   ", await together(in_transaction))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/courtside.db"
        storage = await open_storage(database_url=url, data_dir=Path(folder), clock=SystemClock())
        print("the disk alone, 8 KiB and fsync:   ", disk(folder))
        await measure(storage)
        await storage.close()


if __name__ == "__main__":
    asyncio.run(main())
