"""How long it takes to plan, export and erase one person among 100,000 rows and stored predictions.

`python tests/performance/erasing_rates.py [ROWS]`
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from mcp_server import settings
from mcp_server.context import CallContext, SystemClock
from mcp_server.guard.calls import LOCAL
from mcp_server.storage.ids import new_ids
from mcp_server.storage.records import PredictionRecord
from mcp_server.workflows.app import App
from mcp_server.workflows.erasing import Subject, erase
from mcp_server.workflows.importing import ImportRequest, import_data

PERSONS = 1_000


async def main(rows: int) -> None:
    with tempfile.TemporaryDirectory(prefix="courtside-erasing-") as folder:
        clock = SystemClock()
        files = Path(folder) / "files"
        files.mkdir()
        with (files / "people.csv").open("w") as file:
            file.write("mail,x,y\n")
            file.writelines(f"person{i % PERSONS}@example.org,{i % 97},{i % 2}\n" for i in range(rows))
        app = App(settings.Settings(data_dir=Path(folder) / "data", allowed_dirs=(files,)), clock)
        call = CallContext(LOCAL, "request", "erase_subject", clock)
        await import_data(app, call, ImportRequest(name="people", path=str(files / "people.csv"), text=None))
        storage = await app.storage()
        now = clock.now()
        for start in range(0, rows, 10_000):
            ids = new_ids("p", 10_000, now)
            await storage.predictions.append(
                [
                    PredictionRecord(
                        id=id,
                        at=now,
                        model="m",
                        version=1,
                        digest="sha256:0",
                        caller="local",
                        request_id="r",
                        features={"mail": f"person{(start + i) % PERSONS}@example.org", "x": i % 97},
                        value=1.0,
                        personal=frozenset({"mail"}),
                    )
                    for i, id in enumerate(ids)
                ]
            )
        subject = Subject("mail", "person7@example.org", None)
        seconds = {}
        for name, export in (("plan", None), ("export json", "json"), ("export csv", "csv")):
            started = time.perf_counter()
            plan = await erase(app, call, subject, confirm=None, export=export)
            seconds[name] = round(time.perf_counter() - started, 2)
        started = time.perf_counter()
        done = await erase(app, call, subject, confirm=plan.confirm, export=None)
        seconds["erase"] = round(time.perf_counter() - started, 2)
        found = {"erased": [done.datasets[0]["rows"], done.predictions], "copies_left": done.copies_left}
        print(json.dumps({"rows": rows, "predictions": rows, "seconds": seconds, **found}))
        await app.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
