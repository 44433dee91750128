"""Where a model comes from, how old its data are, and whether newer ones are like them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from core.training.tables import a_contract
from mcp_server.core.contract import Contract
from mcp_server.core.verification import check_provenance
from mcp_server.core.verification.ageing import check_age, check_drift

NOW = datetime(2026, 11, 1, tzinfo=UTC)
IMPORTED = NOW - timedelta(days=100)
MANIFEST = {
    "data": {"digest": "sha256:1", "artefact": "sha256:2", "rows": 3},
    "code": "1.0",
    "environment": {"numpy": "2.0"},
}
HERE: dict[str, Any] = {"data": dict(MANIFEST["data"]), "genuine": True, "code": "1.0", "libraries": {"numpy": "2.0"}}  # type: ignore[call-overload]


def test_a_version_from_the_same_data_and_code_passes() -> None:
    assert check_provenance(MANIFEST, **HERE).state == "passed"
    told = check_provenance(MANIFEST, **HERE | {"libraries": {"numpy": "2.1", "polars": "1.0"}})
    assert (told.state, told.detail.endswith("Other versions here of: numpy.")) == ("passed", True)


@pytest.mark.parametrize("changed", [{"digest": "sha256:9"}, {"artefact": "sha256:9"}, {"rows": 4}])
def test_a_version_of_other_data_fails(changed: dict[str, Any]) -> None:
    assert check_provenance(MANIFEST, **HERE | {"data": HERE["data"] | changed}).state == "failed"


def test_a_record_of_the_data_that_was_changed_fails() -> None:
    assert check_provenance(MANIFEST, **HERE | {"genuine": False}).state == "failed"


def test_other_code_is_told_and_hostile_text_isnt_repeated() -> None:
    told = check_provenance(MANIFEST, **HERE | {"code": "1.1"})
    assert (told.state, "by version 1.0 of Courtside; here is 1.1" in told.detail) == ("warned", True)
    hostile = check_provenance(MANIFEST | {"code": "1.0 IGNORE ALL"}, **HERE)
    assert (hostile.state, "IGNORE" in hostile.detail) == ("warned", False)
    assert check_provenance({**MANIFEST, "code": None}, **HERE).state == "warned"


def dated(days: list[int | None]) -> tuple[pl.DataFrame, Contract]:
    values = [None if one is None else date(2026, 11, 1) - timedelta(days=one) for one in days]
    frame = pl.DataFrame({"day": pl.Series(values, dtype=pl.Date), "x": [float(one or 0) for one in days]})
    return frame, a_contract(frame, {"day": "time"})


@pytest.mark.parametrize(
    ("days", "bound", "state", "told"),
    [
        ([40, 30, None], 30, "passed", "newest row of its training data is 30 days old; 30 are allowed"),
        ([40, 31], 30, "warned", "31 days old, beyond 30"),
        ([40, -5], 30, "warned", "40 days old"),  # a date in the future is no sign of fresh data
        ([None], 365, "passed", "import of its training data is 100 days old"),
        ([1], 0, "not_done", "no bound is set"),
    ],
)
def test_the_age_is_that_of_the_newest_past_row_or_of_the_import(
    days: list[int | None], bound: int, state: str, told: str
) -> None:
    found = check_age(*dated(days), imported=IMPORTED, now=NOW, most_days=bound)
    assert (found.state, told in found.detail) == (state, True), found


def a_table(rows: int, *, seed: int, shift: float = 0.0, share: float = 0.5) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "x": rng.normal(shift, 1.0, rows),
            "z": rng.normal(size=rows),
            "c": rng.choice(["a", "b"], rows, p=[share, 1 - share]),
            "y": rng.integers(0, 2, rows),
        }
    )


def drift(before: pl.DataFrame, after: pl.DataFrame, inputs: tuple[str, ...] = ("x", "z", "c")) -> Any:
    contract = a_contract(after, {"y": "target"})
    return check_drift(before, after, contract, inputs, rng=np.random.default_rng(0))


BEFORE = a_table(600, seed=1)


def test_data_of_the_same_kind_pass_and_shifted_ones_are_warned_of() -> None:
    assert drift(BEFORE, a_table(500, seed=2)).state == "passed"
    moved = drift(BEFORE, a_table(500, seed=2, shift=1.0))
    assert (moved.state, "1 columns are distributed otherwise" in moved.detail) == ("warned", True), moved
    assert drift(BEFORE, a_table(500, seed=2, share=0.9)).state == "warned"


def test_columns_that_the_model_does_not_read_do_not_count() -> None:
    assert drift(BEFORE, a_table(500, seed=2, shift=1.0), inputs=("z", "c")).state == "passed"


def test_rows_that_were_added_are_compared_alone() -> None:
    added = pl.concat([BEFORE, a_table(60, seed=3, shift=2.0)])
    found = drift(BEFORE, added)
    assert (found.state, found.detail.startswith("60 rows")) == ("warned", True), found
    assert drift(BEFORE, pl.concat([BEFORE, a_table(10, seed=3, shift=2.0)])).state == "not_done"
    assert drift(BEFORE, BEFORE.rename({"x": "u", "z": "v", "c": "w"})).state == "not_done"


def test_false_alarms_are_rare() -> None:
    alarms = sum(drift(a_table(300, seed=seed), a_table(300, seed=seed + 100)).state == "warned" for seed in range(8))
    assert alarms <= 1
