"""A change of a contract: what it sets and removes, what it refuses, and the way back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contract.contracts import GAMES, contracts, same_columns
from mcp_server.core.contract import Contract, from_dict, to_dict
from mcp_server.core.contract.edit import change_between, differences, edit, read_change, to_document
from mcp_server.core.contract.fairness import stated_limits
from mcp_server.errors import CourtsideError, DataRejected, InvalidInput


def edited(document: dict, contract: Contract = GAMES) -> Contract:
    return edit(contract, read_change(document))


def without_confidence(contract: Contract) -> dict:
    value = to_dict(contract)
    for column in value["columns"]:
        column.pop("inferred", None)
    return value


def ordered(contract: Contract) -> dict:
    value = without_confidence(contract)
    value["rules"] = sorted(value.get("rules", []), key=lambda rule: rule["name"])
    return value


def test_sensitive_as_a_role_is_told_to_be_a_part():
    with pytest.raises(InvalidInput, match="no role") as refused:
        read_change({"columns": {"elo": {"role": "sensitive"}}})
    assert '{"sensitive": true}' in refused.value.hint
    assert read_change({"columns": {"elo": {"sensitive": True}}}).columns["elo"].sensitive


def test_parts_are_set_and_null_removes_them():
    found = edited(
        {
            "columns": {
                "home_elo": {"minimum": 0, "maximum": 3000, "unit": None},
                "home": {"allowed": ["NYK", "BOS", "LAL", "BOS"], "pattern": "[A-Z]{3}"},
                "game_id": {"pattern": None},
            },
            "rules": {"plausible": None, "no_ties": {"expression": "home_score != away_score", "severity": "info"}},
            "unique_together": [["season", "game_id"]],
            "freshness": None,
            "row_bounds": {"minimum": 5, "maximum": 9},
        }
    )
    elo = found.column("home_elo")
    assert (elo.minimum, elo.maximum, elo.unit) == (0.0, 3000.0, None)
    assert found.column("home").allowed == ("BOS", "LAL", "NYK")
    assert found.column("game_id").pattern is None
    assert [(rule.name, rule.severity) for rule in found.rules] == [("no_ties", "info")]
    assert found.unique_together == (("season", "game_id"),)
    assert found.freshness is None
    assert (found.row_bounds.minimum, found.row_bounds.maximum) == (5, 9)
    assert found.column("note") == GAMES.column("note")


def test_what_a_person_says_is_no_longer_inferred():
    found = edited({"columns": {"date": {"nullable": True}}})
    assert found.column("date").inferred == {"kind": 0.9}
    assert found.states(found.column("date"), "nullable")
    assert not found.states(found.column("date"), "kind")


def test_an_empty_change_changes_nothing():
    assert edited({}) == GAMES


def test_a_role_moves_with_what_follows_from_it():
    found = edited({"columns": {"home_win": {"role": "known_after"}, "home_elo": {"role": "target"}}})
    assert found.target == "home_elo"
    assert found.column("home_win").role == "known_after"
    assert edited({"columns": {"season": {"role": "key"}}}).key == ("game_id", "season")


@settings(max_examples=300, deadline=None)
@given(same_columns)
def test_a_change_between_two_contracts_leads_from_one_to_the_other_and_back(pair):
    one, other = pair
    there = edit(one, change_between(one, other))
    assert ordered(there) == ordered(other)
    assert ordered(edit(there, change_between(there, one))) == ordered(one)


@settings(max_examples=200, deadline=None)
@given(contracts(inferred=True), st.data())
def test_an_edit_and_its_inverse_give_the_same_contract_but_for_what_was_inferred(contract, data):
    document = {
        "columns": {
            column.name: {"unit": data.draw(st.none() | st.text(max_size=5)), "nullable": data.draw(st.booleans())}
            for column in contract.columns
            if data.draw(st.booleans())
        },
        "rules": {"one": {"expression": "is_missing(c)"}},
    }
    changed = edit(contract, read_change(document))
    back = edit(changed, change_between(changed, contract))
    assert ordered(back) == ordered(contract)
    untouched = [column for column in contract.columns if column.name not in document["columns"]]
    assert [back.column(column.name) for column in untouched] == untouched


@settings(max_examples=200, deadline=None)
@given(contracts(), contracts())
def test_contracts_differ_exactly_where_they_are_not_equal(one, other):
    assert bool(differences(one, other)) == (ordered(one) != ordered(other))
    assert differences(one, one) == []


@settings(max_examples=100, deadline=None)
@given(same_columns)
def test_a_change_survives_json(pair):
    change = change_between(*pair)
    assert read_change(json.loads(json.dumps(to_document(change)))) == change


def test_an_edited_contract_survives_json():
    found = edited({"columns": {"home_elo": {"minimum": -1.5}}})
    assert from_dict(json.loads(json.dumps(to_dict(found)))) == found


def test_the_differences_say_what_was_and_what_is():
    found = edited(
        {
            "columns": {"home": {"allowed": ["BOS", "LAL"]}, "home_elo": {"maximum": 2000}},
            "rules": {"plausible": None},
        }
    )
    assert [difference.to_list() for difference in differences(GAMES, found)] == [
        ["home", "allowed", {"removed": ["NYK"]}, {"added": ["LAL"]}],
        ["home_elo", "maximum", 1900.0, 2000.0],
        [None, "rule plausible", {"expression": "home_score < 250", "severity": "warn"}, None],
    ]


def test_limits_on_groups_are_set_changed_and_removed_by_rate():
    stated = edited({"columns": {"home": {"sensitive": True}}, "fairness": {"selection_rate": {"ratio": 0.8}}})
    assert stated.sensitive == ("home",)
    more = edit(stated, read_change({"fairness": {"false_negative_rate": {"difference": 0.1}}}))
    assert stated_limits(more.fairness) == [
        ("false_negative_rate", "difference", 0.1),
        ("selection_rate", "ratio", 0.8),
    ]
    assert edit(more, read_change({"fairness": {"false_negative_rate": None}})) == stated
    assert edit(more, read_change({"fairness": None})).fairness == {}
    assert [difference.to_list() for difference in differences(stated, more)] == [
        [None, "fairness false_negative_rate", None, {"difference": 0.1}]
    ]
    assert from_dict(json.loads(json.dumps(to_dict(more)))) == more
    assert "fairness" not in to_dict(GAMES), "a version from before there were limits keeps its digest"


def test_the_differences_hide_values_of_personal_columns():
    found = edited({"columns": {"home": {"personal": True, "allowed": ["Ada Lovelace"]}}})
    told = [difference.to_list() for difference in differences(GAMES, found)]
    assert ["home", "allowed", "hidden", "hidden"] in told
    assert "Ada" not in str(told)


@pytest.mark.parametrize(
    ("document", "meant"),
    [
        ({"colums": {}}, "'columns'"),
        ({"columns": {"home_eol": {"unit": "x"}}}, "'home_elo'"),
        ({"columns": {"home_elo": {"minimun": 0}}}, "'minimum'"),
        ({"rules": {"no_tie": None}}, "'no_ties'"),
        ({"rules": {"new": {"expression": "home_scor > 1"}}}, "'home_score'"),
        ({"unique_together": [["home", "dates"]]}, "'date'"),
    ],
)
def test_a_name_that_is_not_there_gets_a_suggestion(document, meant):
    with pytest.raises(CourtsideError) as refused:
        edited(document)
    assert meant in refused.value.hint


@pytest.mark.parametrize(
    "document",
    [
        {"columns": {"home_elo": {"minimum": "0"}}},
        {"columns": {"home_elo": {"minimum": True}}},
        {"columns": {"home_elo": {"minimum": float("nan")}}},
        {"columns": {"home_elo": {"kind": "integer"}}},
        {"columns": {"home_elo": {"nullable": None}}},
        {"columns": {"home_elo": {"role": None}}},
        {"columns": {"home_elo": 5}},
        {"columns": []},
        {"rules": {"No Ties": {"expression": "home_score > 1"}}},
        {"rules": {"x": {"severity": "fail"}}},
        {"freshness": {"days": 0}},
        {"freshness": {"days": 1, "against": "yesterday"}},
        {"row_bounds": {}},
        {"row_bounds": {"minimum": 5, "maximum": 4}},
        {"unique_together": "home"},
        {"fairness": {"luck": {"ratio": 0.8}}},
        {"fairness": {"selection_rate": {}}},
        {"fairness": {"selection_rate": {"ratio": 1.2}}},
        {"fairness": {"selection_rate": {"difference": -0.1}}},
    ],
    ids=str,
)
def test_a_change_that_is_not_well_formed_is_refused(document):
    with pytest.raises(InvalidInput) as refused:
        read_change(document)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"columns": {"home_elo": {"minimum": 5000}}}, "E_CONTRACT"),
        ({"columns": {"home_elo": {"pattern": "a"}}}, "E_CONTRACT"),
        ({"columns": {"home_elo": {"allowed": ["a"]}}}, "E_CONTRACT"),
        ({"columns": {"home_elo": {"kind": "text"}}}, "E_CONTRACT"),
        ({"columns": {"note": {"pattern": "(?=a)"}}}, "E_CONTRACT"),
        ({"columns": {"note": {"pattern": ""}}}, "E_CONTRACT"),
        ({"columns": {"home_score": {"role": "feature"}}}, "E_CONTRACT"),
        ({"columns": {"date": {"role": "ignored"}}}, "E_CONTRACT"),
        ({"rules": {"x": {"expression": "home_score + 1"}}}, "E_CONTRACT"),
        ({"rules": {"x": {"expression": "__import__('os')"}}}, "E_EXPRESSION"),
        ({"unique_together": [["home", "home"]]}, "E_CONTRACT"),
        ({"unique_together": [["home"]]}, "E_CONTRACT"),
        ({"fairness": {"selection_rate": {"ratio": 0.8}}}, "E_CONTRACT"),
        (
            {"columns": {"home": {"sensitive": True}}, "fairness": {"calibration_gap": {"ratio": 0.8}}},
            "E_CONTRACT",
        ),
    ],
    ids=str,
)
def test_a_change_that_contradicts_the_columns_is_refused(document, code):
    with pytest.raises(DataRejected) as refused:
        edited(document)
    assert refused.value.code == code
    assert refused.value.hint


def test_a_rate_that_is_not_known_is_refused_with_all_that_are():
    with pytest.raises(InvalidInput, match=r"at 'fairness'.'selectionrate': .*'mean_absolute_error'"):
        edited({"fairness": {"selectionrate": {"ratio": 0.8}}})
