"""Errors in single cells: what is found on planted tables, what is left alone, and laws of the parts."""

from __future__ import annotations

import json
import string

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.quality.planted_cells import Score, claims, plant, score
from core.quality.planted_tables import HELD_OUT, TABLES
from core.quality.tables import contract_of, sklearn_table
from mcp_server.core.contract import Contract
from mcp_server.core.ingest import shape_table
from mcp_server.core.quality import Finding, validate
from mcp_server.core.quality.disguises import sentinels
from mcp_server.core.quality.duplicates import near_copies
from mcp_server.core.quality.spelling import distance, misspelt, misspelt_words, other_forms
from mcp_server.core.quality.texts import MAX_CELL_ROWS

ROWS = 400


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def findings(frame: pl.DataFrame, contract: Contract | None = None) -> list[Finding]:
    return list(validate(frame, contract or contract_of(frame), rng=rng()).findings)


def of(cells: list[str | None]) -> dict[str, Finding]:
    """Rule to finding of a table of one text column beside a number."""
    frame = pl.DataFrame({"t": cells, "x": rng(3).normal(size=len(cells))})
    return {finding.rule: finding for finding in findings(frame) if finding.columns == ("t",)}


def words(count: int = ROWS) -> list[str]:
    return [str(word) for word in rng(1).choice(["Concert", "Lecture", "Exhibition"], count)]


# On planted tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TABLES, *HELD_OUT])
def test_most_planted_errors_are_found_and_little_else(name: str) -> None:
    planted = plant({**TABLES, **HELD_OUT}[name], 1_000)
    assert len(planted.key) >= 5
    assert 0.01 <= len(planted.cells) / (planted.rows * len(planted.columns)) <= 0.05
    frame, contract = planted.table()
    scores = score(planted, findings(frame, contract))
    assert scores["all"].f1 >= 0.8, scores


def test_a_finder_that_flags_everything_or_nothing_does_not_pass_the_measure() -> None:
    planted = plant(TABLES["sales"], 1)
    rows = tuple(range(1, planted.rows + 1))
    every = [Finding("missing.disguised", "warn", (name,), 1, rows, "") for name in planted.columns]
    assert score(planted, every)["all"].f1 < 0.15
    assert score(planted, [])["all"] == Score(0, len(planted.cells))


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits", "diabetes"])
def test_at_most_one_clean_cell_in_a_hundred_is_flagged(name: str) -> None:
    frame, contract = sklearn_table(name)
    flagged = {(row, column) for _, row, columns in claims(findings(frame, contract)) for column in columns}
    assert len(flagged) <= 0.01 * frame.height * frame.width


@pytest.mark.parametrize("name", [*TABLES, *HELD_OUT])
def test_the_same_tables_without_errors_are_left_alone(name: str) -> None:
    frame, contract = {**TABLES, **HELD_OUT}[name](rng(2_000)).table()
    flagged = {(row, column) for _, row, columns in claims(findings(frame, contract)) for column in columns}
    assert len(flagged) <= 0.01 * frame.height * frame.width


# Each rule ---------------------------------------------------------------------------------------------------------


def test_words_that_mean_missing_are_told_with_their_rows_and_a_fix() -> None:
    cells = words()
    cells[4], cells[9], cells[11] = "  ", "Unknown", "n/a"
    found = of(cells)["missing.disguised"]
    assert found.rows == (5, 10, 12)
    assert found.fix == "read as missing"
    assert [(one.row, one.value, one.replacement) for one in found.examples] == [
        (5, "  ", None), (10, "Unknown", None), (12, "n/a", None)
    ]  # fmt: skip


def test_a_code_is_no_missing_value_among_codes() -> None:
    assert "missing.disguised" not in of([str(code) for code in rng().choice(["DE", "FR", "NA", "US"], ROWS)])


@pytest.mark.parametrize("dirty", ["12.0 oz.", "0.09%", "$1,200", "USD 12", "7 kg"])
def test_a_unit_is_stripped_from_a_number(dirty: str) -> None:
    cells = [f"{value:.2f}" for value in rng(2).uniform(1, 9, ROWS)]
    cells[20] = dirty
    found = of(cells)["numbers.text"]
    assert found.rows == (21,)
    assert found.fix == "strip the unit"
    assert found.examples[0].replacement == "".join(letter for letter in dirty.rstrip(".") if letter in "0123456789.")


def test_a_column_whose_numbers_all_have_one_unit_is_told_as_a_whole_and_the_odd_ones_by_row() -> None:
    cells = [f"{value:.1f} oz" for value in rng(2).uniform(8, 30, ROWS)]
    cells[7] = "12.0"
    frame = pl.DataFrame({"t": cells, "x": rng(3).normal(size=ROWS)})
    rules = {finding.rule: finding for finding in findings(frame)}
    assert rules["numbers.unit"].severity == "info"
    assert rules["numbers.unit"].rows == ()
    assert rules["numbers.text"].rows == (8,)


