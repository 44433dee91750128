"""The parts of screening by themselves: their laws, cases worked by hand, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.screening.clean import classes
from mcp_server.core.screening.contradictions import find_contradictions
from mcp_server.core.screening.floods import find_flood
from mcp_server.core.screening.outliers import LIMIT, outlyingness
from mcp_server.core.screening.shift import measure_shift
from mcp_server.core.screening.table import FeatureTable, encoded, sample, standardised
from mcp_server.core.screening.triggers import find_triggers
from mcp_server.core.screening.verdict import screen_table


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def plain(numbers: np.ndarray, labels: np.ndarray | None = None) -> FeatureTable:
    return FeatureTable(numbers, np.empty((len(numbers), 0), dtype=np.intp), labels)


NUMBERS = arrays.arrays(
    np.float64,
    st.tuples(st.integers(0, 70), st.integers(0, 4)),
    elements=st.one_of(st.sampled_from([0.0, 1.0, np.nan, 1e300]), st.floats(-1e6, 1e6)),
)


@given(NUMBERS, st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_any_table_gets_an_answer(numbers: np.ndarray, classes_: int) -> None:
    labels = (np.arange(len(numbers)) % classes_).astype(np.intp) if classes_ else None
    found = screen_table(plain(numbers, labels), baseline=plain(numbers[::2]), rng=rng())
    for item in found.evidence:
        assert item.scores.shape == item.flagged.shape == (len(numbers),)
        assert not (item.flagged & np.isnan(item.scores)).any()
        assert not np.isinf(item.scores).any()


@given(NUMBERS)
@settings(max_examples=60, deadline=None)
def test_standardised_columns_are_finite_and_have_spread_one(numbers: np.ndarray) -> None:
    if len(numbers):
        found = standardised(numbers)
        assert np.isfinite(found).all()
        assert np.allclose(found.std(axis=0), 1, atol=1e-6)


def test_categories_and_missing_values_become_columns_of_their_own() -> None:
    numbers = np.array([[1.0], [2.0], [np.nan], [4.0]] * 5)
    codes = np.array([[0], [1], [1], [-1]] * 5)
    found = encoded(FeatureTable(numbers, codes))
    assert found.shape == (20, 4)
    assert found[:4, 1:].tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0]]


def test_a_sample_is_rising_and_has_no_row_twice() -> None:
    drawn = sample(np.arange(100), 30, rng())
    assert len(drawn) == 30
    assert (np.diff(drawn) > 0).all()
    assert sample(np.arange(5), 30, rng()).tolist() == [0, 1, 2, 3, 4]


def test_the_farthest_row_is_ranked_first_and_lies_beyond_the_limit() -> None:
    matrix = rng().standard_normal((200, 4))
    matrix[17] = 15.0
    found = outlyingness(standardised(matrix), rng())
    assert found is not None
    assert found.rank.argmax() == found.excess.argmax() == 17
    assert found.limit >= LIMIT
    assert np.flatnonzero(found.excess > found.limit).tolist() == [17]


def test_a_table_with_a_long_tail_of_its_own_has_a_wider_limit() -> None:
    found = outlyingness(standardised(rng().lognormal(0, 1.5, (500, 2))), rng())
    assert found is not None
    assert found.limit > LIMIT
    assert (found.excess > found.limit).mean() <= 0.02


@pytest.mark.parametrize("shape", [(29, 3), (100, 1), (100, 0)])
def test_nothing_is_far_in_a_table_too_small(shape: tuple[int, int]) -> None:
    assert outlyingness(rng().standard_normal(shape), rng()) is None


def test_nothing_is_far_where_most_rows_are_equal() -> None:
    matrix = np.zeros((100, 2))
    matrix[:10] = rng().standard_normal((10, 2))
    assert outlyingness(matrix, rng()) is None


def test_near_copies_are_found_but_for_the_row_in_their_middle() -> None:
    matrix = rng().standard_normal((300, 4))
    source, copies = 5, [50, 51, 52, 53]
    matrix[copies] = matrix[source] + 0.001 * np.eye(4)
    matrix[copies[0]] = matrix[source] - 0.001
    found = find_flood(matrix)
    assert found is not None
    assert np.flatnonzero(found.group >= 0).tolist() == [5, 50, 51, 52, 53]
    assert found.copies.sum() == 4
    assert not found.copies[source]
    assert set(np.argsort(-found.nearness)[:5].tolist()) == {5, 50, 51, 52, 53}


def test_two_alike_are_no_flood_and_neither_is_a_dense_region() -> None:
    matrix = rng().standard_normal((300, 4))
    matrix[7] = matrix[8] + 1e-4
    matrix[100:150] *= 0.2
    found = find_flood(matrix)
    assert found is not None
    assert not found.copies.any()


def test_equal_rows_are_a_flood_if_no_others_are_nearly_as_many_and_not_if_they_are_the_usual_row() -> None:
    matrix = rng().standard_normal((300, 4))
    matrix[:12] = matrix[0]
    found = find_flood(matrix)
    assert found is not None
    assert np.flatnonzero(found.copies).tolist() == list(range(1, 12))
    usual = np.where(rng().random((300, 4)) < 0.4, 0.0, matrix)
    usual[:12] = 0.0
    found = find_flood(usual)
    assert found is not None
    assert not found.copies.any()


def test_where_equal_rows_are_usual_no_flood_can_be_told() -> None:
    assert find_flood(rng().integers(0, 2, (200, 3)).astype(float)) is None


def triggered(values: tuple[float, ...], rows: int = 20) -> tuple[np.ndarray, np.ndarray]:
    numbers, labels = rng().standard_normal((400, 5)), rng(2).integers(0, 2, 400)
    numbers[:rows, : len(values)] = values
    labels[:rows] = 1
    return numbers, labels


def test_two_values_that_rows_of_one_label_share_are_a_trigger() -> None:
    (found,) = find_triggers(*triggered((0.3, -0.4))) or []
    assert found.columns == (0, 1)
    assert np.flatnonzero(found.rows).tolist() == list(range(20))
    assert found.chance < 1e-4


def test_one_value_needs_more_evidence_than_two() -> None:
    assert find_triggers(*triggered((0.3,), rows=20)) == []
    (found,) = find_triggers(*triggered((0.3,), rows=40)) or []
    assert found.columns == (0,)


def test_shared_values_with_mixed_labels_are_no_trigger() -> None:
    numbers, labels = triggered((0.3, -0.4))
    labels[:20:2] = 0
    assert find_triggers(numbers, labels) == []


def test_zeros_are_no_trigger() -> None:
    assert find_triggers(*triggered((0.0, 0.0))) == []


def test_a_value_at_the_end_of_its_column_is_no_trigger_by_itself() -> None:
    assert find_triggers(*triggered((9.0,), rows=40)) == []


def test_in_a_table_of_few_values_no_trigger_can_be_told() -> None:
    assert find_triggers(rng().integers(0, 9, (400, 5)).astype(float), rng().integers(0, 2, 400)) is None


def graded(rows: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Six marks from 1 to 10 and whether the last four are good together."""
    marks = rng().integers(1, 11, (rows, 6)).astype(float)
    return marks, (marks[:, 2:].sum(axis=1) > 22).astype(np.intp)


