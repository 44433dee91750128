"""How much one column gives away: by hand, by law, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.leakage.measures import (
    bins,
    errors_removed,
    separation,
    squared_correlation,
    variance_explained,
)

labels = st.lists(st.booleans(), min_size=4, max_size=60).filter(lambda values: 0 < sum(values) < len(values))


@given(labels, st.data())
@settings(deadline=None)
def test_separation_is_scikit_learns_area_in_the_better_direction(positive: list[bool], data: st.DataObject) -> None:
    from sklearn.metrics import roc_auc_score

    scores = data.draw(st.lists(st.integers(0, 9), min_size=len(positive), max_size=len(positive)))
    area = roc_auc_score(positive, scores)
    found = separation(np.array(scores, dtype=float), np.array(positive))
    assert found == pytest.approx(max(area, 1 - area))


def test_looking_up_worked_by_hand() -> None:
    # Group 0 holds a a a b, group 1 holds b b. Without themselves, its a's see a a b and its b a a a; the b's see b.
    groups = np.array([0, 0, 0, 0, 1, 1])
    classes = np.array([0, 0, 0, 1, 1, 1])
    # One error of six; guessing makes three of six.
    assert errors_removed(groups, classes) == pytest.approx(1 - 1 / 3)


def test_a_column_of_distinct_values_tells_nothing() -> None:
    classes = np.arange(100) % 2
    assert errors_removed(np.arange(100), classes) <= 0
    assert variance_explained(np.arange(100), np.random.default_rng(0).normal(size=100)) == pytest.approx(0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=3, max_size=60))
@settings(deadline=None)
def test_looking_up_agrees_with_leaving_each_row_out_by_brute_force(rows: list[tuple[int, int]]) -> None:
    groups, classes = (np.array(part) for part in zip(*rows, strict=True))
    if classes.min() == classes.max():
        return
    right = 0.0
    for at in range(len(rows)):
        others = np.delete(classes, at)[np.delete(groups, at) == groups[at]]
        counts = np.bincount(others, minlength=4)
        best = counts.max(initial=0)
        if best and counts[classes[at]] == best:
            right += 1.0 if (counts == best).sum() == 1 else 0.5
    guessing = 1 - np.bincount(classes).max() / classes.size
    assert errors_removed(groups, classes) == pytest.approx(1 - (1 - right / classes.size) / guessing)


def test_the_mean_of_the_others_explains_a_step_function() -> None:
    groups = np.repeat([0, 1, 2], 50)
    assert variance_explained(groups, groups.astype(float)) == pytest.approx(1.0)


def test_squared_correlation_is_numpys() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 80))
    assert squared_correlation(x, x + y) == pytest.approx(np.corrcoef(x, x + y)[0, 1] ** 2)
    assert squared_correlation(np.ones(80), y) == 0.0


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=300))
@settings(deadline=None)
def test_equal_values_share_a_bin_and_bins_keep_the_order(values: list[int]) -> None:
    numbers = np.array(values, dtype=float)
    found = bins(numbers)
    order = np.argsort(numbers, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    assert all(len(set(found[numbers == value].tolist())) == 1 for value in set(values))
    assert found.max() < 100
