"""The parts of screening: half-sample, limits, tails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.screening import limits
from mcp_server.core.screening.half_sample import half_sample
from mcp_server.core.screening.limits import limit_for
from mcp_server.core.screening.tails import start_of_group, two_groups
from performance.screening_rates import calibrate


def one(values: list[float] | np.ndarray) -> tuple[float, float]:
    centre, scale = half_sample(np.sort(np.asarray(values, dtype=float))[:, None])
    return float(centre[0]), float(scale[0])


def test_the_shortest_half_worked_by_hand() -> None:
    # Of five values three make a half: [2, 2.5, 3] is the shortest.
    assert one([0.0, 2.0, 2.5, 3.0, 9.0]) == pytest.approx((2.5, 0.5 / 0.67448975))


@pytest.mark.parametrize("rows", [25, 200, 5_000])
def test_the_scale_of_a_gaussian_is_its_standard_deviation(rows: int) -> None:
    rng = np.random.default_rng(1)
    table = np.sort(rng.normal(50, 4, (rows, 400)), axis=0)
    centre, scale = half_sample(table)
    assert np.median(centre) == pytest.approx(50, abs=0.1)
    assert np.median(scale) == pytest.approx(4, rel=0.1 if rows < 100 else 0.05)


@pytest.mark.parametrize("rows", [10, 40, 200])
def test_just_under_half_of_the_values_cannot_move_it_far(rows: int) -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=rows)
    values[: (rows - 1) // 2] = 1e9
    centre, scale = one(values)
    assert abs(centre) < 2
    assert scale < 5


def test_refining_makes_the_scale_vary_less() -> None:
    rng = np.random.default_rng(3)
    table = np.sort(rng.normal(size=(100, 2_000)), axis=0)
    unrefined = (table[49:] - table[:51]).min(axis=0)
    refined = half_sample(table)[1]
    assert refined.std() / refined.mean() < 0.8 * unrefined.std() / unrefined.mean()


def test_half_of_the_values_equal_leaves_no_scale() -> None:
    assert one(np.r_[np.zeros(15), np.arange(1.0, 16.0)]) == (0.0, 0.0)


@given(st.integers(1, 10_000), st.integers(1, 500), st.floats(0.5, 50))
@settings(deadline=None)
def test_a_limit_is_never_below_the_threshold(rows: int, columns: int, threshold: float) -> None:
    assert limit_for(rows, columns, threshold) >= threshold * (1 - 1e-12)


@given(st.integers(1, 200), st.integers(1, 400), st.floats(1, 20))
@settings(deadline=None)
def test_more_columns_and_a_higher_threshold_raise_the_limit(rows: int, columns: int, threshold: float) -> None:
    limit = limit_for(rows, columns, threshold)
    assert limit_for(rows, columns + 1, threshold) >= limit
    assert limit_for(rows, columns, threshold * 1.5) > limit


def test_with_many_rows_the_limit_is_a_closed_formula() -> None:
    assert limit_for(60, 1, 3.0) == 3.0
    assert limit_for(1_000_000, 20, 3.0) == pytest.approx(math.sqrt(9 + 2 * math.log(20)))


def test_the_simulated_limits_are_exact_on_the_grid_and_between_neighbours_off_it() -> None:
    assert limit_for(10, 5, 3.0) == pytest.approx(19.16)
    assert limit_for(49, 20, 3.0) < limit_for(44, 20, 3.0) < limit_for(39, 20, 3.0)
    assert limit_for(10, 5, 3.0) < limit_for(10, 7, 3.0) < limit_for(10, 10, 3.0)


@pytest.mark.parametrize(("rows", "tables"), [(5, 4_000), (10, 4_000), (29, 1_500)])
def test_the_committed_limits_are_what_the_simulation_gives(rows: int, tables: int) -> None:
    again = calibrate(rows, tables)
    assert again == pytest.approx(limits._SCORES[limits._ROWS.index(rows)], rel=0.25)


def test_an_empty_gap_before_many_values_is_a_group() -> None:
    body = np.sort(np.abs(np.random.default_rng(4).normal(size=100)))
    assert start_of_group(np.r_[body, np.linspace(8, 9, 10)]) == 8.0


def test_a_power_tail_has_no_group() -> None:
    assert start_of_group(1 / np.linspace(1, 0.001, 500)) == np.inf


def test_values_near_the_centre_have_no_group() -> None:
    assert start_of_group(np.linspace(0, 0.9, 50)) == np.inf
    assert start_of_group(np.array([])) == np.inf


def test_a_gap_of_one_step_is_none() -> None:
    steps = np.repeat([0.0, 1.5, 3.0], [200, 60, 40])
    assert start_of_group(steps) == 1.5
    assert start_of_group(steps, grain=1.5) == np.inf


def test_two_groups_need_a_valley_and_a_minority() -> None:
    rng = np.random.default_rng(5)
    mixed = np.sort(np.r_[rng.normal(0, 1, 300), rng.normal(8, 1, 200)])
    assert two_groups(mixed, minority=0.3)
    assert not two_groups(mixed, minority=0.45)
    assert not two_groups(np.sort(rng.random(500)), minority=0.3)
    assert not two_groups(np.sort(rng.normal(size=500)), minority=0.3)
