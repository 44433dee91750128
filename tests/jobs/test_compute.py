"""Computing children: what they answer, how they end, and that their end is never the server's."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.waiting import in_loop, is_running, text_of, until
from mcp_server.errors import Busy, ComputeFailed, DataRejected, DeadlineExceeded, Unsupported

linux = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
MIB = 1024 * 1024

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Lone surrogates aren't text; the guard escapes them before anything is computed.
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5).filter(str.isprintable), inner, max_size=4)
    ),
    max_leaves=10,
)


@in_loop
async def test_the_warm_child_answers_call_after_call(make_compute):
    compute = make_compute()
    first = await compute.run("echo", {"a": 1}, timeout=20)
    second = await compute.run("echo", {"a": 2}, timeout=20)
    await compute.close()
    assert first["arguments"] == {"a": 1}
    assert second == {"arguments": {"a": 2}, "pid": first["pid"]}
    assert first["pid"] != os.getpid()


def test_whatever_is_json_comes_back_as_it_went(make_compute):
    async def scene():
        compute = make_compute()

        async def same(value):
            return (await compute.run("echo", {"value": value}, timeout=20))["arguments"]["value"] == value

        loop = asyncio.get_running_loop()

        @given(values)
        @settings(deadline=None, max_examples=100, database=None)
        def law(value):
            assert asyncio.run_coroutine_threadsafe(same(value), loop).result(20)

        await asyncio.to_thread(law)
        await compute.close()

    asyncio.run(scene())


@in_loop
async def test_a_fresh_child_serves_one_call(make_compute):
    compute = make_compute()
    answers = [await compute.run("echo", {}, timeout=20, fresh=True) for _ in range(2)]
    assert answers[0]["pid"] != answers[1]["pid"]
    await until(lambda: not any(is_running(answer["pid"]) for answer in answers))
    await compute.close()


@in_loop
async def test_progress_comes_in_order_and_ends_before_the_answer(make_compute):
    compute = make_compute()
    seen = []

    async def note(fraction, message):
        seen.append((fraction, message))

    answer = await compute.run("count", {"to": 4}, timeout=20, progress=note)
    await compute.close()
    assert answer == {"counted": 4}
    assert seen == [(step / 4, f"step {step}") for step in range(4)]


@in_loop
async def test_progress_is_thinned_out(make_compute):
    compute = make_compute()
    seen = []

    async def note(fraction, message):
        seen.append(fraction)

    await compute.run("count", {"to": 2_000, "pause": 0}, timeout=20, progress=note)
    await compute.close()
    assert 1 <= len(seen) < 200


@in_loop
async def test_a_refusal_crosses_with_code_hint_and_details(make_compute):
    compute = make_compute()
    with pytest.raises(DataRejected) as refused:
        await compute.run("refuse", {}, timeout=20)
    await compute.close()
    error = refused.value
    assert (error.code, error.message, error.hint, error.details) == (
        "E_RAGGED", "Row 3 has 4 fields.", "Quote the field.", {"row": 3},
    )  # fmt: skip


@in_loop
async def test_the_child_survives_a_refusal(make_compute):
    compute = make_compute()
    before = await compute.run("echo", {}, timeout=20)
    with pytest.raises(DataRejected):
        await compute.run("refuse", {}, timeout=20)
    after = await compute.run("echo", {}, timeout=20)
    await compute.close()
    assert before["pid"] == after["pid"]


@in_loop
async def test_an_unexpected_error_is_masked_and_its_traceback_logged(make_compute, caplog):
    compute = make_compute()
    with pytest.raises(ComputeFailed) as failed:
        await compute.run("raise_unexpectedly", {"secret": "hunter2"}, timeout=20)
    await compute.close()
    assert "hunter2" not in str(failed.value) + str(failed.value.details)
    assert failed.value.details["reason"] == "failed"
    assert failed.value.details["reference"] in caplog.text
    assert "RuntimeError" in caplog.text
    assert "sample_operations.py" in caplog.text


@in_loop
async def test_what_a_library_prints_does_not_reach_the_protocol(make_compute):
    compute = make_compute()
    assert await compute.run("print_noise", {"times": 1_000}, timeout=20) == {"ok": True}
    assert await compute.run("print_noise", {"times": 1}, timeout=20, fresh=True) == {"ok": True}
    await compute.close()


@in_loop
async def test_a_flood_on_standard_error_neither_blocks_nor_fills_the_log(make_compute, caplog):
    compute = make_compute()
    assert await compute.run("flood_stderr", {"lines": 5_000}, timeout=20) == {"ok": True}
    await compute.close()
    assert len(caplog.records) < 300


@pytest.mark.parametrize(
    ("operation", "arguments", "reason"),
    [
        ("crash", {"signal": int(signal.SIGSEGV)}, "crashed"),
        ("crash", {"signal": int(signal.SIGKILL)}, "killed"),
        ("leave", {"code": 3}, "failed"),
        ("answer_with_nan", {}, "failed"),
        ("answer_with_a_list", {}, "protocol"),
        ("no_such_operation", {}, "failed"),
    ],
)
@in_loop
async def test_a_child_that_ends_is_reported_with_its_reason_and_replaced(make_compute, operation, arguments, reason):
    compute = make_compute()
    with pytest.raises(ComputeFailed) as failed:
        await compute.run(operation, arguments, timeout=20)
    answer = await compute.run("echo", {}, timeout=20)
    await compute.close()
    assert failed.value.details["reason"] == reason
    assert is_running(answer["pid"]) is False


@linux
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    ("operation", "arguments"), [("allocate", {"bytes": 600 * MIB}), ("allocate_in_polars", {"rows": 100_000_000})]
)
@in_loop
async def test_a_child_over_its_memory_ends_with_that_reason(make_compute, operation, arguments, fresh):
    compute = make_compute(memory_bytes=512 * MIB)
    with pytest.raises(ComputeFailed) as failed:
        await compute.run(operation, arguments, timeout=20, fresh=fresh)
    await compute.close()
    assert failed.value.details["reason"] == "memory"


@in_loop
async def test_the_same_work_fits_a_larger_limit(make_compute):
    compute = make_compute(memory_bytes=4096 * MIB)
    assert await compute.run("allocate", {"bytes": 600 * MIB}, timeout=20) == {"bytes": 600 * MIB}
    await compute.close()


@in_loop
async def test_the_smallest_memory_setting_still_fits_the_libraries(make_compute):
    compute = make_compute(memory_bytes=512 * MIB)
    assert len((await compute.run("fit", {}, timeout=50))["coefficients"]) == 2
    await compute.close()


@linux
@in_loop
async def test_a_fresh_child_over_its_cpu_time_ends_with_that_reason(make_compute, tmp_path):
    compute = make_compute(cpu_seconds=1)
    with pytest.raises(ComputeFailed) as failed:
        await compute.run(
            "compute_for", {"seconds": 30, "started": str(tmp_path / "scratch" / "s")}, timeout=30, fresh=True
        )
    await compute.close()
    assert failed.value.details["reason"] == "cpu"


@in_loop
async def test_a_timeout_ends_the_child_and_the_next_call_gets_another(make_compute, tmp_path):
    compute = make_compute()
    started = tmp_path / "scratch" / "started"
    with pytest.raises(DeadlineExceeded):
        await compute.run("compute_for", {"seconds": 60, "started": str(started)}, timeout=2)
    pid = int(text_of(started))
    await until(lambda: not is_running(pid), within=2)
    assert (await compute.run("echo", {}, timeout=20))["pid"] != pid
    await compute.close()


@pytest.mark.parametrize("fresh", [False, True])
@in_loop
async def test_cancelling_the_caller_ends_the_child_and_what_it_started(make_compute, tmp_path, fresh):
    compute = make_compute()
    started = tmp_path / "scratch" / "started"
    call = asyncio.create_task(compute.run("with_a_grandchild", {"started": str(started)}, timeout=None, fresh=fresh))
    pids = [int(pid) for pid in (await until(lambda: text_of(started))).split()]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: not any(is_running(pid) for pid in pids), within=2)
    await compute.close()


@in_loop
async def test_a_long_computation_holds_up_no_other(make_compute, tmp_path):
    compute = make_compute()
    started = tmp_path / "scratch" / "started"
    long = asyncio.create_task(
        compute.run("compute_for", {"started": str(started), "seconds": 600}, timeout=None),
    )
    busy = int(await until(lambda: text_of(started)))
    answers = [await compute.run("echo", {}, timeout=60) for _ in range(2)]
    assert busy not in {answer["pid"] for answer in answers}
    assert is_running(busy)
    await until(lambda: not any(is_running(answer["pid"]) for answer in answers))
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    await compute.close()


@in_loop
async def test_a_caller_that_leaves_the_queue_disturbs_no_one(make_compute, tmp_path):
    compute = make_compute()
    before = await compute.run("echo", {}, timeout=20)
    running = asyncio.create_task(compute.run("count", {"to": 5}, timeout=20))
    waiting = asyncio.create_task(compute.run("echo", {}, timeout=20))
    await asyncio.sleep(0)
    waiting.cancel()
    assert await running == {"counted": 5}
    assert (await compute.run("echo", {}, timeout=20))["pid"] == before["pid"]
    await compute.close()


@in_loop
async def test_calls_beyond_the_queue_are_refused_at_once(make_compute):
    compute = make_compute(waiting=1)
    calls = [asyncio.create_task(compute.run("count", {"to": 3}, timeout=20)) for _ in range(8)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    await compute.close()
    assert [outcome for outcome in outcomes if isinstance(outcome, dict)] == [{"counted": 3}] * 4
    assert sum(isinstance(outcome, Busy) for outcome in outcomes) == 4


@in_loop
async def test_arguments_that_are_not_json_are_refused(make_compute):
    compute = make_compute()
    with pytest.raises(Unsupported):
        await compute.run("echo", {"value": float("inf")}, timeout=20)
    await compute.close()


@in_loop
async def test_what_the_warm_child_may_read_can_not_be_changed_by_a_call(make_compute, tmp_path):
    compute = make_compute()
    with pytest.raises(ValueError, match="warm child"):
        await compute.run("echo", {}, timeout=20, reads=[tmp_path])
    await compute.close()


def test_the_servers_side_imports_nothing_that_only_children_need():
    heavy = ("numpy", "polars", "sklearn", "sqlalchemy", "dbos", "ctypes")
    code = f"import sys, mcp_server.jobs.compute; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@in_loop
async def test_closing_leaves_no_process_and_no_file(make_compute, tmp_path):
    compute = make_compute()
    answer = await compute.run("environment", {}, timeout=20)
    await compute.run("echo", {}, timeout=20, fresh=True)
    await compute.close()
    assert is_running(answer["pid"]) is False
    assert list((tmp_path / "scratch").iterdir()) == []


@in_loop
async def test_a_closed_compute_starts_nothing(make_compute):
    compute = make_compute()
    await compute.close()
    with pytest.raises(ComputeFailed):
        await compute.run("echo", {}, timeout=20)


@in_loop
async def test_what_a_killed_server_left_is_removed_and_a_living_ones_kept(make_compute, tmp_path):
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    left, kept = tmp_path / "scratch" / f"child-{gone.pid}-abc", tmp_path / "scratch" / f"child-{os.getppid()}-abc"
    left.mkdir(parents=True)
    kept.mkdir()
    compute = make_compute()
    await compute.warm()
    await compute.close()
    assert (left.exists(), kept.exists()) == (False, True)
