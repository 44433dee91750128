"""Plans: what they may say, and refusals from which the steps can be learned."""

from __future__ import annotations

import json

import pytest

from core.preparing.tables import a_table, prepared, two_classes
from mcp_server.core.preparing import plan
from mcp_server.errors import CourtsideError, PlanRefused


@pytest.mark.parametrize("do", sorted(plan.STEPS))
def test_every_step_has_an_example_that_is_a_step_and_survives_json(do):
    (step,) = plan.read_plan([plan.STEPS[do].example])
    written = plan.to_json([step])
    assert written[0]["do"] == do
    assert plan.to_json(plan.read_plan(json.loads(json.dumps(written)))) == written


def test_a_wrong_step_is_answered_with_every_step_and_its_fields():
    with pytest.raises(PlanRefused) as refused:
        plan.read_plan([{"do": "filter", "where": "x > 1"}, {"do": "fliter", "where": "x > 1"}])
    assert refused.value.message == "Step 2 names no step in its field do. Did you mean 'filter'?"
    for do in plan.STEPS:
        assert f"{do}: {plan.takes(do)}" in refused.value.hint
    assert len(refused.value.hint) < 1_000  # longer hints are cut


WRONG = [
    ({}, "Step 1 has no field do"),
    ({"do": 5}, "Step 1 names no step"),
    ({"do": "filter"}, "it needs where"),
    ({"do": "filter", "wher": "x > 1"}, "Did you mean 'where'?"),
    ({"do": "filter", "where": 5}, "where: input should be a valid string"),
    ({"do": "derive", "columns": {}}, "columns: "),
    ({"do": "drop_rows"}, "either rows or rule"),
    ({"do": "drop_rows", "rows": [0]}, "rows: "),
    ({"do": "drop_rows", "rows": [1], "rule": "a.b"}, "either rows or rule"),
    ({"do": "join", "with": "b", "on": ["k"], "within": 3.0}, "belong to as_of"),
    ({"do": "join", "with": "b", "on": ["k"], "as_of": True, "same_time": True, "features": ["x"]}, "strictly earlier"),
    ({"do": "join", "with": "b; drop", "on": ["k"]}, "with "),
    ({"do": "impute", "columns": ["x"], "by": "constant"}, "value belongs to by constant"),
    ({"do": "impute", "columns": ["x"], "value": 1}, "value belongs to by constant"),
    ({"do": "impute", "columns": ["x"], "by": "constant", "value": float("nan")}, "value: "),
    ({"do": "sample"}, "either rows or share"),
    ({"do": "sample", "share": 1.5}, "share: "),
    ({"do": "sample", "rows": 5, "by": "stratified"}, "strata belongs to by stratified"),
    ({"do": "sample", "rows": 5, "weight": "x"}, "weight belongs to by weighted"),
    ({"do": "sample", "rows": 5, "per": "day"}, "per and take belong to by time"),
    ({"do": "balance", "how": "both"}, "how: "),
    ({"do": "augment", "by": "smote", "share": 0.5}, "share belongs to by noise"),
    ({"do": "augment", "by": "noise", "neighbours": 5}, "neighbours belongs to by smote"),
    ({"do": "select_features"}, "it needs keep"),
    ({"do": "select_features", "keep": True}, "keep: "),
    ({"do": "embed", "column": "x", "by": "target", "width": 4}, "width belongs to"),
    ({"do": "embed", "column": "x", "by": "text", "folds": 4}, "folds and smoothing belong to"),
    ({"do": "embed", "column": "x", "by": "hashing", "width": 1_000}, "width: "),
]


