"""The worker: jobs survive its death, a cancel stops their computing, and there is one for each data folder."""

import asyncio
import os
import signal
from collections import Counter

import pytest
from sqlalchemy import text

from jobs.waiting import in_loop, is_running, text_of, until
from jobs.workplace import workplace
from mcp_server.jobs.versions import RUNTIME_VERSION


async def ended_of(place, ids):
    return sum([(await place.job(job_id)).ended for job_id in ids])


async def more_than(place, ids, count):
    return await ended_of(place, ids) > count


STEPS = ["read_rows", "split", "fit_linear", "fit_trees"]


@in_loop
async def test_a_job_runs_its_steps_in_order_and_its_result_is_kept(tmp_path):
    async with workplace(tmp_path) as place:
        await place.start_worker()
        job = await place.ended(await place.enqueue("in_steps", names=STEPS, seconds=0))
        assert job.state == "succeeded"
        assert [mark.split()[0] for mark in job.result["marks"]] == STEPS
        assert job.progress == 1.0
        assert job.started_at <= job.ended_at
        assert not place.folder(job.id).exists()


@pytest.mark.fault
@pytest.mark.parametrize("step", range(len(STEPS)))
@in_loop
async def test_a_worker_killed_in_any_step_loses_nothing_and_repeats_no_completed_step(tmp_path, step):
    async with workplace(tmp_path) as place:
        worker = await place.start_worker()
        job_id = await place.enqueue("in_steps", names=STEPS, seconds=0.4)
        marks = await until(lambda: [m for m in place.marks(job_id) if m[0] == STEPS[step]])
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        await until(lambda: not is_running(marks[0][1]), within=2)
        assert (await place.job(job_id)).state == "running"

        await place.start_worker()
        job = await place.ended(job_id)
        times = Counter(mark.split()[0] for mark in job.result["marks"])
        assert job.state == "succeeded"
        assert list(times) == STEPS
        # Only the one that was under way ran again: this is also what shows that the kill hit it.
        assert times == {name: 2 if name == STEPS[step] else 1 for name in STEPS}


@pytest.mark.fault
@in_loop
async def test_the_control_without_kept_steps_repeats_completed_ones(tmp_path):
    async with workplace(tmp_path) as place:
        worker = await place.start_worker()
        job_id = await place.enqueue("in_steps", names=STEPS, seconds=0.4)
        await until(lambda: any(name == STEPS[2] for name, _ in place.marks(job_id)))
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        for file in tmp_path.glob("jobs.db*"):
            file.unlink()
        await place.start_worker()
        job = await place.ended(job_id)
        assert Counter(mark.split()[0] for mark in job.result["marks"])[STEPS[0]] == 2


@pytest.mark.fault
@pytest.mark.services
@in_loop
async def test_on_postgresql_too_a_killed_workers_job_goes_on_where_it_was(tmp_path, empty_postgres_url):
    async with workplace(tmp_path, database_url=empty_postgres_url) as place:
        worker = await place.start_worker()
        job_id = await place.enqueue("in_steps", names=STEPS, seconds=0.4)
        await until(lambda: any(name == STEPS[2] for name, _ in place.marks(job_id)))
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        await place.start_worker()
        job = await place.ended(job_id)
        assert [mark.split()[0] for mark in job.result["marks"]] == [*STEPS[:3], *STEPS[2:]]
        assert not place.places.steps.exists()


@pytest.mark.fault
@pytest.mark.services
@in_loop
async def test_a_silent_workers_job_is_taken_over_by_another_machines(tmp_path, empty_postgres_url):
    async with (
        workplace(tmp_path / "one", database_url=empty_postgres_url) as one,
        workplace(tmp_path / "two", database_url=empty_postgres_url) as two,
    ):
        worker = await one.start_worker()
        job_id = await one.enqueue("in_steps", names=["first", "second"], seconds=0.4)
        await until(lambda: any(name == "second" for name, _ in one.marks(job_id)))
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        async with one.storage.database.transaction() as tx:
            await tx.execute(text("UPDATE jobs SET heartbeat_at = heartbeat_at - interval '1 minute'"))
        two.folder(job_id).mkdir(parents=True)
        await two.start_worker()
        job = await two.ended(job_id)
        # The marks of the completed step are on the other machine; it isn't repeated here.
        assert [mark.split()[0] for mark in job.result["marks"]] == ["second"]


