"""Suites of Great Expectations: what isn't run of a stranger's document, and what the real library says of the rest."""

import datetime as dt
from typing import Any

import polars as pl
import pytest

from mcp_server.core.contract import Contract
from mcp_server.core.contract.edit import edit, read_change
from mcp_server.core.contract.great_expectations import from_great_expectations, read_suite, to_great_expectations
from mcp_server.core.ingest import shape_table
from mcp_server.integrations.expectations import judge, refused

COLUMNS = ["id", "team", "score"]


def one(kind: str, **kwargs: Any) -> dict[str, Any]:
    severity = {"severity": kwargs.pop("severity")} if "severity" in kwargs else {}
    return {"type": f"expect_{kind}", "kwargs": kwargs, **severity}


@pytest.mark.parametrize(
    ("expectation", "why"),
    [
        (
            one("column_values_to_be_null", column="id", row_condition="@pd.io.common.os.system('x')"),
            "evaluated as code",
        ),
        (one("column_values_to_be_null", column="id", condition_parser="pandas"), "evaluated as code"),
        (one("column_values_to_be_between", column="id", min_value={"$PARAMETER": "now()"}), "a parameter"),
        (one("column_values_to_be_in_set", column="id", value_set=[[{"$PARAMETER": "x"}]]), "a parameter"),
        (one("column_values_to_match_json_schema", column="id", json_schema="http://x"), "not of a kind"),
        (one("query_results_to_match_comparison", query="SELECT 1"), "not of a kind"),
        ({"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "DROP"}}, "not of a kind"),
        (one("column_values_to_not_be_null", column="other"), "lacks"),
        (one("column_pair_values_to_be_equal", column_A="id", column_B="other"), "lacks"),
        (one("compound_columns_to_be_unique", column_list=["id", "other"]), "lacks"),
        ({"type": ["expect_column_to_exist"], "kwargs": {}}, "isn't an expectation"),
        ({"type": "expect_column_to_exist", "kwargs": "x"}, "isn't an expectation"),
    ],
)
def test_what_could_run_code_read_elsewhere_or_has_no_column_is_not_run(expectation: dict[str, Any], why: str) -> None:
    assert why in str(refused(expectation["type"], expectation["kwargs"], COLUMNS))


def test_a_plain_expectation_is_run() -> None:
    assert refused("expect_column_values_to_be_in_set", {"column": "team", "value_set": ["a"]}, COLUMNS) is None
    assert refused("expect_column_to_exist", {"column": "other"}, COLUMNS) is None


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("expect_column_values_to_not_match_regex", {"column": "team", "regex": "^a"}),
        ("expect_column_values_to_be_in_set", {"column": "team", "value_set": ["a"]}),
        ("expect_column_max_to_be_between", {"column": "team", "max_value": 3}),
        ("expect_column_pair_values_to_be_equal", {"column_A": "score", "column_B": "team"}),
        ("expect_multicolumn_sum_to_equal", {"column_list": ["score", "team"], "sum_total": 1}),
        ("expect_column_value_lengths_to_equal", {"column": "team", "value": 3}),
    ],
)
def test_of_a_personal_column_no_value_is_asked(kind, kwargs):
    """Hundreds of patterns in a suite would spell out a cell that nobody may read."""
    assert refused(kind, kwargs, COLUMNS) is None
    assert "personal" in str(refused(kind, kwargs, COLUMNS, {"team"}))
    for harmless in ("expect_column_values_to_not_be_null", "expect_column_values_to_be_unique"):
        assert refused(harmless, {"column": "team"}, COLUMNS, {"team"}) is None


@pytest.fixture(scope="module")
def library() -> None:
    pytest.importorskip("great_expectations", reason="the extra gx isn't installed")


@pytest.fixture
def table() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [1, 2, 3, 4],
            "team": ["a", "b", None, "c"],
            "score": [1.5, 900.0, 2.5, 3.5],
            "home": [10, None, 30, 40],
            "away": [10, 20, 31, 1],
            "won": [True, False, True, None],
            "day": [dt.date(2026, 1, day) for day in range(1, 5)],
        }
    )


