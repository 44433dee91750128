from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from core.training.tables import a_contract, a_mixed_table
from mcp_server.core.contract import Contract
from mcp_server.core.predictor.encodings import ProductEncoding
from mcp_server.core.training import splines
from mcp_server.core.training.prepare import Style, default_features, prepare
from mcp_server.core.training.splines import MAX_TERMS
from mcp_server.errors import InvalidInput, LeakFound, TrainingRefused


@pytest.mark.parametrize("style", ["linear", "trees", "splines", "crossed"])
def test_nothing_but_the_rows_learned_from_is_looked_at(style: Style) -> None:
    frame, contract = a_mixed_table(600)
    rows = np.arange(0, 400)
    before = prepare(frame, contract, None, rows=rows, style=style)
    later = pl.int_range(pl.len()) >= 400
    spoiled = frame.with_columns(
        pl.when(later).then(pl.lit(1e9)).otherwise(pl.col("size")).alias("size"),
        pl.when(later).then(pl.lit("violet")).otherwise(pl.col("colour")).alias("colour"),
        pl.when(later).then(None).otherwise(pl.col("count")).alias("count"),
    )
    assert prepare(spoiled, contract, None, rows=rows, style=style) == before
    assert prepare(spoiled, contract, None, rows=np.arange(600), style=style) != before  # the control


def test_missing_numbers_are_filled_for_a_linear_model_and_kept_for_trees() -> None:
    frame = pl.DataFrame({"x": [1.0, None, 3.0, 8.0], "y": [0, 1, 0, 1]})
    contract = a_contract(frame, {"y": "target"})
    rows = np.arange(4)
    for style, second in (("linear", 3.0), ("trees", np.nan)):
        encoder = prepare(frame, contract, ["x"], rows=rows, style=style).table_encoder()  # type: ignore[arg-type]
        matrix = encoder.encode(encoder.columns(frame))
        np.testing.assert_array_equal(matrix, [[1.0], [second], [3.0], [8.0]])


def test_categories_are_columns_for_a_linear_model_and_positions_for_trees() -> None:
    frame = pl.DataFrame({"x": ["b", "a", None, "b"], "y": [0, 1, 0, 1]})
    contract = a_contract(frame, {"y": "target"})
    asked = pl.DataFrame({"x": ["a", "b", "c", None]})
    expected = {
        "linear": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]],
        "trees": [[0], [1], [np.nan], [np.nan]],
    }
    for style, matrix in expected.items():
        encoder = prepare(frame, contract, ["x"], rows=np.arange(4), style=style).table_encoder()  # type: ignore[arg-type]
        np.testing.assert_array_equal(encoder.encode(encoder.columns(asked)), np.array(matrix, dtype=float))


def a_number_and_a_category() -> tuple[pl.DataFrame, Contract]:
    """x from 0 to 100, evenly, two colours, and a true/false column that is seldom true."""
    frame = pl.DataFrame({"x": [float(at) for at in range(101)], "colour": ["blue", "red", "red"] * 33 + ["red"] * 2})
    frame = frame.with_columns(rare=pl.col("x") == 7.0, y=pl.col("x").cast(pl.Int64) % 2)
    return frame, a_contract(frame, {"y": "target"})


def test_hinges_stand_at_quantiles_and_are_level_beyond_the_outer_hundredths() -> None:
    frame, contract = a_number_and_a_category()
    made = prepare(frame, contract, ["x", "rare"], rows=np.arange(101), style="splines").to_dict()["encoder"]
    assert [(part["low"], part["high"], part["center"], part["knots"]) for part in made] == [
        (1.0, 99.0, 50.0, [20.0, 40.0, 60.0, 80.0]),
        (0.0, 1.0, 0.0, []),
    ]
    assert made[0]["scale"] == 98.0


