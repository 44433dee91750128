"""pandera's YAML and suites of Great Expectations: there and back, and what neither can say."""

from __future__ import annotations

import importlib.util
import json

import pytest
from hypothesis import given, settings

from core.contract.contracts import GAMES, contracts
from mcp_server.core.contract import Column, Contract, Rule
from mcp_server.core.contract.edit import differences
from mcp_server.core.contract.foreign import from_search, whole
from mcp_server.core.contract.great_expectations import from_great_expectations, to_great_expectations
from mcp_server.core.contract.pandera import from_pandera, to_pandera
from mcp_server.errors import CourtsideError, DataRejected


def suite(contract: Contract):
    return to_great_expectations(contract, "suite")


WAYS = pytest.mark.parametrize(("write", "read"), [(to_pandera, from_pandera), (suite, from_great_expectations)])

SAYABLE = Contract(
    columns=(
        Column(name="day", kind="date"),
        Column(name="code", kind="text", unique=True, pattern=r"G\-[0-9]{4}"),
        Column(name="season", kind="integer", nullable=True, minimum=1947.0, maximum=2015.0),
        Column(
            name="team: home", kind="category", allowed=("BOS", "NYK", "a\u2028b", "no", "\x85", "é"), pattern="(?s:.*)"
        ),
        Column(name="elo", kind="number", minimum=-0.5),
        Column(name="score", kind="number", maximum=1e300),
        Column(name="won", kind="boolean", nullable=True),
        Column(name="at", kind="datetime"),
    ),
    unique_together=(("day", "code"),),
)


@WAYS
def test_what_both_can_say_comes_back_equal(write, read):
    written = write(SAYABLE)
    assert written.not_carried == ()
    back = read(written.text)
    assert back.not_carried == ()
    assert back.contract() == SAYABLE
    assert back.onto(SAYABLE) == SAYABLE


@WAYS
def test_what_one_cannot_say_is_listed_and_everything_else_comes_back(write, read):
    @settings(max_examples=150, deadline=None)
    @given(contracts(inferred=True))
    def law(contract):
        written = write(contract)
        back = read(written.text)
        assert back.not_carried == ()
        listed = "\n".join(written.not_carried)
        for difference in differences(contract, back.contract()):
            if difference.column is None:
                assert PARTS.get(difference.part, difference.part) in listed
            else:
                part = WORDS.get(difference.part, difference.part)
                personal = f"{difference.column}: values, as it's personal"
                assert f"{difference.column}: {part}" in written.not_carried or personal in written.not_carried

    law()


PARTS = {"row_bounds": "number of rows", "unique_together": "unique together"}
WORDS = {"kind": "that it's a category", "source": "how it's computed"}


@WAYS
def test_a_document_onto_a_contract_leaves_what_it_does_not_speak_of(write, read):
    back = read(write(GAMES).text).onto(GAMES)
    assert back.target == "home_win"
    assert back.column("home_elo").unit == "points"
    assert back.freshness == GAMES.freshness
    assert differences(GAMES, back) == []


@WAYS
def test_no_value_of_a_personal_column_is_written(write, read):
    secret = Column(name="who", kind="category", allowed=("Ada Lovelace",), pattern="Ada.*", personal=True)
    age = Column(name="age", kind="integer", minimum=17.0, personal=True)
    written = write(Contract(columns=(secret, age)))
    assert "Ada" not in written.text
    assert "17" not in written.text
    assert "who: values, as it's personal" in written.not_carried


def test_a_rule_between_two_columns_goes_to_great_expectations_and_back():
    rules = (
        Rule(name="home_first", expression="home_score >= away_score", severity="warn"),
        Rule(name="low", expression="away_score < home_score"),
        Rule(name="same", expression="col('home_score') == away_score", severity="info"),
        Rule(name="sum", expression="home_score + away_score > 0"),
    )
    contract = GAMES.model_copy(update={"rules": rules})
    written = suite(contract)
    assert [line for line in written.not_carried if line.startswith("rule")] == ["rule sum"]
    assert from_great_expectations(written.text).contract().rules == rules[:3]


