from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

from mcp_server.core.comparison.delong import delong
from mcp_server.errors import BadSample


@st.composite
def scored(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    """Outcomes of both kinds, and two scores of few values, so that there are ties."""
    rows = draw(st.integers(4, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    happened = rng.random(rows) < 0.5
    happened[:2], happened[2:4] = True, False
    return happened, rng.integers(0, 8, rows).astype(float), rng.integers(0, 8, rows).astype(float)


def by_pairs(happened: Any, scores: Any) -> tuple[Any, Any]:
    """The paper's structural components, from every pair of a positive and a negative row: O(n^2)."""
    ahead = scores[happened][:, None] - scores[~happened][None, :]
    kernel = (ahead > 0) + 0.5 * (ahead == 0)
    return kernel.mean(axis=1), kernel.mean(axis=0)


@given(scored())
def test_it_is_the_papers_formula_over_all_pairs(sample: tuple[Any, Any, Any]) -> None:
    happened, *scores = sample
    (first, under_first), (second, under_second) = (by_pairs(happened, one) for one in scores)
    spread = (first - second).var(ddof=1) / len(first) + (under_first - under_second).var(ddof=1) / len(under_first)
    found = delong(happened, *scores)
    assert found.first == pytest.approx(roc_auc_score(happened, scores[0]))
    assert found.second == pytest.approx(roc_auc_score(happened, scores[1]))
    assert found.error == pytest.approx(np.sqrt(spread), abs=1e-12)


def test_it_agrees_with_another_implementation() -> None:
    """mlstatkit 0.1.91, Delong_test, on the first two features of breast_cancer (malignant is what happened)."""
    features, benign = load_breast_cancer(return_X_y=True)
    found = delong(benign == 0, features[:, 0], features[:, 1])
    assert (found.first, found.second) == pytest.approx((0.9375165160403784, 0.7758244807356904), abs=1e-12)
    assert found.error**2 == pytest.approx(0.0004894255038550451, rel=1e-9)
    assert found.p == pytest.approx(2.6956386253426067e-13, rel=1e-6)


@given(scored())
def test_changing_sides_turns_the_sign_and_keeps_p(sample: tuple[Any, Any, Any]) -> None:
    happened, first, second = sample
    there, back = delong(happened, first, second), delong(happened, second, first)
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.p) == pytest.approx((-back.high, back.p))
    assert 0.0 <= there.p <= 1.0


@given(scored(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(sample: tuple[Any, Any, Any], random: Any) -> None:
    order = list(range(len(sample[0])))
    random.shuffle(order)
    there, again = delong(*sample), delong(*(one[order] for one in sample))
    assert (there.difference, there.error, there.p) == pytest.approx((again.difference, again.error, again.p))


@given(scored())
def test_a_score_does_not_differ_from_itself_nor_from_what_orders_alike(sample: tuple[Any, Any, Any]) -> None:
    happened, first, _ = sample
    for other in (first, np.exp(first) * 3.0):
        found = delong(happened, first, other)
        assert (found.difference, found.p) == (0.0, 1.0)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_equally_good_scores_are_told_apart_in_one_of_twenty_samples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(200):
        happened = rng.random(150) < 0.4
        first, second = (happened + 1.5 * rng.normal(size=150) for _ in range(2))
        wrong += delong(happened, first, second).p < 0.05
    assert wrong <= 22  # of 5 % more than 22 come once in 2,000 trials


def test_one_row_of_a_class_is_too_few() -> None:
    with pytest.raises(BadSample, match="two rows of each class"):
        delong(np.array([True, False, False]), np.arange(3.0), np.arange(3.0))
