"""Stages, owners, tags and the policy: what can be stated, and what a version lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.gates import Outcome
from mcp_server.core.governance.judge import VersionFacts, judge_version, not_barred
from mcp_server.core.governance.policy import StageRules, read_policy
from mcp_server.core.governance.standing import check_owner, check_tags, parse_filters
from mcp_server.errors import InvalidInput

EVERY_RULE = """
stages:
  production:
    verified_within_days: 7
    approvals: 1
    four_eyes: true
    owner: true
    tags: [team]
    card_complete: true
    data_contract: true
    validation: warn
    max_age_days: 90
    gates: {metrics: {log_loss: {max: 0.6}}}
"""
RULES = read_policy(EVERY_RULE).stages["production"]
FACTS = VersionFacts(
    reference="games@3",
    trainer="key:ann",
    age_days=10.0,
    verified_days=1.0,
    owner="key:bob",
    tags={"team": "risk"},
    approvers={"production": frozenset({"key:bob"})},
    missing=(),
    promises=2,
    validation="warn",
)
GATE = Outcome("games@3", "log_loss", "passed", "0.5; must be at most 0.6.")


def unmet(facts: VersionFacts, rules: StageRules = RULES) -> dict[str, str]:
    return {one.gate: one.state for one in judge_version(rules, facts, "production", [GATE]) if one.state != "passed"}


def test_a_version_that_meets_every_rule_passes_each():
    outcomes = judge_version(RULES, FACTS, "production", [GATE])
    assert {one.gate for one in outcomes} == StageRules.model_fields.keys() - {"four_eyes", "gates"} | {"log_loss"}
    assert unmet(FACTS) == {}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"verified_days": None}, {"verified": "failed", "verified_within_days": "failed"}),
        ({"verified_days": 7.5}, {"verified_within_days": "failed"}),
        ({"approvers": {}}, {"approvals": "failed"}),
        ({"approvers": {"staging": frozenset({"key:bob"})}}, {"approvals": "failed"}),
        ({"approvers": {"production": frozenset({"key:ann"})}}, {"approvals": "failed"}),
        ({"owner": None}, {"owner": "failed"}),
        ({"tags": {"tier": "1"}}, {"tags": "failed"}),
        ({"missing": ("a baseline",)}, {"card_complete": "failed"}),
        ({"promises": 0}, {"data_contract": "failed"}),
        ({"promises": None}, {"data_contract": "unknown"}),
        ({"validation": "fail"}, {"validation": "failed"}),
        ({"validation": None}, {"validation": "unknown"}),
        ({"age_days": 90.1}, {"max_age_days": "failed"}),
    ],
    ids=str,
)
def test_each_rule_is_unmet_by_what_it_is_about_and_by_nothing_else(change, found):
    assert unmet(replace(FACTS, **change)) == found


@pytest.mark.parametrize(
    ("change", "found"),
    [({"barred": "It tells."}, "barred"), ({"verified_days": None, "barred": None}, "verified")],
    ids=["barred", "unverified"],
)
def test_production_is_for_verified_versions_that_are_not_barred_whatever_is_asked(change, found):
    facts = replace(FACTS, **change)
    assert [(one.gate, one.state) for one in not_barred(facts, "production")] == [(found, "failed")]
    assert not_barred(facts, "staging") == []
    assert not_barred(FACTS, "production") == []
    assert unmet(facts, StageRules(owner=True)) == {found: "failed"}


def test_who_trained_it_counts_where_four_eyes_are_not_asked_for():
    own = replace(FACTS, approvers={"production": frozenset({"key:ann"})})
    assert unmet(own, StageRules(approvals=1)) == {}
    assert unmet(own, StageRules(approvals=1, four_eyes=True)) == {"approvals": "failed"}


def test_gates_that_were_not_measured_are_left_out():
    assert "log_loss" not in {one.gate for one in judge_version(RULES, FACTS, "production")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stages: {}",
        "stages: {production: {}}",
        "stages: {archived: {owner: true}}",
        "stages: {production: {four_eyes: true}}",
        "stages: {production: {owners: true}}",
        "stages: {production: {approvals: -1}}",
        "stages: {production: {validation: fail}}",
        "stages: {production: {tags: ['Team of mine']}}",
        "stages: {production: {max_age_days: .nan}}",
        "stages: {production: {gates: {model: m}}}",
        "stages: {production: {owner: true, owner: false}}",
        "stages: !!python/object:os.system {}",
    ],
)
def test_a_policy_that_says_nothing_or_something_unknown_is_refused(text):
    with pytest.raises(InvalidInput) as refused:
        read_policy(text)
    assert "governance.md" in refused.value.hint


def test_a_policy_is_known_by_what_it_asks_not_by_how_it_is_written():
    same = read_policy('{"stages": {"production": {"owner": true}}}')
    assert read_policy("# Ours.\nstages:\n  production:\n    owner: true\n").digest == same.digest
    assert read_policy("stages: {production: {owner: true, approvals: 1}}").digest != same.digest


@pytest.mark.parametrize(
    "tags",
    [
        {"Team": "a"},
        {"team of mine": "a"},
        {"team": ""},
        {"team": "ignore what was said"},
        {"team": "a|b"},
        {"team": "x" * 65},
        {f"key{number}": "a" for number in range(21)},
    ],
    ids=str,
)
def test_a_tag_that_could_be_a_sentence_or_is_too_long_is_refused(tags):
    with pytest.raises(InvalidInput):
        check_tags(tags)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
def test_what_is_kept_as_a_tag_can_be_searched_for(tags):
    try:
        check_tags(tags)
    except InvalidInput:
        return
    words = " ".join(f"tag:{key}={value}" for key, value in tags.items())
    assert parse_filters(words).tags == tags


def test_an_owner_is_a_principal_that_the_server_knows():
    check_owner("local", frozenset({"ann"}))
    check_owner("key:anyone", frozenset())
    for owner in ("ann", "key:", "key:x y", "group:ann"):
        with pytest.raises(InvalidInput):
            check_owner(owner, frozenset())
    with pytest.raises(InvalidInput) as refused:
        check_owner("key:anm", frozenset({"ann"}))
    assert "ann" in refused.value.hint


@pytest.mark.parametrize(
    "query", ["stage:prod", "tag:team", "tag:=risk", "model=games", "stage=production", "colour:red"]
)
def test_a_filter_that_says_nothing_is_refused(query):
    with pytest.raises(InvalidInput):
        parse_filters(query)


@given(st.text(max_size=30).filter(lambda text: not set(":=") & set(text)))
def test_a_query_without_filters_stays_as_it_is(text):
    assert parse_filters(text).text == (text.strip() or None)
