"""Tables from a web address and from a database, through the whole server."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mcp import Client

from acceptance.processes import environment, refused, stdio_client, text_of, told
from integrations.loopback import Loopback, answer, certificate, raw, served
from mcp_server import settings
from mcp_server.integrations.url_guard import UrlGuard
from mcp_server.server import build_server
from mcp_server.workflows import remote

TABLE = b"season,score,won\n1985,81,1\n1986,70,0\n1987,95,1\n1988,60,0\n"
SECRET = "f00dcafe5ec4e7f00dcafe5ec4e7"
Scene = Callable[[Client, Loopback], Awaitable[None]]


def unchanged_since(tag: str) -> Any:
    """Send the table; to whom has this tag of it already, say that it's unchanged."""

    async def play(writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        known = headers.get("if-none-match") == tag
        script = raw(b"HTTP/1.1 304 Not Modified\r\n\r\n") if known else answer(TABLE, etag=tag)
        await script(writer, headers)

    return play


def in_server(folder: Path, monkeypatch: pytest.MonkeyPatch, scene: Scene, **options: str) -> None:
    """Play a scene in a server that may reach one loopback server as if it were public."""
    tls, trust = certificate(folder, ["data.test"])
    monkeypatch.setenv("SSL_CERT_FILE", str(trust))

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def run() -> None:
        async with served({}, tls=tls) as loopback:
            guard = UrlGuard(resolve=resolve, exempt=frozenset({("127.0.0.1", loopback.port)}))
            monkeypatch.setattr(remote, "url_guard", lambda _: guard)
            env = environment(folder, rate_per_second="1000", rate_burst="1000", **options)
            async with Client(build_server(settings.load(env))) as client:
                await scene(client, loopback)

    asyncio.run(run())


def left_in(folder: Path) -> list[Path]:
    """What imports left in the scratch folder, apart from the empty folders of computing processes."""
    return [file for file in (folder / "data" / "scratch").rglob("*") if file.is_file()]


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_a_table_at_an_address_becomes_a_version_whose_source_is_known(tmp_path, monkeypatch, capfd):
    async def scene(client: Client, loopback: Loopback) -> None:
        loopback.scripts["/games.csv"] = [answer(TABLE, etag='"v1"')]
        url = f"https://data.test:{loopback.port}/games.csv"
        found = await told(client, "import_data", name="games", path=f"{url}?token={SECRET}", target="won")
        assert found.structured_content["dataset"] == "games@1"
        assert found.structured_content["rows"] == 4
        source = (await told(client, "describe_data", dataset="games")).structured_content["untrusted"]["source"]
        assert source["kind"] == "url"
        assert source["uri"] == f"{url}?token=***"
        assert source["name"] == "games.csv"
        assert source["bytes"] == len(TABLE)
        assert source["time"].startswith("20")

    in_server(tmp_path, monkeypatch, scene)
    assert left_in(tmp_path) == []
    assert SECRET.encode() not in everything_in(tmp_path / "data")
    assert SECRET not in "".join(capfd.readouterr())


def test_a_table_that_is_unchanged_makes_no_version_and_is_not_sent_again(tmp_path, monkeypatch):
    async def scene(client: Client, loopback: Loopback) -> None:
        loopback.scripts["/games.csv"] = [unchanged_since('"v1"')]
        given = {"name": "games", "path": f"https://data.test:{loopback.port}/games.csv", "target": "won"}
        first = (await told(client, "import_data", **given)).structured_content
        for key in ({}, {"idempotency_key": "k"}, {"idempotency_key": "k"}):
            again = await told(client, "import_data", **given, **key)
            assert again.structured_content["dataset"] == first["dataset"] == "games@1"
            assert again.structured_content["digest"] == first["digest"]
            assert again.structured_content["existing"]
            assert "Unchanged" in text_of(again)
        assert [headers.get("if-none-match") for _, headers in loopback.asked] == [None, '"v1"', '"v1"']

        # Read in another way it's another data set, so that it's sent whole.
        other = await told(client, "import_data", **{**given, "target": "score"})
        assert other.structured_content["dataset"] == "games@2"
        assert "if-none-match" not in loopback.asked[-1][1]

    in_server(tmp_path, monkeypatch, scene)


def test_another_address_that_is_shown_alike_is_not_answered_with_the_former_version(tmp_path, monkeypatch):
    async def scene(client: Client, loopback: Loopback) -> None:
        url = f"https://data.test:{loopback.port}/games.csv"
        loopback.scripts["/games.csv"] = [unchanged_since('"v1"')]
        for year in ("2024", "2025"):
            await told(client, "import_data", name="games", path=f"{url}?session={year}")
        assert [headers.get("if-none-match") for _, headers in loopback.asked] == [None, None]
        again = await told(client, "import_data", name="games", path=f"{url}?session=2024")
        assert "Unchanged" in text_of(again)

    in_server(tmp_path, monkeypatch, scene)


def test_a_changed_table_makes_the_next_version(tmp_path, monkeypatch):
    async def scene(client: Client, loopback: Loopback) -> None:
        loopback.scripts["/a"] = [answer(TABLE, etag='"v1"'), answer(TABLE + b"1989,71,1\n", etag='"v2"')]
        for dataset in ("games@1", "games@2"):
            found = await told(client, "import_data", name="games", path=f"https://data.test:{loopback.port}/a")
            assert found.structured_content["dataset"] == dataset

    in_server(tmp_path, monkeypatch, scene)


def test_what_is_no_table_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    async def scene(client: Client, loopback: Loopback) -> None:
        url = f"https://data.test:{loopback.port}/a"
        for script, code in [
            (answer(b"<html>", content_type="text/html"), "E_FORMAT"),
            (answer(b"<!doctype html><title>Sign in</title>"), "E_FORMAT"),
            (answer(b"a,b\n1\n"), "E_RAGGED"),
            (answer(b"x" * 1_100_000), "E_SIZE"),
            (answer(status="404 Not Found"), "E_NOT_FOUND"),
            (answer(status="302 Found", location="https://169.254.169.254/"), "E_URL"),
        ]:
            loopback.scripts["/a"] = [script]
            error = await refused(client, "import_data", name="a", path=url)
            assert error["code"] == code
            assert left_in(tmp_path) == []
        assert (await refused(client, "import_data", name="a", path=url, query="SELECT 1"))["code"] == "E_ARG"
        assert (await told(client, "describe_data")).structured_content["datasets"] == []

    in_server(tmp_path, monkeypatch, scene, max_import_mib="1")


SHOP = """
CREATE TABLE games (season INTEGER, code TEXT, won INTEGER);
INSERT INTO games VALUES (1985, '007', 1), (1986, '', 0), (1987, '12', 1), (1988, '13', 0);
"""


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, str]:
    """The environment of a server with SQLite sources inside and outside its allowed folders."""
    env = environment(tmp_path, rate_per_second="1000", rate_burst="1000")
    for folder in (tmp_path / "files", tmp_path):
        connection = sqlite3.connect(folder / "shop.db")
        connection.executescript(SHOP)
        connection.close()
    sources = (
        f"shop=sqlite:///shop.db, absolute=sqlite:///{tmp_path}/files/shop.db, outside=sqlite:///{tmp_path}/shop.db"
    )
    return {**env, "COURTSIDE_SQL_SOURCES": sources}


