"""A table becomes a data set: derived columns, a filter, and a contract that the rows keep."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.contract import Derived, from_dict, to_dict
from mcp_server.core.ingest import shape_table
from mcp_server.errors import BadTarget, DataRejected, InvalidInput

DAYS = [date(2015, 1, 1) + timedelta(days=n // 3) for n in range(30)]
GAMES = pl.DataFrame(
    {
        "game_id": range(100, 130),
        "date": DAYS,
        "home": ["BOS", "NYK", "LAL"] * 10,
        "home_score": [100 + n % 7 for n in range(30)],
        "away_score": [100 + n % 5 for n in range(30)],
        "elo": [1500.5 - n for n in range(29)] + [None],
    }
)
WIN = Derived(name="home_win", expression="home_score > away_score")


def column(contract, name):
    return contract.column(name).model_dump(exclude_defaults=True, exclude={"inferred"})


def test_kinds_ranges_and_roles_are_inferred():
    _, contract = shape_table(GAMES)
    assert column(contract, "game_id") == {
        "name": "game_id",
        "kind": "integer",
        "role": "key",
        "minimum": 100.0,
        "maximum": 129.0,
        "unique": True,
    }
    assert column(contract, "date") == {"name": "date", "kind": "date", "role": "time"}
    assert column(contract, "home") == {"name": "home", "kind": "category", "allowed": ("BOS", "LAL", "NYK")}
    assert column(contract, "elo") == {
        "name": "elo",
        "kind": "number",
        "nullable": True,
        "minimum": 1472.5,
        "maximum": 1500.5,
    }


def test_derived_columns_come_last_and_what_they_need_is_known_only_after():
    frame, contract = shape_table(GAMES, derived=[WIN], target="home_win")
    assert frame.columns == [*GAMES.columns, "home_win"]
    assert frame["home_win"].to_list() == (GAMES["home_score"] > GAMES["away_score"]).to_list()
    assert contract.target == "home_win"
    assert contract.column("home_win").kind == "boolean"
    assert contract.column("home_win").source == "derived"
    assert {name.role for name in (contract.column("home_score"), contract.column("away_score"))} == {"known_after"}


def test_derived_columns_may_be_stated_in_any_order():
    derived = [
        Derived(name="close", expression="abs(margin) <= 2"),
        Derived(name="margin", expression="home_score - away_score"),
    ]
    frame, contract = shape_table(GAMES, derived=derived)
    assert frame.columns[-2:] == ["close", "margin"]
    assert contract.column("margin").kind == "integer"


def test_the_filter_keeps_rows_where_it_holds_and_ranges_are_of_those():
    frame, contract = shape_table(GAMES, row_filter="elo > 1490")
    assert frame["elo"].min() > 1490
    assert frame.height == 11
    assert contract.column("elo").minimum == 1490.5
    assert contract.row_filter == "elo > 1490"


def test_the_contract_survives_storage():
    _, contract = shape_table(GAMES, derived=[WIN], target="home_win", units={"elo": "points"})
    assert from_dict(to_dict(contract)) == contract


@settings(deadline=None)
@given(st.lists(st.none() | st.sampled_from(["a", "b"]) | st.text(max_size=3), min_size=1, max_size=30))
def test_allowed_values_are_all_there_are(values):
    _, contract = shape_table(pl.DataFrame({"t": pl.Series(values, dtype=pl.String)}))
    found = contract.column("t")
    distinct = {value for value in values if value is not None}
    assert (found.kind == "category") == (0 < len(distinct) < min(200, len(values) / 2))
    assert found.allowed is None or set(found.allowed) == distinct
    assert found.nullable == (None in values)


@pytest.mark.parametrize(("distinct", "kind"), [(199, "category"), (200, "text")])
def test_two_hundred_texts_are_no_category(distinct, kind):
    frame = pl.DataFrame({"t": [f"t{n % distinct}" for n in range(1000)]})
    assert shape_table(frame)[1].column("t").kind == kind


def test_a_category_with_very_long_values_lists_none():
    frame = pl.DataFrame({"t": ["x" * 9_000, "y"] * 10})
    found = shape_table(frame)[1].column("t")
    assert (found.kind, found.allowed) == ("category", None)


KEYS = {
    "a unique text": ({"name": ["a", "b", "c"], "n": [5, 7, 5]}, ("name",)),
    "a row counter": ({"row": [1, 2, 3], "n": [5, 7, 5]}, ("row",)),
    "an id": ({"playerId": [17, 3, 9], "n": [5, 7, 5]}, ("playerId",)),
    "an id before a text": ({"id": [17, 3, 9], "name": ["a", "b", "c"]}, ("id",)),
    "an unlucky measurement": ({"height": [180, 203, 198], "n": [5, 7, 5]}, ()),
    "a unique float": ({"id": [1.5, 2.5, 3.5], "n": [5, 7, 5]}, ()),
    "two unique texts": ({"a": ["a", "b", "c"], "b": ["x", "y", "z"]}, ()),
    "an id with a gap": ({"id": [1, None, 3], "n": [5, 7, 5]}, ()),
}


@pytest.mark.parametrize(("data", "key"), KEYS.values(), ids=KEYS.keys())
def test_the_key_is_the_one_column_that_names_rows(data, key):
    assert shape_table(pl.DataFrame(data))[1].key == key


TIMES = {
    "the only date": ({"when_seen": [date(2015, 1, 1)]}, "when_seen"),
    "the only instant": ({"at": [datetime(2015, 1, 1, tzinfo=UTC)]}, "at"),
    "the one called a date": ({"founded": [date(1946, 1, 1)], "game_date": [date(2015, 1, 1)]}, "game_date"),
    "two dates": ({"a": [date(2015, 1, 1)], "b": [date(2015, 1, 1)]}, None),
    "a birthday": ({"date_of_birth": [date(2015, 1, 1)]}, None),
    "no date": ({"season": [2015]}, None),
}


@pytest.mark.parametrize(("data", "time"), TIMES.values(), ids=TIMES.keys())
def test_the_time_column_is_the_one_date(data, time):
    frame = pl.DataFrame({**data, "x": [1]}).with_columns(pl.col(pl.Datetime).dt.cast_time_unit("us"))
    assert shape_table(frame)[1].time == time


PERSONAL = {
    "by its name": ("last_name", ["a"], True),
    "by its name in camel case": ("contactEmail", ["a"], True),
    "e-mail addresses": ("contact", ["a@example.org", "b.c@example.com", None], True),
    "telephone numbers": ("contact", ["+49 30 123456", "(030) 1234-5678"], True),
    "card numbers": ("paid_with", ["4111 1111 1111 1111", "5500-0000-0000-0004"], True),
    "card numbers without spaces": ("paid_with", [4111111111111111, 5500000000000004], True),
    "long numbers that aren't cards": ("reading", [4111111111111112, 5500000000000005], False),
    "team names": ("team_name", ["BOS", "NYK"], False),
    "results": ("score", ["101-99", "87-80"], False),
    "milliseconds": ("at", [1420070400000, 1420070400001, 1420070400003], False),
}


@pytest.mark.parametrize(("name", "values", "personal"), PERSONAL.values(), ids=PERSONAL.keys())
def test_columns_about_people_are_marked(name, values, personal):
    assert shape_table(pl.DataFrame({name: values}))[1].column(name).personal is personal


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"row_filter": "elo > 9000"}, "E_NO_ROWS"),
        ({"row_filter": "elo + 1"}, "E_EXPRESSION"),
        ({"row_filter": "elo_ > 1"}, "E_EXPRESSION"),
        ({"derived": [Derived(name="x", expression="home + 1")]}, "E_EXPRESSION"),
        ({"derived": [Derived(name="x", expression="nothing + 1")]}, "E_EXPRESSION"),
        ({"derived": [Derived(name="x", expression="y + 1"), Derived(name="y", expression="x + 1")]}, "E_EXPRESSION"),
        ({"derived": [Derived(name="elo", expression="home_score + 1")]}, "E_CONTRACT"),
        ({"derived": [WIN, WIN]}, "E_CONTRACT"),
        ({"derived": [WIN], "target": "home_win", "roles": {"home_score": "feature"}}, "E_CONTRACT"),
    ],
)
def test_what_does_not_fit_the_table_is_refused(arguments, code):
    with pytest.raises(DataRejected) as refused:
        shape_table(GAMES, **arguments)
    assert refused.value.code == code
    assert refused.value.hint


def test_too_many_derived_columns_are_refused():
    with pytest.raises(InvalidInput):
        shape_table(GAMES, derived=[Derived(name=f"x{n}", expression=f"elo + {n}") for n in range(101)])


def test_an_unknown_target_gets_a_suggestion():
    with pytest.raises(InvalidInput) as refused:
        shape_table(GAMES, target="home_scor")
    assert "'home_score'" in refused.value.hint


@pytest.mark.parametrize("values", [[7, 7, 7], [None, None, None], [7, None, 7]])
def test_a_target_without_two_values_is_refused(values):
    frame = pl.DataFrame({"x": [1, 2, 3], "y": pl.Series(values, dtype=pl.Int64)})
    with pytest.raises(BadTarget):
        shape_table(frame, target="y")


def test_a_target_that_lacks_some_values_is_allowed():
    frame = pl.DataFrame({"x": [1, 2, 3], "y": [0, None, 1]})
    assert shape_table(frame, target="y")[1].column("y").nullable


def test_a_table_without_rows_is_refused():
    with pytest.raises(DataRejected) as refused:
        shape_table(GAMES.clear())
    assert refused.value.code == "E_NO_ROWS"


@pytest.mark.parametrize("name", ["^.*$", "*", "^$"])
def test_a_column_is_not_named_by_a_pattern(name):
    with pytest.raises(DataRejected) as refused:
        shape_table(pl.DataFrame({"a": [1, 2, 3]}), derived=[Derived(name=name, expression="a + 1")])
    assert refused.value.code == "E_CONTRACT"


def test_a_copy_of_a_personal_column_is_personal():
    frame = pl.DataFrame({"last_name": ["Lee", "Moe", "Poe"], "age": [30, 40, 50]})
    derived = [Derived(name="again", expression="copy"), Derived(name="copy", expression="last_name")]
    derived.append(Derived(name="is_lee", expression="last_name == 'Lee'"))
    _, contract = shape_table(frame, derived=derived)
    assert {column.name for column in contract.columns if column.personal} == {"last_name", "copy", "again"}
    assert contract.column("copy").allowed is None
