"""Several tests at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.comparison.false_discovery import benjamini_hochberg
from mcp_server.core.comparison.holm import holm
from mcp_server.errors import BadSample

P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


def test_a_worked_example_of_holm() -> None:
    """Step by step: 4 x .005, 3 x .01, 2 x .03, then .06 stays over 1 x .04."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_published_example_of_benjamini_and_hochberg() -> None:
    """Benjamini & Hochberg (1995), section 4: of 15 tests four are found at 5 %, and three by Bonferroni and Holm."""
    p_values = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
        *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000),
    ]
    assert sum(p < 0.05 for p in benjamini_hochberg(p_values)) == 4
    assert sum(p < 0.05 for p in holm(p_values)) == 3
    assert benjamini_hochberg([]) == []


@given(P_VALUES)
def test_corrections_only_raise_and_stay_probabilities(p_values: list[float]) -> None:
    for given_p, found, by_discovery in zip(p_values, holm(p_values), benjamini_hochberg(p_values), strict=True):
        assert given_p - 1e-12 <= by_discovery <= found + 1e-12 <= 1.0 + 2e-12


@given(P_VALUES, st.randoms(use_true_random=False))
def test_the_order_of_the_tests_changes_nothing(p_values: list[float], random: object) -> None:
    order = list(range(len(p_values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = holm([p_values[at] for at in order])
    assert shuffled == pytest.approx([holm(p_values)[at] for at in order])


def test_one_test_needs_no_correction() -> None:
    assert holm([0.04]) == [0.04]


def test_what_is_no_probability_is_refused() -> None:
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(BadSample):
            holm([0.1, bad])


def test_holm_keeps_any_false_finding_to_one_in_twenty() -> None:
    rng = np.random.default_rng(0)
    wrong = sum(min(holm(list(rng.random(10)))) < 0.05 for _ in range(1_000))
    assert wrong <= 71  # of 5 % more than 71 come once in 500 trials
