"""Groups of rows: how they are made, and what is found in them."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from core.comparison.samples import MADE, games, prices
from mcp_server.core.comparison.groups import groups
from mcp_server.core.comparison.slices import RowGroup, slices, worst_group
from mcp_server.core.contract import Column, Contract
from mcp_server.core.metrics.forecasts import row_losses


def parted(rng: np.random.Generator, rows: int, count: int = 5) -> list[RowGroup]:
    which = rng.integers(0, count, rows)
    return [RowGroup("part", str(number), which == number) for number in range(count)]


def test_a_groups_difference_is_the_paired_t_test_of_scipy() -> None:
    rng = np.random.default_rng(0)
    target, first, second = games(rng, 900)
    (group,) = parted(rng, 900, 2)[:1]
    found = slices(target, first, second, [group], task="binary")[0]
    losses = [row_losses(target, forecast, task="binary")[group.rows] for forecast in (second, first)]
    wanted = ttest_rel(*losses)
    interval = wanted.confidence_interval()
    assert found.q == pytest.approx(wanted.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.first, found.second) == pytest.approx((losses[1].mean(), losses[0].mean()))


def test_a_group_on_which_one_model_fails_is_found_and_comes_first() -> None:
    rng = np.random.default_rng(1)
    target, first, second = prices(rng, 2_000)
    grouped = parted(rng, 2_000)
    bad = first + 3.0 * rng.normal(size=2_000) * grouped[3].rows
    found = slices(target, bad, second, grouped, task="regression")
    assert (found[0].group, found[0].verdict) == (3, "worse")
    assert all(one.verdict == "no detectable difference" for one in found[1:])
    worst = worst_group(found)
    assert worst is not None
    assert worst.group == 3
    assert worst.excess_low > 0.0


def test_small_groups_are_marked_and_not_tested_and_tiny_ones_left_out() -> None:
    rng = np.random.default_rng(2)
    target, first, second = games(rng, 500)
    sizes = {"tiny": 19, "small": 99, "large": 100}
    grouped = [RowGroup("size", name, np.arange(500) < rows) for name, rows in sizes.items()]
    found = {grouped[one.group].value: one for one in slices(target, first, second, grouped, task="binary")}
    assert set(found) == {"small", "large"}
    assert (found["small"].small, found["small"].q) == (True, None)
    assert found["small"].verdict == "no detectable difference"
    assert (found["large"].small, found["large"].q is None) == (False, False)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(MADE)), st.integers(0, 2**32))
def test_changing_sides_turns_the_sign_of_every_group(task: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, first, second = MADE[task](rng, 400)
    grouped = parted(rng, 400, 3)
    there = {one.group: one for one in slices(target, first, second, grouped, task=task)}
    for one in slices(target, second, first, grouped, task=task):
        other = there[one.group]
        assert one.difference == pytest.approx(-other.difference)
        assert one.low == pytest.approx(-other.high)
        assert one.q == pytest.approx(other.q)


def test_of_groups_without_any_difference_few_are_found() -> None:
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(100):
        target, first, second = games(rng, 2_000)
        found = slices(target, first, second, parted(rng, 2_000, 12), task="binary")
        wrong += any(one.verdict != "no detectable difference" for one in found)
    assert wrong <= 11  # of 5 % more than 11 of 100 come once in 200 trials


def a_table(rows: int = 400) -> tuple[pl.DataFrame, Contract]:
    rng = np.random.default_rng(4)
    frame = pl.DataFrame(
        {
            "id": range(rows),
            "team": rng.choice(["red", "blue", "green"], rows, p=[0.6, 0.38, 0.02]),
            "rating": rng.normal(1500, 100, rows),
            "day": [date(2020, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 300, rows)],
            "home": rng.random(rows) < 0.5,
            "email": rng.choice(["a@example.com", "b@example.com"], rows),
            "score": rng.integers(0, 9, rows),
            "won": rng.integers(0, 2, rows),
        }
    ).with_columns(pl.when(pl.col("rating") > 1600).then(None).otherwise(pl.col("rating")).alias("rating"))
    columns = (
        Column(name="id", kind="integer", role="key"),
        Column(name="team", kind="category"),
        Column(name="rating", kind="number", nullable=True),
        Column(name="day", kind="date", role="time"),
        Column(name="home", kind="boolean"),
        Column(name="email", kind="text", personal=True),
        Column(name="score", kind="integer", role="known_after"),
        Column(name="won", kind="integer", role="target"),
    )
    return frame, Contract(columns=columns)


def test_groups_are_values_quarters_and_what_is_missing_but_never_personal_or_known_after() -> None:
    frame, contract = a_table()
    found = groups(frame, contract)
    assert {group.column for group in found} == {"team", "rating", "day", "home"}
    values = {(group.column, group.value) for group in found}
    assert {("team", "red"), ("team", "blue"), ("home", "true"), ("home", "false"), ("rating", "missing")} <= values
    assert ("team", "green") not in values
    assert sum(group.column == "day" for group in found) == 4
    assert groups(frame, contract, besides=frozenset({"team", "day", "home"}))[0].column == "rating"


def test_a_row_is_in_one_group_of_a_column_at_most_and_numbers_share_them_about_evenly() -> None:
    frame, contract = a_table()
    for column in ("team", "rating", "day", "home"):
        chosen = [group.rows for group in groups(frame, contract) if group.column == column]
        assert np.sum(chosen, axis=0).max() == 1
    quarters = [group.rows.sum() for group in groups(frame, contract) if group.column == "rating"][:4]
    assert max(quarters) - min(quarters) <= 4
