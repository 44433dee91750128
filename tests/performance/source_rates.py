"""Rows a second from databases and bytes a second from the web, all on this machine: no network's time is in them.

From `tests/`: python -m performance.source_rates [ROWS]. PostgreSQL and MariaDB where they answer as for the tests.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from integrations.loopback import answer, certificate, served, trusting
from mcp_server.integrations import mariadb, postgresql, sqlite
from mcp_server.integrations.download import fetch
from mcp_server.integrations.query import Bounds, Query, QueryRows
from mcp_server.integrations.url_guard import UrlGuard

ROUNDS = 3
BOUNDS = Bounds(rows=10_000_000, size=1 << 30, seconds=300.0)
COLUMNS = (
    "n, n * 0.1 AS a, n % 97 AS b, n * 1.5 AS c, 'red' AS d, 'a longer text with spaces' AS e, n % 7 AS f, n * 3 AS g"
)
SQLITE = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) SELECT {columns} FROM s"
POSTGRESQL = "SELECT {columns} FROM generate_series(1, {rows}) n"
MARIADB = "SELECT {columns} FROM (SELECT seq AS n FROM seq_1_to_{rows}) s"


async def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sqlite3.connect(folder / "empty.db").execute("CREATE TABLE x (y)").connection.close()
        sources: dict[str, Callable[[Path], Awaitable[QueryRows]]] = {
            "SQLite": lambda file: sqlite.read_rows(folder / "empty.db", asked(SQLITE, rows), file, BOUNDS)
        }
        undo: list[Callable[[], None]] = []
        for title, make in (("PostgreSQL", with_postgresql), ("MariaDB", with_mariadb)):
            made = make(rows)
            if made is None:
                print(f"{title} doesn't answer here.")
                continue
            sources[title], end = made
            undo.append(end)
        try:
            for title, read in sources.items():
                await timed(title, folder / "rows", read)
        finally:
            for end in undo:
                end()
        await web(folder)


def asked(statement: str, rows: int) -> Query:
    return Query.of(statement.format(rows=rows, columns=COLUMNS))


async def timed(title: str, file: Path, read: Callable[[Path], Awaitable[QueryRows]]) -> None:
    rates = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = await read(file)
        rates.append(found.rows / (time.perf_counter() - began))
        await asyncio.to_thread(file.unlink)
    print(f"| {title} | {found.rows:,} rows, {found.size / 1e6:.0f} MB | {statistics.median(rates):,.0f} rows/s |")


def with_postgresql(rows: int) -> tuple[Callable[[Path], Awaitable[QueryRows]], Callable[[], None]] | None:
    import psycopg

    from storage.fixtures import SERVER

    try:
        owner = psycopg.connect(SERVER, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        return None
    role = f"courtside_rates_{uuid.uuid4().hex[:8]}"
    owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'rates'")
    host = SERVER.rpartition("@")[2]

    def end() -> None:
        owner.execute(f"DROP ROLE {role}")
        owner.close()

    url = f"postgresql://{role}:rates@{host}"
    return lambda file: postgresql.read_rows(url, asked(POSTGRESQL, rows), file, BOUNDS), end


def with_mariadb(rows: int) -> tuple[Callable[[Path], Awaitable[QueryRows]], Callable[[], None]] | None:
    import pymysql

    try:
        owner: Any = pymysql.connect(host="127.0.0.1", user="root", autocommit=True, connect_timeout=3)
    except pymysql.OperationalError:
        return None
    user = f"courtside_rates_{uuid.uuid4().hex[:8]}"
    cursor = owner.cursor()
    cursor.execute(f"CREATE USER {user}@'%' IDENTIFIED BY 'rates'")
    cursor.execute(f"GRANT SELECT ON test.* TO {user}@'%'")

    def end() -> None:
        cursor.execute(f"DROP USER {user}@'%'")
        owner.close()

    url = f"mysql://{user}:rates@127.0.0.1/test"
    return lambda file: mariadb.read_rows(url, asked(MARIADB, rows), file, BOUNDS), end


async def web(folder: Path) -> None:
    body = b"1234567,89.5\n" * 8_000_000
    tls, trust = certificate(folder, ["data.test"])

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    rates = []
    async with served({"/a": answer(body)}, tls=tls) as loopback:
        guard = UrlGuard(resolve=resolve, exempt=frozenset({("127.0.0.1", loopback.port)}))
        for _ in range(ROUNDS):
            url, file = f"https://data.test:{loopback.port}/a", folder / "file"
            began = time.perf_counter()
            await fetch(url, file, guard=guard, most_bytes=1 << 30, tls=trusting(trust))
            rates.append(len(body) / (time.perf_counter() - began) / 1e6)
            await asyncio.to_thread(file.unlink)
    print(f"| https, served by the same process | {len(body) / 1e6:.0f} MB | {statistics.median(rates):,.0f} MB/s |")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
