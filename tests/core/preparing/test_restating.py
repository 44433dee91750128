"""A step states what the contract promises: the table stays, and later steps keep what was stated."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from core.preparing.tables import a_table, made, prepared
from mcp_server.core.contract.pandera import to_pandera
from mcp_server.errors import CourtsideError

FRAME = {
    "game": [f"G-{n:03d}" for n in range(60)],
    "day": [date(2015, 1, 1) + timedelta(days=n) for n in range(60)],
    "home": [3 + n % 5 for n in range(60)],
    "away": [2 + n % 7 for n in range(60)],
    "elo": [1500.0 + n for n in range(59)] + [None],
}
STATED = {
    "columns": {"elo": {"minimum": 0, "maximum": 3000, "unit": "points"}, "game": {"pattern": None}},
    "rules": {"played": {"expression": "home + away > 0"}},
    "unique_together": [["day", "game"]],
    "freshness": {"days": 2},
    "row_bounds": {"minimum": 5},
}


def test_the_table_stays_and_the_contract_says_what_the_step_says():
    table = a_table(FRAME)
    found = prepared(table, {"do": "contract", "change": STATED})
    assert found.table.frame.equals(table.frame)
    contract = found.table.contract
    assert (contract.column("elo").minimum, contract.column("elo").maximum) == (0.0, 3000.0)
    assert contract.column("game").pattern is None
    assert contract.rules[0].name == "played"
    assert contract.freshness.days == 2.0
    assert contract.column("home") == table.contract.column("home")
    (step,) = found.steps
    assert step.said == "Changed 8 parts of the contract."
    assert ["elo", "maximum", 1558.0, 3000.0] in step.shown["changes"]


def test_later_steps_keep_what_was_stated_and_measure_the_rest():
    stated = {"do": "contract", "change": STATED}
    filtered = {"do": "filter", "where": "home > 4"}
    impute = {"do": "impute", "columns": ["elo"], "by": "constant", "value": 1500.0}
    contract = made(a_table(FRAME), stated, filtered, impute, {"do": "drop_columns", "columns": ["day"]}).contract
    elo, home = contract.column("elo"), contract.column("home")
    assert (elo.minimum, elo.maximum, elo.unit, elo.nullable) == (0.0, 3000.0, "points", False)
    assert (home.minimum, home.inferred["minimum"] < 1) == (5.0, True)
    assert contract.column("game").pattern is None
    assert [rule.name for rule in contract.rules] == ["played"]
    assert contract.unique_together == ()
    assert contract.freshness is None
    assert contract.row_bounds.minimum == 5


def test_a_rule_goes_with_its_column_and_the_order_of_steps_counts():
    stated = {"do": "contract", "change": {"rules": {"low": {"expression": "away < 100"}}}}
    dropped = {"do": "drop_columns", "columns": ["away"]}
    assert made(a_table(FRAME), stated, dropped).contract.rules == ()
    with pytest.raises(CourtsideError) as refused:
        made(a_table(FRAME), dropped, stated)
    assert refused.value.message.startswith("Step 2 (contract)")


def test_a_document_of_another_program_is_taken():
    table = a_table(FRAME)
    text = to_pandera(table.contract).text + "strict: true\n"
    found = prepared(table, {"do": "contract", "pandera": text})
    assert found.steps[0].shown["not_carried"] == ["strict"]
    contract = found.table.contract
    assert contract.states(contract.column("home"), "minimum")
    assert not table.contract.states(table.contract.column("home"), "minimum")


def test_rows_that_break_a_stated_rule_can_be_dropped():
    stated = {"do": "contract", "change": {"rules": {"no_ties_1": {"expression": "home != away"}}}}
    found = made(a_table(FRAME), stated, {"do": "drop_rows", "rule": "rule.no_ties_1"})
    ties = [n for n in range(60) if 3 + n % 5 == 2 + n % 7]
    assert found.frame["game"].to_list() == [game for n, game in enumerate(FRAME["game"]) if n not in ties]


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({"change": {"columns": {"eol": {"unit": "x"}}}}, "E_ARG"),
        ({"change": {"colums": {}}}, "E_ARG"),
        ({"change": {"rules": {"x": {"expression": "home +"}}}}, "E_EXPRESSION"),
        ({"pandera": "a: ["}, "E_CONTRACT"),
        ({"great_expectations": "{}"}, "E_CONTRACT"),
        ({}, "E_PLAN"),
        ({"change": {}, "pandera": ""}, "E_PLAN"),
    ],
    ids=str,
)
def test_what_cannot_be_stated_is_refused_with_the_step_and_a_next_step(step, code):
    with pytest.raises(CourtsideError) as refused:
        made(a_table(FRAME), {"do": "contract", **step})
    assert refused.value.code == code
    assert refused.value.message.startswith("Step 1")
    assert refused.value.hint