def peak_of_the_server() -> int:
    """The most memory that the server that this process started has had, in KiB."""
    running = [(task / "children").read_text().split() for task in Path("/proc/self/task").iterdir()]
    peaks = []
    for pid in (pid for pids in running for pid in pids):
        if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            status = Path(f"/proc/{pid}/status").read_text()
            peaks += [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks)


def test_a_query_becomes_a_version_and_nothing_else_is_read(tmp_path, shop):
    async def scene() -> None:
        async with stdio_client(["-m", "mcp_server", "serve"], shop, "auto", tmp_path / "stderr.log") as client:
            query = "SELECT * FROM games WHERE season >= ? ORDER BY season"
            given = {"path": "sql:shop", "query": query, "target": "won", "options": {"parameters": ["1986"]}}
            found = (await told(client, "import_data", name="games", **given)).structured_content
            assert (found["dataset"], found["rows"], found["target"]) == ("games@1", 3, "won")
            assert found["untrusted"]["notes"][0]["about"] == "empty_texts"
            assert ["code", "text", "feature"] in found["untrusted"]["columns"]
            source = (await told(client, "describe_data", dataset="games")).structured_content["untrusted"]["source"]
            assert (source["kind"], source["uri"], source["query"]) == ("sql", "sql:shop", query)
            again = (await told(client, "import_data", name="games", **given)).structured_content
            assert (again["dataset"], again["existing"]) == ("games@1", True)
            same = await told(client, "import_data", name="games", **{**given, "path": "sql:absolute"})
            assert same.structured_content["existing"]

            for wrong, code in [
                ({"path": "sql:outside"}, "E_PATH"),
                ({"path": "sql:nowhere"}, "E_NOT_FOUND"),
                ({"path": "sql:shop.db"}, "E_NOT_FOUND"),
                ({"path": "postgresql://127.0.0.1/postgres", "options": None}, "E_URL"),
                ({"path": "sqlite:///shop.db", "options": None}, "E_URL"),
                ({"path": "https://127.0.0.1/a.csv", "query": None, "options": None}, "E_URL"),
                ({"path": "http://example.org/a.csv", "query": None, "options": None}, "E_URL"),
                ({"path": "shop.db"}, "E_ARG"),
                ({"path": None, "text": "a\n1\n"}, "E_ARG"),
                ({"query": None}, "E_ARG"),
                ({"query": "DELETE FROM games"}, "E_ARG"),
                ({"query": "SELECT * FROM games; SELECT 1"}, "E_ARG"),
                ({"query": "SELECT season FROM games WHERE season > ?"}, "E_NO_ROWS"),
                ({"options": {"encoding": "latin-1"}}, "E_ARG"),
                ({"options": {"parameters": "1986"}}, "E_ARG"),
                ({"options": {"parameters": []}}, "E_ARG"),
            ]:
                arguments = {**given, "options": {"parameters": ["1999"]}, **wrong}
                kept = {name: value for name, value in arguments.items() if value is not None}
                error = await refused(client, "import_data", name="b", **kept)
                assert error["code"] == code, (wrong, error)
                assert error["hint"]
            wide = {"query": "SELECT hex(zeroblob(200000000)) AS x", "options": {"parameters": []}}
            error = await refused(client, "import_data", name="b", **{**given, **wide})
            assert error["code"] in ("E_CELL", "E_LINE", "E_SIZE")
            assert peak_of_the_server() < 350_000, "a row is never in the server's memory"
            nobody = {**given, "options": {"parameters": ["1999"]}}
            assert "The query gave no rows" in (await refused(client, "import_data", name="b", **nobody))["message"]
            numbers = {**given, "options": {"parameters": [2011]}}
            told_so = (await refused(client, "import_data", name="b", **numbers))["message"]
            assert told_so == 'options: parameters are texts: write numbers as in ["2011"]'
            text = {"text": "a\n1\n", "options": {"parameters": ["1"]}}
            assert "sql:NAME" in (await refused(client, "import_data", name="b", **text))["message"]
            unknown = await refused(client, "import_data", name="b", path="sql:x", query="SELECT 1")
            assert "absolute, outside, shop" in unknown["hint"]
            listed = (await told(client, "describe_data")).structured_content["datasets"]
            assert [one["dataset"] for one in listed] == ["games@1"]

    asyncio.run(scene())
    assert left_in(tmp_path) == []


