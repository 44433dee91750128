"""Does units of work until it's killed: a claim, a change, an answer and an audit row each.

Arguments: database URL, data folder, `whole`, or `split` to write the audit row in a transaction of its own.
Each line of the input: the number of the round.
"""

import sys
from itertools import count
from pathlib import Path

from mcp_server.context import CallContext, Caller, SystemClock
from mcp_server.storage import open_storage, sqlite_library
from storage.rounds import say, serve

sqlite_library.install()

from sqlalchemy import delete  # noqa: E402

from mcp_server.storage import audit, jobs  # noqa: E402
from mcp_server.storage import tables as t  # noqa: E402

URL, DATA_DIR, MODE = sys.argv[1:]
CALLER = Caller("local", frozenset())


async def work(line: str) -> None:
    clock = SystemClock()
    storage = await open_storage(database_url=URL, data_dir=Path(DATA_DIR), clock=clock)
    for number in count():
        key = f"{line}-{number}"
        call = CallContext(CALLER, key, "some_tool", clock, key=key, arguments_digest=key)
        async with storage.database.transaction(call) as tx:
            await jobs.enqueue(tx, id=f"j_{key}", kind="train", arguments={}, caller="local", runtime_version="1")
            tx.answer({"key": key, "padding": "x" * (100_000 if number % 5 == 4 else 10)})
        if MODE == "split":
            async with storage.database.transaction() as tx:
                await tx.execute(delete(t.audit).where(t.audit.c.request_id == key))
            # The gap that the control is about, wide enough to be hit.
            for _ in range(20):
                await storage.database.ping()
            async with storage.database.transaction() as tx:
                await audit.add(tx, call, action="change", outcome="ok")
        say(f"ack {key}")


if __name__ == "__main__":
    serve(work)