def test_numbers_are_multiplied_with_small_categories_and_with_each_other() -> None:
    frame, contract = a_number_and_a_category()
    made = prepare(frame, contract, None, rows=np.arange(101), style="crossed")
    encoder = made.table_encoder()
    matrix = encoder.encode(encoder.columns(frame))
    # x and its hinges are 0 to 4, the colours 5 to 7 (the last one for any other), rare is 8.
    pairs = [(part.first, part.second) for part in made.encoder if isinstance(part, ProductEncoding)]
    assert pairs == [*((x, colour) for x in (*range(5), 8) for colour in (5, 6)), (0, 8)]
    for at, (one, other) in enumerate(pairs):
        np.testing.assert_array_equal(matrix[:, 9 + at], matrix[:, one] * matrix[:, other])
    red = (frame["colour"] == "red").to_numpy()
    np.testing.assert_allclose(matrix[:, 10], np.where(red, (frame["x"].clip(1, 99) - 50) / 98, 0.0))


@pytest.mark.parametrize("columns", [5, 25, 70, 300, 500])
def test_terms_are_bounded_however_wide_the_table_is(columns: int) -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(rng.normal(size=(60, columns)), schema=[f"x{at}" for at in range(columns)])
    frame = frame.with_columns(colour=pl.Series(["blue", "red", "green"] * 20), y=pl.Series([0, 1] * 30))
    contract = a_contract(frame, {"y": "target"})
    made = prepare(frame, contract, None, rows=np.arange(60), style="crossed")
    widths = [part.width for part in made.encoder]
    crossed = {isinstance(part, ProductEncoding) for part in made.encoder}
    assert sum(widths) <= max(MAX_TERMS + 4, columns + 4)
    assert crossed == ({True, False} if columns < 200 and columns != 70 else {False})


def test_a_table_of_many_rows_has_fewer_terms_and_as_many_in_each_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, contract = a_number_and_a_category()

    def width(rows: np.ndarray, style: Any = "crossed") -> int:
        return sum(part.width for part in prepare(frame, contract, None, rows=rows, style=style).encoder)

    whole = width(np.arange(101))
    monkeypatch.setattr(splines, "MAX_CELLS", 101 * 12)
    assert width(np.arange(101)) == width(np.arange(80)) == 12 < whole
    monkeypatch.setattr(splines, "MAX_CELLS", 101)
    assert width(np.arange(101)) == width(np.arange(101), "linear"), "no hinge and no product"


def test_numbers_without_a_finite_span_are_refused_for_splines() -> None:
    frame = pl.DataFrame({"x": [-1.7e308, 1.7e308, 0.0, 1.0], "y": [0, 1, 0, 1]})
    with pytest.raises(TrainingRefused):
        prepare(frame, a_contract(frame, {"y": "target"}), ["x"], rows=np.arange(4), style="splines")


