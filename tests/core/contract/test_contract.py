"""Contracts: a round trip, roles that follow from lineage, and contradictions."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.contract import Column, Contract, Derived, Made, Overrides, apply_overrides, from_dict, to_dict
from mcp_server.errors import BadTarget, DataRejected, InvalidInput

GAMES = Contract(
    columns=(
        Column(name="date", kind="date", role="time"),
        Column(name="game_id", kind="integer", role="key", unique=True),
        Column(name="season", kind="integer", minimum=1947.0, maximum=2015.0),
        Column(name="home", kind="category", allowed=("BOS", "NYK")),
        Column(name="home_elo", kind="number", nullable=True, unit="points"),
        Column(name="home_score", kind="integer"),
        Column(name="away_score", kind="integer"),
        Column(name="margin", kind="integer", source="derived"),
        Column(name="home_win", kind="boolean", source="derived"),
        Column(name="big_win", kind="boolean", source="derived"),
        Column(name="elo_share", kind="number", source="derived"),
    ),
    derived=(
        Derived(name="home_win", expression="margin > 0"),
        Derived(name="margin", expression="home_score - away_score"),
        Derived(name="big_win", expression="margin > 20"),
        Derived(name="elo_share", expression="home_elo / 3000"),
    ),
    row_filter="season >= 1985",
)


def roles(contract):
    return {column.name: column.role for column in contract.columns}


def test_a_contract_survives_json():
    assert from_dict(json.loads(json.dumps(to_dict(GAMES)))) == GAMES


names = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5, unique=True)


@settings(deadline=None)
@given(names, st.data())
def test_any_contract_survives_json(given_names, data):
    kinds = st.sampled_from(["integer", "number", "boolean", "category", "text", "date", "datetime"])
    columns = tuple(Column(name=name, kind=data.draw(kinds), nullable=data.draw(st.booleans())) for name in given_names)
    contract = Contract(columns=columns)
    assert from_dict(json.loads(json.dumps(to_dict(contract)))) == contract


def test_what_decides_the_target_is_known_only_after():
    contract = apply_overrides(GAMES, Overrides(target="home_win"))
    assert contract.target == "home_win"
    found = roles(contract)
    assert {name for name, role in found.items() if role == "known_after"} == {
        "margin",
        "home_score",
        "away_score",
        "big_win",
    }
    assert [column.name for column in contract.features] == ["season", "home", "home_elo", "elo_share"]


def test_a_column_computed_from_the_target_is_known_only_after():
    assert roles(apply_overrides(GAMES, Overrides(target="home_elo")))["elo_share"] == "known_after"


def test_a_column_computed_from_a_known_after_column_is_one_too():
    contract = apply_overrides(GAMES, Overrides(target="season", roles={"home_elo": "known_after"}))
    assert roles(contract)["elo_share"] == "known_after"


def test_what_decides_the_target_may_be_ignored_instead():
    contract = apply_overrides(GAMES, Overrides(target="home_win", roles={"home_score": "ignored"}))
    assert roles(contract)["home_score"] == "ignored"


def test_a_stated_time_replaces_the_inferred_one():
    contract = apply_overrides(GAMES, Overrides(time="season"))
    assert contract.time == "season"
    assert roles(contract)["date"] == "feature"


def test_a_stated_key_replaces_the_inferred_one():
    contract = apply_overrides(GAMES, Overrides(key=("date", "home")))
    assert contract.key == ("date", "home")
    assert contract.time is None
    assert apply_overrides(GAMES, Overrides(key=())).key == ()


def test_a_changed_target_frees_the_old_one_and_not_its_sources():
    contract = apply_overrides(apply_overrides(GAMES, Overrides(target="home_win")), Overrides(target="home_elo"))
    found = roles(contract)
    assert found["home_win"] == "known_after"
    assert found["home_score"] == "known_after"


def test_units_and_personal_marks_are_set():
    contract = apply_overrides(GAMES, Overrides(units={"season": "year"}, personal={"home": True}))
    assert contract.column("season").unit == "year"
    assert contract.column("home").personal


@pytest.mark.parametrize(
    "overrides",
    [
        Overrides(target="home_win", roles={"home_score": "feature"}),
        Overrides(target="home_win", roles={"big_win": "feature"}),
        Overrides(roles={"home_elo": "known_after", "elo_share": "feature"}),
        Overrides(target="home_win", roles={"home_win": "feature"}),
        Overrides(roles={"home_win": "target", "season": "target"}),
        Overrides(time="date", key=("date",)),
        Overrides(time="home"),
        Overrides(time="home_elo"),
        Overrides(key=("season",), roles={"game_id": "key"}),
    ],
    ids=lambda overrides: str(overrides)[:60],
)
def test_contradicting_statements_are_refused(overrides):
    with pytest.raises(DataRejected) as refused:
        apply_overrides(GAMES, overrides)
    assert refused.value.code == "E_CONTRACT"
    assert refused.value.hint


@pytest.mark.parametrize(
    "overrides",
    [Overrides(target="home_wim"), Overrides(roles={"home_wim": "ignored"}), Overrides(units={"home_wim": "x"})],
)
def test_an_unknown_column_gets_a_suggestion(overrides):
    with pytest.raises(InvalidInput) as refused:
        apply_overrides(GAMES, overrides)
    assert "'home_win'" in refused.value.hint


def test_a_date_cannot_be_the_target():
    with pytest.raises(BadTarget):
        apply_overrides(GAMES, Overrides(target="date"))


def with_columns(*changes):
    value = to_dict(GAMES)
    for position, change in changes:
        value["columns"][position] |= change
    return value


@pytest.mark.parametrize(
    "value",
    [
        with_columns((5, {"role": "known_after"})),
        with_columns((4, {"name": "elo"})),
        with_columns((8, {"role": "target"})),
        with_columns((2, {"role": "target"}), (3, {"role": "target"})),
        with_columns((2, {"name": "date"})),
        with_columns((7, {"source": "file"})),
        with_columns((2, {"minimum": 5.0, "maximum": 4.0})),
        with_columns((3, {"minimum": 5.0})),
        with_columns((3, {"allowed": ["NYK", "BOS"]})),
        with_columns((2, {"minimum": float("nan")})),
        with_columns((2, {"kind": "complex"})),
        with_columns((2, {"colour": "red"})),
        with_columns((2, {"nullable": "yes"})),
        {"columns": []},
        {},
    ],
)
def test_a_stored_contract_that_contradicts_itself_is_refused(value):
    with pytest.raises(DataRejected) as refused:
        from_dict(value)
    assert refused.value.code == "E_CONTRACT"
    assert "http" not in refused.value.message


def test_columns_computed_in_a_circle_are_refused():
    value = to_dict(GAMES)
    value["derived"][1]["expression"] = "home_elo * 0 + elo_share"
    value["derived"][3]["expression"] = "margin + 1"
    with pytest.raises(DataRejected) as refused:
        from_dict(value)
    assert refused.value.code == "E_EXPRESSION"


def test_what_was_made_of_the_target_s_sources_is_known_only_after():
    made = (Made(name="home_elo", columns=("margin",)), Made(name="season", columns=("home_elo", "gone")))
    contract = apply_overrides(GAMES.model_copy(update={"made": made}), Overrides(target="home_win"))
    assert roles(contract)["home_elo"] == roles(contract)["season"] == roles(contract)["elo_share"] == "known_after"
    assert from_dict(json.loads(json.dumps(to_dict(contract)))) == contract


def test_a_contract_without_made_columns_or_rows_is_written_as_it_always_was():
    assert {"made", "synthetic"}.isdisjoint(to_dict(GAMES))
