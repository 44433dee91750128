"""Storage on SQLite and on PostgreSQL for any test; loaded by the top conftest."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_server.context import CallContext, Caller
from mcp_server.storage import Storage, open_storage

SERVER = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
BACKENDS = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.services),
]


class HandClock:
    """A clock that stands still until it's moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)
        self.seconds = 1_000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def move(self, by: timedelta) -> None:
        self.at += by
        self.seconds += by.total_seconds()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with the tables and nothing in them, to be copied: migrating takes longer than most tests."""
    folder = tmp_path_factory.mktemp("migrated")
    path = folder / "courtside.db"
    _migrate(f"sqlite:///{path}", folder)
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A connection that may make databases, where there's a PostgreSQL."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg isn't installed")
    try:
        connection = psycopg.connect(SERVER, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL at TEST_POSTGRES_URL (or 127.0.0.1:5432)")
    with connection:
        yield connection


@pytest.fixture
def empty_postgres_url(postgres_server: Any) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, dropped after the test."""
    yield from _postgres_database(postgres_server)


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL database with the tables, dropped after the last test."""
    for url in _postgres_database(postgres_server):
        _migrate(url, tmp_path_factory.mktemp("migrated"))
        yield url


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated database without rows; each test that asks for it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        file: Path = request.getfixturevalue("migrated_file")
        folder = tmp_path / "data"
        folder.mkdir(mode=0o700)
        shutil.copy(file, folder)
        return f"sqlite:///{folder / file.name}"
    import psycopg

    from mcp_server.storage.tables import metadata

    url: str = request.getfixturevalue("migrated_postgres_url")
    with psycopg.connect(url) as connection:
        connection.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY")
    return url


def _postgres_database(server: Any) -> Iterator[str]:
    name = f"courtside_test_{uuid.uuid4().hex[:12]}"
    server.execute(f'CREATE DATABASE "{name}"')
    try:
        yield SERVER.rpartition("/")[0] + "/" + name
    finally:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _migrate(url: str, folder: Path) -> None:
    async def migrate() -> None:
        await (await open_storage(database_url=url, data_dir=folder, clock=HandClock())).close()

    asyncio.run(migrate())


@pytest.fixture
async def storage(database_url: str, tmp_path: Path, clock: HandClock) -> AsyncIterator[Storage]:
    """An open storage without rows."""
    opened = await open_storage(database_url=database_url, data_dir=tmp_path / "data", clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
def make_call(clock: HandClock) -> Callable[..., CallContext]:
    """Make the context of a call of `some_tool` by `local`; any field may be said otherwise."""

    def make(**changes: object) -> CallContext:
        values: dict[str, object] = {
            "caller": Caller("local", frozenset({"data"})),
            "request_id": uuid.uuid4().hex,
            "tool": "some_tool",
            "clock": clock,
            "arguments_digest": "a" * 64,
        }
        return CallContext(**{**values, **changes})  # type: ignore[arg-type]

    return make
