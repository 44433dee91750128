"""MariaDB as a source: exact values, and hostile statements that leave the database as it was."""

from __future__ import annotations

import io
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from mcp_server.core.ingest import CsvOptions, Limits, read_csv
from mcp_server.errors import CourtsideError
from mcp_server.integrations import mariadb
from mcp_server.integrations.query import Bounds, Query

pytestmark = [pytest.mark.anyio, pytest.mark.services]

SERVER = os.environ.get("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/test")
BOUNDS = Bounds(rows=1_000, size=1_000_000, seconds=20.0)
WORD = "pä%:@/ss"
ROWS = """(1, '2026-01-02', '2026-01-02 20:30:00', 'Ulm, "A"\n', 81.50, 0.1, 1),
 (2, '0000-00-00', NULL, '', NULL, 1e300, 0), (9007199254740993, NULL, NULL, '007', 0.10, NULL, NULL)"""


class Server:
    """A database of its own with a table, and an account that may write it but not the server's files."""

    def __init__(self, owner: Any, name: str, url: str) -> None:
        self.owner = owner
        self.name = name
        self.url = url

    def all(self, statement: str) -> Any:
        with self.owner.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def fill(self) -> None:
        for statement in (
            "SET SESSION sql_mode = ''",
            "CREATE OR REPLACE TABLE games (id bigint PRIMARY KEY, day date, start timestamp NULL, home varchar(40), "
            "points decimal(6, 2), ratio double, won boolean)",
            f"INSERT INTO games VALUES {ROWS}",
            "CREATE OR REPLACE SEQUENCE counter",
            "CREATE OR REPLACE FUNCTION sneaky() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM games; RETURN 1; END",
            "CREATE OR REPLACE PROCEDURE leaving() BEGIN COMMIT; SET SESSION TRANSACTION READ WRITE; "
            "DELETE FROM games; END",
        ):
            self.all(statement)

    def state(self) -> list[Any]:
        """What a hostile statement could have changed."""
        return [
            self.all("SELECT * FROM games ORDER BY id"),
            self.all("SHOW FULL TABLES"),
            self.all(f"SELECT routine_name FROM information_schema.routines WHERE routine_schema = '{self.name}'"),
            self.all("SELECT next_not_cached_value FROM counter"),
            self.all("SELECT user, host FROM mysql.user ORDER BY 1, 2"),
            self.all("SELECT @@global.read_only, @@global.general_log, @@global.max_connections"),
        ]


@pytest.fixture
def server() -> Iterator[Server]:
    pymysql = pytest.importorskip("pymysql", reason="PyMySQL isn't installed")
    parts = urlsplit(SERVER)
    try:
        owner = pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=unquote(parts.password or ""),
            autocommit=True,
            connect_timeout=3,
        )
    except pymysql.OperationalError:
        pytest.skip("no MariaDB at TEST_MARIADB_URL (or 127.0.0.1:3306)")
    name = f"courtside_test_{uuid.uuid4().hex[:12]}"
    found = Server(owner, name, f"mysql://{name}:{quote(WORD, safe='')}@{parts.hostname}:{parts.port or 3306}/{name}")
    found.all(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        owner.select_db(name)
        found.fill()
        with owner.cursor() as cursor:
            cursor.execute(f"CREATE USER {name}@'%%' IDENTIFIED BY %s", (WORD,))
        # More rights than it needs: the read-only session has to do without their help.
        found.all(f"GRANT ALL ON {name}.* TO {name}@'%'")
        yield found
    finally:
        found.all(f"DROP DATABASE {name}")
        found.all(f"DROP USER IF EXISTS {name}@'%'")
        owner.close()


async def rows_of(server: Server, target: Path, statement: str, *parameters: str, bounds: Bounds = BOUNDS) -> Any:
    found = await mariadb.read_rows(server.url, Query.of(statement, parameters), target, bounds)
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
        await mariadb.read_rows(url or server.url, Query.of(statement, parameters), target, bounds)
    assert target.name not in os.listdir(target.parent)
    return caught.value


async def test_what_a_query_gives_is_read_back_to_the_same_values(server: Server, tmp_path: Path) -> None:
    frame = await rows_of(server, tmp_path / "rows", "SELECT * FROM games WHERE id <> 2 ORDER BY id;")
    assert frame.get_column("id").to_list() == [1, 9007199254740993]
    assert [str(day) for day in frame.get_column("day")] == ["2026-01-02", "None"]
    assert frame.get_column("home").to_list() == ['Ulm, "A"\n', "007"]
    assert frame.get_column("points").to_list() == [81.5, 0.1]
    assert frame.get_column("ratio").to_list() == [0.1, None]
    assert frame.get_column("won").to_list() == [1, None]


async def test_a_date_that_is_none_is_kept_as_text(server: Server, tmp_path: Path) -> None:
    frame = await rows_of(server, tmp_path / "rows", "SELECT day, ratio FROM games ORDER BY id")
    assert frame.get_column("day").to_list() == ["2026-01-02", "0000-00-00", None]
    assert frame.get_column("ratio").to_list() == [0.1, 1e300, None]


async def test_parameters_are_bound_not_pasted(server: Server, tmp_path: Path) -> None:
    hostile = "x' OR 1=1; DROP TABLE games -- \\"
    frame = await rows_of(server, tmp_path / "rows", "SELECT id FROM games WHERE home = ? OR id = ?", hostile, "2")
    assert frame.get_column("id").to_list() == [2]


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELECT 2 AS x, 2 AS x UNION ALL SELECT 1, 1 ORDER BY 1", "x,x\n1,1\n2,2\n"),
        ("WITH a AS (SELECT 1 AS x UNION SELECT 2) SELECT x FROM a WHERE x > 1 -- end", "x\n2\n"),
        ("SELECT '%s', '%' AS b # end", "%s,b\n%s,%\n"),
        ("VALUES (1, 'a')", "1,a\n1,a\n"),
    ],
)
async def test_a_query_may_be_written_in_many_ways(server: Server, tmp_path: Path, statement: str, text: str) -> None:
    await mariadb.read_rows(server.url, Query.of(statement), tmp_path / "rows", BOUNDS)
    assert taken(tmp_path / "rows").decode().replace("\r\n", "\n") == text


