"""What breaks consumers of an earlier version, and what doesn't."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from core.contract.contracts import GAMES, contracts
from mcp_server.core.contract import Column, Contract
from mcp_server.core.contract.compatibility import breaks
from mcp_server.core.contract.edit import edit, read_change


def broken(document: dict) -> list[str]:
    return [str(found) for found in breaks(GAMES, edit(GAMES, read_change(document)))]


@settings(max_examples=200, deadline=None)
@given(contracts(inferred=True))
def test_a_contract_is_compatible_with_itself(contract):
    assert breaks(contract, contract) == []


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ({"columns": {"home_elo": {"maximum": 2000}}}, "'home_elo' may be above its promised range"),
        ({"columns": {"season": {"minimum": None}}}, "'season' may be below its promised range"),
        ({"columns": {"home": {"allowed": ["BOS", "LAL", "NYK"]}}}, "'home' may have values that weren't promised"),
        ({"columns": {"home": {"kind": "text"}}}, "'home' was category and is text"),
        ({"columns": {"game_id": {"pattern": None}}}, "'game_id' lacks its promised pattern"),
        ({"columns": {"game_id": {"unique": False}}}, "'game_id' may hold a value twice"),
        ({"columns": {"season": {"nullable": True}}}, "'season' may be missing now"),
        ({"columns": {"home_elo": {"unit": "elo"}}}, "'home_elo' has another unit"),
        ({"columns": {"season": {"role": "ignored"}}}, "'season' was a feature and is ignored"),
        ({"columns": {"home_win": {"role": "known_after"}}}, "'home_win' is no longer the target"),
        ({"columns": {"game_id": {"role": "feature"}}}, "other columns name a row"),
        ({"rules": {"no_ties": None}}, "the rule no_ties no longer holds as it was"),
        (
            {"rules": {"no_ties": {"expression": "home_score != away_score", "severity": "warn"}}},
            "the rule no_ties is less strict",
        ),
        ({"unique_together": None}, "columns that were unique together no longer are"),
        ({"freshness": {"days": 3}}, "it may be older than was promised"),
        ({"row_bounds": {"minimum": 9}}, "it may have fewer or more rows than was promised"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_promise_that_is_taken_back_breaks(document, what):
    assert what in broken(document)


@pytest.mark.parametrize(
    "document",
    [
        {"columns": {"home_elo": {"maximum": 1800, "nullable": False}}},
        {"columns": {"home": {"allowed": ["BOS"], "pattern": "[A-Z]+"}}},
        {"columns": {"note": {"unit": "words", "role": "feature"}}},
        {"columns": {"home": {"unique": True}}},
        {"rules": {"plausible": {"expression": "home_score < 250", "severity": "fail"}}},
        {"rules": {"more": {"expression": "season > 1900"}}},
        {"freshness": {"days": 1}},
        {"row_bounds": {"minimum": 11, "maximum": 99}},
    ],
    ids=str,
)
def test_a_narrower_promise_breaks_nobody(document):
    assert broken(document) == []


def test_a_limit_on_groups_that_goes_or_loosens_breaks_and_a_tighter_one_does_not():
    limits = {"selection_rate": {"ratio": 0.8, "difference": 0.1}}
    held = edit(GAMES, read_change({"columns": {"home": {"sensitive": True}}, "fairness": limits}))

    def after(**changed: float) -> list[str]:
        return [
            str(one) for one in breaks(held, edit(held, read_change({"fairness": {"selection_rate": changed or None}})))
        ]

    told = ["models are no longer held to its limit of selection_rate"]
    assert after() == after(ratio=0.7, difference=0.1) == after(ratio=0.8) == told
    assert after(ratio=0.9, difference=0.1) == []


def of(*columns: Column) -> Contract:
    return Contract(columns=columns)


A = Column(name="a", kind="integer", minimum=0.0, maximum=5.0, inferred={"kind": 0.9, "minimum": 0.9, "maximum": 0.9})


def test_a_wider_range_breaks_nobody_where_it_was_only_seen():
    wider = A.model_copy(update={"maximum": 9.0})
    assert breaks(of(A), of(wider)) == []
    stated = A.model_copy(update={"inferred": {"kind": 0.9}})
    assert [str(found) for found in breaks(of(stated), of(wider))] == ["'a' may be above its promised range"]


def test_a_column_that_goes_breaks_and_one_that_comes_does_not():
    b = Column(name="b", kind="text")
    assert breaks(of(A), of(A, b)) == []
    assert [str(found) for found in breaks(of(A, b), of(A))] == ["'b' is gone"]
    assert [str(found) for found in breaks(of(A, b), of(A, b.model_copy(update={"name": "bee"})))] == [
        "'b' is gone, perhaps renamed to 'bee'"
    ]


def test_a_kind_that_holds_more_breaks_and_one_that_holds_less_does_not():
    number = A.model_copy(update={"kind": "number"})
    assert breaks(of(number), of(A)) == []
    assert [str(found) for found in breaks(of(A), of(number))] == ["'a' was integer and is number"]


def test_a_filter_that_is_taken_away_breaks_and_one_more_does_not():
    def filtered(text):
        return Contract(columns=(A,), row_filter=text)

    assert breaks(filtered(None), filtered("a > 1")) == []
    assert breaks(filtered("a > 1"), filtered("(a > 1) and (a < 4)")) == []
    assert [str(found) for found in breaks(filtered("a > 1"), filtered("a > 12"))] == ["its row filter no longer holds"]
