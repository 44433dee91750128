from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.training.tables import a_contract, a_mixed_table, basketball
from mcp_server.core.training.judging import cutoff
from mcp_server.core.training.split import MIN_CLASS_TRAIN, Split, plan_split
from mcp_server.core.training.target import describe_target
from mcp_server.errors import CourtsideError, InvalidInput, TrainingRefused

START = date(2010, 1, 1)


def planned(frame: pl.DataFrame, roles: dict[str, str], seed: int = 0, **options: Any) -> Split:
    contract = a_contract(frame, {"y": "target", **roles})
    target = describe_target(frame, contract)
    return plan_split(frame, contract, target, rng=np.random.default_rng(seed), **options)


def dated(rows: int, days: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "day": [START + timedelta(days=int(day)) for day in rng.integers(0, days, rows)],
            "x": rng.normal(size=rows),
            "y": rng.integers(0, 2, rows),
        }
    )


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(150, 2_500), days=st.integers(2, 400), seed=st.integers(0, 1000))
def test_later_rows_judge_earlier_ones_and_a_day_is_never_parted(rows: int, days: int, seed: int) -> None:
    frame = dated(rows, days, seed)
    try:
        split = planned(frame, {"day": "time"}, seed)
    except TrainingRefused:
        return
    day = frame["day"].to_numpy()
    order = [part for part in (split.fit, split.validation, split.calibration, split.test) if len(part)]
    for earlier, later in pairwise(order):
        assert day[earlier].max() < day[later].min()
    assert split.by_time
    assert 0.1 <= len(split.test) / rows <= 0.4


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(150, 2_500), seed=st.integers(0, 1000))
def test_without_a_time_every_row_has_one_part_and_the_classes_keep_their_shares(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"x": rng.normal(size=rows), "y": (rng.random(rows) < 0.3).astype(int)})
    split = planned(frame, {}, seed)
    together = np.concatenate([split.fit, split.validation, split.calibration, split.test])
    assert sorted(together.tolist()) == list(range(rows))
    share = frame["y"].mean()
    assert isinstance(share, float)
    assert frame["y"].to_numpy()[split.test].mean() == pytest.approx(share, abs=2 / len(split.test))
    assert not split.by_time


def test_the_same_seed_gives_the_same_parts_and_another_seed_others() -> None:
    frame = dated(500, 100)
    parts = [planned(frame, {"day": "ignored"}, seed).parts.tolist() for seed in (1, 1, 2)]
    assert parts[0] == parts[1]
    assert parts[0] != parts[2]


def test_a_stated_condition_decides() -> None:
    frame = dated(2_000, 400).with_columns(season=pl.Series(np.arange(2_000) // 100))
    split = planned(
        frame, {"day": "ignored"}, test="season >= 18", train="season >= 3", calibration="season in [16, 17]"
    )
    season = frame["season"].to_numpy()
    assert set(season[split.test]) == {18, 19}
    assert set(season[split.calibration]) == {16, 17}
    assert set(season[split.train]) == set(range(3, 16))
    assert "season >= 18" in split.how


def test_a_date_decides() -> None:
    frame = dated(2_000, 400)
    split = planned(frame, {"day": "time"}, test="2010-12-01")
    day = frame["day"].to_numpy()
    assert day[split.test].min() == np.datetime64("2010-12-01")
    assert day[split.train].max() < np.datetime64("2010-12-01")


def test_a_season_orders_as_well_as_a_date() -> None:
    frame = dated(3_000, 400).with_columns(season=pl.Series(np.arange(3_000) % 20))
    split = planned(frame, {"day": "ignored", "season": "time"})
    season = frame["season"].to_numpy()
    assert season[split.train].max() < season[split.test].min()


def test_rows_without_a_target_or_a_time_are_unused() -> None:
    frame = dated(1_000, 300).with_columns(
        pl.when(pl.Series(np.arange(1_000) % 10 == 0)).then(None).otherwise(pl.col("y")).alias("y"),
        pl.when(pl.Series(np.arange(1_000) % 7 == 0)).then(None).otherwise(pl.col("day")).alias("day"),
    )
    split = planned(frame, {"day": "time"})
    used = np.flatnonzero(split.parts)
    assert not any(row % 10 == 0 or row % 7 == 0 for row in used)
    assert "without a time" in split.how


def test_few_rows_go_without_calibration_and_say_so() -> None:
    split = planned(dated(300, 100), {"day": "time"})
    assert len(split.calibration) == 0
    assert "none calibrate" in split.how


def test_a_split_survives_json() -> None:
    split = planned(dated(2_000, 400), {"day": "time"})
    again = Split.from_dict(split.to_dict())
    assert again.parts.tolist() == split.parts.tolist()
    assert (again.how, again.by_time) == (split.how, split.by_time)


def refused(
    frame: pl.DataFrame, kind: type[CourtsideError], roles: dict[str, str] | None = None, **options: Any
) -> CourtsideError:
    with pytest.raises(kind) as refusal:
        planned(frame, roles or {"day": "time"}, **options)
    assert refusal.value.hint
    return refusal.value


def test_too_few_rows_are_refused_with_what_is_needed() -> None:
    assert "50" in refused(dated(60, 30), TrainingRefused).message


def test_a_class_with_too_few_rows_is_refused_by_name() -> None:
    frame = dated(400, 100).with_columns(y=pl.Series(["common"] * 396 + ["rare"] * 4))
    problem = refused(frame, TrainingRefused)
    assert "rare" in problem.message
    assert str(MIN_CLASS_TRAIN) in problem.message


def test_test_rows_of_one_class_are_refused() -> None:
    frame = dated(400, 100).with_columns(y=(pl.col("day") < pl.date(2010, 3, 20)).cast(pl.Int64))
    refused(frame, TrainingRefused, test="2010-03-22")


def test_a_single_day_is_refused() -> None:
    refused(dated(500, 1), TrainingRefused)


@pytest.mark.parametrize("test", ["seasn >= 3", "x + 1", 1.5, 0.0])
def test_an_unusable_condition_is_refused(test: Any) -> None:
    refused(dated(500, 100), InvalidInput, test=test)


def test_a_date_without_a_time_column_is_refused() -> None:
    refused(dated(500, 100), InvalidInput, {"day": "ignored"}, test="2010-03-01")


def test_the_last_seasons_of_basketball_judge() -> None:
    frame, contract = basketball()
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, test="season >= 2011", rng=np.random.default_rng(0))
    season = frame["season"].to_numpy()
    assert len(split.test) == 6_329
    assert season[split.calibration].min() >= 2007
    assert season[split.calibration].max() == 2010


def test_a_million_rows_make_a_small_json() -> None:
    frame, contract = a_mixed_table(3_000)
    large = pl.concat([frame] * 50).sort("day")
    target = describe_target(large, contract)
    split = plan_split(large, contract, target, rng=np.random.default_rng(0))
    assert len(split.to_dict()["parts"]) < 20_000


def test_a_share_may_be_written_as_text() -> None:
    frame = dated(1_000, 300)
    written, given = (planned(frame, {"day": "time"}, test=test) for test in ("0.3", 0.3))
    assert np.array_equal(written.test, given.test)


def test_a_moment_beyond_the_calendar_is_no_date() -> None:
    assert cutoff("0001-01-01T00:00+23:00") is cutoff("9999-12-31T23:59-23:00") is None
    assert str(cutoff("2020-01-01T00:00+01:00")) == "2019-12-31 23:00:00"
