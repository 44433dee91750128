"""Several models on several data sets: ranks, and how far apart they must lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import friedmanchisquare

from mcp_server.core.comparison.friedman import friedman
from mcp_server.core.comparison.nemenyi import critical_distance
from mcp_server.errors import BadSample

# Demsar (2006), JMLR 7, table 6: AUC of four variants of C4.5 on 14 data sets. The last two of the 13th tie as printed
# only (.975 and .975): the paper ranks them 2 and 3, by further digits.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
TABLES = st.tuples(st.integers(2, 10), st.integers(3, 6)).flatmap(
    lambda shape: arrays.arrays(float, shape, elements=st.integers(0, 6).map(float))
)


def test_the_published_ranks_and_statistic() -> None:
    """There: 3.143, 2.000, 2.893, 1.964; chi squared 9.28, without the correction for ties."""
    found = friedman(-DEMSAR)
    assert found.ranks == pytest.approx([3.143, 2.0, 2.893, 1.964], abs=5e-4)
    models, sets = 4, 14
    uncorrected = 12 * sets / (models * (models + 1)) * ((found.ranks**2).sum() - models * (models + 1) ** 2 / 4)
    assert uncorrected == pytest.approx(9.28, abs=5e-3)
    assert found.statistic > uncorrected
    assert found.f_p < found.p < 0.05


@pytest.mark.parametrize(
    ("models", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031)]
)
def test_the_published_critical_values(models: int, q: float) -> None:
    """Demsar (2006), table 5, Nemenyi at 5 %; printed to three digits of their own rounding."""
    assert critical_distance(models, 20) == pytest.approx(q * np.sqrt(models * (models + 1) / 120), rel=1e-3)


def test_the_published_example_of_nemenyi() -> None:
    assert critical_distance(4, 14) == pytest.approx(1.25, abs=5e-3)


@given(TABLES)
def test_chi_squared_is_scipys(table: Any) -> None:
    found = friedman(table)
    if np.ptp(table, axis=1).any():
        wanted = friedmanchisquare(*table.T)
        assert found.statistic == pytest.approx(wanted.statistic)
        assert found.p == pytest.approx(wanted.pvalue)
    else:
        assert (found.p, found.f_p) == (1.0, 1.0)
    assert 0.0 <= found.f_p <= 1.0
    assert found.ranks.sum() == pytest.approx(table.shape[1] * (table.shape[1] + 1) / 2)


@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_the_data_sets_changes_nothing(table: Any, random: Any) -> None:
    order = list(range(len(table)))
    random.shuffle(order)
    there, again = friedman(table), friedman(table[order])
    assert (there.statistic, there.f_p) == pytest.approx((again.statistic, again.f_p))


def test_one_data_set_has_no_ranks_to_compare() -> None:
    with pytest.raises(BadSample):
        friedman(np.ones((1, 3)))
    with pytest.raises(BadSample):
        critical_distance(3, 1)
