"""Gates: what keeps its limits passes, and what can't be told doesn't."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mcp_server.core.contract.fairness import RateLimits, StatedLimit
from mcp_server.core.gates import (
    Bound,
    DataFacts,
    DataGates,
    FairnessGates,
    GroupFacts,
    GroupRuling,
    ModelFacts,
    ModelGates,
    Outcome,
    Quantile,
    VersionGates,
    judge_data,
    judge_model,
    junit,
    markdown,
    quantile,
    read_gates,
)
from mcp_server.errors import InvalidInput

finite = st.floats(-1e6, 1e6)


def facts(**changed) -> ModelFacts:
    values = {
        "reference": "home_win@2",
        "verified": True,
        "failed_checks": (),
        "test": {
            "log_loss": {"value": 0.60, "low": 0.58, "high": 0.62},
            "roc_auc": {"value": 0.72, "low": 0.70, "high": 0.74},
            "brier": {"value": 0.2, "low": None, "high": None},
        },
        "train": {"log_loss": 0.55, "roc_auc": 0.80},
        "age_days": 10.0,
        "latency_ms": {"p50": Quantile(0.1, 0.09, 0.12), "p99": Quantile(2.0, 1.5, None)},
    }
    return ModelFacts(**{**values, **changed})


def states(gates: ModelGates, found: ModelFacts) -> dict[str, str]:
    return {outcome.gate: outcome.state for outcome in judge_model(gates, found)}


def test_figures_on_rows_that_a_model_may_have_been_trained_on_are_no_evidence():
    ruling = GroupRuling("a", "passed", 1.0, 0.9, 1.1)
    groups = (GroupFacts("sex", StatedLimit("selection_rate", "ratio", 0.8), "b", (ruling,)),)
    gates = ModelGates(model="m", metrics={"log_loss": Bound(max=9.0)}, gap={"log_loss": 9.0}, max_age_days=30)
    asked = {"log_loss", "log_loss gap", groups[0].gate}
    assert {states(gates, facts(groups=groups))[gate] for gate in asked} == {"passed"}
    found = states(gates, facts(groups=groups, unseen=False))
    assert {found[gate] for gate in asked} == {"unknown"}
    assert found["age"] == found["verification"] == "passed"


@pytest.mark.parametrize(
    ("bound", "state"),
    [
        ({"max": 0.60}, "passed"),
        ({"max": 0.599}, "failed"),
        ({"max": 0.62, "by": "interval"}, "passed"),
        ({"max": 0.61, "by": "interval"}, "failed"),
        ({"min": 0.58, "max": 0.62, "by": "interval"}, "passed"),
        ({"min": 0.61}, "failed"),
    ],
)
def test_a_metric_passes_within_its_limits(bound, state):
    assert states(ModelGates(model="m", metrics={"log_loss": Bound(**bound)}), facts())["log_loss"] == state


def test_what_cannot_be_told_does_not_pass():
    gates = ModelGates(
        model="m",
        metrics={"brier": Bound(max=1.0, by="interval"), "lift": Bound(min=0.0)},
        gap={"brier": 1.0},
        latency_ms={"p99": 5.0},
    )
    found = states(gates, facts(latency_ms=None))
    assert found == {
        "verification": "passed",
        "brier": "unknown",
        "lift": "unknown",
        "brier gap": "unknown",
        "latency p99": "unknown",
    }


def test_after_a_failed_verification_nothing_passes():
    gates = ModelGates(model="m", metrics={"log_loss": Bound(max=9.0)}, gap={"roc_auc": 1.0}, max_age_days=99)
    outcomes = judge_model(gates, facts(verified=False, failed_checks=("signature",)))
    assert [outcome.state for outcome in outcomes] == ["failed", "unknown", "unknown", "unknown"]
    assert "signature" in outcomes[0].detail


def test_a_gap_counts_against_a_model_only_where_the_test_rows_are_worse():
    # Log loss is worse by .05 on the test rows, AUC by .08.
    assert states(ModelGates(model="m", gap={"log_loss": 0.051, "roc_auc": 0.081}), facts()) == {
        "verification": "passed",
        "log_loss gap": "passed",
        "roc_auc gap": "passed",
    }
    assert states(ModelGates(model="m", gap={"log_loss": 0.04, "roc_auc": 0.07}), facts()) == {
        "verification": "passed",
        "log_loss gap": "failed",
        "roc_auc gap": "failed",
    }
    better = facts(train={"log_loss": 0.9, "roc_auc": 0.5})
    assert states(ModelGates(model="m", gap={"log_loss": 0.0, "roc_auc": 0.0}), better)["log_loss gap"] == "passed"


def test_latency_and_age_are_limits():
    gates = ModelGates(model="m", latency_ms={"p50": 0.05, "p99": 2.0}, max_age_days=9.5)
    assert states(gates, facts()) == {
        "verification": "passed",
        "latency p50": "failed",
        "latency p99": "passed",
        "age": "failed",
    }


def test_a_latency_is_told_with_its_interval_where_it_has_one():
    told = {one.gate: one.detail for one in judge_model(VersionGates(latency_ms={"p50": 1, "p99": 1}), facts())}
    assert told["latency p50"] == "0.1 ms a row here (95 %: 0.09 to 0.12); at most 1 ms."
    assert told["latency p99"] == "2 ms a row here; at most 1 ms."


@given(n=st.integers(1, 700), share=st.floats(0.02, 0.98))
def test_a_quantile_lies_within_ranks_that_a_binomial_count_stays_between(n, share):
    found = quantile([float(rank) for rank in range(1, n + 1)], share)
    count = stats.binom(n, share)
    if found.low is None:
        assert count.cdf(0) > 0.025 - 1e-9
    else:
        assert count.cdf(found.low - 1) <= 0.025 + 1e-9
        assert found.low == n or count.cdf(found.low) > 0.025 - 1e-9, "the next rank would miss too often"
    if found.high is None:
        assert count.sf(n - 1) > 0.025 - 1e-9
    else:
        assert count.sf(found.high - 1) <= 0.025 + 1e-9
        assert found.high == 1 or count.sf(found.high - 2) > 0.025 - 1e-9


RATIO = StatedLimit("selection_rate", "ratio", 0.8)
KEEPS = GroupRuling("C", "passed", 0.95, 0.9, 1.0)
BREAKS = GroupRuling("F", "failed", 0.5, 0.4, 0.6)
SMALL = GroupRuling("X", "unknown", 0.2, 0.05, None, "too few rows")


@pytest.mark.parametrize(
    ("rulings", "state", "told"),
    [
        ((KEEPS,), "passed", "C: 0.95 (95 %: 0.9 to 1). Against M the whole interval must be 0.8 to 1.25."),
        ((KEEPS, BREAKS, SMALL), "failed", "F: 0.5 (95 %: 0.4 to 0.6) (1 unknown, 1 passed)."),
        ((KEEPS, SMALL), "unknown", "X: 0.2 (95 %: 0.05 to no end), not decidable with these rows: too few rows"),
        ((), "unknown", "only one group"),
    ],
)
def test_a_limit_on_groups_passes_only_where_every_group_keeps_it(rulings, state, told):
    found = facts(groups=(GroupFacts("sex", RATIO, "M", rulings),))
    outcome = judge_model(VersionGates(), found)[-1]
    assert (outcome.gate, outcome.state) == ("fairness selection_rate ratio of sex", state)
    assert told in outcome.detail


def test_groups_that_could_not_be_compared_do_not_pass():
    outcome = judge_model(VersionGates(), facts(not_compared="E_SERIES: All rows are in one group."))[-1]
    assert (outcome.gate, outcome.state) == ("fairness", "unknown")
    assert "one group" in markdown([outcome])
    assert "one group" in junit([outcome])


@pytest.mark.parametrize(
    "part",
    [
        "{groups: [sex]}",
        "{limits: {selection_rate: {}}}",
        "{limits: {calibration_gap: {ratio: 0.8}}}",
        "{limits: {luck: {ratio: 0.8}}}",
        "{limits: {selection_rate: {ratio: 0}}}",
        "{group: [sex]}",
    ],
)
def test_limits_on_groups_that_say_nothing_or_too_much_are_refused(part):
    with pytest.raises(InvalidInput):
        read_gates(f"models: [{{model: m, fairness: {part}}}]")


def test_limits_on_groups_are_read():
    gates = read_gates("models: [{model: m, fairness: {groups: [sex], limits: {selection_rate: {ratio: 0.8}}}}]")
    assert gates.models[0].fairness == FairnessGates(groups=["sex"], limits={"selection_rate": RateLimits(ratio=0.8)})


@pytest.mark.parametrize(
    ("verdict", "allow", "state"),
    [
        ("pass", "pass", "passed"),
        ("warn", "pass", "failed"),
        ("warn", "warn", "passed"),
        ("fail", "warn", "failed"),
        ("fail", "pass", "failed"),
    ],
)
def test_a_data_set_passes_with_a_verdict_that_is_allowed(verdict, allow, state):
    found = DataFacts("games@4", verdict, ("missing.share: A half is missing.",), 100, 3.0)
    (outcome,) = judge_data(DataGates(dataset="games", allow=allow), found)
    assert outcome.state == state
    assert "A half is missing." in outcome.detail


def test_rows_and_age_of_data_are_limits():
    found = DataFacts("games@4", "pass", (), 100, 3.0)
    outcomes = judge_data(DataGates(dataset="games", min_rows=101, max_age_days=3.0), found)
    assert [(outcome.gate, outcome.state) for outcome in outcomes] == [
        ("validation", "passed"),
        ("rows", "failed"),
        ("age", "passed"),
    ]


@given(value=finite, low=finite, high=finite, limit=finite, by=st.sampled_from(["value", "interval"]))
def test_a_looser_limit_never_fails_what_a_tighter_one_passed(value, low, high, limit, by):
    low, high = min(low, high), max(low, high)
    found = facts(test={"loss": {"value": value, "low": low, "high": high}})

    def state(most: float) -> str:
        return states(ModelGates(model="m", metrics={"loss": Bound(max=most, by=by)}), found)["loss"]

    if state(limit) == "passed":
        assert state(limit + 1.0) == "passed"


REFUSED = {
    "nothing": "{}",
    "empty lists": "data: []\nmodels: []",
    "not an object": "- model: m",
    "no YAML": "models: [",
    "an alias": "a: &a [1]\nmodels: *a",
    "a key twice": "models: [{model: m}]\nmodels: []",
    "an unknown gate": "models: [{model: m, metricks: {}}]",
    "no limit": "models: [{model: m, metrics: {auc: {}}}]",
    "crossed limits": "models: [{model: m, metrics: {auc: {min: 1, max: 0}}}]",
    "not a number": "models: [{model: m, metrics: {auc: {min: .nan}}}]",
    "infinite": "models: [{model: m, max_age_days: .inf}]",
    "an object of Python": "models: !!python/object/apply:os.getcwd []",
    "a tag that its value doesn't fit": "models: !!bool x",
    "another such tag": "models: !!timestamp x",
    "no rows": "data: [{dataset: d, min_rows: 0}]",
    "too large": "#" * 300_000,
    "too deep": "models: " + "[" * 5_000,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_gates_that_could_be_misread_are_refused_with_a_place_to_look(text):
    with pytest.raises(InvalidInput) as refused:
        read_gates(text)
    assert "gates.md" in refused.value.hint


def test_json_is_read_too():
    gates = read_gates('{"models": [{"model": "m", "metrics": {"auc": {"min": 0.7}}}]}')
    assert gates.models[0].metrics["auc"].min == 0.7


HOSTILE = '"><script>|`x`\x00\u202e\n| a | b |'


def test_hostile_names_stay_text_in_both_reports():
    outcomes = [Outcome(HOSTILE, HOSTILE, state, HOSTILE) for state in ("passed", "failed", "unknown")]
    root = ET.fromstring(junit(outcomes))
    assert (root.get("tests"), root.get("failures")) == ("3", "2")
    assert [len(case) for case in root.iter("testcase")] == [1, 1, 1]
    assert len(list(root.iter("failure"))) == 2
    told = markdown(outcomes)
    rows = [line for line in told.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 3
    assert "<script" not in told.replace("\\<script", "")
    assert "failed" in rows[0], "what doesn't pass comes first"


@given(st.text(max_size=60))
def test_any_text_makes_sound_xml(text):
    outcome = Outcome(text, text, "failed", text)
    ET.fromstring(junit([outcome]))
