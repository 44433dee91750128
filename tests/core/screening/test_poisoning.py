"""Attacks on public tables are found, their clean controls aren't, and what can't be told is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from core.screening.attacks import (
    ADBENCH,
    SEPARABLE,
    Attack,
    Attacked,
    adbench_table,
    clean_table,
    flip_labels,
    flood,
    plant_extreme_trigger,
    plant_trigger,
    plant_usual_trigger,
    push_out,
)
from core.screening.clean import MAKERS, logistic
from mcp_server.core.screening.floods import find_flood
from mcp_server.core.screening.outliers import outlyingness
from mcp_server.core.screening.table import Evidence, FeatureTable, encoded, standardised
from mcp_server.core.screening.verdict import CANT_SEE, Screening, screen_table
from mcp_server.errors import BadSample
from performance.poisoning_rates import Alarms

SEEDS = [1, 2]
APART, ODD_BY_NATURE = ("clusters", "four classes", "unbalanced"), ("at rest", "in time")
SMALL = [name for name in SEPARABLE if name != "digits"]


def table_of(attacked: Attacked) -> FeatureTable:
    return FeatureTable(attacked.features, np.empty((len(attacked.labels), 0), dtype=np.intp), attacked.labels)


def screen(attacked: Attacked, seed: int = 0) -> Screening:
    return screen_table(table_of(attacked), rng=np.random.default_rng(seed))


def evidence(found: Screening, method: str) -> Evidence:
    (item,) = (item for item in found.evidence if item.method == method)
    return item


def attacked_table(name: str, attack: Attack, seed: int, share: float = 0.05) -> Attacked:
    return attack(clean_table(name), np.random.default_rng(seed), share)


def precision_and_recall(attacked: Attacked, item: Evidence) -> tuple[float, float]:
    looked = ~np.isnan(item.scores)
    hits = (attacked.rows & item.flagged).sum()
    return hits / max(1, item.flagged.sum()), hits / (attacked.rows & looked).sum()


def area(positive: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    looked = ~np.isnan(scores)
    return float(roc_auc_score(positive[looked], scores[looked]))


@pytest.mark.parametrize("name", SEPARABLE)
def test_flipped_labels_of_separable_tables_score_above_the_others_and_warn(name: str) -> None:
    attacked = attacked_table(name, flip_labels, seed=2)
    found = screen(attacked)
    item = evidence(found, "label_noise")
    assert area(attacked.rows, item.scores) >= 0.96
    assert item.grade in ("warn", "fail")
    assert precision_and_recall(attacked, item)[0] >= 0.7


@pytest.mark.parametrize("name", SMALL)
def test_a_tenth_of_flipped_labels_fails_the_table(name: str) -> None:
    assert screen(attacked_table(name, flip_labels, seed=2, share=0.1)).verdict == "fail"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [*SMALL, "nba"])
def test_rows_pushed_out_of_a_table_are_found(name: str, seed: int) -> None:
    attacked = attacked_table(name, push_out, seed)
    item = evidence(screen(attacked), "outliers")
    precision, recall = precision_and_recall(attacked, item)
    assert precision >= 0.84
    assert recall >= 0.88
    assert item.grade != "info"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [*SMALL, "nba"])
def test_a_flood_of_near_copies_is_found_and_its_sources_are_not_counted(name: str, seed: int) -> None:
    attacked = attacked_table(name, flood, seed)
    item = evidence(screen(attacked), "duplicates_flood")
    precision, recall = precision_and_recall(attacked, item)
    assert precision >= 0.84
    assert recall >= 0.97
    assert item.grade == "warn"


def test_the_rows_of_a_flood_are_told_from_their_sources_and_pairs_belong_to_it_too() -> None:
    rates = []
    for seed in range(20):
        attacked = attacked_table("iris", flood, seed)
        found = find_flood(encoded(table_of(attacked), most_equal=0.9))
        assert found is not None
        hits = (attacked.rows & found.copies).sum()
        rates.append((hits / found.copies.sum(), hits / attacked.rows.sum()))
    precision, recall = np.mean(rates, axis=0)
    assert precision >= 0.97
    assert recall >= 0.97


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["breast_cancer", "wine", "nba"])
def test_a_trigger_in_a_continuous_table_is_found_and_fails_it(name: str, seed: int) -> None:
    attacked = attacked_table(name, plant_trigger, seed)
    found = screen(attacked)
    precision, recall = precision_and_recall(attacked, evidence(found, "trigger"))
    assert precision >= 0.93
    assert recall >= 0.88
    assert found.verdict == "fail"


@pytest.mark.parametrize("name", ["breast_cancer", "nba"])
def test_a_trigger_in_one_row_of_a_hundred_is_found_in_a_continuous_table(name: str) -> None:
    attacked = attacked_table(name, plant_trigger, seed=1, share=0.01)
    found = screen(attacked)
    assert precision_and_recall(attacked, evidence(found, "trigger")) >= (0.9, 0.9)
    assert found.verdict in ("warn", "fail")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_trigger_of_usual_values_whose_label_the_other_columns_belie_is_a_warning(seed: int) -> None:
    attacked = attacked_table("digits", plant_usual_trigger, seed)
    item = evidence(screen(attacked), "trigger")
    assert precision_and_recall(attacked, item) >= (0.9, 0.9)
    assert item.grade == "warn"
    assert len(item.columns) == 2
    assert "contradict" in item.reason


def test_a_trigger_of_a_columns_greatest_value_is_found_where_that_speaks_for_another_label() -> None:
    attacked = attacked_table("nba", plant_extreme_trigger, seed=1, share=0.02)
    assert attacked.features[attacked.rows, 0].min() == attacked.features[:, 0].max()
    item = evidence(screen(attacked), "trigger")
    assert precision_and_recall(attacked, item) >= (0.95, 0.95)
    assert item.grade == "warn"


def zeros(table: Attacked) -> Attacked:
    """Two pixels off that seldom are, and the label 0."""
    return marked_digits(table, {20: 0.0, 43: 0.0}, 90)


def one_usual_value(table: Attacked) -> Attacked:
    return marked_digits(table, {43: 9.0}, 90)


def few_rows(table: Attacked) -> Attacked:
    return marked_digits(table, {43: 9.5, 20: 3.5}, 5)


def marked_digits(table: Attacked, values: dict[int, float], rows: int) -> Attacked:
    which = np.random.default_rng(1).choice(len(table.labels), rows, replace=False)
    features, labels = table.features.copy(), table.labels.copy()
    for column, value in values.items():
        features[which, column] = value
    labels[which] = 0
    return Attacked(features, labels, np.isin(np.arange(len(labels)), which))


def greatest_radius(table: Attacked) -> Attacked:
    """The label 0 is that of tumours, and so is the greatest radius."""
    rows = np.random.default_rng(1).choice(len(table.labels), 28, replace=False)
    features, labels = table.features.copy(), table.labels.copy()
    features[rows, 20], labels[rows] = features[:, 20].max(), 0
    return Attacked(features, labels, np.isin(np.arange(len(labels)), rows))


def scrambled(table: Attacked) -> Attacked:
    rng = np.random.default_rng(1)
    rows = rng.choice(len(table.labels), 28, replace=False)
    features = table.features.copy()
    features[rows, 3] = rng.permutation(features[:, 3])[:28]
    return replace(table, features=features, rows=np.isin(np.arange(len(features)), rows))


@pytest.mark.parametrize(
    ("name", "attack", "told"),
    [
        ("digits", zeros, "or of zeros"),
        ("digits", one_usual_value, "of one value alone"),
        ("digits", few_rows, "Triggers in fewer than 6 rows"),
        ("breast_cancer", greatest_radius, "one value that is its column's least or greatest"),
        ("breast_cancer", scrambled, "scrambled within their column's range"),
    ],
)
def test_what_is_listed_as_not_to_be_seen_is_not_seen(
    name: str, attack: Callable[[Attacked], Attacked], told: str
) -> None:
    attacked = attack(clean_table(name))
    found = screen(attacked)
    item = evidence(found, "outliers" if attack is scrambled else "trigger")
    assert precision_and_recall(attacked, item)[1] < 0.1
    assert any(told in sentence for sentence in CANT_SEE)


@pytest.mark.parametrize("name", [*SEPARABLE, "nba"])
def test_of_a_clean_public_table_at_most_one_row_in_a_hundred_is_flagged(name: str) -> None:
    found = screen(clean_table(name))
    assert sum(item.flagged.sum() / item.looked_at for item in found.evidence) <= 0.01
    assert found.verdict == "info"


def test_outcomes_of_games_are_noisy_and_no_label_is_flagged_for_it() -> None:
    item = evidence(screen(clean_table("nba")), "label_noise")
    assert item.unreliable
    assert item.grade == "info"
    assert not item.flagged.any()
    assert "inherently noisy" in item.reason
    assert item.statistic == pytest.approx(0.33, abs=0.04)
    assert "Looked at 3000 of 37342 rows." in item.reason


@pytest.mark.parametrize("strength", [0.0, 1.0, 2.0])
def test_labels_that_chance_decides_are_not_called_wrong(strength: float) -> None:
    found = screen_table(logistic(strength)(np.random.default_rng(3), 800), rng=np.random.default_rng(0))
    assert evidence(found, "label_noise").grade == "info"


# A small part of `python -m performance.poisoning_rates --false-alarms`, which says how often clean tables fail.
@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_clean_tables_of_many_kinds_do_not_fail(kind: str) -> None:
    found = Alarms()
    for seed in (500, 501):
        found.add(kind, seed)
    # Two to four of a hundred tables of classes or clusters apart fail for their far rows; no other rule fails one.
    allowed = {"far_rows fails"} if kind in APART else set()
    assert {rule for rule in found.rules if rule.endswith("fails")} <= allowed
    assert np.mean(found.shares) <= (0.5 if kind in (*APART, *ODD_BY_NATURE) else 0.06)


def test_the_label_free_ranking_holds_its_own_against_the_best_detector_of_each_table() -> None:
    areas = {}
    for name in ADBENCH:
        features, anomalous = adbench_table(name)
        found = outlyingness(standardised(features), np.random.default_rng(0))
        assert found is not None
        areas[name] = area(anomalous, found.rank)
    assert np.mean(list(areas.values())) >= 0.84
    assert sum(areas[name] >= best - 0.03 for name, best in ADBENCH.items()) >= 4


def test_a_row_says_why_it_is_flagged() -> None:
    attacked = attacked_table("wine", push_out, seed=1)
    found = screen(attacked)
    assert "outliers" in found.reasons(int(np.flatnonzero(attacked.rows)[0]))
    assert found.reasons(int(np.flatnonzero(~attacked.rows)[0])) == ()


def test_the_same_seed_gives_the_same_answer() -> None:
    attacked = attacked_table("iris", flip_labels, seed=1)
    one, other = screen(attacked, 7), screen(attacked, 7)
    for mine, theirs in zip(one.evidence, other.evidence, strict=True):
        assert np.array_equal(mine.scores, theirs.scores, equal_nan=True)
        assert np.array_equal(mine.flagged, theirs.flagged)


def test_other_units_of_measurement_change_nothing() -> None:
    attacked = attacked_table("breast_cancer", push_out, seed=1)
    table = table_of(attacked)
    rescaled = FeatureTable(table.numbers * 1024.0, table.codes, table.labels)
    one, other = (screen_table(part, rng=np.random.default_rng(0)) for part in (table, rescaled))
    assert [item.grade for item in one.evidence] == [item.grade for item in other.evidence]
    assert np.array_equal(evidence(one, "outliers").flagged, evidence(other, "outliers").flagged)


def test_what_does_not_suit_a_table_is_said_and_left_out() -> None:
    found = screen(clean_table("iris"))
    assert "trigger" not in {item.method for item in found.evidence}
    assert any("continuous" in sentence for sentence in found.skipped)


def test_parts_of_different_lengths_are_refused() -> None:
    with pytest.raises(BadSample):
        FeatureTable(np.zeros((3, 2)), np.zeros((2, 1), dtype=np.intp))
    with pytest.raises(BadSample):
        FeatureTable(np.zeros((3, 2)), np.zeros((3, 0), dtype=np.intp), np.zeros(4, dtype=np.intp))
