"""Group commit on SQLite: a thread with a connection of its own."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from mcp_server.errors import InvalidInput
from mcp_server.storage import sqlite_file
from mcp_server.storage.failures import translate
from mcp_server.storage.keys import Keys
from mcp_server.storage.prediction_log import BATCH, CAPACITY, PredictionLog, Request, settle
from mcp_server.storage.prediction_rows import COLUMNS, driver_row
from mcp_server.storage.tables import sqlite_moment

# Names of our own columns; every value is a parameter.
_INSERT = (
    f"INSERT INTO predictions ({', '.join(COLUMNS)}) "  # noqa: S608
    f"VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT (id) DO NOTHING"
)


class SqlitePredictionLog(PredictionLog):
    """See `prediction_log.PredictionLog`.

    Args:
        path: the database's file, migrated.
        keys: for the features.
        capacity: how many records may wait.
    """

    def __init__(self, path: Path, keys: Keys, *, capacity: int = CAPACITY) -> None:
        super().__init__(capacity=capacity)
        self._path = path
        self._keys = keys
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def _start(self) -> None:
        self._thread.start()

    def _submit(self, request: Request) -> None:
        self._requests.put(request)

    async def _stop(self) -> None:
        self._requests.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        batch: list[Request] = []
        ending = False
        try:
            while not ending:
                batch, ending = self._gather()
                try:
                    connection = connection or sqlite_file.connect(self._path)
                    self._write(connection, batch)
                except sqlite3.Error as error:
                    settle(batch, translate(error))
                    # Whatever state this one is in, a fresh one is in a known one.
                    _close(connection)
                    connection = None
                batch = []
        finally:
            while not self._requests.empty():
                batch.extend(request for request in [self._requests.get()] if request is not None)
            self._give_up(batch)
            _close(connection)

    def _gather(self) -> tuple[list[Request], bool]:
        """Wait for a request, then take those that have come meanwhile; the flag says that the log is closing."""
        batch: list[Request] = []
        count = 0
        while count < BATCH:
            try:
                request = self._requests.get(block=not batch)
            except queue.Empty:
                break
            if request is None:
                return batch, True
            batch.append(request)
            count += len(request.records)
        return batch, False

    def _write(self, connection: sqlite3.Connection, batch: list[Request]) -> None:
        written: list[Request] = []
        rows: list[tuple[Any, ...]] = []
        for request in batch:
            try:
                rows.extend([driver_row(self._keys, record, sqlite_moment(record.at)) for record in request.records])
            except InvalidInput as refused:
                settle([request], refused)
            else:
                written.append(request)
        if not rows:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(_INSERT, rows)
            connection.execute("COMMIT")
        except sqlite3.Error:
            # A full disk may have ended the transaction already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        settle(written, None)


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with suppress(sqlite3.Error):
            connection.close()