def test_what_was_inferred_is_a_warning_in_a_suite_and_what_was_stated_is_critical():
    columns = (
        Column(name="a", kind="integer", minimum=0.0, inferred={"kind": 0.9, "minimum": 0.9}),
        Column(name="b", kind="integer", minimum=0.0, inferred={"kind": 0.9}),
    )
    found = json.loads(suite(Contract(columns=columns)).text)["expectations"]
    told = {one["kwargs"].get("column"): one["severity"] for one in found if one["type"].endswith("between")}
    assert told == {"a": "warning", "b": "critical"}


def test_an_older_suite_is_read_and_what_a_contract_cannot_say_is_listed():
    expectations = [
        {"expectation_type": "expect_column_to_exist", "kwargs": {"column": "season"}},
        {"expectation_type": "expect_column_values_to_be_of_type", "kwargs": {"column": "season", "type_": "int64"}},
        {"expectation_type": "expect_column_values_to_not_be_null", "kwargs": {"column": "season", "mostly": 0.9}},
        {"expectation_type": "expect_column_mean_to_be_between", "kwargs": {"column": "season", "min_value": 1}},
        {
            "expectation_type": "expect_column_values_to_match_regex",
            "kwargs": {"column": "home", "regex": "^[A-Z]{3}$"},
        },
        {"expectation_type": "expect_column_values_to_match_regex", "kwargs": {"column": "home", "regex": "(?=a)"}},
        {
            "expectation_type": "expect_column_pair_values_a_to_be_greater_than_b",
            "kwargs": {"column_A": "home_score", "column_B": "away_score"},
        },
        {"expectation_type": "expect_table_row_count_to_equal", "kwargs": {"value": 12}},
    ]
    found = from_great_expectations(json.dumps({"expectation_suite_name": "x", "expectations": expectations}))
    assert found.not_carried == (
        "season: expect_column_values_to_not_be_null",
        "season: expect_column_mean_to_be_between",
        "home: expect_column_values_to_match_regex",
    )
    contract = found.onto(GAMES)
    assert contract.row_bounds.minimum == contract.row_bounds.maximum == 12
    assert contract.rules[-1].expression == "col('home_score') > col('away_score')"
    assert contract.column("home").pattern == "(?s:.*)(?:^[A-Z]{3}$)(?s:.*)"


def test_an_older_schema_is_read_and_what_a_contract_cannot_say_is_listed():
    text = """
schema_type: dataframe
version: 0.20.0
columns:
  season:
    dtype: int64
    nullable: false
    checks:
      greater_than_or_equal_to: 1947
      less_than: 2020
    coerce: true
    required: true
    regex: false
  home:
    dtype: object
    checks:
    - value: [BOS, NYK]
      options: {check_name: isin}
    - value: 3
      options: {check_name: str_length}
  "^x.*":
    dtype: float64
    regex: true
  odd: {dtype: complex64}
strict: filter
index:
- {dtype: int64}
"""
    found = from_pandera(text)
    assert found.not_carried == (
        "strict",
        "index",
        "season: coerce",
        "season: less_than",
        "home: str_length",
        "^x.*: names by pattern",
        "odd: dtype",
    )
    assert found.kinds == {"season": "integer", "home": "category"}
    assert found.change.columns["season"].minimum == 1947.0
    assert found.change.columns["home"].allowed == ["BOS", "NYK"]


@pytest.mark.parametrize(
    ("pattern", "start", "value", "matches"),
    [
        (whole("[A-Z]{3}"), True, "BOS", True),
        (whole("[A-Z]{3}"), True, "BOSS", False),
        ("[A-Z]{3}", True, "BOSS", True),
        ("[A-Z]{3}", True, "xBOS", False),
        ("[A-Z]{3}", False, "xBOSx\n", True),
        ("^a+$", False, "aaa", True),
        ("^a+$", False, "aab", False),
        ("a|b", True, "bc", True),
    ],
)
def test_a_pattern_keeps_its_meaning(pattern, start, value, matches):
    from mcp_server.core.contract.pattern import compiled

    assert compiled(from_search(pattern, start=start)).matches(value) is matches


