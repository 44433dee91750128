"""Cron expressions: what is kept, what is refused, and the hours when clocks change."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.errors import InvalidInput
from mcp_server.jobs.schedule import LEAST, check, next_run

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "cron", ["0 6 * * 1", "*/5 * * * *", "0 0 29 2 *", "15,45 8-17 * * mon-fri", "0 3 1 JAN,jul *", "0 9 * * fri#2"]
)
def test_what_crontab_knows_is_kept_and_comes(cron: str) -> None:
    assert check(f" {cron.replace(' ', '  ')} ", "Europe/Paris", NOW) == cron
    assert next_run(cron, "Europe/Paris", NOW) > NOW


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("* * * * *", "more often"),
        ("0,3 6 * * *", "more often"),
        ("58,2 0,1 * * *", "more often"),
        ("0 0 30 2 *", "no day"),
        ("99 * * * *", "can't be read"),
        ("0 0 1-5/0 * *", "can't be read"),
        ("@daily", "five fields"),
        ("0 0 * * * *", "five fields"),
        ("R 4 * * *", "five fields"),
        ("H 4 * * *", "five fields"),
        ("R(0-3) 4 * * *", "five fields"),
        ("", "five fields"),
        ("0 6 * * 1\n* * * * *", "five fields"),
        ("0 6 * * " + "1," * 60 + "1", "five fields"),
    ],
)
def test_what_never_comes_too_often_or_is_none_is_refused(cron: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        check(cron, "UTC", NOW)


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "", "/etc/localtime", "UTC\n", "a/b/c/d/e"])
def test_a_time_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInput, match="time zone"):
        check("0 6 * * 1", zone, NOW)


def test_where_clocks_are_put_forward_a_run_in_the_gap_comes_at_its_end() -> None:
    at = next_run("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert at == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert next_run("30 2 * * *", "Europe/Berlin", at) == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_where_clocks_are_put_back_a_fixed_hour_comes_once_and_every_hour_each_time() -> None:
    first = next_run("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert next_run("30 2 * * *", "Europe/Berlin", first) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    hourly = [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]
    hourly.append(next_run("30 * * * *", "Europe/Berlin", hourly[-1]))
    assert hourly[1] - hourly[0] == timedelta(hours=1)


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.sampled_from(["UTC", "Asia/Kathmandu", "America/New_York"]),
    st.datetimes(),
)
def test_a_daily_run_comes_within_25_hours_and_after_the_moment(
    minute: int, hour: int, zone: str, moment: datetime
) -> None:
    after = moment.replace(year=2020 + moment.year % 20, day=min(moment.day, 28), tzinfo=UTC)
    at = next_run(f"{minute} {hour} * * *", zone, after)
    assert after < at <= after + timedelta(hours=25)
    assert at.tzinfo is UTC


def test_the_least_time_between_two_runs_is_five_minutes() -> None:
    cron = check("*/5 * * * *", "UTC", NOW)
    first = next_run(cron, "UTC", NOW)
    assert next_run(cron, "UTC", first) - first == LEAST
