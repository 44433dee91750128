"""What the check of a table says of poisoned rows, in its own rules and words."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from core.quality.planted import clean_deliveries, contract_for
from core.quality.tables import contract_of, sklearn_table
from core.screening.attacks import Attacked, flip_labels, plant_trigger, push_out
from mcp_server.core.quality import Finding, ValidationReport, validate
from mcp_server.core.screening.verdict import CANT_SEE

ATTACKS = {"label_noise": flip_labels, "outliers": push_out, "trigger": plant_trigger}


def check(frame: pl.DataFrame, *, baseline: pl.DataFrame | None = None) -> ValidationReport:
    roles = {"target": "target"} if "target" in frame.columns else {}
    return validate(frame, contract_of(frame, roles), baseline=baseline, rng=np.random.default_rng(1))  # type: ignore[arg-type]


def of_rule(report: ValidationReport, rule: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == rule]


def attacked(method: str) -> tuple[pl.DataFrame, set[int]]:
    """The breast cancer table with 8 % of its rows attacked, and their 1-based numbers."""
    frame, _ = sklearn_table("breast_cancer")
    features, labels = frame.drop("target").to_numpy(), frame["target"].to_numpy()
    table = Attacked(features, labels, np.zeros(len(labels), dtype=np.bool_))
    table = ATTACKS[method](table, np.random.default_rng(3), 0.08)
    found = pl.DataFrame(table.features, schema=frame.columns[:-1]).with_columns(target=pl.Series(table.labels))
    return found, set((np.flatnonzero(table.rows) + 1).tolist())


def test_flipped_labels_are_found_under_the_targets_name() -> None:
    frame, rows = attacked("label_noise")
    report = check(frame)
    (finding,) = of_rule(report, "screening.label_noise")
    assert finding.columns == ("target",)
    assert finding.severity in ("warn", "fail")
    assert len(rows & set(finding.rows)) >= 0.7 * len(rows)


def test_outliers_in_several_columns_are_found_by_row() -> None:
    frame, rows = attacked("outliers")
    (finding,) = of_rule(check(frame), "screening.outliers")
    assert finding.severity == "warn"
    assert len(rows & set(finding.rows)) >= 0.9 * len(rows)


def test_a_trigger_fails_the_table_and_names_its_columns() -> None:
    frame, rows = attacked("trigger")
    report = check(frame)
    (finding,) = of_rule(report, "screening.trigger")
    assert report.verdict == "fail"
    assert len(finding.columns) == 2
    assert set(finding.rows) == rows


def test_a_flood_of_near_copies_is_found() -> None:
    frame = clean_deliveries(np.random.default_rng(1))
    rng = np.random.default_rng(2)
    copies = pl.concat([frame[[7]]] * 60).with_columns(
        weight_kg=pl.col("weight_kg") + pl.Series(rng.normal(0, 0.002, 60)),
        distance_km=pl.col("distance_km") + pl.Series(rng.normal(0, 0.002, 60)),
    )
    flooded = pl.concat([frame, copies])
    report = validate(flooded, contract_for(flooded), rng=rng)
    (finding,) = of_rule(report, "screening.duplicates_flood")
    assert finding.severity == "warn"
    # One of the 61 is taken for the source; which, the jitter decides.
    assert finding.count == 60
    assert set(finding.rows) <= {8, *range(2_001, 2_061)}


def test_rows_appended_to_a_trusted_version_are_compared_with_it() -> None:
    earlier = clean_deliveries(np.random.default_rng(1))
    more = clean_deliveries(np.random.default_rng(5), rows=100)
    honest = validate(pl.concat([earlier, more]), contract_for(earlier), baseline=earlier, rng=np.random.default_rng(1))
    assert not [finding for finding in of_rule(honest, "screening.shift") if finding.severity != "info"]
    odd = more.with_columns(
        weight_kg=pl.col("weight_kg") * 0 + 97.5, city=pl.lit("city 3"), country=pl.lit("country 0")
    )
    report = validate(pl.concat([earlier, odd]), contract_for(earlier), baseline=earlier, rng=np.random.default_rng(1))
    (finding,) = of_rule(report, "screening.shift")
    assert finding.severity == "warn"
    assert finding.columns[:2] == ("city", "weight_kg") or finding.columns[:2] == ("weight_kg", "city")
    assert "100 rows that the baseline doesn't have" in finding.reason
    assert set(finding.rows) <= set(range(2_001, 2_101))
    assert len(finding.rows) >= 90


def test_a_baseline_of_other_columns_and_kinds_is_compared_where_it_can_be() -> None:
    earlier = clean_deliveries(np.random.default_rng(1))
    frame = clean_deliveries(np.random.default_rng(2))
    other = earlier.drop("net").with_columns(city=pl.lit(4), weight_kg=pl.col("weight_kg").round(0).cast(pl.Int64))
    report = validate(frame, contract_for(frame), baseline=other, rng=np.random.default_rng(1))
    assert {finding.columns for finding in of_rule(report, "screening.shift")} <= {("weight_kg",), ()}


def test_outcomes_that_chance_decides_are_called_noisy_and_the_table_passes() -> None:
    frame = clean_deliveries(np.random.default_rng(1))
    report = validate(frame, contract_for(frame), rng=np.random.default_rng(1))
    (finding,) = of_rule(report, "screening.label_noise")
    assert (finding.severity, finding.columns, finding.rows) == ("info", ("on_time",), ())
    assert "inherently noisy" in finding.reason
    assert report.verdict == "pass"


def test_wrong_numbers_of_a_target_are_found_under_its_name() -> None:
    frame, _ = sklearn_table("diabetes")
    rows = np.random.default_rng(2).choice(frame.height, 20, replace=False)
    target = frame["target"].to_numpy().copy()
    target[rows] += 500
    report = check(frame.with_columns(target=pl.Series(target)))
    (finding,) = of_rule(report, "screening.label_noise")
    assert finding.columns == ("target",)
    assert finding.severity == "warn"
    assert len(set((rows + 1).tolist()) & set(finding.rows)) >= 18
    assert len(finding.rows) <= 22
    assert any(sentence.startswith("Triggers: the target is a number") for sentence in report.not_looked_for)


def test_a_target_without_a_value_is_neither_far_off_nor_in_the_way() -> None:
    frame, _ = sklearn_table("diabetes")
    frame = frame.with_columns(target=pl.when(pl.int_range(pl.len()) % 3 > 0).then("target"))
    assert not of_rule(check(frame), "screening.label_noise")


@pytest.mark.parametrize(
    ("away", "elsewhere", "severity"), [(12.0, 0.0, "fail"), (12.0, 4.0, "warn"), (5_000.0, 4.0, "fail")]
)
def test_far_rows_fail_a_table_unless_other_columns_show_that_they_are_of_another_kind(
    away: float, elsewhere: float, severity: str
) -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((400, 3))
    values[:60] += [away, elsewhere, elsewhere]
    frame = pl.DataFrame(values, schema=["a", "b", "c"])
    (finding,) = of_rule(check(frame), "screening.far_rows")
    assert finding.severity == severity
    assert set(finding.rows) >= set(range(1, 61))


def test_what_no_method_can_see_is_said_with_every_verdict() -> None:
    frame, _ = sklearn_table("iris")
    assert set(CANT_SEE) <= set(check(frame).not_looked_for)


def test_a_long_table_says_how_many_of_its_rows_were_looked_at() -> None:
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"a": rng.standard_normal(9_000), "b": rng.standard_normal(9_000)})
    frame[17, "a"], frame[17, "b"] = 400.0, -900.0
    far = pl.DataFrame({"a": rng.normal(40, 5, 400), "b": rng.normal(-40, 5, 400)})
    (finding,) = of_rule(check(pl.concat([frame, far])), "screening.outliers")
    assert finding.reason.endswith("Looked at 4000 of 9400 rows.")
