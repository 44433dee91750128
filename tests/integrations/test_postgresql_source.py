"""PostgreSQL as a source: exact values, and hostile statements that leave the database as it was."""

from __future__ import annotations

import io
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mcp_server.core.ingest import CsvOptions, Limits, read_csv
from mcp_server.errors import CourtsideError
from mcp_server.integrations import postgresql
from mcp_server.integrations.query import Bounds, Query

pytestmark = [pytest.mark.anyio, pytest.mark.services]

BOUNDS = Bounds(rows=1_000, size=1_000_000, seconds=20.0)
TABLES = """
CREATE TABLE games (id bigint PRIMARY KEY, day date, start timestamptz, home text, points numeric(6, 2), won boolean);
INSERT INTO games VALUES
    (1, '2026-01-02', '2026-01-02 20:30:00+01', E'Ulm, "A"\\n', 81.50, true),
    (2, '2026-01-03', NULL, '', NULL, false),
    (9007199254740993, NULL, '2026-01-04 20:30:00.25+00', '007', 0.10, NULL);
CREATE SEQUENCE counter;
CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM games; RETURN 1; END $$;
CREATE FUNCTION looser() RETURNS int LANGUAGE plpgsql AS $$
    BEGIN PERFORM set_config('transaction_read_only', 'off', true); DELETE FROM games; RETURN 1; END $$;
CREATE PROCEDURE leaving() LANGUAGE plpgsql AS $$ BEGIN COMMIT; DELETE FROM games; END $$;
"""


class Server:
    """A database with a table, the account that owns it, and one that may write it but not the server's files."""

    def __init__(self, owner: Any, owner_url: str, url: str) -> None:
        self.owner = owner
        self.owner_url = owner_url
        self.url = url

    def state(self) -> list[Any]:
        """What a hostile statement could have changed."""
        looks = [
            "SELECT * FROM games ORDER BY id",
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
            "SELECT last_value, is_called FROM counter",
            "SELECT oid FROM pg_largeobject_metadata ORDER BY 1",
            "SELECT rolname, rolsuper, rolconfig FROM pg_roles ORDER BY 1",
            "SELECT setconfig FROM pg_db_role_setting ORDER BY 1",
            "SELECT extname FROM pg_extension ORDER BY 1",
        ]
        return [self.owner.execute(look).fetchall() for look in looks]


@pytest.fixture
def server(empty_postgres_url: str, postgres_server: Any) -> Iterator[Server]:
    import psycopg

    role = f"courtside_reader_{uuid.uuid4().hex[:12]}"
    parts = urlsplit(empty_postgres_url)
    with psycopg.connect(empty_postgres_url, autocommit=True) as owner:
        owner.execute(TABLES)
        # More rights than it needs: the read-only transaction has to do without their help.
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p%4ss'; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        owner.execute(f"GRANT ALL ON SCHEMA public TO {role}; GRANT ALL ON SEQUENCE counter TO {role}")
        owner.execute(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}")
        host = parts.netloc.rpartition("@")[2]
        try:
            yield Server(owner, empty_postgres_url, f"postgresql://{role}:p%254ss@{host}{parts.path}")
        finally:
            owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def rows_of(server: Server, target: Path, statement: str, *parameters: str, bounds: Bounds = BOUNDS) -> Any:
    found = await postgresql.read_rows(server.url, Query.of(statement, parameters), target, bounds)
    options = CsvOptions(delimiter=",", encoding="utf-8", text_columns=found.text_columns)
    return read_csv(io.BytesIO(taken(target)), limits=Limits(), options=options).frame


def taken(target: Path) -> bytes:
    content = target.read_bytes()
    target.unlink()
    return content


async def refused(
    server: Server, target: Path, statement: str, *parameters: str, bounds: Bounds = BOUNDS, url: str | None = None
) -> CourtsideError:
    with pytest.raises(CourtsideError) as caught:
        await postgresql.read_rows(url or server.url, Query.of(statement, parameters), target, bounds)
    assert target.name not in os.listdir(target.parent)
    return caught.value


async def test_what_a_query_gives_is_read_back_to_the_same_values(server: Server, tmp_path: Path) -> None:
    frame = await rows_of(server, tmp_path / "rows", "SELECT * FROM games ORDER BY id;")
    assert frame.get_column("id").to_list() == [1, 2, 9007199254740993]
    assert [str(day) for day in frame.get_column("day")] == ["2026-01-02", "2026-01-03", "None"]
    assert [str(at) for at in frame.get_column("start")] == [
        "2026-01-02 19:30:00+00:00",
        "None",
        "2026-01-04 20:30:00.250000+00:00",
    ]
    assert frame.get_column("home").to_list() == ['Ulm, "A"\n', None, "007"]
    assert frame.get_column("points").to_list() == [81.5, None, 0.1]
    assert frame.get_column("won").to_list() == [True, False, None]


