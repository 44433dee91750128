"""The schema: from nothing to the present, by one process at a time, and never backwards."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Connection, bindparam, inspect, text

from mcp_server.context import CallContext
from mcp_server.errors import BadConfiguration
from mcp_server.storage import Storage, audit, migrations, open_storage, sqlite_file
from mcp_server.storage.artefacts import Artefacts
from mcp_server.storage.database import Database
from mcp_server.storage.keys import Keys
from mcp_server.storage.tables import UtcDateTime, metadata
from storage.fixtures import HandClock
from storage.rounds import Rounds, start

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[pytest.param("sqlite"), pytest.param("postgresql", marks=pytest.mark.services)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'courtside.db'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(
        connection, opts={"version_table": migrations.VERSION_TABLE, "compare_server_default": True}
    )
    return list(compare_metadata(context, metadata))


async def test_the_steps_lead_to_the_tables_that_the_program_uses(storage: Storage) -> None:
    async with storage.database.reading() as tx:
        assert await tx.run(differences) == []


async def test_a_current_schema_is_left_alone(storage: Storage) -> None:
    assert not await migrations.upgrade(storage.database)


async def test_a_schema_of_a_newer_program_is_refused(
    database_url: str, tmp_path: Path, clock: HandClock, storage: Storage
) -> None:
    async with storage.database.transaction() as tx:
        await tx.execute(text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'"))
    try:
        with pytest.raises(BadConfiguration, match="newer Courtside") as refused:
            await open_storage(database_url=database_url, data_dir=tmp_path / "data", clock=clock)
        assert "Update" in refused.value.hint
    finally:
        async with storage.database.transaction() as tx:
            head = {"head": migrations.REVISIONS[-1]}
            await tx.execute(text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = :head"), head)


def test_the_program_knows_every_step() -> None:
    script = ScriptDirectory.from_config(migrations.configuration())
    assert tuple(step.revision for step in script.walk_revisions())[::-1] == migrations.REVISIONS


async def test_rows_from_before_the_chain_are_chained(
    empty_url: str, tmp_path: Path, clock: HandClock, make_call: Callable[..., CallContext]
) -> None:
    folder = tmp_path / "data"
    keys = Keys.open(folder / "keys")
    database = Database(empty_url, clock=clock, artefacts=Artefacts(folder / "artefacts"), keys=keys)
    old = [
        {
            "at": clock.now(),
            "request_id": f"r{number}",
            "caller": "local",
            "tool": "t",
            "action": "change",
            "outcome": "ok",
            "arguments_digest": "",
            "details": {"share": 0.1},
        }
        for number in range(3)
    ]
    if database.path is not None:
        sqlite_file.prepare(database.path)
    async with database.transaction() as tx:
        await tx.run(lambda connection: command.upgrade(migrations.configuration(connection), "0003"))
        for row in old:
            await tx.execute(
                text(
                    "INSERT INTO audit (at, request_id, caller, tool, action, outcome, arguments_digest, details)"
                    " VALUES (:at, :request_id, :caller, :tool, :action, :outcome, :arguments_digest, :details)"
                ).bindparams(bindparam("at", type_=UtcDateTime()), bindparam("details", type_=JSON())),
                row,
            )
    await database.close()
    storage = await open_storage(database_url=empty_url, data_dir=folder, clock=clock)
    try:
        async with storage.database.transaction(make_call()):
            pass
        async with storage.database.reading() as tx:
            report = await audit.check_chain(tx)
    finally:
        await storage.close()
    assert report.problems == ()
    assert report.head.place == 4


@pytest.mark.fault
def test_of_six_processes_that_start_at_once_one_migrates(empty_url: str, tmp_path: Path) -> None:
    openers = [start("opening_process.py", "migrate", str(tmp_path / "data"), empty_url) for _ in range(6)]
    for opener in openers:
        assert opener.stdout is not None
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("go\n")
        opener.stdin.flush()
    said = sorted(opener.communicate()[0] for opener in openers)
    assert said == ["found\n"] * 5 + ["migrated\n"]


@pytest.mark.fault
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
async def test_a_migration_killed_at_any_statement_leaves_nothing_behind(tmp_path: Path, clock: HandClock) -> None:
    killed = 0
    with Rounds("migrating_process.py", str(tmp_path)) as rounds:
        for statement in range(0, 120, 8):
            path = tmp_path / f"{statement}.db"
            if rounds.run(f"{path} {statement}") == []:
                killed += 1
                sqlite_file.prepare(path)
                with sqlite3.connect(path) as connection:
                    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
                connection.close()
            storage = await open_storage(database_url=f"sqlite:///{path}", data_dir=tmp_path, clock=clock)
            async with storage.database.reading() as tx:
                assert set(metadata.tables) <= set(
                    await tx.run(lambda connection: inspect(connection).get_table_names())
                )
            await storage.close()
    assert 5 <= killed < 15, "some rounds must die in the migration, and the last must not"
