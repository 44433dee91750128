"""Counting calls, and what the health report and Prometheus are told."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from mcp_server.telemetry import BUCKETS, MOST_ERRORS, MOST_LABELS, OTHER, RECENT, Telemetry

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def samples(telemetry: Telemetry) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(telemetry.render().decode())
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_calls_are_counted_by_tool_and_outcome() -> None:
    telemetry = Telemetry()
    for outcome in ("ok", "ok", "E_ARG", "E_THROTTLED"):
        telemetry.record_call("predict", outcome, 0.002, reference="r", at=AT)
    told = samples(telemetry)
    assert told["courtside_calls_total", "ok", "predict"] == 2
    assert told["courtside_calls_total", "E_ARG", "predict"] == 1
    assert told["courtside_throttled_total", "predict"] == 1


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_the_histogram_agrees_with_the_durations(durations: list[float]) -> None:
    telemetry = Telemetry()
    for seconds in durations:
        telemetry.record_call("predict", "ok", seconds)
    told = samples(telemetry)
    for bound in BUCKETS:
        assert told["courtside_call_seconds_bucket", str(bound), "predict"] == sum(one <= bound for one in durations)
    assert told["courtside_call_seconds_count", "predict"] == len(durations)
    assert told["courtside_call_seconds_sum", "predict"] == pytest.approx(sum(durations))


def test_percentiles_by_hand() -> None:
    telemetry = Telemetry()
    for milliseconds in range(1, 101):
        telemetry.record_call("predict", "ok", milliseconds / 1_000)
    telemetry.record_call("train_model", "ok", 2.0)
    assert telemetry.slowest(1) == [
        {"tool": "train_model", "calls": 1, "p50_ms": 2000.0, "p95_ms": 2000.0, "max_ms": 2000.0}
    ]
    assert telemetry.slowest()[1] == {"tool": "predict", "calls": 100, "p50_ms": 50.0, "p95_ms": 95.0, "max_ms": 100.0}


def test_only_the_last_calls_count_for_percentiles() -> None:
    telemetry = Telemetry()
    for seconds in [9.0] * RECENT + [0.001] * RECENT:
        telemetry.record_call("predict", "ok", seconds)
    assert telemetry.slowest()[0] == {
        "tool": "predict",
        "calls": 2 * RECENT,
        "p50_ms": 1.0,
        "p95_ms": 1.0,
        "max_ms": 1.0,
    }


def test_recent_errors_are_the_newest_first_and_bounded() -> None:
    telemetry = Telemetry()
    for place in range(MOST_ERRORS + 5):
        telemetry.record_call("predict", "E_ARG", 0.1, reference=str(place), at=AT)
    telemetry.record_call("predict", "ok", 0.1)
    telemetry.record_call("predict", "cancelled", 0.1)
    newest = {"code": "E_ARG", "tool": "predict", "reference": "104", "at": "2026-11-23T12:00:00+00:00"}
    assert telemetry.recent_errors(2) == [newest, newest | {"reference": "103"}]
    assert len(telemetry.recent_errors(1_000)) == MOST_ERRORS


def test_a_client_cannot_grow_the_memory_with_names() -> None:
    telemetry = Telemetry()
    for place in range(3 * MOST_LABELS):
        telemetry.record_call(f"tool {place}", f"outcome {place}", 0.1)
        telemetry.record_retry(f"tool {place}")
    told = samples(telemetry)
    assert sum(key[0] == "courtside_call_seconds_count" for key in told) == MOST_LABELS + 1
    assert told["courtside_call_seconds_count", OTHER] == 2 * MOST_LABELS
    assert told["courtside_retries_total", OTHER] == 2 * MOST_LABELS


def test_what_runs_is_in_flight_even_when_it_fails() -> None:
    telemetry = Telemetry()
    seen = []
    with contextlib.suppress(ValueError), telemetry.running():
        seen.append(telemetry.in_flight)
        raise ValueError
    assert [*seen, telemetry.in_flight] == [1, 0]


def test_a_blocked_event_loop_is_noticed() -> None:
    telemetry = Telemetry()

    async def main() -> None:
        watching = asyncio.create_task(telemetry.watch_loop(interval=0.001))
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.05
        while loop.time() < until:
            pass
        for _ in range(3):
            await asyncio.sleep(0)
        watching.cancel()

    asyncio.run(main())
    assert samples(telemetry)["courtside_event_loop_lag_seconds",] == telemetry.loop_lag >= 0.04


def test_prometheus_is_not_imported_before_it_is_asked_for() -> None:
    use = "from mcp_server import telemetry; telemetry.record_call('a', 'ok', 1)"
    code = f"import sys; {use}; print('prometheus_client' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"