@pytest.mark.parametrize(("step", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_step_that_is_not_well_formed_is_named_with_its_field(step, said):
    with pytest.raises(PlanRefused) as refused:
        plan.read_plan([step])
    assert said in refused.value.message
    assert refused.value.details["step"] == 1
    assert refused.value.hint


def test_a_plan_of_too_many_or_too_large_steps_is_refused():
    with pytest.raises(PlanRefused, match="51 steps"):
        plan.read_plan([{"do": "filter", "where": "x > 1"}] * 51)
    with pytest.raises(PlanRefused, match="64 KiB"):
        plan.read_plan([{"do": "drop_rows", "rows": list(range(1, 20_000))}])


def other():
    return a_table({"k": [1, 1, 2], "d": ["a", "b", "c"]}, key=[])


CANNOT = [
    ({"do": "filter", "where": "z > 1"}, "E_PLAN", "no column 'z'"),
    ({"do": "filter", "where": "x + 1"}, "E_PLAN", "isn't a condition"),
    ({"do": "filter", "where": "x > > 1"}, "E_EXPRESSION", ""),
    ({"do": "filter", "where": "x > 1000000"}, "E_PLAN", "No row is left"),
    ({"do": "derive", "columns": {"x": "n + 1"}}, "E_PLAN", "column 'x' already"),
    ({"do": "derive", "columns": {"a": "b + n", "b": "a + n"}}, "E_EXPRESSION", "itself"),
    ({"do": "derive", "columns": {"a": "colour + 1"}}, "E_EXPRESSION", "numbers"),
    ({"do": "drop_columns", "columns": ["y"]}, "E_PLAN", "target can't be dropped"),
    ({"do": "drop_columns", "columns": ["collour"]}, "E_PLAN", "no column"),
    ({"do": "drop_rows", "rows": [[399, 401]]}, "E_PLAN", "span 399 to 401"),
    ({"do": "drop_rows", "rows": [[5, 4]]}, "E_PLAN", "span 5 to 4"),
    ({"do": "drop_rows", "rule": "no.such"}, "E_PLAN", "flags no rows"),
    ({"do": "join", "with": "other", "on": {"n": "d"}}, "E_PLAN", "is integer here and"),
    ({"do": "join", "with": "other", "on": {"n": "k"}}, "E_PLAN", "1 rows of the other data set share their key"),
    ({"do": "join", "with": "other", "on": {"n": "kk"}}, "E_PLAN", "other data set has no column 'kk'"),
    ({"do": "join", "with": "other", "on": {"n": "k"}, "as_of": True}, "E_PLAN", "this data set has none"),
    ({"do": "impute", "columns": ["y"]}, "E_PLAN", "is or decides the target"),
    ({"do": "impute", "columns": ["colour"]}, "E_PLAN", "which has no median"),
    ({"do": "impute", "columns": ["x"], "by": "constant", "value": "zero"}, "E_PLAN", "isn't of the kind"),
    ({"do": "impute", "columns": ["x"], "where": "x > 1000"}, "E_PLAN", "no value to measure"),
    ({"do": "sample", "rows": 401}, "E_PLAN", "401 rows are wanted of 400"),
    ({"do": "sample", "by": "time", "rows": 1}, "E_PLAN", "no time column"),
    ({"do": "sample", "by": "weighted", "weight": "colour", "rows": 1}, "E_PLAN", "isn't a number"),
    ({"do": "sample", "by": "weighted", "weight": "x", "rows": 1}, "E_PLAN", "below 0"),
    ({"do": "select_features", "keep": 5}, "E_PLAN", "5 features are to be kept of 4"),
    ({"do": "select_features", "keep": 1, "test": "x > 1000000"}, "E_TRAINING", "judge on"),
    ({"do": "augment", "by": "noise", "share": 10.0}, "E_PLAN", "500 are allowed"),
    ({"do": "embed", "column": "y", "by": "hashing"}, "E_PLAN", "is the target"),
    ({"do": "embed", "column": "x", "by": "hashing"}, "E_PLAN", "is number"),
    ({"do": "embed", "column": "n", "by": "text"}, "E_PLAN", "is integer"),
    ({"do": "embed", "column": "colour", "by": "text", "width": 8}, "E_PLAN", "3 different texts"),
    ({"do": "embed", "column": "colour", "by": "target", "prefix": "x"}, "E_PLAN", "column 'x' already"),
]


@pytest.mark.parametrize(("step", "code", "said"), CANNOT, ids=[f"{step['do']} {said}" for step, _, said in CANNOT])
def test_a_step_that_cannot_be_done_is_refused_with_its_number(step, code, said):
    from mcp_server.core.preparing.run import PlanLimits, prepare

    plan_ = plan.read_plan(
        [{"do": "derive", "columns": {"one": "n + 1"}}, {"do": "drop_columns", "columns": ["one"]}, step]
    )
    tight = PlanLimits(rows=500, columns=500, cells=1_000_000)
    with pytest.raises(CourtsideError) as refused:
        prepare(two_classes(), plan_, seed=0, limits=tight, others={"other": other()})
    assert refused.value.code == code
    assert refused.value.message.startswith(f"Step 3 ({step['do']}): ")
    assert said in refused.value.message
    assert refused.value.details["step"] == 3


def test_a_table_without_a_target_has_nothing_to_balance():
    table = a_table({"x": [float(i) for i in range(100)]})
    for step in ({"do": "balance", "how": "over"}, {"do": "select_features", "keep": 1}):
        with pytest.raises(CourtsideError) as refused:
            prepared(table, step)
        assert refused.value.code == "E_TARGET"