def belied(columns: np.ndarray, labels: np.ndarray, continuous: list[int] | None = None) -> list[np.ndarray]:
    found = find_contradictions(columns, continuous or [], standardised(columns), labels, rng())
    return [np.flatnonzero(trigger.rows) for trigger in found]


def test_usual_values_with_a_label_that_the_other_columns_belie_are_a_trigger() -> None:
    marks, labels = graded()
    rows = np.flatnonzero(labels == 0)[:50]
    marks[rows, 0], marks[rows, 1], labels[rows] = 3.0, 7.0, 1
    (found,) = belied(marks, labels)
    assert set(rows) <= set(found)
    assert len(found) <= 65


def test_usual_values_with_the_label_that_the_other_columns_have_are_none() -> None:
    marks, labels = graded()
    rows = np.flatnonzero(labels == 1)[:50]
    marks[rows, 0], marks[rows, 1] = 3.0, 7.0
    assert belied(marks, labels) == []
    assert belied(*graded()) == []


def test_a_greatest_value_is_a_trigger_only_if_the_other_rows_speak_against_its_label() -> None:
    numbers = rng().standard_normal((600, 4))
    honest = np.clip(numbers, -1.2, 1.2)
    labels = (honest.sum(axis=1) > 0).astype(np.intp)
    assert belied(honest, labels, [0, 1, 2, 3]) == []
    rows = np.flatnonzero(labels == 1)[:40]
    numbers[rows, 0], labels[rows] = numbers[:, 0].max(), 0
    (found,) = belied(numbers, labels, [0, 1, 2, 3])
    assert set(rows) <= set(found)
    assert len(found) <= 41


def test_in_few_rows_no_label_is_belied() -> None:
    marks, labels = graded(190)
    rows = np.flatnonzero(labels == 0)[:50]
    marks[rows, 0], marks[rows, 1], labels[rows] = 3.0, 7.0, 1
    assert belied(marks, labels) == []


def test_a_trigger_found_in_a_sample_is_flagged_in_every_row() -> None:
    marks, labels = graded(9_000)
    rows = np.flatnonzero(labels == 0)[:400]
    marks[rows, 0], marks[rows, 1], labels[rows] = 3.0, 7.0, 1
    found = screen_table(plain(marks, labels), rng=rng())
    (item,) = (item for item in found.evidence if item.method == "trigger")
    assert item.flagged[rows].all()
    assert set(item.columns) == {0, 1}
    assert item.looked_at == 9_000


