"""The data folder's lock."""

import asyncio
import signal
import sys

import pytest

from jobs.waiting import in_loop
from mcp_server.jobs.lock import FolderLock, Holder
from mcp_server.jobs.versions import is_newer

ME = Holder(pid=1, version="0.1.0", since="2026-01-01T00:00:00+00:00")


def test_a_free_lock_has_no_holder(tmp_path):
    assert FolderLock(tmp_path / "lock").holder() is None


def test_a_held_lock_names_its_holder_and_is_refused_to_others(tmp_path):
    lock = FolderLock(tmp_path / "lock", ME)
    assert lock.acquire()
    assert FolderLock(tmp_path / "lock").holder() == ME
    assert not FolderLock(tmp_path / "lock", ME).acquire()


def test_a_released_lock_can_be_taken_again(tmp_path):
    lock = FolderLock(tmp_path / "lock", ME)
    lock.acquire()
    lock.release()
    assert FolderLock(tmp_path / "lock").holder() is None
    assert FolderLock(tmp_path / "lock", ME).acquire()


def test_looking_does_not_take_it(tmp_path):
    lock = FolderLock(tmp_path / "lock", ME)
    lock.acquire()
    lock.release()
    FolderLock(tmp_path / "lock").holder()
    assert lock.acquire()


def test_a_lock_that_only_looks_can_not_be_taken(tmp_path):
    with pytest.raises(ValueError, match="only looked at"):
        FolderLock(tmp_path / "lock").acquire()


HOLD = """
import sys
from pathlib import Path
from mcp_server.jobs.lock import FolderLock, Holder
assert FolderLock(Path(sys.argv[1]), Holder(2, "0.2.0", "")).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.fault
@in_loop
async def test_a_killed_holder_leaves_the_lock_free(tmp_path):
    path = tmp_path / "lock"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    await process.stdout.readline()
    held = FolderLock(path).holder()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert held.version == "0.2.0"
    assert FolderLock(path).holder() is None
    assert FolderLock(path, ME).acquire()


@pytest.mark.parametrize(
    ("version", "other", "newer"),
    [
        ("0.10.0", "0.9.1", True),
        ("1.0", "1.0", False),
        ("0.9.1", "0.10.0", False),
        ("2.0rc1", "1.9", True),
        ("", "0.1", False),
    ],
)
def test_releases_are_ordered_by_their_numbers(version, other, newer):
    assert is_newer(version, other) is newer
