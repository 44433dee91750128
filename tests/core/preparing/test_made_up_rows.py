"""Balance and augment: what is made up is marked, lies between real rows, and only ever teaches."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest

from core.preparing.tables import a_table, made, prepared, two_classes
from mcp_server.core.contract import from_dict, to_dict
from mcp_server.core.preparing.table import DataTable
from mcp_server.core.quality import validate
from mcp_server.core.training.split import plan_split, split_rng
from mcp_server.core.training.target import describe_target
from mcp_server.errors import DataRejected, PlanRefused

SMOTE = {"do": "augment", "by": "smote", "ratio": 1.0}
NOISE = {"do": "augment", "by": "noise", "share": 0.5}
OVER = {"do": "balance", "how": "over", "ratio": 1.0}


def split_of(table: DataTable, test=None, seed=0):
    target = describe_target(table.frame, table.contract)
    return plan_split(table.frame, table.contract, target, test=test, rng=split_rng(seed))


def timed(rows=600):
    base = two_classes(rows)
    frame = base.frame.drop("sum").with_columns(
        day=pl.date_range(datetime.date(2020, 1, 1), datetime.date(2025, 1, 1), eager=True)[:rows]
    )
    return a_table(frame.to_dict(as_series=True), derived={"sum": "x + n"}, target="y", time="day")


@pytest.mark.parametrize("step", [SMOTE, NOISE, OVER], ids=["smote", "noise", "over"])
def test_made_up_rows_are_marked_at_the_end_and_the_contract_says_where(step):
    table = two_classes()
    more = made(table, step)
    marks = more.contract.synthetic
    assert marks.columns == ("made_up", "made_from", "made_with")
    flags = more.frame["made_up"].to_numpy()
    assert not flags[: table.rows].any()
    assert flags[table.rows :].all()
    assert more.frame[: table.rows].drop(marks.columns).equals(table.frame)
    assert {more.contract.column(name).role for name in marks.columns} == {"ignored"}
    assert from_dict(to_dict(more.contract)) == more.contract
    # Derived columns are computed anew, so that predicting computes the same.
    assert np.allclose(more.frame["sum"], more.frame["x"] + more.frame["n"])


def test_interpolated_rows_lie_between_two_neighbours_of_their_class():
    table = two_classes()
    more = made(table, {**SMOTE, "neighbours": 3})
    real = table.frame
    scaled = np.column_stack([real["x"].to_numpy(), real["n"].to_numpy() / real["n"].std() * real["x"].std()])
    teach = split_of(more).fit
    teach = teach[teach < table.rows]
    for row in more.frame.filter("made_up").iter_rows(named=True):
        first, second = row["made_from"] - 1, row["made_with"] - 1
        assert first != second
        for name in ("x", "n"):
            low, high = sorted((real[name][first], real[name][second]))
            assert low <= row[name] <= high
        assert row["y"] == real["y"][first] == real["y"][second]
        assert row["colour"] in (real["colour"][first], real["colour"][second])
        same = [at for at in teach if real["y"][int(at)] == row["y"] and at != first]
        distances = np.sort(np.linalg.norm(scaled[same] - scaled[first], axis=1))
        # A different scale of the columns may reorder the very nearest; among the ten nearest it is.
        assert np.linalg.norm(scaled[second] - scaled[first]) <= distances[9]


def test_classes_are_brought_to_the_stated_ratio_among_the_rows_that_teach():
    table = two_classes(1_000, rare=0.1)
    for step in (SMOTE, OVER):
        done = prepared(table, {**step, "ratio": 0.5})
        split = split_of(done.table)
        counts = np.bincount(done.table.frame["y"].cast(pl.Int64).to_numpy()[split.fit])
        assert counts[1] == int(np.ceil(0.5 * counts[0]))
        before = done.fitted["1"]["before"]
        assert before[1] < counts[1]
    assert "as near as that already" in prepared(table, {**OVER, "ratio": 0.01}).steps[0].said


@pytest.mark.parametrize("test", [None, 0.3, "n >= 40"])
@pytest.mark.parametrize("step", [SMOTE, NOISE, OVER], ids=["smote", "noise", "over"])
def test_training_with_the_same_test_and_seed_learns_from_every_made_up_row(step, test):
    more = made(two_classes(1_500), {**step, **({} if test is None else {"test": test})}, seed=5)
    split = split_of(more, test, seed=5)
    flags = more.frame["made_up"].to_numpy()
    assert flags[split.fit].sum() == flags.sum() > 0
    assert not flags[split.validation].any()
    assert not flags[split.calibration].any()
    assert not flags[split.test].any()


@pytest.mark.parametrize("step", [SMOTE, NOISE, OVER], ids=["smote", "noise", "over"])
@pytest.mark.parametrize("seed", range(3))
def test_in_any_other_split_a_made_up_row_teaches_only_where_all_its_sources_do(step, seed):
    more = made(two_classes(1_500), step)
    split = split_of(more, 0.4, seed=seed + 1)
    flags = more.frame["made_up"].to_numpy()
    teaching = set(split.fit.tolist())
    left_out = 0
    for at in np.flatnonzero(flags):
        sources = {more.frame[name][int(at)] - 1 for name in ("made_from", "made_with")}
        assert (at in teaching) == (sources <= teaching)
        left_out += at not in teaching
    assert left_out > 0
    for part in (split.test, split.calibration, split.validation):
        assert not flags[part].any()
    assert f"{left_out:,} left out" in split.how


def test_without_the_mark_copies_would_be_judged():
    """The control: the same rows in a contract that doesn't say which are copies."""
    more = made(two_classes(1_500), OVER)
    blind = DataTable(more.frame, more.contract.model_copy(update={"synthetic": None}))
    assert more.frame["made_up"].to_numpy()[split_of(blind).test].any()


