"""Screening rows: worked examples, laws, and what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mcp_server.core.screening import GROSS, screen_rows
from mcp_server.errors import BadSample
from performance.screening_rates import STUDIES, refused_share

matrices = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 40), st.integers(1, 3)),
    elements=st.integers(-(10**6), 10**6).map(lambda eighths: eighths / 8) | st.just(float("nan")),
)
extremes = arrays.arrays(np.float64, st.tuples(st.integers(1, 60), st.integers(1, 3)), elements=st.floats(width=64))


def reasons(matrix: np.ndarray) -> list[tuple[int, str]]:
    return [(item.column, item.reason) for item in screen_rows(matrix).undecidable]


def test_half_of_four_rows_may_be_poisoned() -> None:
    screening = screen_rows(np.array([[1.0, 2.0], [1.1, 2.1], [1000.0, 2000.0], [2000.0, 3000.0]]))
    assert screening.anomalous.tolist() == [False, False, True, True]
    assert screening.column[2:].tolist() == [1, 1]
    # The second column's shortest half is [2.0, 2.1]: 2.05 and .05 / .67449.
    assert screening.scores[3] == pytest.approx((3000 - 2.05) / (0.05 / 0.67448975), rel=1e-6)
    assert screening.limit == pytest.approx(2112.0)


def test_three_rows_close_together_pass() -> None:
    assert not screen_rows(np.array([[1.0, 2.0], [1.1, 2.1], [0.9, 1.9]])).anomalous.any()


@given(extremes)
@settings(deadline=None)
def test_any_floats_get_a_verdict_without_a_warning(matrix: np.ndarray) -> None:
    with np.errstate(all="raise", under="ignore"):
        screening = screen_rows(matrix)
    assert not np.isnan(screening.scores).any()
    assert (screening.anomalous == (screening.scores > screening.limit)).all()
    assert screening.anomalous[np.isinf(matrix).any(axis=1)].all()


@given(matrices, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_rows_does_not_matter(matrix: np.ndarray, random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(matrix)))
    random.shuffle(order)
    whole, shuffled = screen_rows(matrix), screen_rows(matrix[order])
    assert shuffled.scores == pytest.approx(whole.scores[order], rel=1e-6)


@given(matrices, st.sampled_from([2.0**-30, 0.5, 4.0, 2.0**40]))
@settings(deadline=None)
def test_the_unit_of_measurement_does_not_matter(matrix: np.ndarray, factor: float) -> None:
    assert screen_rows(matrix * factor).scores == pytest.approx(screen_rows(matrix).scores, rel=1e-6)


@given(matrices)
@settings(deadline=None)
def test_the_sign_of_a_column_does_not_matter(matrix: np.ndarray) -> None:
    flipped = screen_rows(-matrix)
    assert flipped.anomalous.sum() == screen_rows(matrix).anomalous.sum() or np.unique(matrix).size < 20


@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 50), st.integers(1, 4)), elements=st.sampled_from([0.0, 1.0]))
)
@settings(deadline=None)
def test_flags_and_constants_are_never_anomalous(matrix: np.ndarray) -> None:
    screening = screen_rows(matrix)
    assert not screening.anomalous.any()
    assert screening.undecidable == ()


def test_missing_values_are_neither_far_nor_near() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(200, 2))
    matrix[:50, 0] = np.nan
    matrix[60:70, 0] = 1e6
    assert np.flatnonzero(screen_rows(matrix).anomalous).tolist() == list(range(60, 70))


def test_a_column_of_missing_values_is_said_to_have_too_few() -> None:
    matrix = np.column_stack([np.arange(10.0), np.full(10, np.nan)])
    matrix[0, 1] = 5.0
    assert reasons(matrix) == [(1, "too_few")]


def test_a_group_apart_is_found_without_an_empty_gap_before_it() -> None:
    rng = np.random.default_rng(11)
    values = rng.normal(size=(2_000, 1))
    values[:300] += 6
    found = screen_rows(values).anomalous
    assert found[:300].mean() > 0.9
    assert found[300:].mean() < 0.005


def test_a_tail_is_not_a_group_apart() -> None:
    rng = np.random.default_rng(12)
    for sample in (rng.standard_t(3, (2_000, 1)), rng.exponential(size=(2_000, 1)) - 1, rng.laplace(size=(2_000, 1))):
        screening = screen_rows(sample)
        assert screening.share < 0.01
        assert [item.reason for item in screening.undecidable] == ["heavy_tail"]


def test_positive_skewed_columns_are_judged_on_a_log_scale_too() -> None:
    rng = np.random.default_rng(13)
    values = rng.lognormal(0, 1.5, (1_000, 1))
    assert screen_rows(values).share < 0.005
    values[:20] *= 1e6
    found = screen_rows(values).anomalous
    assert found[:20].all()
    assert found[20:].mean() < 0.005


def test_two_large_groups_are_undecidable_rather_than_guessed() -> None:
    rng = np.random.default_rng(14)
    values = rng.normal(size=(500, 1))
    values[:200] += 10
    assert reasons(values) == [(0, "two_groups")]
    assert not screen_rows(values).anomalous.any()


def test_a_group_a_thousand_scales_away_is_a_fault_however_large() -> None:
    rng = np.random.default_rng(15)
    values = rng.normal(10, 1, (500, 1))
    values[:240] *= GROSS
    assert np.flatnonzero(screen_rows(values).anomalous).tolist() == list(range(240))


def test_zeros_apart_from_the_rest_are_undecidable() -> None:
    rng = np.random.default_rng(16)
    values = rng.normal(10, 1, (500, 2))
    values[:100, 0] = 0.0
    values[:300, 1] = 0.0
    assert reasons(values) == [(0, "zero_inflated"), (1, "zero_inflated")]
    assert not screen_rows(values).anomalous.any()


def test_a_column_that_is_mostly_one_value_has_no_scale() -> None:
    values = np.r_[np.full(60, 7.0), np.arange(40.0)][:, None]
    assert reasons(values) == [(0, "mostly_one_value")]


def test_whole_numbers_are_not_groups_because_of_their_steps() -> None:
    rng = np.random.default_rng(17)
    assert screen_rows(rng.poisson(3, (3_000, 5)).astype(float)).share < 0.001


def test_a_higher_threshold_never_finds_more() -> None:
    rng = np.random.default_rng(18)
    values = rng.normal(size=(300, 4))
    values[:30, 0] += rng.uniform(4, 12, 30)
    counts = [screen_rows(values, threshold=threshold).anomalous.sum() for threshold in (2.0, 3.0, 5.0, 8.0, 20.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1), (2, 2)])
def test_next_to_no_data_is_not_anomalous(shape: tuple[int, int]) -> None:
    screening = screen_rows(np.ones(shape))
    assert screening.anomalous.shape == (shape[0],)
    assert screening.share == 0.0


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(BadSample, match="rows and columns"):
        screen_rows(np.ones(3))


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan"), float("inf")])
def test_a_threshold_that_is_no_positive_number_is_refused(threshold: float) -> None:
    with pytest.raises(BadSample, match="threshold"):
        screen_rows(np.ones((3, 1)), threshold=threshold)


# A fast part of `python -m tests.performance.screening_rates`: few tables in the hardest cells, so the bounds are
# those of a binomial sample and not the rates that are promised.
@pytest.mark.parametrize(
    ("title", "shape", "least", "most"),
    [
        ("clean Gaussian", (3, 20), 0.0, 0.03),
        ("clean Gaussian", (4, 1), 0.0, 0.03),
        ("clean Gaussian", (9, 20), 0.0, 0.02),
        ("clean Gaussian", (29, 20), 0.0, 0.02),
        ("clean Gaussian", (101, 20), 0.0, 0.02),
        ("log-normal, sigma .5", (50, 20), 0.0, 0.05),
        ("log-normal, sigma 1", (30, 20), 0.0, 0.03),
        ("exponential", (30, 20), 0.0, 0.03),
        ("20 % at 6 sigma, shifted", (100, 20), 0.9, 1.0),
        ("20 % at 6 sigma, one value", (101, 1), 0.97, 1.0),
        ("20 % at 6 sigma, both sides", (100, 5), 0.9, 1.0),
        ("x1,000, 12 % of rows", (8, 20), 0.97, 1.0),
        ("x1,000, half of the rows", (8, 1), 0.95, 1.0),
        ("x1,000, 40 % of one column", (9, 20), 0.95, 1.0),
        ("two groups, 50:50, 10 sigma", (100, 5), 0.0, 0.02),
        ("0/1 at 15 %", (30, 20), 0.0, 0.0),
    ],
)
def test_the_rates_are_those_that_the_benchmark_measures(
    title: str, shape: tuple[int, int], least: float, most: float
) -> None:
    study = next(study for study in STUDIES if study.title == title)
    refused, _, _ = refused_share(study, shape, 200)
    assert least <= refused <= most
