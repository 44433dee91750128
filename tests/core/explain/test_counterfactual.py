"""A change that is told flips the answer when it's predicted, and stays within the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.predictor.forms import a_form, a_linear_form, an_input, grown, number, stump
from mcp_server.core.contract import Contract, from_dict
from mcp_server.core.explain.counterfactual import Search
from mcp_server.core.explain.movable import movable_columns
from mcp_server.core.explain.rows import schema_of, typed_row
from mcp_server.core.predictor import compile_form
from mcp_server.core.predictor.batch import compile_batch

TEAMS = ["BOS", "CHI", "LAL"]


def a_contract(columns: dict[str, dict[str, Any]], **rest: Any) -> Contract:
    listed = [{"name": name, "kind": "number", **parts} for name, parts in columns.items()]
    return from_dict({"columns": [*listed, {"name": "win", "kind": "category", "role": "target"}], **rest})


def ranged(low: float = 0.0, high: float = 100.0, **parts: Any) -> dict[str, Any]:
    return {"minimum": low, "maximum": high, **parts}


def search(
    form: dict, contract: Contract, row: dict, *, sample: pl.DataFrame | None = None, move=None, fixed=()
) -> tuple[list, dict[str, str]]:
    batch = compile_batch(form)
    typed = typed_row(batch.form, row)
    schema = schema_of(batch.form)
    given = {name: schema[name] for name in typed}
    if sample is None:
        spread = np.linspace(0.0, 100.0, 50)
        sample = pl.DataFrame({name: spread for name, kind in given.items() if kind.is_numeric()})
    columns, kept = movable_columns(batch.form, contract, sample, typed, fixed=fixed)
    found = Search(compile_form(form), batch, typed, schema=given, columns=columns, contract=contract, move=move).find()
    return found, kept


def two_stumps(**changes: Any) -> dict:
    """yes where x > 50 or y > 90, by equal votes against a base of -0.5."""
    return a_form(
        inputs=[an_input("x"), an_input("y")],
        encoder=[number("x"), number("y")],
        estimator={"kind": "trees", "base": [-0.5], "trees": [stump(0, 50.0, 0.0, 1.0), stump(1, 90.0, 0.0, 1.0)]},
        **changes,
    )


def test_the_nearest_single_change_crosses_the_nearest_threshold():
    found, kept = search(two_stumps(), a_contract({"x": ranged(), "y": ranged()}), {"x": 40.0, "y": 10.0})
    (first, *others) = found
    (change,) = first.changes
    assert (change.column, change.before) == ("x", 40.0)
    assert 50.0 < change.after < 50.6
    assert first.answer.value == "yes"
    assert [one.changes[0].column for one in others] == ["y"]
    assert kept == {}


def test_the_distance_is_in_median_absolute_deviations():
    sample = pl.DataFrame({"x": [0.0, 40.0, 50.0, 60.0, 100.0], "y": [0.0, 1.0, 2.0, 3.0, 4.0]})
    found, _ = search(two_stumps(), a_contract({"x": ranged(), "y": ranged()}), {"x": 40.0, "y": 0.0}, sample=sample)
    (change,) = found[0].changes
    assert found[0].distance == pytest.approx((change.after - 40.0) / (1.4826 * 10.0))


def test_a_number_is_told_with_few_digits_and_still_flips():
    form = two_stumps()
    found, _ = search(form, a_contract({"x": ranged(), "y": ranged()}), {"x": 40.0, "y": 10.0})
    (change,) = found[0].changes
    assert len(f"{change.after:g}") <= 5
    assert compile_form(form).answer({"x": float(f"{change.after:.15g}"), "y": 10.0}).value == "yes"


def test_a_fixed_personal_missing_or_otherwise_meant_column_stays():
    form = two_stumps()
    for parts, row, fixed, reason in (
        (ranged(), {"x": 40.0, "y": 10.0}, ("x",), "is to stay as it is"),
        ({"personal": True}, {"x": 40.0, "y": 10.0}, (), "is personal"),
        (ranged(role="ignored"), {"x": 40.0, "y": 10.0}, (), "isn't a feature by the contract"),
        (ranged(nullable=True), {"x": None, "y": 10.0}, (), "is missing"),
    ):
        found, kept = search(form, a_contract({"x": parts, "y": ranged()}), row, fixed=fixed)
        assert [one.changes[0].column for one in found if len(one.changes) == 1] == ["y"]
        assert all(change.column == "y" for one in found for change in one.changes)
        assert kept == {"x": reason}


def test_none_is_found_where_the_contract_leaves_no_room():
    contract = a_contract({"x": ranged(high=45.0), "y": ranged(high=80.0)})
    assert search(two_stumps(), contract, {"x": 40.0, "y": 10.0})[0] == []


def test_a_whole_number_stays_whole_and_a_category_among_the_allowed():
    form = a_form(
        inputs=[an_input("x", "integer"), an_input("team", "category", allowed=TEAMS)],
        encoder=[number("x"), {"column": "team", "as": "ordinal", "values": TEAMS}],
        estimator={"kind": "trees", "base": [-0.5], "trees": [stump(0, 50.5, 0.0, 1.0), stump(1, 1.5, 0.0, 1.0)]},
    )
    allowed = {"kind": "category", "allowed": TEAMS}
    contract = a_contract({"x": {"kind": "integer", "minimum": 0.0, "maximum": 100.0}, "team": allowed})
    found, _ = search(form, contract, {"x": 40, "team": "BOS"})
    changes = {one.changes[0].column: one.changes[0].after for one in found}
    assert changes == {"team": "LAL", "x": 51}
    assert type(changes["x"]) is int
    narrow = a_contract({"x": {"kind": "integer"}, "team": allowed | {"allowed": ["BOS", "CHI"]}})
    assert "team" not in {c.column for one in search(form, narrow, {"x": 40, "team": "BOS"})[0] for c in one.changes}


def test_two_columns_are_changed_where_one_is_not_enough():
    form = two_stumps() | {
        "estimator": {
            "kind": "trees",
            "base": [-1.5],
            "trees": [stump(0, 50.0, 0.0, 1.0), stump(1, 90.0, 0.0, 1.0)],
        }
    }
    (only,), _ = search(form, a_contract({"x": ranged(), "y": ranged()}), {"x": 40.0, "y": 10.0})
    assert [change.column for change in only.changes] == ["x", "y"]
    assert only.answer.value == "yes"


def test_rules_across_columns_hold_for_a_changed_row():
    rules = [{"name": "order", "expression": "x < y"}]
    columns = {"x": ranged(), "y": ranged()}
    free, _ = search(two_stumps(), a_contract(columns), {"x": 40.0, "y": 45.0})
    assert free[0].changes[0].column == "x"
    bound, _ = search(two_stumps(), a_contract(columns, rules=rules), {"x": 40.0, "y": 45.0})
    assert bound
    for one in bound:
        row = {"x": 40.0, "y": 45.0} | {change.column: change.after for change in one.changes}
        assert row["x"] < row["y"]


def test_what_is_derived_follows_the_change():
    form = a_form(
        derived=[{"name": "gap", "expression": "x - y"}],
        inputs=[an_input("x"), an_input("y"), an_input("gap", low=-100.0)],
        encoder=[number("gap")],
        estimator={"kind": "trees", "base": [0.0], "trees": [stump(0, 10.0, -1.0, 1.0)]},
    )
    contract = a_contract({"x": ranged(), "y": ranged()})
    found, _ = search(form, contract, {"x": 40.0, "y": 35.0})
    assert {one.changes[0].column for one in found} == {"x", "y"}
    for one in found:
        (change,) = one.changes
        row = {"x": 40.0, "y": 35.0} | {change.column: change.after}
        assert row["x"] - row["y"] > 10.0


@pytest.mark.parametrize("move", [30.0, -30.0])
def test_a_number_is_moved_by_the_stated_amount_and_hardly_further(move):
    form = a_linear_form(estimator={"kind": "linear", "coefficients": [[3.0]], "intercepts": [0.0]})
    contract = a_contract({"height": ranged()})
    (first, *_), _ = search(form, contract, {"height": 50.0}, move=move)
    (change,) = first.changes
    moved = (first.answer.value - 150.0) * np.sign(move)
    assert moved + 1e-9 >= 30.0
    assert moved < 33.0
    assert np.sign(change.after - 50.0) == np.sign(move)


@st.composite
def searched(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    outputs = draw(st.sampled_from([1, 3]))
    names = ["x", "n", "b", "t"]
    kinds = {"x": "number", "n": "integer", "b": "boolean", "t": "category"}
    inputs = [
        an_input("x", low=-60.0, high=60.0),
        an_input("n", "integer", low=-60.0, high=60.0),
        an_input("b", "boolean", low=0.0, high=1.0),
        an_input("t", "category", allowed=TEAMS),
    ]
    encoder = [number("x"), number("n"), number("b"), {"column": "t", "as": "ordinal", "values": TEAMS}]
    form = a_form(
        task="multiclass" if outputs == 3 else "binary",
        classes=["a", "b", "c"] if outputs == 3 else ["a", "b"],
        inputs=inputs,
        encoder=encoder,
        estimator={
            "kind": "trees",
            "base": rng.normal(size=outputs).tolist(),
            "trees": [grown(rng, 4, 3) for _ in range(6 * outputs)],
        },
    )
    low, high = sorted(rng.uniform(-60, 60, size=2))
    contract = a_contract(
        {
            "x": ranged(float(low), float(high)),
            "n": ranged(-40.0, 40.0, kind="integer"),
            "b": {"kind": "boolean"},
            "t": {"kind": "category", "allowed": sorted(rng.permutation(TEAMS)[:2].tolist())},
        }
    )
    row = {
        "x": float(rng.uniform(-60, 60)),
        "n": int(rng.integers(-60, 60)),
        "b": bool(rng.integers(2)),
        "t": str(rng.choice(TEAMS)),
    }
    sample = pl.DataFrame({"x": rng.uniform(-60, 60, 30), "n": rng.integers(-60, 60, 30)})
    return form, contract, row, sample, draw(st.sets(st.sampled_from(names), max_size=2)), kinds


@given(searched())
@settings(max_examples=60, deadline=None)
def test_every_change_flips_and_keeps_the_contract(case):
    form, contract, row, sample, fixed, kinds = case
    found, kept = search(form, contract, row, sample=sample, fixed=fixed)
    predictor = compile_form(form)
    before = predictor.answer(row)
    for one in found:
        assert 1 <= len(one.changes) <= 3
        changed = row | {change.column: change.after for change in one.changes}
        assert predictor.answer(changed).value != before.value
        for change in one.changes:
            column = contract.column(change.column)
            assert change.column not in fixed
            assert change.column not in kept
            assert change.after != change.before == row[change.column]
            if kinds[change.column] in ("number", "integer"):
                assert column.minimum <= change.after <= column.maximum
            if kinds[change.column] == "integer":
                assert type(change.after) is int
            if kinds[change.column] == "category":
                assert change.after in column.allowed