@pytest.mark.fault
@in_loop
async def test_a_worker_killed_before_and_after_its_jobs_lets_each_end_once(tmp_path):
    async with workplace(tmp_path) as place:
        ids = [await place.enqueue("in_steps", names=["a", "b"], seconds=0.05) for _ in range(4)]
        for _ in range(3):
            worker = await place.start_worker()
            before = await ended_of(place, ids)
            await until(lambda before=before: more_than(place, ids, min(before, len(ids) - 1)))
            worker.send_signal(signal.SIGKILL)
            await worker.wait()
        await place.start_worker()
        ended = [await place.ended(i) for i in ids]
        assert [job.state for job in ended] == ["succeeded"] * 4
        assert [Counter(m.split()[0] for m in job.result["marks"]).keys() for job in ended] == [{"a", "b"}] * 4


@in_loop
async def test_a_cancelled_job_stops_its_computing_within_two_seconds(tmp_path):
    async with workplace(tmp_path) as place:
        await place.start_worker()
        job_id = await place.operate("compute_for", seconds=60)
        pid = int(await until(lambda: text_of(place.folder(job_id) / "started")))
        await place.cancel(job_id)
        await until(lambda: not is_running(pid), within=2)
        job = await place.ended(job_id, within=2)
        assert job.state == "cancelled"
        assert job.error["code"] == "E_CANCELLED"
        await until(lambda: not place.folder(job_id).exists())


@in_loop
async def test_a_job_cancelled_while_it_waits_never_begins(tmp_path):
    async with workplace(tmp_path) as place:
        job_id = await place.operate("compute_for", seconds=60)
        await place.cancel(job_id)
        await place.start_worker()
        other = await place.ended(await place.operate("echo"))
        assert other.state == "succeeded"
        job = await place.job(job_id)
        assert (job.state, job.started_at) == ("cancelled", None)


@in_loop
async def test_a_cancelled_jobs_workflow_can_put_its_records_in_order(tmp_path):
    async with workplace(tmp_path) as place:
        await place.start_worker()
        job_id = await place.enqueue("tidy", seconds=60, notes=str(tmp_path / "notes"))
        await until(lambda: text_of(place.folder(job_id) / "started"))
        await place.cancel(job_id)
        assert (await place.ended(job_id, within=4)).state == "cancelled"
        assert text_of(tmp_path / "notes") == "E_CANCELLED\n"


@in_loop
async def test_a_workflow_out_of_time_can_put_its_records_in_order(tmp_path):
    async with workplace(tmp_path, job_seconds=2) as place:
        await place.start_worker()
        job = await place.ended(await place.enqueue("tidy", seconds=60, notes=str(tmp_path / "notes")))
        assert (job.state, job.error["code"]) == ("failed", "E_DEADLINE")
        assert text_of(tmp_path / "notes") == "E_DEADLINE\n"


@in_loop
async def test_a_workflow_that_does_not_come_to_a_step_is_cancelled_too(tmp_path):
    hasty = PATCHED.format("from mcp_server.jobs import supervisor; supervisor.GRACE_SECONDS = 0.2")
    async with workplace(tmp_path) as place:
        await place.start_worker(program=("-c", hasty))
        job_id = await place.enqueue("stubborn")

        async def waiting():
            return (await place.job(job_id)).message == "waiting"

        await until(waiting)
        await place.cancel(job_id)
        assert (await place.ended(job_id)).state == "cancelled"


@pytest.mark.fault
@in_loop
async def test_a_cancel_that_the_worker_did_not_live_to_see_holds_after_its_restart(tmp_path):
    async with workplace(tmp_path) as place:
        worker = await place.start_worker()
        job_id = await place.operate("compute_for", seconds=60)
        await until(lambda: text_of(place.folder(job_id) / "started"))
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        await place.cancel(job_id)
        (place.folder(job_id) / "started").unlink()
        await place.start_worker()
        assert (await place.ended(job_id)).state == "cancelled"
        assert not (place.folder(job_id) / "started").exists()


@in_loop
async def test_a_job_whose_child_takes_too_much_memory_fails_and_the_worker_lives(tmp_path):
    async with workplace(tmp_path, child_memory_mib=512) as place:
        worker = await place.start_worker()
        failed = await place.ended(await place.operate("allocate", bytes=700 * 1024 * 1024))
        after = await place.ended(await place.operate("echo"))
        assert (failed.state, failed.error["code"]) == ("failed", "E_COMPUTE")
        assert failed.error["details"]["reason"] == "memory"
        assert failed.error["hint"]
        assert after.state == "succeeded"
        assert worker.returncode is None


@in_loop
async def test_a_refusal_ends_the_job_with_its_code_hint_and_details(tmp_path):
    async with workplace(tmp_path) as place:
        await place.start_worker()
        job = await place.ended(await place.enqueue("refused"))
        assert job.state == "failed"
        assert job.error == {
            "code": "E_TRAINING", "message": "There are 3 rows.", "hint": "Import more.", "details": {"rows": 3},
        }  # fmt: skip


