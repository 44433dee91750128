"""Filter, derive, drop, impute: what they do to rows, values, roles and lineage."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.preparing.tables import a_table, made, prepared, roles
from mcp_server.core.contract import Overrides, apply_overrides
from mcp_server.errors import InvalidInput, PlanRefused


def games(**stated):
    return a_table(
        {
            "date": [datetime.date(2020, 1, day) for day in range(1, 7)],
            "home": ["BOS", "NYK", "BOS", "LAL", "NYK", "BOS"],
            "elo": [1500.0, None, 1520.0, 1480.0, 1510.0, None],
            "rest": [1, 2, None, 4, 5, 9],
            "home_score": [100, 90, 95, 99, 101, 88],
            "away_score": [90, 95, 94, 100, 99, 87],
        },
        derived={"margin": "home_score - away_score", "home_win": "margin > 0", "form": "elo / 100"},
        target="home_win",
        time="date",
        **stated,
    )


def test_a_filter_keeps_the_rows_where_it_holds_and_drops_those_where_it_is_missing():
    kept = made(games(row_filter="rest > 0"), {"do": "filter", "where": "elo > 1490"})
    assert kept.frame["elo"].to_list() == [1500.0, 1510.0]
    assert kept.contract.row_filter == "(rest > 0) and (elo > 1490)"
    assert not kept.contract.column("elo").nullable
    assert kept.contract.column("elo").minimum == 1500.0


def test_the_table_that_went_in_is_not_changed():
    table = games()
    before = table.frame.clone()
    made(table, {"do": "impute", "columns": ["elo"]}, {"do": "filter", "where": "elo > 1490"})
    assert table.frame.equals(before)


def test_roles_survive_and_what_is_derived_from_the_result_is_known_after():
    derived = made(games(), {"do": "derive", "columns": {"total": "home_score + away_score", "tired": "rest < 2"}})
    assert roles(derived) == {
        **roles(games()),
        "total": "known_after",
        "tired": "feature",
    }
    assert derived.frame["tired"].to_list() == [True, False, None, False, False, False]
    assert derived.contract.expressions["tired"] == "rest < 2"


def test_a_derived_column_outlives_its_sources_and_remembers_them():
    table = made(games(), {"do": "drop_columns", "columns": ["home_score", "margin", "rest"]})
    assert roles(table)["home_win"] == "target"
    assert "home_win" not in table.contract.expressions
    assert table.contract.ingredients["home_win"] == {"margin", "home_score", "away_score"}
    # With another target, the old one still gives it away.
    other = apply_overrides(table.contract, Overrides(target="away_score"))
    assert other.column("home_win").role == "known_after"
    assert apply_overrides(table.contract, Overrides(target="form")).column("elo").role == "known_after"


def test_dropped_rows_are_counted_from_one_and_spans_hold_both_ends():
    table = made(games(), {"do": "drop_rows", "rows": [1, [3, 4]]})
    assert table.frame["rest"].to_list() == [2, 5, 9]


def test_rows_that_a_rule_flags_are_dropped():
    values = np.random.default_rng(0).normal(size=200).round(3).tolist()
    twice = a_table({"x": [*values, *values[:3]], "z": [*range(200), 0, 1, 2]}, key=[])
    report = prepared(twice, {"do": "drop_rows", "rule": "duplicates.rows"})
    assert report.table.frame["x"].to_list() == values
    assert (report.steps[0].rows_before, report.steps[0].rows_after) == (203, 200)


def test_missing_values_are_filled_with_the_stated_measure_of_the_stated_rows():
    done = prepared(
        games(),
        {"do": "impute", "columns": ["elo", "rest"], "by": "median", "where": "date < '2020-01-04'", "mark": True},
    )
    table = done.table
    assert done.fitted["1"] == {"do": "impute", "elo": 1510.0, "rest": 2}
    assert table.frame["elo"].to_list() == [1500.0, 1510.0, 1520.0, 1480.0, 1510.0, 1510.0]
    assert table.frame["rest"].to_list() == [1, 2, 2, 4, 5, 9]
    assert table.frame["elo_missing"].to_list() == [False, True, False, False, False, True]
    # What is derived from a filled column follows it.
    assert table.frame["form"].to_list() == [15.0, 15.1, 15.2, 14.8, 15.1, 15.1]
    assert not table.contract.column("form").nullable


@pytest.mark.parametrize(
    ("by", "value", "filled"),
    [("mean", None, 4), ("mode", None, 1), ("constant", -1, -1)],
)
def test_whole_numbers_stay_whole(by, value, filled):
    step = {"do": "impute", "columns": ["rest"], "by": by, **({} if value is None else {"value": value})}
    table = made(games(), step)
    assert table.frame["rest"].to_list() == [1, 2, filled, 4, 5, 9]
    assert table.frame.schema["rest"] == pl.Int64


def test_what_decides_the_target_is_never_filled_in():
    hollow = a_table({"a": [1, None, 3, 4], "b": [2, 2, 2, 2]}, derived={"y": "a > b"}, target="y")
    with pytest.raises(PlanRefused, match="invent facts"):
        made(hollow, {"do": "impute", "columns": ["a"]})


def test_a_filter_over_a_filled_column_is_no_longer_said_of_it():
    table = games(row_filter="is_missing(elo) or elo > 0")
    assert made(table, {"do": "impute", "columns": ["elo"]}).contract.row_filter is None
    assert made(table, {"do": "impute", "columns": ["rest"]}).contract.row_filter == table.contract.row_filter


@given(st.lists(st.none() | st.integers(-100, 100), min_size=4, max_size=30), st.integers(-100, 100))
def test_filling_leaves_no_hole_and_no_known_value_changes(values, constant):
    table = a_table({"x": pl.Series(values, dtype=pl.Int64), "z": list(range(len(values)))})
    filled = made(table, {"do": "impute", "columns": ["x"], "by": "constant", "value": constant}).frame["x"].to_list()
    assert filled == [constant if value is None else value for value in values]


def test_a_name_that_would_be_too_long_is_refused():
    long = a_table({"x" * 250: [1, None, 3], "b": [1, 2, 3]}, key=[])
    with pytest.raises(PlanRefused, match="more than 256 characters"):
        made(long, {"do": "impute", "columns": ["x" * 250], "mark": True})


def test_a_rule_of_the_contract_that_is_named_without_its_prefix_is_suggested():
    scores = a_table({"x": [1, 2, 30], "z": [4, 5, 6]}, key=[])
    rule = {"do": "contract", "change": {"rules": {"close": {"expression": "x < 10"}}}}
    with pytest.raises(PlanRefused) as refused:
        made(scores, rule, {"do": "drop_rows", "rule": "close"})
    assert "Did you mean 'rule.close'?" in refused.value.hint
    assert made(scores, rule, {"do": "drop_rows", "rule": "rule.close"}).frame["x"].to_list() == [1, 2]


def test_a_rule_with_a_name_that_no_rule_has_is_refused_in_words():
    rule = {"do": "contract", "change": {"rules": {"No Ties": {"expression": "x < 10"}}}}
    with pytest.raises(InvalidInput, match="names of rules are small letters") as refused:
        made(a_table({"x": [1, 2], "z": [4, 5]}, key=[]), rule)
    assert "pattern" not in refused.value.message


def test_a_step_names_the_columns_that_it_added():
    (step,) = prepared(games(), {"do": "derive", "columns": {"twice": "elo * 2"}}).steps
    assert step.added == ("twice",)
    assert step.said == "Derived 1 column."
