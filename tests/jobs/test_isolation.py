"""What a computing child can't do, each beside the control that shows that the test would notice."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from jobs.waiting import in_loop, is_running, text_of, until
from mcp_server.errors import ComputeFailed

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other platforms say that they can't")

SECRETS = {
    "COURTSIDE_API_KEYS": "ops:admin:s3cr3t-s3cr3t",
    "DATABASE_URL": "postgresql://u:hunter2@db/x",
    "AWS_SECRET_ACCESS_KEY": "abcd",
}


@pytest.fixture
def secrets(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("fresh", [False, True])
@in_loop
async def test_no_secret_is_in_a_childs_environment(make_compute, secrets, fresh):
    compute = make_compute()
    answer = await compute.run("environment", {}, timeout=20, fresh=fresh)
    await compute.close()
    assert not any(name in answer["environment"] for name in SECRETS)
    assert not any(value in text for value in SECRETS.values() for text in answer["environment"].values())


@in_loop
async def test_no_secret_is_in_what_the_kernel_shows_of_a_child(make_compute, secrets):
    compute = make_compute()
    pid = (await compute.run("environment", {}, timeout=20))["pid"]
    shown = text_of(Path(f"/proc/{pid}/environ")) + text_of(Path(f"/proc/{pid}/cmdline"))
    await compute.close()
    assert not any(value in shown for value in SECRETS.values())
    assert "MALLOC_ARENA_MAX" in shown


@pytest.mark.parametrize("fresh", [False, True])
@in_loop
async def test_a_child_can_not_read_its_parents_environment(make_compute, fresh):
    compute = make_compute()
    path = f"/proc/{os.getpid()}/environ"
    answer = await compute.run("read_text", {"path": path}, timeout=20, fresh=fresh)
    held = compute.isolation(fresh=fresh)
    await compute.close()
    if not (held["files"] and held["network"]):
        pytest.skip("this kernel refuses namespaces or has no Landlock, and isolation() says so")
    assert answer == {"refused": "PermissionError"}
    assert text_of(Path(path))


@pytest.mark.parametrize("fresh", [False, True])
@in_loop
async def test_a_child_reaches_no_network_and_says_so(make_compute, fresh):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        socket.create_connection((host, port), timeout=2).close()
        compute = make_compute()
        answer = await compute.run("connect", {"host": host, "port": port}, timeout=20, fresh=fresh)
        held = compute.isolation(fresh=fresh)
        await compute.close()
    assert answer["connected"] is not held["network"]


@in_loop
async def test_a_child_writes_to_its_scratch_folder_only(make_compute, tmp_path):
    compute = make_compute()
    outside = await compute.run("write_text", {"path": str(tmp_path / "elsewhere")}, timeout=20)
    inside = await compute.run("write_text", {"path": str(tmp_path / "scratch" / "here")}, timeout=20)
    held = compute.isolation()
    await compute.close()
    assert inside == {"written": True}
    assert outside == ({"refused": "PermissionError"} if held["files"] else {"written": True})


@in_loop
async def test_a_fresh_child_reads_what_it_was_given_and_nothing_else(make_compute, tmp_path):
    given, other = tmp_path / "given.csv", tmp_path / "other.csv"
    given.write_text("a,b")
    other.write_text("c,d")
    compute = make_compute()
    allowed = await compute.run("read_text", {"path": str(given)}, timeout=20, fresh=True, reads=[given])
    refused = await compute.run("read_text", {"path": str(other)}, timeout=20, fresh=True, reads=[given])
    held = compute.isolation(fresh=True)
    await compute.close()
    assert allowed == {"text": "a,b"}
    assert refused == ({"refused": "PermissionError"} if held["files"] else {"text": "c,d"})


@in_loop
async def test_the_warm_child_reads_what_it_was_made_for_and_nothing_else(make_compute, tmp_path):
    given, other = tmp_path / "given", tmp_path / "other.csv"
    given.mkdir()
    (given / "table").write_text("a,b")
    other.write_text("c,d")
    compute = make_compute(readable=[given])
    allowed = await compute.run("read_text", {"path": str(given / "table")}, timeout=20)
    refused = await compute.run("read_text", {"path": str(other)}, timeout=20)
    held = compute.isolation()
    await compute.close()
    assert allowed == {"text": "a,b"}
    assert refused == ({"refused": "PermissionError"} if held["files"] else {"text": "c,d"})


@in_loop
async def test_a_confined_child_can_still_import_and_compute(make_compute):
    compute = make_compute()
    assert len((await compute.run("fit", {}, timeout=50, fresh=True, reads=[]))["coefficients"]) == 2
    await compute.close()


@in_loop
async def test_isolation_names_every_measure(make_compute):
    compute = make_compute()
    assert compute.isolation() == {}
    await compute.warm()
    held = compute.isolation()
    await compute.close()
    assert set(held) == {"process", "memory", "cpu", "network", "files", "orphans"}
    assert held["process"]
    assert held["memory"]
    assert held["orphans"]


PARENT = """
import asyncio, pathlib, subprocess, sys
from mcp_server.jobs.compute import Compute

async def main():
    control = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pathlib.Path(sys.argv[1], "control").write_text(str(control.pid))
    compute = Compute("sample_operations", memory_bytes=2**30, cpu_seconds=60, scratch=pathlib.Path(sys.argv[1]))
    calls = [compute.run("compute_for", {"seconds": 60, "started": f"{sys.argv[1]}/{fresh}"}, timeout=None, fresh=fresh)
             for fresh in (False, True)]
    await asyncio.gather(*calls)

asyncio.run(main())
"""


@pytest.mark.fault
@in_loop
async def test_no_child_outlives_a_killed_server(tmp_path):
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(tmp_path))
    pids = [int(await until(lambda name=name: text_of(tmp_path / name))) for name in ("True", "False")]
    assert all(is_running(pid) for pid in pids)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await until(lambda: not any(is_running(pid) for pid in pids), within=2)
    control = int(text_of(tmp_path / "control"))
    assert is_running(control)
    os.kill(control, signal.SIGKILL)


@pytest.mark.fault
@in_loop
async def test_where_the_kernel_does_not_help_the_closed_pipe_ends_a_busy_child(tmp_path, monkeypatch):
    """The way of macOS: nothing but the end of the pipe says that the parent is gone."""
    started = tmp_path / "started"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mcp_server.jobs.child", "--operations", "sample_operations",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    from mcp_server.jobs import frames

    limits = {"memory": 2**30, "cpu": None, "writes": [str(tmp_path)], "reads": None, "parent": os.getpid(), "nice": 0}
    child.stdin.write(frames.encode({"limits": limits}))
    child.stdin.write(
        frames.encode({"id": 1, "operation": "compute_for", "arguments": {"seconds": 60, "started": str(started)}})
    )
    await until(lambda: text_of(started))
    child.stdin.close()
    assert await asyncio.wait_for(child.wait(), timeout=2) == -signal.SIGKILL


@in_loop
async def test_ctrl_c_in_the_terminal_is_for_the_parent(make_compute):
    compute = make_compute()
    pid = (await compute.run("echo", {}, timeout=20))["pid"]
    os.kill(pid, signal.SIGINT)
    assert (await compute.run("echo", {}, timeout=20))["pid"] == pid
    with contextlib.suppress(ComputeFailed):
        await compute.run("leave", {"code": 0}, timeout=20)
    await compute.close()