def test_only_the_most_frequent_categories_get_a_column() -> None:
    names = [f"town {index:03d}" for index in range(120)]
    values = names[:60] * 3 + names
    frame = pl.DataFrame({"x": values, "y": [0, 1] * (len(values) // 2)})
    made = prepare(frame, a_contract(frame, {"y": "target"}), ["x"], rows=np.arange(len(values)), style="linear")
    part = made.to_dict()["encoder"][0]
    assert part["values"] == names[:50]
    assert "120 values" in made.notes[0]


def test_what_training_saw_is_described() -> None:
    frame = pl.DataFrame({"x": [None, *[float(value) for value in range(101)]], "y": [0, 1] * 51})
    made = prepare(frame, a_contract(frame, {"y": "target"}), ["x"], rows=np.arange(102), style="trees")
    spec = made.inputs[0]
    assert (spec.minimum, spec.p01, spec.median, spec.p99, spec.maximum) == (0.0, 1.0, 50.0, 99.0, 100.0)
    assert spec.missing_rate == pytest.approx(1 / 102)


def test_a_derived_feature_brings_its_sources_but_does_not_learn_from_them() -> None:
    frame, contract = a_mixed_table(300)
    made = prepare(frame, contract, ["double"], rows=np.arange(300), style="trees")
    assert [spec.name for spec in made.inputs] == ["size", "double"]
    assert [part.name for part in made.derived] == ["double"]
    assert [part.column for part in made.encoder] == ["double"]


def test_a_date_is_learned_from_only_where_it_is_listed() -> None:
    frame, contract = a_mixed_table(300)
    dated = a_contract(frame, {"target": "target"}, contract.expressions)
    assert "day" not in default_features(dated)
    made = prepare(frame, dated, ["day"], rows=np.arange(300), style="trees")
    assert [part.as_ for part in made.encoder] == ["year", "month", "weekday"]
    encoder = made.table_encoder()
    assert encoder.encode(encoder.columns(frame))[0].tolist() == [2010.0, 1.0, 5.0]


def test_a_column_without_a_value_is_left_out_and_said_so() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0], "empty": pl.Series([None, None], dtype=pl.Float64), "y": [0, 1]})
    made = prepare(frame, a_contract(frame, {"y": "target"}), None, rows=np.arange(2), style="trees")
    assert [part.column for part in made.encoder] == ["x"]
    assert "empty" in made.notes[0]


def test_a_column_known_only_afterwards_is_a_leak() -> None:
    frame = pl.DataFrame({"score": [1, 2], "x": [1.0, 2.0], "y": [0, 1]})
    contract = a_contract(frame, {"y": "target", "score": "known_after"})
    with pytest.raises(LeakFound):
        prepare(frame, contract, ["x", "score"], rows=np.arange(2), style="trees")
    allowed = prepare(frame, contract, ["x", "score"], rows=np.arange(2), style="trees", allow_leaks=True)
    assert len(allowed.encoder) == 2


def test_the_target_is_never_a_feature() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
    with pytest.raises(LeakFound):
        prepare(frame, a_contract(frame, {"y": "target"}), ["y"], rows=np.arange(2), style="trees", allow_leaks=True)


def test_a_column_of_another_role_or_none_at_all_is_refused() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0], "id": [1, 2], "y": [0, 1]})
    contract = a_contract(frame, {"y": "target", "id": "key"})
    with pytest.raises(TrainingRefused):
        prepare(frame, contract, ["id"], rows=np.arange(2), style="trees")
    with pytest.raises(TrainingRefused):
        prepare(frame, contract, [], rows=np.arange(2), style="trees")
    with pytest.raises(InvalidInput) as refusal:
        prepare(frame, contract, ["xx"], rows=np.arange(2), style="trees")
    assert "'x'" in refusal.value.hint or "describe_data" in refusal.value.hint


def test_ranked_categories_stand_by_the_outcomes_of_the_rows_learned_from_and_of_no_other() -> None:
    rates = {"a": 0.9, "b": 0.1, "c": 0.5}
    frame = pl.DataFrame(
        {
            "colour": [name for name in rates for _ in range(100)] * 2 + ["rare"] * 2,
            "y": [int(row < 100 * rate) for rate in rates.values() for row in range(100)] * 2 + [1, 1],
        }
    )
    contract = a_contract(frame, {"y": "target"})
    outcomes = frame["y"].to_numpy().astype(float)
    rows = np.r_[0:300, 600:602]
    told = {"rows": rows, "style": "ranked"}
    made = prepare(frame, contract, None, outcomes=outcomes, **told)
    # Two rows of 1.0 beside ten of the overall half: not above what a hundred rows say.
    assert made.to_dict()["encoder"] == [{"column": "colour", "as": "ordinal", "values": ["b", "c", "rare", "a"]}]
    spoilt = outcomes.copy()
    spoilt[300:600] = 1.0 - spoilt[300:600]
    assert prepare(frame, contract, None, outcomes=spoilt, **told) == made
    assert prepare(frame, contract, None, outcomes=1.0 - outcomes, **told) != made, "the control"
