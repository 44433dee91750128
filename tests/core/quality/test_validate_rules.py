"""The verdict, rule by rule, on small tables; clean public tables; and the size of the answer."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.quality.planted import clean_deliveries, contract_for
from core.quality.tables import contract_of, nba_games, sklearn_table
from mcp_server.core.contract import Column, Contract
from mcp_server.core.quality import NOT_LOOKED_FOR, Finding, ValidationReport, validate
from mcp_server.core.quality.report import summarize


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def rules_of(frame: pl.DataFrame, *columns: Column) -> list[tuple[str, str, tuple[int, ...]]]:
    report = validate(frame, Contract(columns=columns), rng=rng())
    return [(finding.rule, finding.severity, finding.rows) for finding in report.findings]


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "iris", "digits", "diabetes"])
def test_clean_public_tables_do_not_fail(name: str) -> None:
    frame, contract = sklearn_table(name)
    report = validate(frame, contract, rng=rng())
    assert report.verdict in ("pass", "warn"), report.findings
    warnings = {finding.rule for finding in report.findings if finding.severity == "warn"}
    assert warnings <= {"duplicates.rows", "screening.far_rows"}


def test_real_games_with_honest_roles_pass() -> None:
    games = nba_games()
    roles = {"home_win": "target", "date": "time", "home_score": "known_after", "away_score": "known_after"}
    report = validate(games, contract_of(games, roles), rng=rng())  # type: ignore[arg-type]
    assert (report.verdict, report.rows, report.columns) == ("pass", 63_157, 12)


def test_a_column_that_is_missing_or_of_another_kind_fails_and_stops_the_rest() -> None:
    report = validate(
        pl.DataFrame({"a": ["x"], "c": [1]}),
        Contract(columns=(Column(name="a", kind="number"), Column(name="b", kind="text"))),
        rng=rng(),
    )
    assert [(finding.rule, finding.columns) for finding in report.findings] == [
        ("contract.kind", ("a",)),
        ("contract.column", ("b",)),
        ("contract.column", ("c",)),
    ]
    assert report.verdict == "fail"
    assert report.not_looked_for[0].startswith("Everything but the contract")


def test_values_outside_the_contract_are_found_by_row() -> None:
    frame = pl.DataFrame({"n": [1.0, 9.0, -3.0, 2.0, None], "c": ["a", "b", "z", None, "a"]})
    found = rules_of(
        frame,
        Column(name="n", kind="number", minimum=0.0, maximum=5.0),
        Column(name="c", kind="category", allowed=("a", "b"), nullable=True),
    )
    assert ("contract.missing", "fail", (5,)) in found
    assert ("contract.range", "warn", (2,)) in found
    assert ("contract.range", "warn", (3,)) in found
    assert ("contract.allowed", "warn", (3,)) in found


def test_infinite_numbers_fail() -> None:
    found = rules_of(pl.DataFrame({"n": [1.0, float("inf"), float("nan"), 2.0]}), Column(name="n", kind="number"))
    assert ("contract.finite", "fail", (2, 3)) in found


def test_a_value_that_should_be_unique_fails_where_it_comes_again() -> None:
    found = rules_of(pl.DataFrame({"id": [1, 2, 1]}), Column(name="id", kind="integer", unique=True))
    assert ("contract.unique", "fail", (3,)) in found


def test_rows_that_share_a_key_and_differ_fail_and_copies_only_warn() -> None:
    frame = pl.DataFrame({"key": ["a", "b", "c", "a", "b"], "value": [1.5, 2.5, 3.5, 9.5, 2.5]})
    found = rules_of(frame, Column(name="key", kind="text", role="key"), Column(name="value", kind="number"))
    assert ("duplicates.key", "fail", (4,)) in found
    assert ("duplicates.rows", "warn", (5,)) in found


def test_copies_are_found_though_each_row_has_its_own_number() -> None:
    values = [1.25, 2.5, 3.75, 1.25, 5.0]
    frame = pl.DataFrame({"id": [1, 2, 3, 4, 5], "value": values, "other": values})
    found = rules_of(
        frame,
        Column(name="id", kind="integer", unique=True),
        Column(name="value", kind="number"),
        Column(name="other", kind="number"),
    )
    assert ("duplicates.rows", "warn", (4,)) in found


def test_rows_that_differ_in_a_name_or_a_measurement_are_no_copies_though_each_of_these_occurs_once() -> None:
    frame = pl.DataFrame(
        {"name": [f"P{at * 7919 % 211}" for at in range(30)], "height": [170_000 + at * 7919 % 211 for at in range(30)]}
        | {"team": ["A"] * 30}
    )
    found = rules_of(
        frame,
        Column(name="name", kind="text", unique=True),
        Column(name="height", kind="integer", unique=True),
        Column(name="team", kind="category"),
    )
    assert not {rule for rule, _, _ in found if rule.startswith("duplicates")}


def test_copies_that_chance_makes_are_only_mentioned() -> None:
    frame = pl.DataFrame({"a": rng().integers(0, 3, 200), "b": rng().integers(0, 2, 200)})
    report = validate(frame, contract_of(frame), rng=rng())
    (finding,) = (finding for finding in report.findings if finding.rule == "duplicates.rows")
    assert finding.severity == "info"
    assert finding.fix is None


def test_missing_values_are_graded_by_their_share() -> None:
    frame = pl.DataFrame(
        {"few": [None] * 2 + [1.5] * 98, "some": [None] * 20 + [1.5] * 80, "most": [None] * 60 + [1.5] * 40}
        | {"all": [None] * 100, "x": rng().normal(size=100)},
        schema_overrides={"all": pl.Float64},
    )
    found = {(rule, severity) for rule, severity, _ in rules_of(frame, *contract_of(frame.fill_null(1.0)).columns)}
    assert {("completeness.missing", "info"), ("completeness.missing", "warn"), ("completeness.empty", "warn")} <= found


def test_a_constant_column_is_mentioned() -> None:
    frame = pl.DataFrame({"same": [1] * 40, "x": rng().normal(size=40)})
    assert ("completeness.constant", "info", ()) in rules_of(frame, *contract_of(frame).columns)


def test_a_table_without_rows_fails() -> None:
    frame = pl.DataFrame(schema={"n": pl.Float64})
    assert rules_of(frame, Column(name="n", kind="number")) == [("completeness.rows", "fail", ())]


@pytest.mark.parametrize(
    ("values", "kind", "rule", "severity"),
    [
        ([1] * 60, "integer", "target.constant", "fail"),
        ([None] * 60, "integer", "target.missing", "fail"),
        ([None] * 20 + [0, 1] * 20, "integer", "target.missing", "warn"),
        ([date(2024, 1, 1 + at % 5) for at in range(60)], "date", "target.kind", "fail"),
        ([f"class {at}" for at in range(60)], "category", "target.classes", "fail"),
        ([0] * 57 + [1] * 3, "integer", "target.rare_class", "warn"),
        ([0, 1] * 10, "integer", "target.few_rows", "warn"),
    ],
)
def test_a_target_that_cannot_be_learned_is_found(values: list[object], kind: str, rule: str, severity: str) -> None:
    frame = pl.DataFrame({"y": pl.Series(values, dtype=pl.Int64 if kind == "integer" else None)})
    frame = frame.with_columns(x=rng().normal(size=frame.height))
    found = rules_of(
        frame,
        Column(name="y", kind=kind, role="target", nullable=True),  # type: ignore[arg-type]
        Column(name="x", kind="number"),
    )
    assert (rule, severity) in {(name, grade) for name, grade, _ in found}


@pytest.mark.parametrize("personal", [False, True])
def test_the_rarest_classes_are_named_by_their_first_cells_unless_personal(personal: bool) -> None:
    values = ["yes"] * 30 + ["maybe"] * 2 + ["no"] * 30 + ["n"] * 4 + ["y"]
    frame = pl.DataFrame({"y": values, "x": rng().normal(size=len(values))})
    target = Column(name="y", kind="category", role="target", personal=personal)
    report = validate(frame, Contract(columns=(target, Column(name="x", kind="number"))), rng=rng())
    (found,) = (one for one in report.findings if one.rule == "target.rare_class")
    named = [] if personal else [(67, "y"), (31, "maybe"), (63, "n")]
    assert [(one.row, one.value) for one in found.examples] == named
    assert (found.count, found.statistic) == (3, 1.0)


def test_without_a_target_it_says_that_leaks_were_not_looked_for() -> None:
    frame = pl.DataFrame({"x": rng().normal(size=50), "z": rng().uniform(size=50)})
    report = validate(frame, contract_of(frame), rng=rng())
    assert report.not_looked_for == ("Leakage and the target: no target is stated.", *NOT_LOOKED_FOR)


def test_columns_in_which_far_values_cannot_be_told_are_named() -> None:
    frame = pl.DataFrame({"tail": rng().standard_t(2, 800), "x": rng().normal(size=800)})
    report = validate(frame, contract_of(frame), rng=rng())
    (finding,) = (finding for finding in report.findings if finding.rule == "screening.undecidable")
    assert finding.columns == ("tail",)
    assert report.verdict == "pass"


def test_a_whole_column_in_another_unit_than_the_baseline_is_found() -> None:
    earlier = clean_deliveries(np.random.default_rng(1))
    later = clean_deliveries(np.random.default_rng(2)).with_columns(pl.col("weight_kg") / 0.45359237)
    report = validate(later, contract_for(later), baseline=earlier, rng=rng())
    assert [(finding.rule, finding.columns) for finding in report.findings if finding.severity == "warn"] == [
        ("units.column", ("weight_kg",))
    ]
    assert validate(earlier, contract_for(earlier), baseline=later[:0], rng=rng()).verdict == "pass"


def test_values_missing_more_often_than_in_the_baseline_are_found() -> None:
    earlier = clean_deliveries(np.random.default_rng(1))
    later = clean_deliveries(np.random.default_rng(2))
    later = later.with_columns(pl.when(pl.col("day") % 2 == 0).then(pl.col("weight_kg")).alias("weight_kg"))
    report = validate(later, contract_for(later), baseline=earlier, rng=rng())
    assert ("completeness.baseline", ("weight_kg",)) in [(f.rule, f.columns) for f in report.findings]


def test_the_same_table_and_seed_give_the_same_report() -> None:
    frame = clean_deliveries(np.random.default_rng(3))
    reports = [validate(frame, contract_for(frame), rng=np.random.default_rng(9)) for _ in range(2)]
    assert reports[0] == reports[1]


@given(st.integers(0, 400), st.integers(0, 300), st.text(max_size=200), st.floats())
@settings(deadline=None)
def test_the_answer_is_json_of_at_most_12_kb(count: int, columns: int, name: str, statistic: float) -> None:
    findings = [
        Finding("screening.far_rows", "warn", (name,) * columns, 10**9, tuple(range(1, 500)), "Far.", statistic)
    ] * count
    report = summarize(findings, rows=1, columns=1, not_looked_for=NOT_LOOKED_FOR)
    document = report.to_dict()
    assert len(json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")) <= 12_000
    assert len(document["findings"]) + document["findings_left_out"] == count
    assert all(len(finding["rows"]) <= 20 and len(finding["columns"]) <= 20 for finding in document["findings"])


def test_the_gravest_findings_are_the_ones_that_stay() -> None:
    mild = Finding("completeness.constant", "info", ("x" * 60,) * 20, 1, (), "Same.")
    grave = Finding("leakage.feature", "fail", ("y",), 1, (), "Leak.")
    document = summarize([mild] * 300 + [grave], rows=1, columns=1, not_looked_for=()).to_dict()
    assert document["findings"][0]["rule"] == "leakage.feature"
    assert document["findings_left_out"] > 0


def test_a_name_from_the_data_is_cleaned_in_the_answer() -> None:
    report = ValidationReport("warn", 1, 1, (Finding("r", "warn", ("a\u202eb\x1b[31m",), 1, (1,), "Reason."),), ())
    assert report.to_dict()["findings"][0]["columns"] == ["a\\u{202e}b\\u{1b}[31m"]


tables = st.integers(1, 60).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            "i": st.lists(st.none() | st.integers(-3, 3), min_size=rows, max_size=rows),
            "f": st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=rows, max_size=rows),
            "g": st.lists(st.none() | st.floats(0, 1), min_size=rows, max_size=rows),
            "s": st.lists(st.none() | st.sampled_from(["a", "b", "c", ""]), min_size=rows, max_size=rows),
            "b": st.lists(st.none() | st.booleans(), min_size=rows, max_size=rows),
            "d": st.lists(st.none() | st.dates(), min_size=rows, max_size=rows),
        }
    )
)
_SCHEMA = {"i": pl.Int64, "f": pl.Float64, "g": pl.Float64, "s": pl.String, "b": pl.Boolean, "d": pl.Date}


@given(tables, st.sampled_from([*"ifgsbd", None]))
@settings(max_examples=60, deadline=None)
def test_any_table_gets_a_report(columns: dict[str, list[object]], target: str | None) -> None:
    frame = pl.DataFrame(columns, schema=_SCHEMA)
    kinds = {"i": "integer", "f": "number", "g": "number", "s": "category", "b": "boolean", "d": "date"}
    contract = Contract(
        columns=tuple(
            Column(name=name, kind=kind, nullable=True, role="target" if name == target else "feature")  # type: ignore[arg-type]
            for name, kind in kinds.items()
        )
    )
    report = validate(frame, contract, rng=rng())
    assert all(1 <= row <= frame.height for finding in report.findings for row in finding.rows)
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_baseline_that_cannot_be_compared_is_told_and_one_that_can_in_part_is_counted() -> None:
    frame = pl.DataFrame({"a": rng().normal(size=30), "b": rng().normal(size=30)})
    other, part = frame.rename({"a": "c", "b": "d"}), frame.drop("b")
    none = validate(frame, contract_of(frame), baseline=other, rng=rng())
    assert none.compared == 0
    assert any("no column in common" in line for line in none.not_looked_for)
    some = validate(frame, contract_of(frame), baseline=part, rng=rng())
    assert some.compared == 1
    assert any(line.startswith("1 of 2 columns") for line in some.not_looked_for)


def test_rules_without_rows_count_findings_and_say_so() -> None:
    frame = pl.DataFrame({"a": [1.5, 2.5, 3.5], "same": [1, 1, 1], "still": [2, 2, 2]})
    rules = validate(frame, contract_of(frame), rng=rng()).by_rule()
    assert rules["completeness.constant"] == {"severity": "info", "findings": 1, "count": 1, "of": "findings"}