HOSTILE = [
    "INSERT INTO games (id) VALUES (5)",
    "/* SELECT */ DELETE FROM games",
    "# SELECT\nTRUNCATE games",
    "/*!50000 DELETE FROM games */",
    "UPDATE games SET won = 1",
    "REPLACE INTO games (id) VALUES (1)",
    "WITH gone AS (SELECT id FROM games) DELETE FROM games WHERE id IN (SELECT id FROM gone)",
    "DELETE FROM games RETURNING id",
    "SELECT 1; DROP TABLE games",
    "SELECT 1); DROP TABLE games; SELECT (1",
    "SELECT 1) AS q; DELETE FROM games; -- ",
    "COMMIT; DELETE FROM games",
    "BEGIN NOT ATOMIC COMMIT; SET SESSION TRANSACTION READ WRITE; DELETE FROM games; END",
    "EXECUTE IMMEDIATE 'DELETE FROM games'",
    "PREPARE p FROM 'DELETE FROM games'",
    "CALL leaving()",
    "SELECT sneaky()",
    "SELECT * FROM games WHERE id = sneaky()",
    "SELECT NEXTVAL(counter)",
    "SELECT SETVAL(counter, 99)",
    "SELECT * FROM games INTO OUTFILE '{folder}/made'",
    "SELECT 1 INTO DUMPFILE '{folder}/made'",
    "SELECT 1) INTO OUTFILE '{folder}/made' -- ",
    "SELECT 1) AS q INTO OUTFILE '{folder}/made' -- ",
    "SELECT 1) AS q INTO @x -- ",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE games",
    "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE games",
    "CREATE TABLE mine AS SELECT * FROM games",
    "CREATE TEMPORARY TABLE mine (x int)",
    "ALTER TABLE games ADD x int",
    "RENAME TABLE games TO gone",
    "LOCK TABLES games WRITE",
    "HANDLER games OPEN",
    "SET GLOBAL max_connections = 3",
    "SET SESSION TRANSACTION READ WRITE",
    "SET STATEMENT max_statement_time = 0 FOR DELETE FROM games",
    "START TRANSACTION READ WRITE",
    "GRANT ALL ON *.* TO mine",
    "CREATE USER mine",
    "ANALYZE TABLE games",
    "ANALYZE DELETE FROM games",
    "FLUSH TABLES",
    "KILL 1",
    "SHUTDOWN",
    "INSTALL SONAME 'evil'",
    "DO sneaky()",
    "SHOW TABLES",
]


@pytest.mark.parametrize("statement", HOSTILE)
async def test_a_statement_that_does_more_than_read_changes_nothing(server, tmp_path: Path, statement: str) -> None:
    before = server.state()
    (tmp_path / "place").mkdir()
    error = await refused(server, tmp_path / "rows", statement.replace("{folder}", str(tmp_path / "place")))
    assert error.code in ("E_ARG", "E_PERMISSION")
    assert server.state() == before
    assert list((tmp_path / "place").iterdir()) == []


