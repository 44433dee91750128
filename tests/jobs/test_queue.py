"""The server's side: a worker is there when it's needed, and a job's end is waited for within bounds."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from jobs.waiting import in_loop, is_running, text_of, until
from jobs.workplace import SAMPLES, workplace
from mcp_server.errors import NotFound
from mcp_server.jobs.places import bound


async def holder_of(place, **expected):
    """The worker that has the folder, once there is one like that."""

    async def found():
        holder = await place.queue().worker()
        fits = holder and holder.pid and all(getattr(holder, name) == value for name, value in expected.items())
        return holder if fits else None

    return await until(found, within=30)


@in_loop
async def test_waiting_for_a_job_starts_the_worker_and_gives_the_result(tmp_path):
    async with workplace(tmp_path) as place:
        job = await place.queue().wait(await place.operate("echo"), 40)
        assert job.state == "succeeded"
        assert job.result["arguments"].keys() == {"started"}


@in_loop
async def test_waiting_ends_in_time_where_the_job_does_not(tmp_path):
    async with workplace(tmp_path) as place:
        job_id = await place.operate("compute_for", seconds=60)
        job = await place.queue().wait(job_id, 0.2)
        assert job.state in ("queued", "running")


@in_loop
async def test_looking_without_waiting_starts_nothing(tmp_path):
    async with workplace(tmp_path) as place:
        job = await place.queue().wait(await place.operate("echo"), 0)
        assert job.state == "queued"
        assert await place.queue().worker() is None


@in_loop
async def test_an_unknown_job_is_not_waited_for(tmp_path):
    async with workplace(tmp_path) as place:
        with pytest.raises(NotFound):
            await place.queue().wait("j_unknown", 5)


@in_loop
async def test_progress_is_told_when_it_changes(tmp_path):
    async with workplace(tmp_path) as place:
        told = []

        async def note(fraction, message):
            told.append((fraction, message))

        job_id = await place.operate("count", to=12, pause=0.15)
        assert (await place.queue().wait(job_id, 40, progress=note)).state == "succeeded"
        assert len(told) == len(set(told)) > 2
        assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


@in_loop
async def test_however_often_it_is_asked_for_one_worker_is_started(tmp_path):
    async with workplace(tmp_path) as place:
        servers = [place.queue() for _ in range(2)]
        assert all(await asyncio.gather(*(server.ensure_worker() for server in servers * 5)))
        assert (await servers[0].wait(await place.operate("echo"), 40)).state == "succeeded"
        await until(lambda: "another worker has this data folder" in place.log(), within=10)
        assert place.log().count("worker 0.1.0 has the data folder") == 1


@pytest.mark.fault
@in_loop
async def test_a_worker_that_is_killed_while_its_job_is_waited_for_is_replaced(tmp_path):
    async with workplace(tmp_path) as place:
        queue = place.queue()
        job_id = await place.enqueue("in_steps", names=["first", "second"], seconds=0.4)
        waiting = asyncio.create_task(queue.wait(job_id, 50))
        await until(lambda: place.marks(job_id))
        killed = await holder_of(place)
        os.kill(killed.pid, signal.SIGKILL)
        job = await waiting
        assert job.state == "succeeded"
        assert (await holder_of(place)).pid != killed.pid


SERVER = """
import asyncio, pathlib, sys
from mcp_server.storage import sqlite_library
sqlite_library.install()
from jobs.workplace import workplace

async def main():
    place = workplace(pathlib.Path(sys.argv[1]))
    here = await place.__aenter__()
    job_id = await here.operate("count", to=5, pause=0.3)
    await here.queue().ensure_worker()
    while await here.queue().worker() is None:
        await asyncio.sleep(0.02)
    print(job_id, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.fault
@in_loop
async def test_the_worker_outlives_the_server_that_started_it(tmp_path, monkeypatch):
    tests = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ["PYTHONPATH"], str(tests), str(tests.parent)]))
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(tmp_path), stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    job_id = (await server.stdout.readline()).decode().strip()
    os.killpg(server.pid, signal.SIGKILL)
    await server.wait()
    async with workplace(tmp_path) as place:
        assert (await place.ended(job_id)).state == "succeeded"
        holder = await place.queue().worker()
        assert is_running(holder.pid)


@in_loop
async def test_a_newer_server_replaces_an_older_worker(tmp_path):
    async with workplace(tmp_path) as place:
        older = await place.start_worker("--program-version", "0.1.0")
        await holder_of(place)
        queue = place.queue(version="0.3.0")
        queue._arguments += ("--program-version", "0.3.0")
        await queue.ensure_worker()
        assert await asyncio.wait_for(older.wait(), 30) == 0
        assert (await holder_of(place, version="0.3.0")).pid != older.pid


@in_loop
async def test_an_older_server_uses_the_newer_worker(tmp_path):
    async with workplace(tmp_path) as place:
        newer = await place.start_worker("--program-version", "0.3.0")
        await holder_of(place)
        queue = place.queue(version="0.1.0")
        assert (await queue.wait(await place.operate("echo"), 40)).state == "succeeded"
        assert (await holder_of(place)).pid == newer.pid


LATE_JOB = """
import asyncio, sys
from mcp_server.storage import sqlite_library
sqlite_library.install()
import sqlite3
from mcp_server import worker
from mcp_server.jobs.lock import FolderLock

release, database = FolderLock.release, sys.argv[1]

def release_as_a_job_comes(self):
    # A server that committed a job and still saw this worker: it started none.
    if self.held and self._path.name == "worker.lock":
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE jobs SET state = 'queued', cancel_requested = 0 WHERE state = 'cancelled'")
    release(self)

FolderLock.release = release_as_a_job_comes
sys.exit(worker.main(sys.argv[2:]))
"""


@in_loop
async def test_a_job_that_comes_as_the_worker_ends_for_want_of_work_is_still_run(tmp_path):
    from mcp_server.jobs.environment import for_worker

    async with workplace(tmp_path, worker_idle_seconds=1) as place:
        job_id = await place.operate("echo")
        await place.cancel(job_id)
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", LATE_JOB, str(place.storage.database.path), *SAMPLES,
            env=for_worker(os.environ, place.settings),
        )  # fmt: skip
        assert await asyncio.wait_for(worker.wait(), 30) == 0
        assert (await place.job(job_id)).state == "succeeded"


@in_loop
async def test_a_worker_that_can_not_start_leaves_its_reason_in_the_log(tmp_path):
    async with workplace(tmp_path) as place:
        queue = place.queue()
        queue._arguments = ("--workflows", "no_such_module:X")
        await queue.ensure_worker()
        await until(lambda: "no workflows at" in place.log())
        assert oct(place.places.log.stat().st_mode)[-3:] == "600"


def test_a_log_over_its_bound_is_emptied_and_goes_on(tmp_path):
    path = tmp_path / "log"
    with path.open("ab") as file:
        file.write(b"x" * 1_000)
        file.flush()
        bound(file.fileno(), 500)
        file.write(b"after")
    assert text_of(path) == "after"


def test_a_log_within_its_bound_stays(tmp_path):
    path = tmp_path / "log"
    with path.open("ab") as file:
        file.write(b"before")
        file.flush()
        bound(file.fileno(), 500)
    assert text_of(path) == "before"
