"""Wrong numbers in a target are found, honest noise isn't, and a target that can't be judged is said to be one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import roc_auc_score

from core.screening.attacks import wrong_numbers
from core.screening.clean import MAKERS
from mcp_server.core.screening.numeric_labels import doubt_numbers
from mcp_server.core.screening.table import Evidence, FeatureTable
from mcp_server.core.screening.verdict import screen_table

LEARNT = ["number, exact", "number, good", "number, laplace", "prices", "curved", "wavering"]


def label_noise(table: FeatureTable) -> Evidence:
    found = screen_table(table, rng=np.random.default_rng(0))
    (item,) = (item for item in found.evidence if item.method == "label_noise")
    return item


def attacked(kind: str, *, exchanged: bool, share: float = 0.05) -> tuple[Evidence, np.ndarray]:
    rng = np.random.default_rng(3)
    table, rows = wrong_numbers(MAKERS[kind](rng, 400), rng, share, exchanged=exchanged)
    return label_noise(table), rows


@pytest.mark.parametrize("kind", LEARNT)
def test_numbers_far_from_what_two_models_expect_are_found(kind: str) -> None:
    item, rows = attacked(kind, exchanged=False)
    assert (item.flagged & rows).sum() >= 0.85 * rows.sum()
    assert (item.flagged & rows).sum() >= 0.9 * item.flagged.sum()
    assert item.grade == "warn"


def test_a_tenth_of_wrong_numbers_fails_the_table() -> None:
    assert attacked("number, good", exchanged=False, share=0.1)[0].grade == "fail"


def test_numbers_exchanged_for_those_of_other_rows_score_above_honest_ones() -> None:
    item, rows = attacked("number, exact", exchanged=True)
    assert roc_auc_score(rows, item.scores) >= 0.8
    assert (item.flagged & rows).sum() >= 0.9 * item.flagged.sum() > 0


@pytest.mark.parametrize("kind", [*LEARNT, "number, heavy"])
def test_of_honest_numbers_hardly_one_is_flagged(kind: str) -> None:
    for seed in range(3):
        item = label_noise(MAKERS[kind](np.random.default_rng(seed), 300))
        assert item.grade == "info"
        assert item.flagged.mean() <= 0.0134


def test_a_target_that_chance_decides_is_called_noisy_and_none_of_its_numbers_wrong() -> None:
    item, _ = attacked("number, poor", exchanged=False)
    assert item.unreliable
    assert not item.flagged.any()
    assert "inherently noisy" in item.reason
    assert item.statistic > 0.7


def test_a_target_that_is_mostly_one_value_is_not_judged_and_that_is_said() -> None:
    numbers = np.random.default_rng(1).standard_normal((200, 3))
    target = np.where(numbers[:, 0] > 0.3, numbers[:, 0], 0.0)
    empty = np.empty((200, 0), dtype=np.intp)
    found = screen_table(FeatureTable(numbers, empty, target=target), rng=np.random.default_rng(0))
    assert "label_noise" not in {item.method for item in found.evidence}
    assert any("half of them are equal" in sentence for sentence in found.skipped)


def test_rows_without_a_number_are_not_looked_at() -> None:
    table = MAKERS["number, good"](np.random.default_rng(1), 300)
    assert table.target is not None
    table.target[::3] = np.nan
    item = label_noise(table)
    assert item.looked_at == 200
    assert np.isnan(item.scores[::3]).all()


def test_the_unit_of_a_target_changes_nothing() -> None:
    table = MAKERS["curved"](np.random.default_rng(1), 150)
    assert table.target is not None
    one, other = (doubt_numbers(table.numbers, of, np.random.default_rng(0)) for of in (table.target, table.target * 8))
    assert one is not None
    assert other is not None
    assert np.allclose(one.scores, other.scores)
    assert one.limit == pytest.approx(other.limit)


@given(arrays.arrays(np.float64, 60, elements=st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1.0, -1e300])))
@settings(max_examples=15, deadline=None)
def test_any_numbers_get_an_answer(target: np.ndarray) -> None:
    found = doubt_numbers(np.random.default_rng(1).standard_normal((60, 2)), target, np.random.default_rng(0))
    if found is not None:
        assert np.isfinite(found.scores).all()
        assert (found.scores >= 0).all()