def test_addresses_can_be_switched_off(tmp_path):
    async def scene() -> None:
        env = environment(tmp_path, url_import="false")
        async with Client(build_server(settings.load(env))) as client:
            error = await refused(client, "import_data", name="a", path="https://example.org/a.csv")
            assert error["code"] == "E_UNSUPPORTED"

    asyncio.run(scene())


@pytest.mark.services
def test_the_account_of_a_database_is_told_to_nobody(tmp_path, empty_postgres_url):
    import psycopg

    role, word = f"courtside_reader_{uuid.uuid4().hex[:12]}", "Zw1ebel%Suppe"
    parts = urlsplit(empty_postgres_url)
    url = f"postgresql://{role}:Zw1ebel%25Suppe@{parts.netloc.rpartition('@')[2]}{parts.path}"
    env = environment(
        tmp_path, sql_sources=f"shop={url},gone={url}-gone,down=postgresql://{role}:{SECRET}@127.0.0.1:1/x"
    )
    said = []

    async def scene() -> None:
        async with stdio_client(["-m", "mcp_server", "serve"], env, "auto", tmp_path / "stderr.log") as client:
            for given in (
                {"path": "sql:shop", "query": "SELECT season, won FROM games WHERE season > $1"},
                {"path": "sql:shop", "query": "SELECT nothing"},
                {"path": "sql:shop", "query": "SELECT 1; SELECT 2"},
                {"path": "sql:gone", "query": "SELECT 1"},
                {"path": "sql:down", "query": "SELECT 1"},
            ):
                options = {"parameters": ["1985"]} if "$1" in given["query"] else {}
                result = await client.call_tool("import_data", {"name": "games", **given, "options": options})
                said.append((result.is_error, text_of(result), str(result.structured_content)))
            result = await client.call_tool("describe_data", {"dataset": "games"})
            said.append((result.is_error, text_of(result), str(result.structured_content)))
            said.append((False, str(await client.list_tools()), ""))

    with psycopg.connect(empty_postgres_url, autocommit=True) as owner:
        owner.execute("CREATE TABLE games (season int, won boolean)")
        owner.execute("INSERT INTO games SELECT 1984 + n, n % 2 = 0 FROM generate_series(1, 50) n")
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{word}'; GRANT SELECT ON games TO {role}")
        try:
            asyncio.run(scene())
        finally:
            owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert [wrong for wrong, _, _ in said] == [False, True, True, True, True, False, False]
    told_all = "".join(text + structure for _, text, structure in said) + (tmp_path / "stderr.log").read_text()
    kept = everything_in(tmp_path / "data").decode("latin-1")
    for secret in (word, "Zw1ebel%25Suppe", SECRET, role):
        assert secret not in told_all
        assert secret not in kept


