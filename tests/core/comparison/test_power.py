"""What a sample can show, and what a stated margin takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from mcp_server.core.comparison.equivalence import equivalence
from mcp_server.core.comparison.power import MOST_ROWS, detectable, rows_needed
from mcp_server.errors import BadSample


def test_the_textbook_sample_size_of_a_paired_mean() -> None:
    """Chow, Shao & Wang (2008), 3.1: (z + z)^2 sd^2 / difference^2; half a standard deviation takes 31.4, so 32."""
    half = norm.ppf(0.975) / np.sqrt(10)
    assert rows_needed(0.5, detectable(half), 10) == 32


def test_so_many_rows_show_it_four_times_in_five() -> None:
    rng = np.random.default_rng(1)
    difference, spread = 0.02, 0.3
    rows = rows_needed(difference, detectable(1.959964 * spread / np.sqrt(100)), 100)
    assert rows is not None
    found = 0
    for _ in range(500):
        sample = difference + spread * rng.normal(size=rows)
        found += abs(sample.mean()) > 1.96 * sample.std(ddof=1) / np.sqrt(rows)
    assert found / 500 == pytest.approx(0.8, abs=0.06)


def test_a_difference_among_several_tests_must_be_larger() -> None:
    assert detectable(1.0, tests=10) > detectable(1.0, tests=2) > detectable(1.0)


def test_no_number_of_rows_finds_what_is_not_there() -> None:
    assert rows_needed(0.0, 0.1, 100) is None
    assert rows_needed(1e-9, 0.1, MOST_ROWS) is None


@given(st.floats(1e-6, 1.0), st.floats(1e-6, 1.0), st.integers(20, 10**6))
def test_a_difference_within_reach_needs_no_more_rows_than_there_are(
    difference: float, shown: float, rows: int
) -> None:
    needed = rows_needed(difference, shown, rows)
    if needed is not None:
        assert (needed <= rows) == (difference >= shown) or difference == pytest.approx(shown, rel=1e-6)
        assert needed == rows_needed(-difference, shown, rows)


@given(st.floats(-1.0, 1.0), st.floats(0.0, 1.0), st.floats(0.01, 1.0))
def test_a_margin_holds_the_whole_interval_or_shows_nothing(low: float, width: float, margin: float) -> None:
    there = equivalence(low, low + width, margin=margin)
    back = equivalence(-low - width, -low, margin=margin)
    assert there.standing == back.standing
    if there.standing == "within the margin":
        assert max(abs(low), abs(low + width)) < margin
    if there.standing == "beyond the margin":
        assert min(abs(low), abs(low + width)) >= margin


def test_a_margin_of_nothing_is_refused() -> None:
    for bad in (0.0, -0.1, float("inf"), float("nan")):
        with pytest.raises(BadSample):
            equivalence(-0.1, 0.1, margin=bad)