@in_loop
async def test_an_unexpected_error_is_masked_with_a_reference_into_the_log(tmp_path):
    async with workplace(tmp_path) as place:
        await place.start_worker()
        job = await place.ended(await place.enqueue("broken"))
        assert job.error["code"] == "E_INTERNAL"
        assert "hunter2" not in str(job.error)
        assert job.error["details"]["reference"] in place.log()


@in_loop
async def test_a_kind_that_nobody_registered_fails_with_a_next_step(tmp_path):
    async with workplace(tmp_path) as place:
        await place.start_worker()
        job = await place.ended(await place.enqueue("no_such_kind"))
        assert (job.state, job.error["code"]) == ("failed", "E_UNSUPPORTED")


@in_loop
async def test_trouble_that_passes_is_retried_within_the_step(tmp_path):
    async with workplace(tmp_path) as place:
        await place.start_worker()
        job = await place.ended(await place.enqueue("passing_trouble"))
        assert job.result == {"attempts": 3}


@in_loop
async def test_a_job_over_its_time_ends_with_that_reason(tmp_path):
    async with workplace(tmp_path, job_seconds=2) as place:
        await place.start_worker()
        job_id = await place.operate("compute_for", seconds=60)
        pid = int(await until(lambda: text_of(place.folder(job_id) / "started")))
        job = await place.ended(job_id)
        assert (job.state, job.error["code"]) == ("failed", "E_DEADLINE")
        await until(lambda: not is_running(pid), within=2)


@in_loop
async def test_a_jobs_writes_carry_its_caller_into_the_audit(tmp_path):
    from mcp_server.storage import audit

    async with workplace(tmp_path) as place:
        await place.start_worker()
        job = await place.ended(await place.enqueue("recorded"))
        assert job.result == {"caller": "local", "kind": "recorded"}
        async with place.storage.database.reading() as tx:
            rows = (await audit.list_page(tx)).items
        assert [(row.caller, row.tool, row.subject) for row in rows] == [("local", "job:recorded", f"job:{job.id}")]


@in_loop
async def test_progress_inside_a_step_moves_within_its_share(tmp_path):
    async with workplace(tmp_path) as place:
        await place.start_worker()
        job_id = await place.operate("count", to=12, pause=0.15)
        seen = []
        while not (job := await place.job(job_id)).ended:
            if job.message.startswith("step"):
                seen.append(job.progress)
            await asyncio.sleep(0.02)
        assert seen == sorted(seen)
        assert len(set(seen)) > 2
        assert all(0.2 <= progress <= 0.6 for progress in seen)


@in_loop
async def test_of_two_workers_started_at_once_one_lives(tmp_path):
    async with workplace(tmp_path) as place:
        workers = [await place.start_worker() for _ in range(2)]
        await asyncio.wait([asyncio.ensure_future(w.wait()) for w in workers], return_when=asyncio.FIRST_COMPLETED)
        job = await place.ended(await place.operate("echo"))
        assert job.state == "succeeded"
        assert [worker.returncode for worker in workers].count(0) == 1
        assert [worker.returncode for worker in workers].count(None) == 1
        holder = await place.queue().worker()
        assert holder.pid in {worker.pid for worker in workers if worker.returncode is None}


@in_loop
async def test_a_worker_without_work_ends_in_order(tmp_path):
    async with workplace(tmp_path, worker_idle_seconds=1) as place:
        worker = await place.start_worker()
        assert await asyncio.wait_for(worker.wait(), 30) == 0
        assert await place.queue().worker() is None


@in_loop
async def test_a_terminated_worker_ends_at_once_and_its_job_goes_on_in_the_next(tmp_path):
    async with workplace(tmp_path) as place:
        worker = await place.start_worker()
        job_id = await place.enqueue("in_steps", names=["first", "second"], seconds=0.5)
        await until(lambda: any(name == "second" for name, _ in place.marks(job_id)))
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(worker.wait(), 15) == 0
        assert (await place.job(job_id)).state == "running"
        await place.start_worker()
        job = await place.ended(job_id)
        assert [mark.split()[0] for mark in job.result["marks"]] == ["first", "second", "second"]


@in_loop
async def test_an_older_worker_finishes_its_step_and_a_newer_one_goes_on(tmp_path):
    async with workplace(tmp_path) as place:
        older = await place.start_worker("--program-version", "0.1.0")
        job_id = await place.enqueue("in_steps", names=["first", "second", "third"], seconds=1.0)
        await until(lambda: place.marks(job_id))
        newer = await place.start_worker("--program-version", "0.2.0")
        assert await asyncio.wait_for(older.wait(), 30) == 0
        job = await place.ended(job_id)
        assert [mark.split()[0] for mark in job.result["marks"]] == ["first", "second", "third"]
        holder = await place.queue().worker()
        assert (holder.pid, holder.version) == (newer.pid, "0.2.0")
        assert place.places.asked_for() == ""