def test_nothing_of_the_web_or_of_a_database_is_loaded_before_it_is_needed():
    code = (
        "import sys, mcp_server.server, mcp_server.workflows.remote;"
        "print([name for name in ('httpx', 'httpcore', 'asyncpg', 'pymysql') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "sources",
    [
        "shop",
        "shop=",
        "Shop=sqlite:///a",
        "shop=oracle://x/y",
        "a=sqlite:///x,a=sqlite:///y",
        "a b=sqlite:///x",
        "=sqlite:///x",
    ],
)
def test_a_source_that_is_not_well_formed_is_refused_at_start_without_its_password(sources):
    with pytest.raises(settings.BadConfiguration) as caught:
        settings.load({"COURTSIDE_SQL_SOURCES": f"good=mysql://u:{SECRET}@h/d,{sources}"})
    assert "COURTSIDE_SQL_SOURCES" in caught.value.message
    assert SECRET not in caught.value.message


def test_sources_are_read_by_name():
    loaded = settings.load(
        {"COURTSIDE_SQL_SOURCES": "a=sqlite:///x.db, b-2=postgresql://u:p%2C=w@h:1/d?sslmode=require"}
    )
    assert loaded.sql_sources is not None
    assert settings.parse_sql_sources(loaded.sql_sources) == {
        "a": "sqlite:///x.db",
        "b-2": "postgresql://u:p%2C=w@h:1/d?sslmode=require",
    }
    assert "p%2C" not in repr(loaded)
