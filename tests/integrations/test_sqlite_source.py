"""SQLite as a source: what a query gives is exact, and nothing but reading is done."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.ingest import CsvOptions, Limits, read_csv
from mcp_server.errors import CourtsideError, DataRejected, DeadlineExceeded, InvalidInput, Transient
from mcp_server.integrations import query, sqlite
from mcp_server.integrations.query import Bounds, Query, RowsFile
from mcp_server.jobs.compute import Compute
from mcp_server.workflows.app import OPERATIONS

pytestmark = pytest.mark.anyio

BOUNDS = Bounds(rows=1_000, size=1_000_000, seconds=20.0)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    path = folder / "shop #1.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE games (id INTEGER PRIMARY KEY, day DATE, home TEXT, points REAL, code TEXT)")
        rows = [
            (1, "2026-01-02", 'Ulm, "A"\n', 0.1, "007"),
            (2, "2026-01-03", "", 1e300, "12"),
            (3, None, "NA", None, "1"),
        ]
        connection.executemany("INSERT INTO games VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("CREATE VIEW seen AS SELECT * FROM games")
        connection.execute("CREATE TABLE traps (x)")
        connection.execute("CREATE TRIGGER trap INSERT ON traps BEGIN DELETE FROM games; END")
    connection.close()
    return path


def state(path: Path) -> tuple[str, list[str]]:
    return hashlib.sha256(path.read_bytes()).hexdigest(), sorted(os.listdir(path.parent))


async def refused(database: Path, statement: str, *parameters: str, bounds: Bounds = BOUNDS) -> CourtsideError:
    target = database.parent.parent / "rows.csv"
    with pytest.raises(CourtsideError) as caught:
        sqlite.read_rows(database, Query.of(statement, parameters), target, bounds)
    assert not target.exists()
    return caught.value


async def test_what_a_query_gives_is_read_back_to_the_same_values(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    asked = Query.of("SELECT * FROM games ORDER BY id;  ")
    found = sqlite.read_rows(database, asked, target, BOUNDS)
    assert found.rows == 3
    assert found.text_columns == ("home", "code")
    assert found.empty_texts == 1
    content = target.read_bytes()
    assert (found.digest, found.size) == (hashlib.sha256(content).hexdigest(), len(content))
    options = CsvOptions(delimiter=",", encoding="utf-8", text_columns=found.text_columns)
    table = read_csv(io.BytesIO(content), limits=Limits(), options=options)
    assert table.frame.get_column("id").to_list() == [1, 2, 3]
    assert [str(day) for day in table.frame.get_column("day")] == ["2026-01-02", "2026-01-03", "None"]
    assert table.frame.get_column("home").to_list() == ['Ulm, "A"\n', None, "NA"]
    assert table.frame.get_column("points").to_list() == [0.1, 1e300, None]
    assert table.frame.get_column("code").to_list() == ["007", "12", "1"]


whole = st.integers(-(2**63), 2**63 - 1) | st.none()
number = st.floats(allow_nan=False, allow_infinity=False) | st.none()
text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20) | st.none()


@given(st.lists(st.tuples(whole, number, text), min_size=1, max_size=30))
def test_every_row_survives_the_way_through_the_file(rows) -> None:
    file = io.BytesIO()
    written = RowsFile(file, ["whole", "number", "text"], BOUNDS)
    written.add(rows)
    found = written.result()
    options = CsvOptions(delimiter=",", encoding="utf-8", text_columns=found.text_columns)
    frame = read_csv(io.BytesIO(file.getvalue()), limits=Limits(), options=options).frame
    wholes = [row[0] for row in rows]
    assert frame.get_column("whole").to_list() == (wholes if any(w is not None for w in wholes) else [None] * len(rows))
    assert [float(n) if n is not None else None for n in frame.get_column("number")] == [row[1] for row in rows]
    assert frame.get_column("text").to_list() == [row[2] for row in rows]


async def test_parameters_are_bound_not_pasted(database: Path, tmp_path: Path) -> None:
    hostile = "x' OR 1=1; DROP TABLE games --"
    asked = Query.of("SELECT id FROM games WHERE home = ? OR id = ?", [hostile, "2"])
    assert sqlite.read_rows(database, asked, tmp_path / "rows.csv", BOUNDS).rows == 1


HOSTILE = [
    "INSERT INTO games VALUES (9, '', '', 0, '')",
    "/* SELECT */ INSERT INTO traps VALUES (1)",
    "-- SELECT 1\nDELETE FROM games",
    "UPDATE games SET points = 0 RETURNING *",
    "REPLACE INTO games (id) VALUES (1)",
    "WITH gone AS (SELECT id FROM games) DELETE FROM games WHERE id IN gone",
    "WITH x(y) AS (VALUES (1)) INSERT INTO traps SELECT y FROM x",
    "DROP TABLE games",
    "CREATE TABLE mine (x)",
    "CREATE TEMP TABLE mine AS SELECT * FROM games",
    "CREATE VIRTUAL TABLE mine USING fts5(x)",
    "ALTER TABLE games RENAME TO gone",
    "SELECT 1; DROP TABLE games",
    "SELECT 1;; DELETE FROM games",
    "BEGIN EXCLUSIVE",
    "COMMIT",
    "SAVEPOINT here",
    "VACUUM",
    "VACUUM INTO '{folder}/stolen.db'",
    "ATTACH DATABASE '{folder}/other.db' AS other",
    "ATTACH ':memory:' AS other",
    "DETACH main",
    "PRAGMA query_only = 0",
    "PRAGMA user_version = 7",
    "PRAGMA journal_mode = WAL",
    "PRAGMA writable_schema = 1",
    "SELECT * FROM pragma_journal_mode('wal')",
    "SELECT * FROM pragma_database_list",
    "SELECT load_extension('{folder}/evil.so')",
    "SELECT writefile('{folder}/made.txt', 'x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT fts3_tokenizer('mine', x'00')",
    "REINDEX",
    "ANALYZE",
    "EXPLAIN DELETE FROM games; DELETE FROM games",
]


@pytest.mark.parametrize("statement", HOSTILE)
async def test_a_statement_that_does_more_than_read_changes_nothing(database: Path, statement: str) -> None:
    before = state(database)
    error = await refused(database, statement.replace("{folder}", str(database.parent)))
    assert error.code == "E_ARG"
    assert error.hint
    assert "evil" not in error.message
    assert state(database) == before


def test_the_control_a_check_of_the_first_word_lets_writing_statements_in(database: Path) -> None:
    harmful = []
    for statement in HOSTILE:
        bare = re.sub(r"--[^\n]*\n|/\*.*?\*/", "", statement).strip().upper()
        if not bare.startswith(("SELECT", "WITH", "EXPLAIN", "PRAGMA")):
            continue
        before = state(database)
        copy = database.read_bytes()
        with sqlite3.connect(database) as connection:
            try:
                connection.executescript(statement.replace("{folder}", str(database.parent)))
            except sqlite3.Error:
                continue
        connection.close()
        if state(database) != before:
            harmful.append(statement)
        database.write_bytes(copy)
    assert {"SELECT 1; DROP TABLE games", "PRAGMA user_version = 7"} <= set(harmful)
    assert any(statement.startswith("WITH") for statement in harmful)


@pytest.mark.parametrize("parameter", ["\0", "a\ud800"])
def test_a_parameter_that_no_database_takes_is_refused(parameter: str) -> None:
    with pytest.raises(InvalidInput, match="NUL character or half"):
        Query.of("SELECT ?", [parameter])


async def test_a_database_that_another_program_is_writing_is_read_as_it_was_last_committed(
    database: Path, tmp_path: Path
) -> None:
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO games (id) VALUES (4)")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO games (id) VALUES (5)")
    found = sqlite.read_rows(database, Query.of("SELECT id FROM games"), tmp_path / "rows.csv", BOUNDS)
    writer.execute("ROLLBACK")
    writer.close()
    assert found.rows == 4


@pytest.mark.parametrize("statement", ["", " ;; ", "SELECT 1\0", "-- nothing"])
async def test_an_empty_statement_is_refused(database: Path, statement: str) -> None:
    with pytest.raises(InvalidInput):
        sqlite.read_rows(database, Query.of(statement), database.parent / "rows.csv", BOUNDS)


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("SELECT nothing FROM games", ()),
        ("SELEC 1", ()),
        ("SELECT ?", ()),
        ("SELECT 1", ("1",)),
        ("SELECT x'00ff' AS blob", ()),
    ],
)
async def test_a_query_that_is_not_understood_is_refused_without_its_text(database, statement, parameters) -> None:
    error = await refused(database, statement, *parameters)
    assert error.code == "E_ARG"
    assert "nothing" not in error.message


@pytest.mark.parametrize(
    ("statement", "said", "hint"),
    [
        ("SELECT * FROM elsewhere", "a table that isn't there", "sqlite_master"),
        ("SELECT elsewhere FROM games", "a column that isn't there", "LIMIT 5"),
        ("SELECT elsewhere(1)", "a function that isn't there", "functions"),
        ("SELEC 1", "isn't understood", "one SELECT"),
        ("SELECT 1; SELECT 2", "more than one statement", "semicolon"),
        ("SELECT ?", "another number of marks", "options.parameters"),
    ],
)
async def test_what_is_wrong_with_a_query_is_told(database: Path, statement: str, said: str, hint: str) -> None:
    error = await refused(database, statement)
    assert said in error.message
    assert hint in error.hint
    assert "elsewhere" not in error.message + error.hint
    assert "Error" not in error.message


async def test_a_query_gives_at_most_so_many_rows(database: Path, tmp_path: Path) -> None:
    series = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {n}) SELECT x FROM c"
    found = sqlite.read_rows(database, Query.of(series.format(n=1_000)), tmp_path / "rows.csv", BOUNDS)
    assert found.rows == 1_000
    (tmp_path / "rows.csv").unlink()
    assert (await refused(database, series.format(n=1_001))).code == "E_ROWS"


async def test_a_query_gives_at_most_so_many_bytes(database: Path) -> None:
    error = await refused(database, "SELECT hex(zeroblob(500001))")
    assert error.code == "E_SIZE"


async def test_a_query_without_end_is_ended(database: Path) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    error = await refused(database, endless, bounds=Bounds(rows=10, size=1_000, seconds=0.2))
    assert error.code == "E_DEADLINE"


@pytest.fixture
async def compute(tmp_path: Path):
    child = Compute(OPERATIONS, memory_bytes=512 * 1024 * 1024, cpu_seconds=30, scratch=tmp_path / "scratch")
    yield child
    await child.close()


async def asked(compute: Compute, database: Path, statement: str, seconds: float = 20.0) -> dict:
    """As the server asks: in a process that may read the database and nothing else."""
    beside = [database, *database.parent.glob(f"{database.name}-*")]
    out = compute._scratch / "rows.csv"
    arguments = {"path": str(database), "statement": statement, "parameters": [], "out": str(out)}
    bounds = {"rows": 1_000, "size": 100_000_000, "seconds": seconds}
    return await compute.run("query_sqlite", arguments | bounds, timeout=seconds, fresh=True, reads=beside)


async def test_one_row_of_many_large_values_ends_the_reading_process_and_not_the_server(database, compute) -> None:
    values = ", ".join(f"substr(hex(zeroblob(500000)), {at + 1}) AS c{at}" for at in range(1_500))
    with pytest.raises(CourtsideError) as caught:
        await asked(compute, database, f"SELECT {values}")
    assert (caught.value.code, caught.value.details.get("reason")) in {("E_LINE", None), ("E_COMPUTE", "memory")}
    assert (await asked(compute, database, "SELECT * FROM games"))["rows"] == 3


async def test_a_function_that_nothing_can_end_from_inside_ends_with_its_process(database, compute) -> None:
    long = " || ".join(["hex(zeroblob(250000))"] * 2)
    hard = f"SELECT instr({long}, substr({long}, 1, 400000) || '1')"
    with pytest.raises(DeadlineExceeded):
        await asked(compute, database, hard, seconds=1.5)


@pytest.mark.parametrize("open_elsewhere", [True, False])
async def test_a_database_with_a_log_is_read_by_a_process_that_may_not_write_beside_it(
    database, compute, open_elsewhere
) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO games (id) VALUES (4)")
        if open_elsewhere:
            assert (await asked(compute, database, "SELECT id FROM games"))["rows"] == 4
    if not open_elsewhere:
        assert os.listdir(database.parent) == [database.name]
        assert (await asked(compute, database, "SELECT id FROM games"))["rows"] == 4
        assert os.listdir(database.parent) == [database.name]


async def test_a_database_that_is_written_to_while_nothing_locks_it_is_refused(database: Path, tmp_path: Path) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c WHERE x % 100 = 0"
    target = tmp_path / "rows.csv"
    bounds = Bounds(rows=1_000_000_000, size=1_000_000_000, seconds=3.0)
    reading = asyncio.create_task(asyncio.to_thread(sqlite.unlocked, database, Query.of(endless), target, bounds))
    await asyncio.to_thread(lambda: [None for _ in iter(target.exists, True)])
    os.utime(database, ns=(1, 1))
    with pytest.raises(DataRejected) as caught:
        await reading
    assert caught.value.code == "E_CHANGED"
    assert not target.exists()


def test_rows_are_taken_few_at_a_time_as_soon_as_they_are_wide() -> None:
    file = RowsFile(io.BytesIO(), ["a"], Bounds(rows=100_000, size=1_000_000_000, seconds=20.0))
    wide = "x" * 500_000
    sizes = []
    for batch in query.in_batches(((wide if at > 20_000 else "x",) for at in range(20_100)), file):
        file.add(batch)
        sizes.append((len(batch), sum(len(row[0]) for row in batch)))
    assert max(rows for rows, _ in sizes) == 5_000
    assert max(size for _, size in sizes) < 5 * 1024 * 1024
    assert file.result().rows == 20_100


def test_a_row_larger_than_any_that_is_read_is_refused() -> None:
    file = RowsFile(io.BytesIO(), ["a"] * 11, BOUNDS)
    with pytest.raises(DataRejected) as caught:
        list(query.in_batches([("x" * 1_000_000,) * 11], file))
    assert caught.value.code == "E_LINE"


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "place"
    folder.mkdir()
    file = folder / "a.db"
    file.write_text("a,b\n1,2\n" * 200)
    assert (await refused(file, "SELECT 1 FROM x")).code == "E_FORMAT"


async def test_a_file_that_is_gone_is_not_made(tmp_path: Path) -> None:
    folder = tmp_path / "place"
    folder.mkdir()
    assert (await refused(folder / "a.db", "SELECT 1")).code == "E_TRANSIENT"
    assert os.listdir(folder) == []


def test_a_value_that_a_table_cannot_hold_is_refused_by_its_column() -> None:
    rows = RowsFile(io.BytesIO(), ["a", "b"], BOUNDS)
    with pytest.raises(InvalidInput, match="Column 2"):
        rows.add([(1, b"\0")])


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(DataRejected) as caught:
        RowsFile(io.BytesIO(), ["a"], BOUNDS).add([("\ud800",)])
    assert caught.value.code == "E_ENCODING"


def test_wide_rows_are_taken_few_at_a_time() -> None:
    rows = RowsFile(io.BytesIO(), ["a"], Bounds(rows=1_000, size=100_000_000, seconds=20.0))
    wide, most = ("x" * 1_000_000,), 0
    for _ in range(8):
        batch = [wide] * rows.batch
        most = max(most, len(batch) * len(wide[0]))
        rows.add(batch)
    assert most <= 4 * 1024 * 1024


def test_a_value_over_a_mebibyte_is_refused_before_it_is_written() -> None:
    file = io.BytesIO()
    with pytest.raises(DataRejected) as caught:
        RowsFile(file, ["a"], Bounds(rows=10, size=10_000_000, seconds=1.0)).add([("x" * (1024 * 1024 + 1),)])
    assert caught.value.code == "E_CELL"
    assert file.getvalue() == b"a\r\n"


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "setlimit"), reason="this library of SQLite sets no limits")
async def test_sqlite_makes_no_value_over_a_mebibyte(database: Path) -> None:
    statement = "SELECT instr(hex(zeroblob(20000000)), hex(zeroblob(10000000)) || '1')"
    assert (await refused(database, statement)).code == "E_CELL"


async def test_a_query_that_cannot_be_stopped_is_left_alone_and_counts_until_it_ends(monkeypatch) -> None:
    monkeypatch.setattr(query, "GRACE_SECONDS", 0.0)
    ends = threading.Event()
    for _ in range(query.MOST_THREADS):
        with pytest.raises(DataRejected, match="too long"):
            await query.in_thread(lambda _: ends.wait(), 0.01)
    with pytest.raises(Transient):
        await query.in_thread(lambda _: None, 20.0)
    assert await asyncio.to_thread(lambda: "copied") == "copied"
    ends.set()
    for thread in threading.enumerate():
        if thread.name == "query":
            await asyncio.to_thread(thread.join)
    assert await query.in_thread(lambda _: "read", 20.0) == "read"
