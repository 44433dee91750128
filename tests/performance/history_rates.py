"""What it takes to list, filter, sort and page through a long history of runs.

    python -m performance.history_rates [DATABASE_URL]      (in tests/)

Keeps 10,000 runs, each with the 4 kB of figures that a training leaves, and prints the median and the worst of 50 pages
of 20, from the list's beginning and from its middle, and the processor time of one in this process: of SQLite that's
all of it, whatever else the machine does.
"""

import asyncio
import random
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert, text

from mcp_server.context import SystemClock
from mcp_server.storage import Storage, open_storage, runs
from mcp_server.storage.ids import new_ids
from mcp_server.storage.records import MetricBound, Run, RunFilter
from mcp_server.storage.tables import run_metrics
from mcp_server.storage.tables import runs as table

COUNT = 10_000
ROUNDS = 50
NAMES = ("log_loss", "roc_auc", "accuracy", "brier", "average_precision", "ece")


def make(count: int) -> list[Run]:
    chance = random.Random(0)
    now = SystemClock().now()
    made = []
    for number, id in enumerate(new_ids("r", count, now)):
        test = {name: {"value": chance.random(), "low": 0.1, "high": 0.9} for name in NAMES}
        begun = now - timedelta(minutes=count - number)
        made.append(
            Run(
                id=id,
                model=f"model_{chance.randrange(50)}",
                dataset=f"table_{chance.randrange(20)}@{chance.randrange(1, 9)}",
                parameters={"seed": number, "features": [f"column_{i}" for i in range(60)]},
                metrics={"test": test, "reliability": [{"forecast": i / 40, "share": i / 41} for i in range(40)]},
                status="failed" if chance.random() < 0.05 else "succeeded",
                job_id=None,
                started_at=begun,
                ended_at=begun + timedelta(seconds=30),
                algorithm=chance.choice(["linear", "boosting", "tuned"]),
                target=chance.choice(["won", "points"]),
            )
        )
    return made


async def keep(storage: Storage, made: list[Run]) -> None:
    async with storage.database.transaction() as tx:
        await tx.execute(
            insert(table), [{column.name: getattr(run, column.name) for column in table.c} for run in made]
        )
        found = [(run.id, name, value) for run in made for name, value in runs.figures(run.metrics).items()]
        await tx.execute(
            insert(run_metrics), [dict(zip(("run_id", "name", "value"), one, strict=True)) for one in found]
        )


async def measure(storage: Storage, what: str, wanted: RunFilter) -> None:
    taken: list[float] = []
    async with storage.database.reading() as tx:
        middle, cursor = None, None
        for page_number in range(100):
            page = await runs.list_page(tx, wanted=wanted, cursor=cursor, limit=20)
            cursor = page.next_cursor
            if page_number == 50 or cursor is None:
                middle = cursor
                break
    used = time.process_time()
    for number in range(ROUNDS):
        begun = time.perf_counter()
        async with storage.database.reading() as tx:
            page = await runs.list_page(tx, wanted=wanted, cursor=middle if number % 2 else None, limit=20)
        taken.append((time.perf_counter() - begun) * 1_000)
    used = (time.process_time() - used) / ROUNDS * 1_000
    taken.sort()
    print(f"{what:<58} {taken[len(taken) // 2]:6.2f} / {taken[-1]:6.2f} ms, processor {used:5.2f} ms")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/courtside.db"
        storage = await open_storage(database_url=url, data_dir=Path(folder), clock=SystemClock())
        made = make(COUNT)
        await keep(storage, made)
        below = (MetricBound("log_loss", "<", 0.5), MetricBound("roc_auc", ">=", 0.5))
        rare = RunFilter(status="failed", algorithm="tuned", dataset="table_3", target="won", part="_1")
        if not storage.database.is_sqlite:
            # As the server does by itself a while after so many rows came.
            async with storage.database.transaction() as tx:
                await tx.execute(text("ANALYZE runs, run_metrics"))
        print(f"{COUNT:,} runs; median / worst of {ROUNDS} pages of 20")
        await measure(storage, "newest first", RunFilter())
        await measure(storage, "of one model", RunFilter(model="model_7"))
        await measure(storage, "failed, tuned, one table and target, part of the name", rare)
        await measure(storage, "none fits", RunFilter(target="nothing"))
        await measure(storage, "since the last day", RunFilter(since=made[-1_440].started_at))
        await measure(storage, "two metrics within bounds", RunFilter(bounds=below))
        await measure(storage, "by a metric", RunFilter(sort="log_loss"))
        await measure(
            storage, "by a metric, of one model, two bounds", RunFilter(sort="log_loss", model="model_7", bounds=below)
        )
        await measure(storage, "by a metric, none fits", RunFilter(sort="log_loss", target="nothing"))
        await storage.close()


if __name__ == "__main__":
    asyncio.run(main())
