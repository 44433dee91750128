"""One row in plain Python and a whole table in polars give the same, whatever the expression and the values."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.expressions import parse
from mcp_server.core.expressions.polars_backend import compute, to_polars
from mcp_server.errors import DataRejected

TYPES = {
    "i": pl.Int64,
    "j": pl.Int64,
    "x": pl.Float64,
    "odd name": pl.Float64,
    "t": pl.String,
    "b": pl.Boolean,
    "d": pl.Date,
    "m": pl.Datetime("us", "UTC"),
}
KINDS = {
    "i": "integer",
    "j": "integer",
    "x": "number",
    "odd name": "number",
    "t": "text",
    "b": "boolean",
    "d": "date",
    "m": "datetime",
}
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.fixed_dictionaries(
    {
        "i": st.none() | st.integers(-3, 3) | INT64,
        "j": st.none() | st.integers(-3, 3) | INT64,
        "x": st.none() | st.sampled_from([0.0, -0.0, 0.5, 1.5, -2.5]) | FLOATS,
        "odd name": st.none() | FLOATS,
        "t": st.none() | st.sampled_from(["", "a", "b", "é", "😀"]),
        "b": st.none() | st.booleans(),
        "d": st.none() | st.dates(),
        "m": st.none() | st.datetimes(timezones=st.just(UTC)),
    }
)

numbers = st.recursive(
    st.sampled_from(["i", "j", "x", "col('odd name')", "0", "1", "2.5", "-3", "9223372036854775807", "1e300"])
    | st.sampled_from(["year(d)", "month(m)", "weekday(d)", "weekday(m)"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/%"), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
        st.builds("abs({})".format, inner),
        st.builds("-{}".format, inner),
        st.builds("round({}, {})".format, inner, st.integers(0, 9)),
    ),
    max_leaves=6,
)
ORDER = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
conditions = st.recursive(
    st.one_of(
        st.just("b"),
        st.builds("({} {} {})".format, numbers, ORDER, numbers),
        st.builds("(t {} {})".format, ORDER, st.sampled_from(["t", "'a'", "'é'"])),
        st.builds("({} {} {})".format, st.sampled_from(["d", "m"]), ORDER, st.sampled_from(["d", "m", "'1999-12-31'"])),
        st.builds("({} in [1, 2.5, -3])".format, numbers),
        st.sampled_from(["t in ['a', 'b']", "t not in ['a']", "is_missing(t)", "d in ['2000-01-01']", "b == true"]),
        st.builds("is_missing({})".format, numbers),
    ),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("(not {})".format, inner),
    ),
    max_leaves=4,
)


def table(rows):
    return pl.DataFrame(rows, schema=TYPES, orient="row")


@settings(max_examples=300, deadline=None)
@given(text=numbers | conditions, rows=st.lists(ROWS, min_size=1, max_size=4))
def test_a_row_and_a_table_agree(text, rows):
    try:
        expression = parse(text)
        expression.kind(KINDS)
    except DataRejected:
        return
    frame = table(rows)
    found = compute(expression, frame).to_list()
    assert found == [expression.evaluate(row) for row in frame.to_dicts()]
    assert found == frame.select(to_polars(expression).alias("found")).get_column("found").to_list()


def answer(text, **row):
    expression = parse(text)
    frame = pl.DataFrame([row], schema={name: TYPES[name] for name in row}, orient="row")
    value = expression.evaluate(row)
    assert compute(expression, frame).to_list() == [value]
    return value


@pytest.mark.parametrize("text", ["i / 0", "i % 0", "x / 0.0", "x % 0", "i / (j - j)"])
def test_division_by_zero_gives_missing(text):
    assert answer(text, i=7, j=2, x=7.0) is None


@pytest.mark.parametrize("text", ["i + 1", "i * i", "0 - i - 2", "abs(j)", "-j", "x * 1e300"])
def test_a_number_that_does_not_fit_gives_missing(text):
    assert answer(text, i=2**63 - 1, j=-(2**63), x=1e300) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i > 0 and b", None),
        ("i > 0 or b", True),
        ("i < 0 and b", False),
        ("i < 0 or b", None),
        ("not b", None),
        ("is_missing(b)", True),
        ("j == 1", None),
        ("j in [1, 2]", None),
        ("min(i, j)", None),
    ],
)
def test_a_missing_value_counts_only_where_it_decides(text, expected):
    assert answer(text, i=1, j=None, b=None) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i % 3", 2),
        ("-i % 3", 1),
        ("x % 2", 0.5),
        ("round(x)", 2.0),
        ("round(1.25 + 0 * x, 1)", 1.2),
        ("min(i, x)", 2.5),
        ("weekday(d)", 4),
        ("year(d) * 100 + month(d)", 201512),
        ("d >= '2015-12-31'", True),
        ("m == d", False),
        ("m > '2015-12-31T10:00:00+00:00'", True),
        ("t in ['a', 'b']", True),
        ("0 < i < 9", True),
        ("9007199254740993 == x * 0 + 9007199254740992", True),
    ],
)
def test_worked_by_hand(text, expected):
    moment = datetime(2015, 12, 31, 12, tzinfo=UTC)
    assert answer(text, i=5, x=2.5, t="a", d=date(2015, 12, 31), m=moment) == expected


def test_iso_text_stands_for_a_date_in_a_row():
    assert parse("weekday(d)").evaluate({"d": "2015-12-31"}) == 4
    assert parse("d < '2016-01-01'").evaluate({"d": "2015-12-31"}) is True


def test_a_column_that_the_row_lacks_is_missing():
    assert parse("i + 1").evaluate({}) is None


def test_a_value_that_does_not_fit_is_refused():
    with pytest.raises(DataRejected) as refused:
        parse("i + 1").evaluate({"i": "seven"})
    assert refused.value.code == "E_EXPRESSION"


def test_a_table_whose_types_do_not_fit_is_refused():
    with pytest.raises(DataRejected) as refused:
        compute(parse("t + 1"), pl.DataFrame({"t": ["a"]}))
    assert refused.value.code == "E_EXPRESSION"


def test_names_that_polars_would_read_as_patterns_are_names():
    frame = pl.DataFrame({"^a.*$": [1], "ab": [2], "*": [3]})
    assert frame.select(to_polars(parse("col('^a.*$') + col('*')")).alias("sum")).to_series().to_list() == [4]


def test_deeply_nested_values_are_computed_once_each():
    text = "x"
    for _ in range(18):
        text = f"min({text},x)"
    assert answer(text, x=2.0) == 2.0