BOMB = "a: &a [x, x]\n" + "\n".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]" for n in range(9)
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "schema_type: dataframe",
        "a: b: c",
        BOMB,
        "[" * 5_000,
        "!!python/object/apply:os.system [id]",
        "x" * 600_000,
        "schema_type: dataframe\ncolumns: {1: {dtype: int64}}",
        "columns: {a: {dtype: int64}}",
        "a: 2015-13-45",
        "\x00",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_not_a_schema_is_refused(text):
    with pytest.raises(DataRejected) as refused:
        from_pandera(text)
    assert refused.value.code == "E_CONTRACT"
    assert refused.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"expectations": 5}',
        '{"expectations": [5]}',
        '{"expectations": [{"type": 5, "kwargs": {}}]}',
        '{"expectations": [{"type": "x"}]}',
        "[" * 100_000,
        "x" * 600_000,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_not_a_suite_is_refused(text):
    with pytest.raises(DataRejected) as refused:
        from_great_expectations(text)
    assert refused.value.code == "E_CONTRACT"
    assert refused.value.hint


@pytest.mark.parametrize(
    "document",
    [
        "schema_type: dataframe\ncolumns: {home_eol: {dtype: float64}}",
        "schema_type: dataframe\ncolumns: {home_elo: {dtype: bool}}",
        "schema_type: dataframe\ncolumns: {home_elo: {dtype: float64, in_range: {min_value: 5, max_value: 1}}}",
    ],
)
def test_a_document_that_does_not_fit_the_data_set_is_refused(document):
    with pytest.raises(CourtsideError) as refused:
        from_pandera(document).onto(GAMES)
    assert refused.value.hint


@pytest.mark.skipif(importlib.util.find_spec("pandera") is None, reason="pandera isn't installed here")
def test_pandera_itself_reads_the_schema():
    from pandera.io import pandas_io

    schema = pandas_io.from_yaml(to_pandera(SAYABLE).text)
    assert list(schema.columns) == [column.name for column in SAYABLE.columns]
    assert from_pandera(pandas_io.to_yaml(schema)).contract() == SAYABLE


@pytest.mark.skipif(importlib.util.find_spec("pandera") is None, reason="pandera isn't installed here")
@pytest.mark.parametrize(("cell", "kept"), [("G-0001", True), ("G-00012", False), ("xG-0001", False)])
def test_pandera_itself_holds_a_table_to_the_same_pattern(cell, kept):
    import pandas
    import pandera.errors
    from pandera.io import pandas_io

    column = Column(name="code", kind="text", pattern=r"G\-[0-9]{4}")
    schema = pandas_io.from_yaml(to_pandera(Contract(columns=(column,))).text)
    table = pandas.DataFrame({"code": [cell]})
    if kept:
        schema.validate(table)
    else:
        with pytest.raises(pandera.errors.SchemaError):
            schema.validate(table)


@pytest.mark.parametrize("options", ["5", "[a]", "text"])
def test_options_of_a_check_that_are_no_options_are_passed_over(options: str) -> None:
    text = f"schema_type: dataframe\ncolumns:\n  a:\n    dtype: int64\n    checks: [{{options: {options}}}]\n"
    assert from_pandera(text).not_carried == ("a: check",)


def test_a_bound_with_more_digits_than_a_number_has_is_not_carried() -> None:
    text = f"schema_type: dataframe\ncolumns:\n  a:\n    dtype: int64\n    less_than_or_equal_to: 1{'0' * 400}\n"
    assert from_pandera(text).not_carried == ("a: less_than_or_equal_to",)