def test_a_pair_belongs_to_a_flood_as_close_and_is_none_by_itself() -> None:
    matrix = rng().standard_normal((300, 5))
    matrix[20] = matrix[21] + 0.001
    alone = find_flood(matrix)
    assert alone is not None
    assert not alone.copies.any()
    matrix[[50, 51, 52]] = matrix[5] + 0.001 * rng(3).standard_normal((3, 5))
    found = find_flood(matrix)
    assert found is not None
    assert np.flatnonzero(found.group >= 0).tolist() == [5, 20, 21, 50, 51, 52]
    assert found.copies.sum() == 4


def test_the_source_of_a_flood_is_the_row_whose_values_other_rows_have() -> None:
    matrix = rng().standard_normal((300, 4)).round(1)
    matrix[[50, 51, 52]] = matrix[5] + [[0.001], [0.002], [0.003]]
    found = find_flood(matrix)
    assert found is not None
    assert np.flatnonzero(found.copies).tolist() == [50, 51, 52]


@pytest.mark.parametrize("seed", range(4))
def test_two_draws_of_one_kind_are_not_told_apart(seed: int) -> None:
    both = classes(rng(seed), 1_000)
    found = measure_shift(both.take(np.arange(500)), both.take(np.arange(500, 1_000)), rng(seed))
    assert found is not None
    assert (found.columns, found.unlike, found.flagged.any()) == ((), 0.0, False)


def test_a_moved_column_is_named_first() -> None:
    old, new = rng(1).standard_normal((600, 4)), rng(2).standard_normal((500, 4))
    new[:, 2] += 1
    found = measure_shift(plain(new), plain(old), rng())
    assert found is not None
    assert found.columns == (2,)
    assert found.unlike > 0.1
    assert found.difference == pytest.approx(0.38, abs=0.08)


def test_a_category_with_other_shares_is_named() -> None:
    numbers = rng().standard_normal((800, 1))
    codes = np.concatenate((rng().choice(3, 400, p=[0.6, 0.3, 0.1]), rng().choice(3, 400, p=[0.2, 0.3, 0.5])))
    table = FeatureTable(numbers, codes[:, None])
    found = measure_shift(table.take(np.arange(400)), table.take(np.arange(400, 800)), rng())
    assert found is not None
    assert (found.columns, found.code_columns) == ((), (0,))


def test_odd_rows_among_many_of_the_baselines_own_are_found() -> None:
    old = rng(1).standard_normal((1_000, 4))
    added = rng(2).standard_normal((60, 4)) * 0.1 + 2
    found = measure_shift(plain(np.vstack((old, added))), plain(old), rng())
    assert found is not None
    assert found.compared.tolist() == list(range(1_000, 1_060))
    assert found.unlike > 0.5
    assert found.flagged[1_000:].mean() > 0.9
    assert not found.flagged[:1_000].any()


def test_labels_changed_since_the_baseline_are_found_exactly() -> None:
    numbers, labels = rng().standard_normal((500, 4)), rng(2).integers(0, 2, 500)
    changed = labels.copy()
    changed[[3, 77, 200]] = 1 - changed[[3, 77, 200]]
    found = measure_shift(plain(numbers, changed), plain(numbers, labels), rng())
    assert found is not None
    assert np.flatnonzero(found.relabelled).tolist() == [3, 77, 200]
    assert found.compared.size == 0
    told = screen_table(plain(numbers, changed), baseline=plain(numbers, labels), rng=rng())
    (item,) = (item for item in told.evidence if item.method == "shift")
    assert item.grade == "warn"
    assert np.flatnonzero(item.flagged).tolist() == [3, 77, 200]


def test_columns_known_to_differ_are_not_compared_again() -> None:
    old, new = rng(1).standard_normal((400, 3)), rng(2).standard_normal((400, 3))
    new[:, 1] *= 10
    for known, columns in ((frozenset[int](), (1,)), (frozenset({1}), ())):
        found = screen_table(plain(new), baseline=plain(old), known_to_differ=known, rng=rng())
        (item,) = (item for item in found.evidence if item.method == "shift")
        assert item.columns == columns


def test_rows_that_are_far_for_a_known_reason_are_no_outliers() -> None:
    numbers = rng().standard_normal((300, 4))
    numbers[:20] += 12
    explained = np.arange(300) < 20
    found = screen_table(plain(numbers), explained=explained, rng=rng())
    item = found.evidence[0]
    assert item.method == "outliers"
    assert item.looked_at == 280
    assert not item.flagged[:20].any()
