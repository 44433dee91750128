"""Bad and hostile files through the real server and its computing child: the code, and nothing is left anywhere."""

import asyncio
import json
import os
import socket
from pathlib import Path

import pytest

from acceptance.processes import environment, refused, stdio_client, text_of, told
from core.ingest.bad_files import CSV, JSON, PACKED, PARQUET, UNPACKED

CHOSEN = {
    "1 blanks only": ("a.csv", lambda: b" \n\n", "E_EMPTY"),
    "15 a longer row": ("a.csv", lambda: b"a,b\n1,2,3\n", "E_RAGGED"),
    "61 a picture": ("a.csv", lambda: b"\x89PNG\r\n\x1a\n" + bytes(200), "E_FORMAT"),
    **{name: PACKED[name] for name in ("70 gzip bomb", "74 zip with two files", "80 a zstd window of 2 GiB")},
    **{name: PARQUET[name] for name in ("85 dictionary bomb", "94 a page header of ones")},
    **{name: JSON[name] for name in ("101 depth 100,000", "107 a bad line")},
}


def server(tmp_path, scene, **settings):
    async def run():
        env = environment(tmp_path, rate_per_second="1000", rate_burst="1000", **settings)
        async with stdio_client(["-m", "mcp_server", "serve"], env, "auto", tmp_path / "stderr.log") as client:
            return await scene(client)

    return asyncio.run(run())


def children(of: int) -> set[int]:
    return {int(pid) for task in Path(f"/proc/{of}/task").iterdir() for pid in (task / "children").read_text().split()}


def scratch(tmp_path) -> list[str]:
    """The files that are left; the folder of a child that's ending may stand empty for a moment."""
    return [str(path) for path in (tmp_path / "data" / "scratch").rglob("*") if not path.is_dir()]


async def nothing_stored(client) -> bool:
    listed = await told(client, "describe_data")
    return listed.structured_content["datasets"] == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at the server's processes in /proc")
def test_a_refused_file_leaves_the_server_as_it_was(tmp_path):
    files = tmp_path / "files"
    others = children(os.getpid())  # such as a worker that a test before this one in this process had started

    async def scene(client):
        await told(client, "describe_data")
        [pid] = children(os.getpid()) - others
        before, wrong = children(pid), []
        for name, (file, build, code) in CHOSEN.items():
            (files / file).write_bytes(build())
            error = await refused(client, "import_data", name="t", path=file)
            (files / file).unlink()
            if error["code"] != code:
                wrong.append((name, code, error["code"]))
        assert not wrong
        assert await nothing_stored(client)
        assert children(os.getpid()) - others == {pid}, "the server is the process that it was"
        for _ in range(100):  # a process that was ended is gone a moment later
            if children(pid) <= before:
                break
            await told(client, "describe_data")
        assert children(pid) <= before, "no reading process is left"
        (files / "good.csv").write_bytes(CSV)
        good = await told(client, "import_data", name="good", path="good.csv")
        assert good.structured_content["rows"] == 2
        assert scratch(tmp_path) == []

    files.mkdir(parents=True)
    server(tmp_path, scene)


def test_what_is_not_a_plain_file_is_refused(tmp_path):
    """66 to 68: nothing outside the allowed folders, no device, no pipe, no link, and nothing without permission."""
    files = tmp_path / "files"
    files.mkdir()
    (tmp_path / "secret.csv").write_bytes(CSV)
    (files / "link.csv").symlink_to(tmp_path / "secret.csv")
    os.mkfifo(files / "pipe.csv")
    (files / "closed.csv").write_bytes(CSV)
    (files / "closed.csv").chmod(0)

    async def scene(client):
        codes = {}
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(files / "socket.csv"))
            for path in (
                "link.csv",
                "pipe.csv",
                "socket.csv",
                "closed.csv",
                "/dev/zero",
                "/proc/self/environ",
                "*.json",
            ):
                result = await client.call_tool("import_data", {"name": "t", "path": path})
                codes[path] = result.structured_content["error"]["code"] if result.is_error else "read"
        readable = codes.pop("closed.csv")
        assert readable == ("read" if os.geteuid() == 0 else "E_PERMISSION")
        assert set(codes.values()) == {"E_PATH"}
        assert scratch(tmp_path) == []

    server(tmp_path, scene)


def test_files_are_read_whatever_holds_them(tmp_path):
    files = tmp_path / "files"
    files.mkdir()

    async def scene(client):
        digests = set()
        for name in ("72 gzip of several members", "zip", "zstd", "lines of JSON in a zip", "Parquet"):
            file, build = UNPACKED[name]
            (files / file).write_bytes(build())
            result = await told(client, "import_data", name="t", path=file)
            digests.add(result.structured_content["digest"])
        assert len(digests) == 1, "the same table, whatever held it"
        assert scratch(tmp_path) == []

    server(tmp_path, scene)


def test_a_folder_becomes_one_table_and_a_later_file_its_next_version(tmp_path):
    files = tmp_path / "files"
    (files / "seasons").mkdir(parents=True)
    (files / "seasons" / "season-2.csv").write_text("score,id\n12,3\n9,4\n")
    (files / "seasons" / "season-1.csv").write_text("id,score\n1,10\n2,11\n")
    (files / "seasons" / "notes.csv").write_text("id,comment\n1,x\n")
    (files / "more.json").write_text(json.dumps([{"id": 4, "score": 8}, {"id": 5, "score": 7}]))
    (files / "broken.csv").write_text("id,score\n6,\n7,high\n")

    async def scene(client):
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
        listed = (await told(client, "describe_data")).structured_content["datasets"]
        assert [one["dataset"] for one in listed] == ["games@2"]
        assert scratch(tmp_path) == []

    server(tmp_path, scene)