def test_postal_codes_and_house_numbers_are_no_numbers() -> None:
    assert "numbers.text" not in of([f"{value:05d}" for value in rng().integers(1, 99_999, ROWS)] + ["1234X"])
    letters = rng(1).choice(list("abcd"), ROWS)
    houses = [f"{n}{letter}" for n, letter in zip(rng().integers(1, 90, ROWS), letters, strict=True)]
    assert "numbers.text" not in of(houses)


def test_a_misspelt_value_is_told_with_the_frequent_one() -> None:
    cells = words()
    cells[2], cells[3], cells[5] = "Exhibtion", "LECTURE ", "Lecture  "
    found = of(cells)
    assert found["spelling.rare"].examples[0].replacement == "Exhibition"
    assert found["spelling.form"].rows == (4, 6)


def test_a_code_that_differs_in_a_figure_is_no_slip() -> None:
    assert misspelt({"Gate 1": 50, "Gate 2": 40, "Gate 3": 1}) == {}


def test_countries_with_like_names_are_left_alone() -> None:
    lands = {"Austria": 90, "Australia": 2, "Iran": 60, "Iraq": 1, "Chad": 1, "Chile": 2, "Peru": 1, "Togo": 1}
    assert misspelt(lands) == {}


def test_a_misspelt_word_of_an_address_is_put_right() -> None:
    roads = [f"{n} {road}" for n in range(1, 30) for road in ("Church Street", "Highland Avenue")]
    assert misspelt_words(dict.fromkeys([*roads, "7 Church Sreet"], 1)) == {"7 Church Sreet": "7 Church Street"}


def test_a_code_built_otherwise_is_told_and_a_form_of_its_own_is_only_mentioned() -> None:
    codes = [f"AB-{value:04d}" for value in rng(4).integers(0, 9_999, ROWS)]
    codes[10], codes[30] = "AB1234", "A#-1234"
    assert of(codes)["patterns.rare"].rows == (11, 31)
    for row in range(50, 58):
        codes[row] = f"{codes[row]}R"
    frame = pl.DataFrame({"t": codes, "x": rng(3).normal(size=ROWS)})
    sure = {finding.confidence: finding.severity for finding in findings(frame) if finding.rule == "patterns.rare"}
    assert sure == {0.75: "warn", 0.4: "info"}


def test_mixed_dates_are_told_and_none_is_guessed() -> None:
    days = [f"2021-{month:02d}-{day:02d}" for month in range(1, 13) for day in range(1, 29)]
    days[3], days[4], days[8] = "01/02/2021", "3 Jan 2021", "2021-02-30"
    found = of(days)
    assert found["dates.mixed"].rows == (4, 5)
    assert found["dates.impossible"].rows == (9,)
    assert all(example.replacement is None for rule in found.values() for example in rule.examples)


def test_dates_that_can_be_read_in_two_orders_are_told_as_a_column() -> None:
    days = [f"{month:02d}/{day:02d}/2021" for month in range(1, 13) for day in range(1, 13)]
    assert of(days)["dates.ambiguous"].rows == ()
    assert of(days)["dates.ambiguous"].fix == "state the order of day and month"
    assert "dates.ambiguous" not in of([*days, "01/25/2021"])
    assert "dates.ambiguous" in of([*days, "01/25/2021", "25/01/2021"])


def test_a_number_that_stands_for_missing_is_told_where_it_is_apart() -> None:
    ages = rng(5).integers(18, 90, ROWS).astype(float)
    ages[:6] = -1.0
    assert sentinels(ages).sum() == 6
    changes = rng(5).integers(-3, 4, ROWS).astype(float)
    assert not sentinels(changes).any()
    scores = rng(5).integers(0, 110, ROWS).astype(float)
    assert not sentinels(scores).any(), "99 is a score among others"


def test_numbers_that_a_word_keeps_text_are_looked_at_as_numbers_too() -> None:
    ages = [str(age) for age in rng(5).integers(18, 90, ROWS)]
    ages[3], ages[8], ages[9], ages[30] = "pending", "-1", "-1", "700000"
    rules = {one.rule: one.rows for one in findings(pl.DataFrame({"t": ages, "x": rng(3).normal(size=ROWS)}))}
    assert rules["numbers.text"] == (4,)
    assert rules["missing.sentinel"] == (9, 10)
    assert rules["outliers.value"] == (31,)


def test_a_number_that_its_row_contradicts_is_told_though_it_is_in_range() -> None:
    width = rng(6).normal(50, 10, ROWS)
    frame = pl.DataFrame(
        {"width": width, "height": 2 * width + rng(7).normal(0, 1, ROWS), "z": rng(8).normal(size=ROWS)}
    )
    wrong = frame["width"].arg_max()
    heights = frame["height"].to_numpy().copy()
    heights[wrong] = float(np.median(heights))
    (found,) = (one for one in findings(frame.with_columns(height=heights)) if one.rule == "outliers.context")
    assert found.rows == (wrong + 1,)