def test_by_time_a_made_up_row_is_as_late_as_its_later_source():
    table = timed()
    more = made(table, {**SMOTE, "test": "day >= '2021-03-01'"})
    days = table.frame["day"]
    for row in more.frame.filter("made_up").iter_rows(named=True):
        sources = [days[row[name] - 1] for name in ("made_from", "made_with")]
        assert row["day"] == max(sources) < datetime.date(2021, 3, 1)


def test_made_up_rows_go_with_their_sources_and_keep_pointing_at_them():
    more = made(two_classes(), SMOTE)
    fewer = made(more, {"do": "filter", "where": "colour != 'red'"})
    assert 0 < fewer.frame["made_up"].sum() < more.frame["made_up"].sum()
    old = {row["made_from"]: row for row in more.frame.filter("made_up").iter_rows(named=True)}
    assert old
    for row in fewer.frame.filter("made_up").iter_rows(named=True):
        for name in ("made_from", "made_with"):
            source = fewer.frame.row(row[name] - 1, named=True)
            assert not source["made_up"]
            assert source["y"] == row["y"]
        ends = [fewer.frame["x"][row[name] - 1] for name in ("made_from", "made_with")]
        assert min(ends) <= row["x"] <= max(ends)


def test_noise_is_as_large_as_stated_and_stays_within_the_range_seen():
    table = two_classes(2_000)
    done = prepared(table, {**NOISE, "share": 1.0, "scale": 0.1})
    more = done.table.frame.filter("made_up")
    teach = split_of(done.table).fit
    real = table.frame["x"].to_numpy()[teach[teach < table.rows]]
    moved = more["x"].to_numpy() - table.frame["x"].to_numpy()[more["made_from"].to_numpy() - 1]
    assert np.isclose(done.fitted["1"]["x"], 0.1 * real.std(ddof=1))
    assert abs(moved.std() / done.fitted["1"]["x"] - 1) < 0.1
    assert real.min() <= more["x"].min() <= more["x"].max() <= real.max()
    assert more.schema["n"] == pl.Int64


def test_leaving_rows_out_spares_those_that_judge_where_they_can_be_told():
    table = timed(1_000)
    split = split_of(table, "day >= '2022-01-01'")
    done = made(table, {"do": "balance", "how": "under", "test": "day >= '2022-01-01'"})
    after = split_of(done, "day >= '2022-01-01'")
    assert len(after.test) == len(split.test)
    counts = np.bincount(done.frame["y"].cast(pl.Int64).to_numpy()[after.seen])
    assert counts.max() - counts.min() <= len(split.calibration)
    assert done.contract.synthetic is None
    even = made(two_classes(), {"do": "balance", "how": "under"}).frame["y"]
    assert even.sum() * 2 == len(even)


def test_rows_are_not_drawn_joined_or_encoded_once_some_are_made_up():
    more = made(two_classes(), OVER)
    for step in (
        {"do": "sample", "rows": 10},
        OVER,
        {"do": "join", "with": "other", "on": ["colour"]},
        {"do": "embed", "column": "colour", "by": "target"},
        {"do": "drop_columns", "columns": ["made_from"]},
    ):
        with pytest.raises(PlanRefused, match="made"):
            made(more, step, other=two_classes())
    twice = made(more, NOISE)
    assert (twice.frame.filter("made_up")["made_from"] <= 400).all()  # copies aren't copied


def test_a_class_of_whose_rows_one_teaches_has_nothing_between():
    rows = 1_800
    rng = np.random.default_rng(0)
    rare = np.zeros(rows, dtype=bool)
    # By time: one row among those that fit, the others among those that choose the iterations, and that judge.
    rare[[100, *range(1_120, 1_135), *range(1_500, 1_520)]] = True
    days = pl.date_range(datetime.date(2020, 1, 1), datetime.date(2025, 1, 1), eager=True)[:rows]
    table = a_table({"x": rng.normal(size=rows), "y": rare, "day": days}, target="y", time="day")
    split = split_of(table)
    assert rare[split.fit].sum() == 1
    with pytest.raises(PlanRefused, match="single row that teaches"):
        made(table, SMOTE)


def test_a_contract_whose_marks_are_not_ignored_columns_is_refused():
    value = to_dict(made(two_classes(), OVER).contract)
    for column in value["columns"]:
        if column["name"] == "made_from":
            column["role"] = "feature"
    with pytest.raises(DataRejected, match="made-up"):
        from_dict(value)


def test_keys_are_missing_in_made_up_rows():
    base = two_classes()
    frame = base.frame.drop("sum").with_columns(id=pl.int_range(base.rows))
    more = made(a_table(frame.to_dict(as_series=True), target="y", key=["id"]), OVER)
    assert more.frame.filter("made_up")["id"].null_count() == more.frame["made_up"].sum()
    found = validate(more.frame, more.contract, rng=np.random.default_rng(0))
    assert not [one for one in found.findings if one.severity == "fail"]
