"""Feature selection finds what tells of the target, and never sees the rows that judge."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from core.preparing.tables import a_table, made, prepared, roles
from mcp_server.core.preparing.looking import look
from mcp_server.core.preparing.table import Context, DataTable

METHODS = ["mutual_information", "permutation", "stability"]


def planted(rows=1_200, seed=0, *, task="classes"):
    """Three features that matter (one not linearly, one a category) among twelve that don't."""
    rng = np.random.default_rng(seed)
    line, bend = rng.normal(size=rows), rng.normal(size=rows)
    colour = rng.choice(["blue", "green", "red"], rows)
    strength = 1.5 * line + 1.5 * (bend**2 - 1) + 2.0 * (colour == "red")
    y = strength + rng.normal(size=rows) * 0.5
    columns = {f"noise_{at}": rng.normal(size=rows) for at in range(12)}
    columns |= {"line": line, "bend": bend, "colour": colour, "words": [f"text {at}" for at in range(rows)]}
    columns["y"] = y if task == "number" else y > np.median(y)
    return a_table(columns, target="y", key=[])


@pytest.mark.parametrize("by", METHODS)
@pytest.mark.parametrize("task", ["classes", "number"])
def test_planted_features_are_found_and_the_others_ignored(by, task):
    table = planted(task=task)
    done = prepared(table, {"do": "select_features", "by": by, "keep": 3, "resamples": 5})
    kept = {name for name, role in roles(done.table).items() if role == "feature"}
    assert kept == {"line", "bend", "colour", "words"}  # text isn't judged
    assert list(done.fitted["1"]["scores"])[:3] == sorted(
        ("line", "bend", "colour"), key=lambda name: -done.fitted["1"]["scores"][name]
    )
    assert done.table.frame.equals(table.frame)


@pytest.mark.parametrize("by", METHODS)
def test_rows_that_judge_or_calibrate_change_nothing(by):
    table = planted(1_600)
    split = look(table, Context(np.random.default_rng(0), 0), 0.3).split
    unseen = np.ones(table.rows, dtype=bool)
    unseen[split.train] = False
    assert unseen.sum() > 0.3 * table.rows
    # In the unseen rows a useless feature gives the target away, and the useful one says nothing.
    target = table.frame["y"].cast(pl.Float64).to_numpy()
    spoilt = table.frame.with_columns(
        noise_0=np.where(unseen, 100 * target, table.frame["noise_0"].to_numpy()),
        line=np.where(unseen, 0.0, table.frame["line"].to_numpy()),
    )
    step = {"do": "select_features", "by": by, "keep": 3, "test": 0.3, "resamples": 5}
    one = prepared(table, step)
    other = prepared(DataTable(spoilt, table.contract), step)
    assert one.fitted == other.fitted
    assert one.table.contract.features[-1].name == other.table.contract.features[-1].name
    # The control: where these rows teach, they are noticed.
    seen = prepared(DataTable(spoilt, table.contract), {**step, "test": "noise_1 > 2.0"})
    assert seen.fitted["1"]["scores"]["noise_0"] > one.fitted["1"]["scores"]["noise_0"] + 0.05


def test_by_time_only_earlier_rows_are_looked_at():
    table = planted()
    frame = table.frame.with_columns(season=pl.int_range(table.rows) // 100)
    timed = a_table(frame.to_dict(as_series=True), target="y", time="season", key=[])
    late = pl.col("season") >= 9
    flipped = DataTable(timed.frame.with_columns(y=pl.when(late).then(~pl.col("y")).otherwise("y")), timed.contract)
    step = {"do": "select_features", "keep": 3, "test": "season >= 9"}
    assert prepared(timed, step).fitted == prepared(flipped, step).fitted


def test_missing_values_are_no_obstacle():
    table = planted()
    holes = DataTable(
        table.frame.with_columns(line=pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise("line")),
        table.contract,
    )
    for by in METHODS:
        kept = made(holes, {"do": "select_features", "by": by, "keep": 3, "resamples": 5})
        assert roles(kept)["line"] == "feature"