@in_loop
async def test_a_newer_worker_is_left_in_place_by_an_older_one(tmp_path):
    async with workplace(tmp_path) as place:
        newer = await place.start_worker("--program-version", "0.2.0")
        await until(place.queue().worker)
        older = await place.start_worker("--program-version", "0.1.0")
        assert await asyncio.wait_for(older.wait(), 30) == 0
        assert newer.returncode is None
        assert is_running(newer.pid)


PATCHED = """
import sys
from mcp_server.storage import sqlite_library
sqlite_library.install()
from mcp_server import worker
from mcp_server.jobs import durable, versions
{}
sys.exit(worker.main(sys.argv[1:]))
"""


@pytest.mark.fault
@in_loop
async def test_a_job_that_kills_its_worker_each_time_is_given_up(tmp_path):
    async with workplace(tmp_path) as place:
        job_id = await place.enqueue("deadly")
        for _ in range(3):
            worker = await place.start_worker(program=("-c", PATCHED.format("durable.RECOVERIES = 1")))
            await asyncio.wait(
                [asyncio.ensure_future(worker.wait()), asyncio.ensure_future(place.ended(job_id))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        job = await place.ended(job_id)
        assert (job.state, job.error["code"]) == ("failed", "E_JOB")
        assert (await place.ended(await place.operate("echo"))).state == "succeeded"


@pytest.mark.fault
@in_loop
async def test_a_job_that_another_runtime_version_began_starts_again_from_its_first_step(tmp_path):
    older = PATCHED.format(
        f"versions.ACCEPTED = ('0', '{RUNTIME_VERSION}'); versions.RUNTIME_VERSION = durable.RUNTIME_VERSION = '0'"
    )
    async with workplace(tmp_path) as place:
        worker = await place.start_worker(program=("-c", older))
        job_id = await place.enqueue("in_steps", names=["first", "second"], seconds=0.5)
        await until(lambda: any(name == "second" for name, _ in place.marks(job_id)))
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        await place.start_worker()
        job = await place.ended(job_id)
        assert [mark.split()[0] for mark in job.result["marks"]] == ["first", "second", "first", "second"]


@in_loop
async def test_folders_of_jobs_that_ended_are_cleared_when_a_worker_starts(tmp_path):
    async with workplace(tmp_path) as place:
        place.places.make()
        ended = await place.operate("echo")
        await place.cancel(ended)
        place.folder(ended).mkdir()
        place.folder("unknown").mkdir()
        await place.start_worker()
        await until(lambda: not any(place.places.job_folders.iterdir()))


@in_loop
async def test_the_computing_of_jobs_can_not_read_the_installations_keys(tmp_path):
    async with workplace(tmp_path) as place:
        await place.start_worker()
        key = next(path for path in (tmp_path / "keys").iterdir() if path.is_file())
        artefact = await place.storage.artefacts.put(b"a table")
        path = await place.storage.artefacts.local_path(artefact)
        refused = await place.ended(await place.operate("read_text", path=str(key)))
        allowed = await place.ended(await place.operate("read_text", path=str(path)))
        assert refused.result == {"refused": "PermissionError"}
        assert allowed.result == {"text": "a table"}


@in_loop
async def test_neither_the_worker_nor_its_children_hold_the_servers_keys(tmp_path, monkeypatch):
    monkeypatch.setenv("COURTSIDE_API_KEYS", "ops:admin:s3cr3t-s3cr3t")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcd-efgh")
    async with workplace(tmp_path, api_keys="ops:admin:s3cr3t-s3cr3t") as place:
        worker = await place.start_worker()
        job = await place.ended(await place.operate("environment"))
        shown = text_of(tmp_path.__class__(f"/proc/{worker.pid}/environ")) + str(job.result["environment"])
        assert "s3cr3t" not in shown
        assert "abcd-efgh" not in shown
        assert "COURTSIDE" not in str(job.result["environment"])
        assert os.environ["COURTSIDE_API_KEYS"]


@in_loop
async def test_the_steps_of_ended_jobs_are_not_kept(tmp_path):
    import sqlite3

    async with workplace(tmp_path) as place:
        await place.start_worker()
        await place.ended(await place.operate("echo"))

        def kept():
            with sqlite3.connect(place.places.steps) as connection:
                return connection.execute("SELECT count(*) FROM workflow_status").fetchone()[0]

        assert await asyncio.to_thread(sqlite_mode, place.places.steps) == "wal"
        await until(lambda: asyncio.to_thread(lambda: not kept()))


def sqlite_mode(path):
    import sqlite3

    with sqlite3.connect(path) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]