@pytest.mark.usefixtures("library")
def test_the_library_names_the_rows_that_break_an_expectation_and_what_it_measured(table: pl.DataFrame) -> None:
    found = judge(
        table,
        [
            one("column_values_to_be_unique", column="id"),
            one("column_values_to_be_between", column="score", max_value=100, severity="warning"),
            one("column_values_to_not_be_null", column="team"),
            one("column_mean_to_be_between", column="score", max_value=10),
            one("table_row_count_to_be_between", min_value=10),
            one(
                "column_pair_values_to_be_equal",
                column_A="home",
                column_B="away",
                ignore_row_if="either_value_is_missing",
            ),
            one("column_to_exist", column="nothing"),
            one("column_values_to_be_between", column="team", min_value=1),
            one("column_values_to_be_between", column="score", min_value="low", max_value=[1]),
            {
                "expectation_type": "expect_column_values_to_be_in_set",
                "kwargs": {"column": "team", "value_set": ["a", "b"]},
            },
        ],
    )
    assert [judged.place for judged in found] == list(range(10))
    assert [judged.holds for judged in found] == [True, False, False, False, False, False, False, None, None, False]
    assert (found[1].rows, found[1].unexpected, found[1].elements) == ((2,), 1, 4)
    assert (found[1].severity, found[1].columns) == ("warning", ("score",))
    assert (found[2].rows, found[2].severity) == ((3,), "critical")
    assert found[3].observed == 226.875
    assert found[4].observed == 4
    assert (found[5].rows, found[5].columns) == ((3, 4), ("home", "away"))
    assert found[9].rows == (4,)
    assert found[7].why
    assert found[8].why


def stated() -> tuple[pl.DataFrame, Contract]:
    frame, contract = shape_table(
        pl.DataFrame(
            {
                "id": list(range(1, 61)),
                "team": [f"t{i % 3}" for i in range(60)],
                "code": [f"AB-{i:03d}" for i in range(60)],
                "score": [i * 0.75 if i % 7 else None for i in range(60)],
                "home": [i % 9 + 1 for i in range(60)],
                "away": [i % 9 for i in range(60)],
                "wins": [i % 9 if i % 8 else None for i in range(60)],
                "fair": [i % 2 == 0 for i in range(60)],
                "day": [dt.date(2026, 1, 1) + dt.timedelta(days=i) for i in range(60)],
                "seen": [dt.datetime(2026, 1, 1, i % 24, tzinfo=dt.UTC) for i in range(60)],
            }
        )
    )
    change = {
        "columns": {"code": {"pattern": "AB-[0-9]{3}"}, "score": {"minimum": 0, "maximum": 100}},
        "rules": {"home_leads": {"expression": "home > away"}},
        "unique_together": [["id", "code"]],
        "row_bounds": {"minimum": 10, "maximum": 1000},
    }
    return frame, edit(contract, read_change(change))


@pytest.mark.usefixtures("library")
def test_a_contract_that_holds_holds_for_the_library_too_and_comes_back_as_it_was() -> None:
    frame, contract = stated()
    written = to_great_expectations(contract, "suite").text
    found = judge(frame, read_suite(written))
    assert [(one.kind, one.columns, one.why) for one in found if one.holds is not True] == []
    back = from_great_expectations(written).contract()
    assert [column.name for column in back.columns] == [column.name for column in contract.columns]
    assert back.rules == contract.rules
    assert (back.column("score").minimum, back.column("score").maximum) == (0, 100)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("code", "XX-1", "expect_column_values_to_match_regex"),
        ("score", 1e6, "expect_column_values_to_be_between"),
        ("home", -5, "expect_column_pair_values_a_to_be_greater_than_b"),
        ("team", "elsewhere", "expect_column_values_to_be_in_set"),
        ("day", None, "expect_column_values_to_not_be_null"),
    ],
)
def test_a_row_that_breaks_the_contract_breaks_the_exported_suite_in_that_row(
    column: str, value: Any, kind: str
) -> None:
    frame, contract = stated()
    cells = frame[column].to_list()
    cells[17] = value
    broken = frame.with_columns(pl.Series(column, cells, dtype=frame.schema[column]))
    found = judge(broken, read_suite(to_great_expectations(contract, "suite").text))
    failed = {judged.kind: judged.rows for judged in found if judged.holds is False}
    assert failed[kind] == (18,)
