"""Rotates the key that signs again and again, and says each key with a signature of it: `FOLDER` on each line."""

from __future__ import annotations

import secrets
from pathlib import Path

from mcp_server.storage import sqlite_library

sqlite_library.install()

from mcp_server.context import CallContext, Caller, SystemClock  # noqa: E402
from mcp_server.storage import database, key_changes, migrations, open_storage  # noqa: E402, F401
from storage.rounds import say, serve  # noqa: E402

SIGNED = b"a manifest"


async def rotating(line: str) -> None:
    folder, clock = Path(line), SystemClock()
    storage = await open_storage(database_url=f"sqlite:///{folder / 'courtside.db'}", data_dir=folder, clock=clock)
    while True:
        call = CallContext(Caller("local", frozenset()), secrets.token_hex(8), "cli:keys", clock)
        key = await key_changes.rotate(storage.database, storage.keys, call)
        say(f"ack {key.id} {storage.keys.sign(SIGNED).hex()}")


if __name__ == "__main__":
    serve(rotating)