async def test_a_date_that_python_has_not_is_kept_as_text(server: Server, tmp_path: Path) -> None:
    frame = await rows_of(server, tmp_path / "rows", "SELECT 'infinity'::date AS d UNION ALL SELECT '0044-03-15 BC'")
    assert sorted(frame.get_column("d").to_list()) == ["0044-03-15 BC", "infinity"]


async def test_parameters_are_bound_and_become_what_the_query_wants(server: Server, tmp_path: Path) -> None:
    hostile = "x' OR true; DROP TABLE games --"
    query = "SELECT id FROM games WHERE home = $1 OR id = $2 OR points = $3 OR day = $4 OR won = $5"
    frame = await rows_of(server, tmp_path / "rows", query, hostile, "2", "81.5", "2026-01-02", "false")
    assert frame.get_column("id").to_list() == [1, 2]


async def test_the_order_of_the_rows_and_a_name_that_occurs_twice_stay(server: Server, tmp_path: Path) -> None:
    found = await postgresql.read_rows(
        server.url, Query.of("WITH a AS (SELECT 1 x UNION SELECT 2) SELECT x, x FROM a ORDER BY 1 DESC -- end"),
        tmp_path / "rows", BOUNDS,
    )  # fmt: skip
    assert found.rows == 2
    assert (tmp_path / "rows").read_text() == "x,x\n2,2\n1,1\n"


HOSTILE = [
    "INSERT INTO games VALUES (5)",
    "/* SELECT */ DELETE FROM games",
    "-- SELECT\nTRUNCATE games",
    "UPDATE games SET won = true RETURNING id",
    "WITH gone AS (DELETE FROM games RETURNING *) SELECT * FROM gone",
    "WITH x AS (INSERT INTO games VALUES (7) RETURNING id) SELECT id FROM x",
    "SELECT 1; DROP TABLE games",
    "SELECT 1); DROP TABLE games; SELECT (1",
    "SELECT 1); COMMIT; DELETE FROM games; --",
    "COMMIT; DROP TABLE games",
    "COMMIT",
    "ROLLBACK; DELETE FROM games",
    "SET TRANSACTION READ WRITE",
    "SELECT set_config('transaction_read_only', 'off', false) FROM (SELECT 1) a, LATERAL (SELECT sneaky()) b",
    "SELECT set_config('default_transaction_read_only', 'off', false), sneaky()",
    "SELECT sneaky()",
    "SELECT looser()",
    "CALL leaving()",
    "DO $$ BEGIN COMMIT; DELETE FROM games; END $$",
    "SELECT * INTO mine FROM games",
    "CREATE TABLE mine AS SELECT * FROM games",
    "CREATE TEMP TABLE mine (x int)",
    "EXPLAIN ANALYZE DELETE FROM games",
    "PREPARE p AS DELETE FROM games",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "SELECT nextval('counter')",
    "SELECT setval('counter', 99)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '{folder}/made')",
    "COPY games TO PROGRAM 'touch {folder}/made'",
    "COPY games TO '{folder}/made'",
    "COPY games FROM PROGRAM 'echo 9'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT query_to_xml('DELETE FROM games', true, true, '')",
    "SELECT 1 FROM games FOR UPDATE",
    "ALTER SYSTEM SET work_mem = '1MB'",
    "CREATE EXTENSION dblink",
    "CREATE ROLE mine SUPERUSER",
    "GRANT ALL ON games TO public",
    "LOCK TABLE games",
    "NOTIFY here",
    "VACUUM games",
    "LOAD 'evil'",
]
# Not refused, for it isn't seen what they do; undone with the transaction, which is never committed.
UNDONE = ["SELECT lo_create(0)", "SELECT lo_from_bytea(0, 'x')", "SELECT pg_notify('here', 'x')"]


@pytest.mark.parametrize("statement", HOSTILE)
async def test_a_statement_that_does_more_than_read_changes_nothing(server, tmp_path: Path, statement: str) -> None:
    before = server.state()
    (tmp_path / "place").mkdir()
    error = await refused(server, tmp_path / "rows", statement.replace("{folder}", str(tmp_path / "place")))
    assert error.code in ("E_ARG", "E_PERMISSION")
    assert server.state() == before
    assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.parametrize("statement", UNDONE)
async def test_what_a_function_did_besides_is_undone(server: Server, tmp_path: Path, statement: str) -> None:
    before = server.state()
    try:
        await postgresql.read_rows(server.url, Query.of(statement), tmp_path / "rows", BOUNDS)
    except CourtsideError as error:
        assert error.code in ("E_ARG", "E_PERMISSION")  # noqa: PT017 - newer versions refuse some of them
    assert server.state() == before


