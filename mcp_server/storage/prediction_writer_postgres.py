"""Group commit on PostgreSQL: a task with a connection of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

import asyncpg
from sqlalchemy import URL

from mcp_server.errors import InvalidInput
from mcp_server.storage.failures import translate
from mcp_server.storage.keys import Keys
from mcp_server.storage.prediction_log import BATCH, CAPACITY, PredictionLog, Request, settle
from mcp_server.storage.prediction_rows import COLUMNS, driver_row

# Names of our own columns; every value is a parameter.
_INSERT = (
    f"INSERT INTO predictions ({', '.join(COLUMNS)}) "  # noqa: S608
    f"VALUES ({', '.join(f'${number}' for number in range(1, len(COLUMNS) + 1))}) ON CONFLICT (id) DO NOTHING"
)
# The last where the server ended the connection while the driver was in between two messages.
_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncpg.InternalClientError)
_SEALED_AT_ONCE = 100
_SECONDS = 10.0


class PostgresPredictionLog(PredictionLog):
    """See `prediction_log.PredictionLog`.

    Args:
        url: of the database, migrated.
        keys: for the features.
        capacity: how many records may wait.
    """

    def __init__(self, url: URL, keys: Keys, *, capacity: int = CAPACITY) -> None:
        super().__init__(capacity=capacity)
        self._url = url
        self._keys = keys
        self._requests: deque[Request] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._connection: Any = None

    def _start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="prediction-log")

    def _submit(self, request: Request) -> None:
        self._requests.append(request)
        self._wake.set()

    async def _stop(self) -> None:
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        batch: list[Request] = []
        try:
            while self._open or self._requests:
                self._wake.clear()
                batch = self._gather()
                if batch:
                    await self._store(batch)
                    batch = []
                elif self._open:
                    await self._wake.wait()
        finally:
            self._give_up([*batch, *self._requests])
            self._requests.clear()
            await self._disconnect()

    def _gather(self) -> list[Request]:
        batch: list[Request] = []
        count = 0
        while self._requests and count < BATCH:
            batch.append(self._requests.popleft())
            count += len(batch[-1].records)
        return batch

    async def _store(self, batch: list[Request]) -> None:
        many = sum(len(request.records) for request in batch) > _SEALED_AT_ONCE
        written, rows = await asyncio.to_thread(self._seal, batch) if many else self._seal(batch)
        try:
            if rows:
                await self._insert(rows)
        except _FAILURES as error:
            settle(written, translate(error))
        else:
            settle(written, None)

    async def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        """Insert all of the rows or none, in one implicit transaction."""
        reused = self._connection is not None
        try:
            await (await self._connected()).executemany(_INSERT, rows, timeout=_SECONDS)
        except _FAILURES as error:
            await self._disconnect()
            if not (reused and translate(error).transient):
                raise
            # The server restarted since the last batch. Inserting twice stores once, so a second try is safe.
            await self._insert(rows)

    def _seal(self, batch: list[Request]) -> tuple[list[Request], list[tuple[Any, ...]]]:
        sealed: list[Request] = []
        rows: list[tuple[Any, ...]] = []
        for request in batch:
            try:
                rows.extend([driver_row(self._keys, record, record.at) for record in request.records])
            except InvalidInput as refused:
                settle([request], refused)
            else:
                sealed.append(request)
        return sealed, rows

    async def _connected(self) -> Any:
        if self._connection is None:
            query = dict(self._url.query)
            self._connection = await asyncpg.connect(
                host=query.pop("host", None) or self._url.host,
                port=self._url.port,
                user=self._url.username,
                password=self._url.password,
                database=self._url.database,
                timeout=_SECONDS,
                server_settings={"application_name": "courtside-predictions", "synchronous_commit": "on"},
                **query,
            )
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*_FAILURES):
                await connection.close(timeout=1.0)
