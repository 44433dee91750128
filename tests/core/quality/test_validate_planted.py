"""Planted faults: each is found in its rows, and what can't be found is said."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from core.quality.planted import changed, clean_deliveries, contract_for, numbers_of, rows_for
from core.quality.tables import contract_of
from mcp_server.core.quality import Finding, ValidationReport, validate
from mcp_server.core.simulation import faults
from mcp_server.core.simulation.games import simulate_seasons

SEEDS = [1, 2, 3]


def check(frame: pl.DataFrame, seed: int = 1) -> ValidationReport:
    return validate(frame, contract_for(frame), rng=np.random.default_rng(seed))


def of_rule(report: ValidationReport, rule: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == rule]


def rows_found(report: ValidationReport, rule: str) -> set[int]:
    return {row for finding in of_rule(report, rule) for row in finding.rows}


@pytest.mark.parametrize("seed", range(8))
def test_a_table_without_faults_passes(seed: int) -> None:
    report = check(clean_deliveries(np.random.default_rng(seed)))
    assert report.verdict == "pass", report.findings


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.005, 0.02])
def test_outcomes_that_contradict_what_they_follow_from_are_found(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    frame = clean_deliveries(rng)
    wrong = rows_for(rng, frame, share)
    report = check(changed(frame, "on_time", wrong, lambda values: 1 - values))
    assert rows_found(report, "contradictions.comparison") == numbers_of(wrong)
    assert report.verdict == "fail"
    assert of_rule(report, "contradictions.comparison")[0].columns == ("on_time", "promised_hours", "spent_hours")


@pytest.mark.parametrize("seed", SEEDS)
def test_duplicated_rows_are_found_by_their_second_copy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = clean_deliveries(rng)
    copies = rows_for(rng, frame, 0.01)
    report = check(pl.concat([frame, frame[copies]]))
    assert rows_found(report, "duplicates.rows") == set(range(2_001, 2_001 + len(copies)))
    assert report.verdict == "warn"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("column", "factor"),
    [("weight_kg", 1 / 0.45359237), ("weight_kg", 1 / 2.54), ("promised_hours", 60.0), ("distance_km", 1000.0)],
)
def test_a_block_in_another_unit_is_found_with_its_factor(seed: int, column: str, factor: float) -> None:
    rng = np.random.default_rng(seed)
    frame = clean_deliveries(rng).with_columns(pl.col("promised_hours").cast(pl.Float64))
    start = int(rng.integers(100, 1_800))
    block = np.arange(start, start + 60)
    report = check(changed(frame, column, block, lambda values: values * factor))
    (finding,) = of_rule(report, "units.block")
    assert finding.columns == (column,)
    assert finding.statistic == pytest.approx(max(factor, 1 / factor), rel=1e-3)
    assert set(finding.rows) <= numbers_of(block)
    assert len(finding.rows) >= 57
    assert not set(finding.rows) & rows_found(report, "screening.far_rows")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_leaked_column_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = clean_deliveries(rng)
    margin = (frame["promised_hours"] - frame["spent_hours"]).to_numpy() + rng.normal(0, 0.3, frame.height)
    report = check(frame.with_columns(slack=pl.Series(margin)))
    assert [finding.columns for finding in of_rule(report, "leakage.feature")] == [("slack",)]
    assert report.verdict == "fail"


def test_two_columns_that_leak_together_are_found() -> None:
    frame = clean_deliveries(np.random.default_rng(1))
    contract = contract_of(frame, {"on_time": "target", "late": "known_after"})
    report = validate(frame, contract, rng=np.random.default_rng(1))
    assert [finding.columns for finding in of_rule(report, "leakage.pair")] == [("promised_hours", "spent_hours")]


@pytest.mark.parametrize("seed", SEEDS)
def test_sums_that_do_not_add_up_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = clean_deliveries(rng)
    wrong = rows_for(rng, frame, 0.01)
    report = check(changed(frame, "gross", wrong, lambda values: (values * 1.1).round(2)))
    assert rows_found(report, "contradictions.arithmetic") == numbers_of(wrong)


@pytest.mark.parametrize("seed", SEEDS)
def test_exceptions_to_what_one_column_decides_of_another_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = clean_deliveries(rng)
    wrong = rows_for(rng, frame, 0.01)
    countries = frame["country"].to_list()
    for row in wrong:
        countries[row] = f"country {(int(countries[row][-1]) + 1) % 3}"
    report = check(frame.with_columns(pl.Series("country", countries)))
    assert rows_found(report, "contradictions.dependency") == numbers_of(wrong)
    assert report.verdict == "warn"


@pytest.mark.parametrize("seed", SEEDS)
def test_poisoned_rows_far_from_the_rest_are_found_and_many_of_them_fail_the_table(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = clean_deliveries(rng)
    few, many = rows_for(rng, frame, 0.02), rows_for(rng, frame, 0.15)
    push = {few.size: 31.0, many.size: 31.0}
    for rows, verdict in ((few, "warn"), (many, "fail")):
        values = changed(frame, "weight_kg", rows, lambda values: values + push[len(values)] * 4)
        report = check(values)
        found = rows_found(report, "screening.far_rows") | rows_found(report, "units.block")
        assert numbers_of(rows) <= found
        assert report.verdict == verdict


def test_flipped_outcomes_that_agree_with_their_sources_are_not_found_and_that_is_said() -> None:
    rng = np.random.default_rng(4)
    frame = clean_deliveries(rng)
    flips = rows_for(rng, frame, 0.03)
    both = frame.select("promised_hours", "spent_hours").to_numpy().copy()
    both[flips] = both[flips][:, ::-1]
    frame = frame.with_columns(
        promised_hours=both[:, 0],
        spent_hours=both[:, 1],
        late=(both[:, 1] > both[:, 0]).astype(int),
        on_time=(both[:, 1] < both[:, 0]).astype(int),
    )
    report = check(frame)
    assert report.verdict == "pass"
    assert any("Flipped labels" in sentence for sentence in report.not_looked_for)


@pytest.mark.parametrize("seed", [0, 7])
def test_every_fault_planted_in_simulated_games_is_found_in_its_rows_but_for_the_flips(seed: int) -> None:
    games, key = faults.plant_faults(
        simulate_seasons(np.random.default_rng(seed), seasons=3), np.random.default_rng(seed)
    )
    games = games.with_columns(home_win=pl.col("home_score") > pl.col("away_score"))
    after = dict.fromkeys(("home_score", "away_score", "winner_home"), "known_after")
    contract = contract_of(games, {"home_win": "target", "date": "time"} | after)  # type: ignore[arg-type]
    report = validate(games, contract, rng=np.random.default_rng(seed))
    assert rows_found(report, "contradictions.comparison") == set(key[faults.CONTRADICTIONS])
    assert rows_found(report, "duplicates.rows") == set(key[faults.DUPLICATES])
    units = rows_found(report, "units.block")
    assert units <= set(key[faults.UNIT])
    assert len(units) >= 0.95 * len(key[faults.UNIT])
    assert [finding.columns for finding in of_rule(report, "leakage.feature")] == [(key[faults.LEAK],)]
    rules = {"contradictions.comparison", "duplicates.rows", "units.block", "leakage.feature"}
    assert {finding.rule for finding in report.findings if finding.severity != "info"} == rules


@pytest.mark.parametrize("seed", SEEDS)
def test_the_name_of_a_winner_that_contradicts_the_scores_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sides = np.array(["amber", "blue", "coral", "delta", "ember", "frost"])
    one, other = rng.integers(0, 6, 1_500), rng.integers(1, 6, 1_500)
    other = (one + other) % 6
    scores = rng.integers(0, 60, (1_500, 2))
    scores[:, 1] += scores[:, 0] == scores[:, 1]
    first = scores[:, 0] > scores[:, 1]
    wrong = np.sort(rng.choice(1_500, 20, replace=False))
    first[wrong] = ~first[wrong]
    frame = pl.DataFrame(
        {
            "one": sides[one],
            "other": sides[other],
            "ours": scores[:, 0],
            "theirs": scores[:, 1],
            "winner": np.where(first, sides[one], sides[other]),
        }
    )
    report = validate(frame, contract_of(frame), rng=rng)
    assert rows_found(report, "contradictions.comparison") == numbers_of(wrong)
    assert report.verdict == "warn"