async def test_the_control_a_check_of_the_first_word_and_a_read_only_transaction_let_statements_in(server) -> None:
    import asyncpg

    harmful = []
    for statement in [*HOSTILE, *UNDONE]:
        bare = re.sub(r"--[^\n]*\n|/\*.*?\*/", "", statement).strip().upper()
        if not bare.startswith(("SELECT", "WITH", "EXPLAIN", "COMMIT", "ROLLBACK")) or "{folder}" in statement:
            continue
        before = server.state()
        connection = await asyncpg.connect(server.url)
        try:
            # One statement in a read-only transaction, as text: what follows a COMMIT in it is outside.
            first_word = bare.startswith(("SELECT", "WITH", "EXPLAIN"))
            await connection.execute(statement if first_word else f"BEGIN READ ONLY; {statement}")
        except asyncpg.PostgresError:
            continue
        finally:
            await connection.close()
        if server.state() != before:
            harmful.append(statement)
            server.owner.execute(
                f"DROP TABLE IF EXISTS games, mine; DROP SEQUENCE counter; {_without_routines(TABLES)}"
            )
    assert "WITH gone AS (DELETE FROM games RETURNING *) SELECT * FROM gone" in harmful
    assert "ROLLBACK; DELETE FROM games" in harmful
    assert "SELECT lo_create(0)" in harmful
    server.owner.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")


def _without_routines(tables: str) -> str:
    return tables[: tables.index("CREATE FUNCTION")] + "GRANT ALL ON games, counter TO PUBLIC"


async def test_an_account_that_may_write_files_on_the_server_is_refused_before_its_query(server, tmp_path) -> None:
    copy = f"COPY games TO '{tmp_path}/made'"
    for statement in (copy, "SELECT 1"):
        error = await refused(server, tmp_path / "rows", statement, url=server.owner_url)
        assert error.code == "E_CONFIG"
        assert "may write files" in error.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("SELECT nothing FROM games", ()),
        ("SELECT 1 / 0", ()),
        ("SELECT $1::int", ()),
        ("SELECT $1::int", ("x",)),
        ("SELECT $1::date", ("2026-13-01",)),
        ("SELECT 1", ("1",)),
        ("SELECT interval '1 day'", ()),
        ("SELECT '\\x00'::bytea", ()),
        ("SELECT FROM games", ()),
    ],
)
async def test_a_query_that_cannot_be_run_is_refused_without_its_text(server, tmp_path, statement, parameters) -> None:
    error = await refused(server, tmp_path / "rows", statement, *parameters)
    assert error.code == "E_ARG"
    assert "nothing" not in error.message


async def test_a_syntax_error_is_told_by_its_place(server: Server, tmp_path: Path) -> None:
    error = await refused(server, tmp_path / "rows", "SELECT nothing FROM games")
    assert error.details == {"database": "42703", "position": 8}


async def test_rows_bytes_and_time_are_bounded(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "rows"
    assert (await rows_of(server, target, "SELECT generate_series(1, 1000) AS n")).height == 1_000
    assert (await refused(server, target, "SELECT generate_series(1, 1001)")).code == "E_ROWS"
    assert (await refused(server, target, "SELECT repeat('x', 1000001)")).code == "E_SIZE"
    for slow in ("SELECT pg_sleep(60)", "SELECT set_config('statement_timeout', '0', false), pg_sleep(60)"):
        error = await refused(server, target, slow, bounds=Bounds(rows=9, size=999, seconds=0.5))
        assert error.code == "E_DEADLINE"
    asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
    assert server.owner.execute(asked + " AND state = 'active'").fetchone() == (0,), "nothing goes on running there"


async def test_rows_that_are_too_wide_for_memory_are_refused_before_they_are_all_there(server, tmp_path: Path) -> None:
    target, roomy = tmp_path / "rows", Bounds(rows=100_000, size=1_000_000_000, seconds=20.0)
    later = "SELECT CASE WHEN n <= 2023 THEN 'x' ELSE repeat('x', {size}) END AS x FROM generate_series(1, 3023) AS n"
    for statement, code in (
        ("SELECT repeat('x', 1100000)", "E_CELL"),
        ("SELECT repeat('x', 12000000)", "E_LINE"),
        ("SELECT repeat('x', 200000000)", "E_SIZE"),
        (later.format(size=500_000), "E_SIZE"),
    ):
        assert (await refused(server, target, statement, bounds=roomy)).code == code
    found = await postgresql.read_rows(server.url, Query.of(later.format(size=20_000)), target, roomy)
    assert (found.rows, found.size) == (3_023, 3 + 2_023 * 3 + 1_000 * 20_002)


async def test_an_account_that_is_not_let_in_and_a_server_that_is_not_there_are_told_apart(server, tmp_path) -> None:
    nobody = re.sub(r"//[^@]*@", "//courtside_nobody:x@", server.url)
    assert (await refused(server, tmp_path / "rows", "SELECT 1", url=nobody)).code == "E_CONFIG"
    nowhere = "postgresql://reader:hidden@127.0.0.1:1/shop"
    error = await refused(server, tmp_path / "rows", "SELECT 1", url=nowhere)
    assert error.code == "E_TRANSIENT"
    assert "hidden" not in error.message + error.hint