def test_rows_that_are_nearly_copies_are_told_and_chance_is_not() -> None:
    frame = pl.DataFrame({name: rng(at).normal(size=ROWS).round(4) for at, name in enumerate("abcde")})
    frame = frame.with_columns(t=pl.Series(words()))
    copies = frame[[5, 6]].with_columns(t=pl.Series([f" {frame['t'][5].upper()}", "Other"]))
    assert np.flatnonzero(near_copies(pl.concat([frame, copies]))).tolist() == [ROWS, ROWS + 1]
    coarse = pl.DataFrame({name: rng(at).integers(0, 4, ROWS) for at, name in enumerate("abcde")})
    assert not near_copies(coarse).any()


def test_where_each_column_decides_the_other_nobody_says_which_is_wrong() -> None:
    lands = [str(one) for one in rng(1).choice(["France", "Spain", "Italy"], ROWS)]
    codes = [land[:2].upper() for land in lands]
    codes[7] = "SP" if lands[7] != "Spain" else "IT"
    (found,) = (
        one for one in findings(pl.DataFrame({"a": lands, "b": codes})) if one.rule == "contradictions.dependency"
    )
    assert found.rows == (8,)
    assert found.fix == "look at it"
    assert found.examples[0].replacement is None


# What holds for all ------------------------------------------------------------------------------------------------


def test_values_of_a_personal_column_are_never_shown() -> None:
    cells = words()
    cells[2], cells[3] = "Exhibtion", "?"
    frame = pl.DataFrame({"last_name": cells, "x": rng(3).normal(size=ROWS)})
    frame, contract = shape_table(frame)
    assert contract.column("last_name").personal
    found = [one for one in findings(frame, contract) if one.columns == ("last_name",)]
    assert {one.rule for one in found} >= {"spelling.rare", "missing.disguised"}
    assert not any(one.examples for one in found)


def test_values_are_shortened_and_cleaned_in_the_answer() -> None:
    cells = words()
    cells[2] = "Exhibition \x1b[31m\u202e" + "x" * 300
    frame = pl.DataFrame({"t": cells, "x": rng(3).normal(size=ROWS)})
    shown = json.dumps([one.to_dict() for one in findings(frame)])
    assert "\\u001b" not in shown
    assert "x" * 70 not in shown


def test_of_a_long_table_every_so_many_rows_are_read_and_that_is_said() -> None:
    rows = 2 * MAX_CELL_ROWS
    cells = np.tile(np.array(["alpha", "bravo"]), rows // 2)
    cells[:20] = "?"
    frame = pl.DataFrame({"t": cells})
    report = validate(frame, contract_of(frame), rng=rng())
    (found,) = (one for one in report.findings if one.rule == "missing.disguised")
    assert found.rows == tuple(range(1, 20, 2))
    assert any("one row in 2" in sentence for sentence in report.not_looked_for)


def test_huge_and_hostile_cells_take_no_endless_work() -> None:
    cells = ["a" * 20_000] * 40 + ["a" * 19_999] * 2 + ["\x00", "((((", "1" * 5_000, "9" * 400 + "e5", "$" * 3_000]
    assert isinstance(of([*cells, *words(100)]), dict)


@given(st.text(string.ascii_letters + " ", max_size=12), st.text(string.ascii_letters + " ", max_size=12))
def test_the_distance_is_one_in_both_directions_and_zero_only_for_equals(one: str, other: str) -> None:
    assert distance(one, other) == distance(other, one)
    assert (distance(one, other) == 0) == (one == other)
    assert abs(len(one) - len(other)) <= distance(one, other) <= max(len(one), len(other))


@given(st.dictionaries(st.text(max_size=8), st.integers(1, 60), max_size=30))
def test_a_spelling_is_only_ever_replaced_by_one_that_is_there_and_more_frequent(counts: dict[str, int]) -> None:
    for value, right in (*other_forms(counts).items(), *misspelt(counts).items()):
        assert right is None or counts[right] > counts[value]


@given(
    st.lists(
        st.none() | st.text(max_size=12) | st.sampled_from(["1", "2.5 kg", "2020-01-02", "A-1"]),
        min_size=25,
        max_size=80,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_text_column_is_judged_and_no_cell_by_two_rules(cells: list[str | None]) -> None:
    frame = pl.DataFrame({"t": pl.Series(cells, dtype=pl.String)})
    rules = ("missing.disguised", "numbers.text", "spelling", "patterns", "dates")
    rows = [row for one in findings(frame) if one.rule.startswith(rules) for row in one.rows]
    assert len(rows) == len(set(rows))
    assert all(cells[row - 1] is not None for row in rows)
