"""Rows to label: those that models are unsure of or disagree on, no two alike, each with what decided."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.labelling import Committee, ForecastKind, Forecasts, choose, choose_spread
from mcp_server.core.labelling.choosing import doubts
from mcp_server.core.labelling.committee import dealt

TWO = ForecastKind("binary", 2)
NUMBERS = ForecastKind("regression", 0)


def two_groups(rows: int, rng: np.random.Generator):
    """Two classes that meet at 0 in the first of three columns."""
    target = (np.arange(rows) % 2).astype(float)
    matrix = rng.normal(size=(rows, 3))
    matrix[:, 0] = matrix[:, 0] + 4.0 * target - 2.0
    return matrix, target


def test_rows_between_the_classes_are_asked_for_first():
    rng = np.random.default_rng(1)
    matrix, target = two_groups(80, rng)
    candidates, _ = two_groups(1_000, rng)
    found = choose(matrix, target, candidates, TWO, count=20, rng=rng)
    away = np.abs(candidates[:, 0])
    assert away[found.rows].mean() < 0.5 * away.mean()
    assert set(found.why) <= {"undecided", "disagreement"}
    assert found.likeliest.shape == (20, 2)
    assert (found.likeliest[:, 0] != found.likeliest[:, 1]).all()


def test_numbers_are_asked_for_where_the_trees_contradict_each_other():
    rng = np.random.default_rng(2)
    matrix = rng.uniform(-1, 1, size=(120, 2))
    noisy = matrix[:, 0] > 0
    target = matrix[:, 1] + noisy * rng.normal(0, 3, 120)
    candidates = rng.uniform(-1, 1, size=(600, 2))
    found = choose(matrix, target, candidates, NUMBERS, count=15, rng=rng)
    assert (candidates[found.rows, 0] > 0).mean() > 0.8
    assert found.likeliest.shape == (15, 0)


@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(0, 40),
    candidates=st.integers(1, 60),
    count=st.integers(1, 30),
    classes=st.integers(2, 4),
    seed=st.integers(0, 99),
)
def test_whatever_is_asked_the_rows_differ_are_candidates_and_have_doubts_within_bounds(
    rows, candidates, count, classes, seed
):
    rng = np.random.default_rng(seed)
    matrix, pool = rng.normal(size=(rows, 2)), rng.normal(size=(candidates, 2)).round(1)
    target = rng.integers(0, classes, rows).astype(float)
    goal = ForecastKind("binary" if classes == 2 else "multiclass", classes)
    found = choose(matrix, target, pool, goal, count=count, rng=np.random.default_rng(seed))
    assert 1 <= len(found.rows) <= min(count, candidates)
    assert len(set(found.rows.tolist())) == len(found.rows) == len(found.why)
    assert set(found.rows.tolist()) <= set(range(candidates))
    for scores in (found.uncertainty, found.disagreement):
        assert ((scores >= 0) & (scores <= 1)).all()
    assert (found.alike >= 1).all()
    again = choose(matrix, target, pool, goal, count=count, rng=np.random.default_rng(seed))
    assert again.rows.tolist() == found.rows.tolist()


def test_equal_candidates_are_asked_for_once():
    pool = np.repeat(np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]]), 20, axis=0)
    found = choose_spread(pool, count=10, rng=np.random.default_rng(0))
    assert sorted(map(tuple, pool[found.rows].tolist())) == [(0.0, 0.0), (0.0, 5.0), (5.0, 0.0)]
    assert found.alike.tolist() == [20, 20, 20]


def test_without_labels_every_group_of_rows_has_one_that_stands_for_it():
    rng = np.random.default_rng(3)
    pool = np.concatenate([rng.normal(middle, 0.1, size=(50, 2)) for middle in (-9, -3, 3, 9)])
    none = np.empty(0)
    found = choose(np.empty((0, 2)), none, pool, TWO, count=4, rng=rng)
    assert found.why == ("spread",) * 4
    assert sorted(found.rows // 50) == [0, 1, 2, 3]


def test_doubts_are_the_margin_and_the_divergence_in_bits():
    one, other = np.array([[0.9, 0.1], [1 - 1e-12, 1e-12]]), np.array([[0.7, 0.3], [1e-12, 1 - 1e-12]])
    uncertainty, disagreement = doubts(Forecasts(one, other, np.zeros(2)), np.zeros(2), TWO)
    assert uncertainty == pytest.approx([0.4, 1.0])
    # By hand: the mean's entropy less the mean entropy, H(.2) - (H(.1) + H(.3)) / 2 = .72193 - .67514.
    assert disagreement == pytest.approx([0.04679, 1.0], abs=1e-5)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(2, 5), st.integers(0, 9))
def test_each_class_is_dealt_out_evenly(target, folds, seed):
    values = np.array(target, dtype=float)
    fold = dealt(values, folds, np.random.default_rng(seed))
    for index in set(target):
        counts = np.bincount(fold[values == index], minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_a_class_without_a_row_is_unlikely_and_not_impossible():
    rng = np.random.default_rng(5)
    matrix, target = two_groups(60, rng)
    said = Committee(matrix, target, ForecastKind("multiclass", 3), rng).forecasts(matrix)
    assert said.mean.sum(axis=1) == pytest.approx(np.ones(60))
    assert (said.mean[:, 2] > 0).all()
    assert said.mean[:, 2].max() < 0.02


def test_forecasts_of_what_chance_decides_come_close_to_its_share():
    """Both models learn noise by heart; calibrated on rows that they hadn't seen, they don't claim to know it."""
    rng = np.random.default_rng(6)
    matrix, target = rng.normal(size=(300, 10)), (rng.random(300) < 0.5).astype(float)
    said = Committee(matrix, target, TWO, rng).forecasts(rng.normal(size=(500, 10))).mean
    assert np.abs(said - 0.5).mean() < 0.06