def test_the_control_a_check_of_the_first_word_or_a_read_only_transaction_alone_lets_statements_in(server) -> None:
    import pymysql
    from pymysql.constants import CLIENT

    parts = urlsplit(server.url)
    harmful = []
    for statement in HOSTILE:
        bare = re.sub(r"#[^\n]*\n|/\*(?!!).*?\*/", "", statement).strip().upper()
        first_word = bare.startswith(("SELECT", "WITH", "/*!"))
        if "{folder}" in statement or not (first_word or bare.startswith("BEGIN")):
            continue
        before = server.state()
        connection = pymysql.connect(
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            password=WORD.encode(),
            database=server.name,
            client_flag=CLIENT.MULTI_STATEMENTS,
            autocommit=True,
        )
        try:
            with connection.cursor() as cursor:
                if not first_word:
                    cursor.execute("START TRANSACTION READ ONLY")
                cursor.execute(statement)
                while cursor.nextset():
                    pass
        except pymysql.MySQLError:
            continue
        finally:
            connection.close()
        if server.all("SHOW TABLES LIKE 'games'") == () or server.state() != before:
            harmful.append(statement)
        server.fill()
    assert "SELECT 1; DROP TABLE games" in harmful
    assert "SELECT sneaky()" in harmful
    assert "BEGIN NOT ATOMIC COMMIT; SET SESSION TRANSACTION READ WRITE; DELETE FROM games; END" in harmful


async def test_an_account_that_may_write_files_on_the_server_is_refused_before_its_query(server, tmp_path) -> None:
    server.all(f"GRANT FILE ON *.* TO {server.name}@'%'")
    for statement in (f"SELECT 1) AS q INTO OUTFILE '{tmp_path}/made' -- ", "SELECT 1"):
        error = await refused(server, tmp_path / "rows", statement)
        assert error.code == "E_CONFIG"
        assert "may write files" in error.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("SELECT nothing FROM games", ()),
        ("SELEC 1", ()),
        ("SELECT ?", ()),
        ("SELECT 1", ("1",)),
        ("SELECT unhex('ff00')", ()),
        ("SELECT 1 INTO @x", ()),
    ],
)
async def test_a_query_that_cannot_be_run_is_refused_without_its_text(server, tmp_path, statement, parameters) -> None:
    error = await refused(server, tmp_path / "rows", statement, *parameters)
    assert error.code == "E_ARG"
    assert "nothing" not in error.message


async def test_rows_bytes_and_time_are_bounded(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "rows"
    assert (await rows_of(server, target, "SELECT seq FROM seq_1_to_1000")).height == 1_000
    assert (await refused(server, target, "SELECT seq FROM seq_1_to_1001")).code == "E_ROWS"
    assert (await refused(server, target, "SELECT repeat('x', 1000001)")).code == "E_SIZE"
    slow = "SELECT sleep(60) FROM games"
    error = await refused(server, target, slow, bounds=Bounds(rows=9, size=999, seconds=0.5))
    assert error.code == "E_DEADLINE"


async def test_a_row_that_is_larger_than_any_that_is_read_is_refused_before_it_is_there(server, tmp_path: Path) -> None:
    target, roomy = tmp_path / "rows", Bounds(rows=100_000, size=1_000_000_000, seconds=20.0)
    assert (await refused(server, target, "SELECT repeat('x', 1100000)", bounds=roomy)).code == "E_CELL"
    assert (await refused(server, target, "SELECT repeat('x', 12000000)", bounds=roomy)).code == "E_LINE"
    later = "SELECT IF(seq <= 3000, 'x', repeat('x', 20000)) AS x FROM seq_1_to_4000"
    found = await mariadb.read_rows(server.url, Query.of(later), target, roomy)
    assert (found.rows, found.size) == (4_000, 3 + 3_000 * 3 + 1_000 * 20_002)


async def test_an_account_that_is_not_let_in_and_a_server_that_is_not_there_are_told_apart(server, tmp_path) -> None:
    nobody = re.sub(r"//[^@]*@", "//courtside_nobody:hidden@", server.url)
    error = await refused(server, tmp_path / "rows", "SELECT 1", url=nobody)
    assert error.code == "E_CONFIG"
    assert "hidden" not in error.message + error.hint
    nowhere = "mysql://reader:hidden@127.0.0.1:1/shop"
    assert (await refused(server, tmp_path / "rows", "SELECT 1", url=nowhere)).code == "E_TRANSIENT"


async def test_what_an_account_may_not_read_is_refused_as_such(server: Server, tmp_path: Path) -> None:
    error = await refused(server, tmp_path / "rows", "SELECT * FROM mysql.user")
    assert error.code == "E_PERMISSION"


async def test_an_option_that_is_unknown_is_refused(server: Server, tmp_path: Path) -> None:
    error = await refused(server, tmp_path / "rows", "SELECT 1", url=server.url + "?local_infile=1")
    assert error.code == "E_CONFIG"


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
async def test_a_server_that_cannot_encrypt_is_not_read_where_that_is_asked_for(server, tmp_path, scheme: str) -> None:
    url = server.url.replace("mysql:", f"{scheme}:") + "?ssl=true"
    error = await refused(server, tmp_path / "rows", "SELECT 1", url=url)
    assert error.code in ("E_TRANSIENT", "E_CONFIG")
