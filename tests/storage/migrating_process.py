"""Migrates a database and kills itself at a given statement of it.

Argument: a data folder. Each line of the input: the database's file and the number of the statement.
"""

import os
import signal
import sys
from pathlib import Path

from mcp_server.context import SystemClock
from mcp_server.storage import sqlite_library
from storage.rounds import say, serve

sqlite_library.install()

import alembic.command  # noqa: E402, F401
from sqlalchemy import event  # noqa: E402
from sqlalchemy.engine import Engine  # noqa: E402

from mcp_server.storage import open_storage  # noqa: E402


async def work(line: str) -> None:
    path, wanted = line.split()
    done = 0

    @event.listens_for(Engine, "before_cursor_execute")
    def count(*_: object) -> None:
        nonlocal done
        if done == int(wanted):
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1

    storage = await open_storage(database_url=f"sqlite:///{path}", data_dir=Path(sys.argv[1]), clock=SystemClock())
    await storage.close()
    say("ack opened")


if __name__ == "__main__":
    serve(work)
