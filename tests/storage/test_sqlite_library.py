"""Every process uses an SQLite that doesn't corrupt WAL databases, and storage loads only when it's opened."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mcp_server.storage.sqlite_library import is_sound


def python(script: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)


def said(script: str) -> str:
    result = python(script)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# An unsound standard library, whatever this Python has.
UNSOUND = """
import sys, types
import _sqlite3
_sqlite3.sqlite_version = "3.40.1"
"""


@pytest.mark.parametrize(
    ("version", "sound"),
    [
        *(((3, 6, 23), False), ((3, 7, 0), False), ((3, 40, 1), False), ((3, 44, 5), False), ((3, 44, 6), True)),
        *(((3, 45, 0), False), ((3, 50, 6), False), ((3, 50, 7), True), ((3, 51, 2), False), ((3, 51, 3), True)),
        *(((3, 52, 0), False), ((3, 53, 4), True), ((4, 0, 0), True)),
    ],
)
def test_which_releases_are_sound(version: tuple[int, int, int], sound: bool) -> None:
    assert is_sound(version) == sound


def test_this_process_uses_a_sound_library() -> None:
    import sqlite3

    assert is_sound(sqlite3.sqlite_version_info)


def test_an_unsound_standard_library_is_replaced_for_all_that_comes() -> None:
    script = UNSOUND + (
        "from mcp_server.storage import sqlite_library as l\n"
        "assert l.install() == l.install()\n"
        "import sqlite3, sqlite3.dbapi2, aiosqlite, aiosqlite.core\n"
        "from sqlalchemy import create_engine, text\n"
        "with create_engine('sqlite://').connect() as c: seen = c.execute(text('select sqlite_version()')).scalar()\n"
        "assert l.is_sound(tuple(map(int, seen.split('.')))), seen\n"
        "assert aiosqlite.core.sqlite3 is sqlite3\n"
        "assert l.is_sound(sqlite3.sqlite_version_info)\n"
        "print('sound')\n"
    )
    assert said(script) == "sound"


def test_durable_workflows_run_on_the_replaced_library(tmp_path: object) -> None:
    script = UNSOUND + (
        "from mcp_server.storage import sqlite_library as l\n"
        "l.install()\n"
        "from dbos import DBOS, DBOSConfig\n"
        f"url = 'sqlite:///{tmp_path}/dbos.db'\n"
        "DBOS(config=DBOSConfig(name='courtside', system_database_url=url, application_version='1'))\n"
        "@DBOS.workflow()\n"
        "def double(x: int) -> int: return x * 2\n"
        "DBOS.launch()\n"
        "result = double(21)\n"
        "import sqlite3\n"
        "assert l.is_sound(sqlite3.sqlite_version_info)\n"
        "DBOS.destroy()\n"
        "print(result)\n"
    )
    pytest.importorskip("dbos", reason="dbos isn't installed")
    assert said(script).endswith("42")


def test_a_driver_that_holds_the_unsound_library_is_refused() -> None:
    script = UNSOUND + (
        "fake = types.ModuleType('sqlite3')\n"
        "fake.sqlite_version_info = (3, 40, 1)\n"
        "sys.modules['sqlite3'] = fake\n"
        "sys.modules['aiosqlite'] = types.ModuleType('aiosqlite')\n"
        "from mcp_server.errors import BadConfiguration\n"
        "from mcp_server.storage import sqlite_library as l\n"
        "try: l.install()\n"
        "except BadConfiguration as refused: print(refused.message)\n"
    )
    assert "imported before the SQLite library was replaced" in said(script)


def test_a_tool_that_imported_the_unsound_library_for_itself_may_keep_it() -> None:
    script = UNSOUND + (
        "held = types.ModuleType('sqlite3')\n"
        "held.sqlite_version_info = (3, 40, 1)\n"
        "sys.modules['sqlite3'] = held\n"
        "from mcp_server.storage import sqlite_library as l\n"
        "print(l.is_sound(l.install()), sys.modules['sqlite3'] is held)\n"
    )
    assert said(script) == "True False"


def test_without_any_sound_library_nothing_starts() -> None:
    script = UNSOUND + (
        "sys.modules['pysqlite3'] = None\n"
        "from mcp_server.errors import BadConfiguration\n"
        "from mcp_server.storage import sqlite_library as l\n"
        "try: l.install()\n"
        "except BadConfiguration as refused: print(refused.hint)\n"
    )
    assert "pip install" in said(script)


def test_importing_storage_loads_no_database_library() -> None:
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import mcp_server.storage, mcp_server.storage.records, mcp_server.storage.in_flight\n"
        "heavy = {'sqlalchemy', 'alembic', 'aiosqlite', 'sqlite3', 'asyncpg', 'cryptography', 'obstore', 'dbos'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))\n"
    )
    assert said(script) == "[]"


def test_opening_a_migrated_sqlite_storage_loads_neither_alembic_nor_a_postgres_driver(tmp_path: object) -> None:
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from mcp_server.context import SystemClock\n"
        "from mcp_server.storage import open_storage\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "url = f'sqlite:///{folder}/courtside.db'\n"
        "async def main():\n"
        "    await (await open_storage(database_url=url, data_dir=folder, clock=SystemClock())).close()\n"
        "asyncio.run(main())\n"
        "print(sorted({'alembic', 'asyncpg', 'numpy', 'polars', 'sklearn', 'dbos'} & set(sys.modules)))\n"
    )
    said(script)
    assert said(script) == "[]"
