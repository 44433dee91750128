"""What a person promised about a table outlives a change of the table; what was only seen is seen anew."""

from __future__ import annotations

from hypothesis import given, settings

from core.contract.contracts import GAMES, contracts
from mcp_server.core.contract import Column, Contract, RateLimits
from mcp_server.core.contract.keeping import inherit, keep_promises


def measured(*names: str, **changes: dict) -> Contract:
    """The games measured anew: everything about the columns is inferred, and nothing is promised."""
    columns = []
    for column in GAMES.columns:
        if column.name in names:
            parts = {"role": "feature", "source": "file", "unit": None, "pattern": None, "unique": False}
            parts |= {"nullable": False, "inferred": {"kind": 0.5, "minimum": 0.5, "maximum": 0.5, "allowed": 0.5}}
            columns.append(column.model_copy(update=parts | changes.get(column.name, {})))
    return Contract(columns=tuple(columns))


def test_stated_parts_of_columns_that_are_still_there_are_kept():
    found = keep_promises(GAMES, measured("game_id", "season", "home", season={"minimum": 2000.0, "maximum": 2010.0}))
    assert (found.column("season").minimum, found.column("season").maximum) == (1947.0, 2015.0)
    assert found.column("game_id").pattern == r"G\-[0-9]{4}"
    assert found.column("game_id").unique
    assert found.column("season").inferred == {"kind": 0.5, "allowed": 0.5}


def test_rules_and_groups_go_with_their_columns():
    found = keep_promises(GAMES, measured("home_score", "date"))
    assert [rule.name for rule in found.rules] == ["plausible"]
    assert found.unique_together == ()
    assert found.freshness is None
    assert found.row_bounds == GAMES.row_bounds
    assert keep_promises(GAMES, measured("date", "home", date={"role": "time"})).freshness == GAMES.freshness
    assert keep_promises(GAMES, measured("date", "home")).unique_together == (("date", "home"),)


def test_a_column_of_another_kind_keeps_nothing():
    after = Contract(columns=(Column(name="season", kind="text"),))
    assert keep_promises(GAMES, after).columns == after.columns


def test_a_list_that_was_stated_keeps_the_column_a_category():
    after = measured("home", home={"kind": "text", "allowed": None})
    assert keep_promises(GAMES, after).column("home").kind == "category"


def test_a_range_that_was_measured_beyond_a_stated_bound_stays_a_range():
    sure = {"kind": 0.9, "maximum": 0.9}
    before = Contract(columns=(Column(name="a", kind="number", minimum=5.0, maximum=9.0, inferred=sure),))
    after = Contract(columns=(Column(name="a", kind="number", minimum=1.0, maximum=2.0, inferred={"kind": 0.9}),))
    found = keep_promises(before, after).column("a")
    assert (found.minimum, found.maximum) == (5.0, 5.0)


def test_a_bound_that_was_taken_away_does_not_come_back():
    before = Contract(columns=(Column(name="a", kind="number", maximum=9.0, inferred={"kind": 0.9, "maximum": 0.9}),))
    after = Contract(columns=(Column(name="a", kind="number", minimum=1.0, maximum=2.0, inferred={"kind": 0.9}),))
    found = keep_promises(before, after).column("a")
    assert (found.minimum, found.maximum) == (None, 2.0)


def test_what_is_sensitive_stays_it_and_limits_on_groups_go_with_the_last_such_column():
    limits = {"selection_rate": RateLimits(ratio=0.8)}
    columns = tuple(
        column.model_copy(update={"sensitive": column.name in ("home", "season")}) for column in GAMES.columns
    )
    before = Contract(**{**dict(GAMES), "columns": columns, "fairness": limits})
    found = keep_promises(before, measured("home", "note"))
    assert found.sensitive == ("home",)
    assert found.fairness == limits
    assert keep_promises(before, measured("note")).fairness == {}
    lacking = inherit(before, measured("note", "home", "date", "game_id", "home_score", "away_score")).lacking
    assert "season" in lacking, "a table without the groups can't be held to the limits on them"


@settings(max_examples=200, deadline=None)
@given(contracts())
def test_without_a_change_nothing_changes(contract):
    assert keep_promises(contract, contract) == contract
