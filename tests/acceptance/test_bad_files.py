"""Bad and hostile files through the real server and its computing child: the code, and nothing is left anywhere."""

import asyncio
import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from mcp import Client

from acceptance.processes import environment, refused, stdio_client, text_of, told
from core.ingest.bad_files import CSV, JSON, PACKED, PARQUET, UNPACKED

pytestmark = pytest.mark.anyio

PROCESSES = Path("/proc/self/task").exists()
CHOSEN = {
    "1 blanks only": ("a.csv", lambda: b" \n\n", "E_EMPTY"),
    "15 a longer row": ("a.csv", lambda: b"a,b\n1,2,3\n", "E_RAGGED"),
    "61 a picture": ("a.csv", lambda: b"\x89PNG\r\n\x1a\n" + bytes(200), "E_FORMAT"),
    **{name: PACKED[name] for name in ("70 gzip bomb", "74 zip with two files", "80 a zstd window of 2 GiB")},
    **{name: PARQUET[name] for name in ("85 dictionary bomb", "94 a page header of ones")},
    **{name: JSON[name] for name in ("101 depth 100,000", "107 a bad line")},
}


@dataclass(frozen=True)
class Running:
    """One server for every case here: starting it costs more than most of them."""

    client: Client
    pid: int
    folder: Path

    @property
    def files(self) -> Path:
        return self.folder / "files"

    def put(self, name: str, content: bytes) -> str:
        (self.files / name).parent.mkdir(parents=True, exist_ok=True)
        (self.files / name).write_bytes(content)
        return name

    def scratch(self) -> list[str]:
        """The files that are left; the folder of a child that's ending may stand empty for a moment."""
        return [str(path) for path in (self.folder / "data" / "scratch").rglob("*") if not path.is_dir()]

    async def stored(self) -> list[str]:
        listed = await told(self.client, "describe_data")
        return [one["dataset"] for one in listed.structured_content["datasets"]]


def children(of: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{of}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def running(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("bad files")
    env = environment(folder, rate_per_second="1000", rate_burst="1000")
    # Such as a worker that a test before this one in this process had started.
    others = children(os.getpid()) if PROCESSES else set()
    async with stdio_client(["-m", "mcp_server", "serve"], env, "auto", folder / "stderr.log") as client:
        await told(client, "describe_data")
        [pid] = children(os.getpid()) - others if PROCESSES else [0]
        yield Running(client, pid, folder)


@pytest.mark.skipif(not PROCESSES, reason="looks at the server's processes in /proc")
async def test_a_refused_file_leaves_the_server_as_it_was(running):
    client, stored = running.client, await running.stored()
    before, ours = children(running.pid), children(os.getpid())
    paths = {name: running.put(f"{at}/{file}", build()) for at, (name, (file, build, _)) in enumerate(CHOSEN.items())}
    errors = await asyncio.gather(*(refused(client, "import_data", name="t", path=path) for path in paths.values()))
    codes = {name: error["code"] for name, error in zip(paths, errors, strict=True)}
    assert codes == {name: code for name, (_, _, code) in CHOSEN.items()}
    assert await running.stored() == stored
    assert children(os.getpid()) == ours, "the server is the process that it was"
    assert running.pid in ours
    for _ in range(100):  # a process that was ended is gone a moment later
        if children(running.pid) <= before:
            break
        await told(client, "describe_data")
    assert children(running.pid) <= before, "no reading process is left"
    good = await told(client, "import_data", name="good", path=running.put("good.csv", CSV))
    assert good.structured_content["rows"] == 2
    assert running.scratch() == []


async def test_what_is_not_a_plain_file_is_refused(running):
    """66 to 68: nothing outside the allowed folders, no device, no pipe, no link, and nothing without permission."""
    files = running.files
    (running.folder / "secret.csv").write_bytes(CSV)
    (files / "link.csv").symlink_to(running.folder / "secret.csv")
    os.mkfifo(files / "pipe.csv")
    (files / running.put("closed.csv", CSV)).chmod(0)
    named = ("link.csv", "pipe.csv", "socket.csv", "closed.csv", "/dev/zero", "/proc/self/environ", "*.json")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(files / "socket.csv"))
        calls = (running.client.call_tool("import_data", {"name": "p", "path": path}) for path in named)
        results = await asyncio.gather(*calls)
    codes = {
        path: result.structured_content["error"]["code"] if result.is_error else "read"
        for path, result in zip(named, results, strict=True)
    }
    readable = codes.pop("closed.csv")
    assert readable == ("read" if os.geteuid() == 0 else "E_PERMISSION")
    assert set(codes.values()) == {"E_PATH"}
    assert running.scratch() == []


async def test_files_are_read_whatever_holds_them(running):
    names = ("72 gzip of several members", "zip", "zstd", "lines of JSON in a zip", "Parquet")
    paths = [running.put(f"held-{at}/{UNPACKED[name][0]}", UNPACKED[name][1]()) for at, name in enumerate(names)]
    results = await asyncio.gather(
        *(told(running.client, "import_data", name=f"held-{at}", path=path) for at, path in enumerate(paths))
    )
    digests = {result.structured_content["digest"] for result in results}
    assert len(digests) == 1, "the same table, whatever held it"
    assert running.scratch() == []


async def test_a_folder_becomes_one_table_and_a_later_file_its_next_version(running):
    client, files = running.client, running.files
    (files / "seasons").mkdir()
    (files / "seasons" / "season-2.csv").write_text("score,id\n12,3\n9,4\n")
    (files / "seasons" / "season-1.csv").write_text("id,score\n1,10\n2,11\n")
    (files / "seasons" / "notes.csv").write_text("id,comment\n1,x\n")
    (files / "more.json").write_text(json.dumps([{"id": 4, "score": 8}, {"id": 5, "score": 7}]))
    (files / "broken.csv").write_text("id,score\n6,\n7,high\n")

    whole = await told(
        client, "import_data", name="games", path="seasons/season-*.csv", roles={"id": "key"}, target="score"
    )
    assert whole.structured_content["rows"] == 4
    assert whole.structured_content["untrusted"]["files"] == [["season-1.csv", 2], ["season-2.csv", 2]]
    error = await refused(client, "import_data", name="games", path="seasons")
    assert (error["code"], error["details"]["file"]) == ("E_SHAPE", 2)

    error = await refused(client, "import_data", name="games", path="more.json", mode="append")
    assert (error["code"], error["details"]["rows"]) == ("E_CONTRACT", [1])
    error = await refused(client, "import_data", name="games", path="broken.csv", mode="append")
    assert (error["code"], error["details"]["column"], error["details"]["rows"]) == ("E_CONTRACT", 2, [2])
    error = await refused(client, "import_data", name="games", path="more.json", mode="append", target="id")
    assert error["code"] == "E_ARG"
    error = await refused(client, "import_data", name="other", path="more.json", mode="append")
    assert error["code"] == "E_NOT_FOUND"

    new = await told(client, "import_data", name="games", path="more.json", mode="upsert")
    assert (new.structured_content["dataset"], new.structured_content["rows"]) == ("games@2", 5)
    assert "1 row added to games@1, 1 replaced" in text_of(new)
    assert new.structured_content["target"] == "score"
    again = await told(client, "import_data", name="games", path="more.json", mode="append", since="id")
    assert again.structured_content["dataset"] == "games@2"
    assert again.structured_content["existing"] is True
    assert "No row is beyond" in text_of(again)
    assert [one for one in await running.stored() if one.startswith(("games", "other"))] == ["games@2"]
    assert running.scratch() == []
