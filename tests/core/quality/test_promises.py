"""What a contract promises about a table, and the rows that break it."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.contract import Column, Contract, Freshness, RowBounds, Rule
from mcp_server.core.contract.pattern import compiled, for_columns
from mcp_server.core.ingest import shape_table
from mcp_server.core.quality import validate
from mcp_server.core.quality.promises import unlike
from mcp_server.errors import DataRejected

SURE = {"kind": 0.9}
NOW = datetime(2015, 6, 10, 12, tzinfo=UTC)


def found(frame: pl.DataFrame, contract: Contract, now: datetime | None = NOW) -> list[tuple]:
    report = validate(frame, contract, now=now, rng=np.random.default_rng(1))
    return [
        (finding.rule, finding.severity, finding.columns, finding.count, finding.rows)
        for finding in report.findings
        if finding.rule.startswith(("contract.", "rule."))
    ]


def test_values_of_another_pattern_fail_where_it_was_stated_and_warn_where_it_was_seen():
    frame = pl.DataFrame({"code": ["A-1", "B-2", "b-3", None, "C-44", "b-3"]})
    column = Column(name="code", kind="text", nullable=True, pattern=r"[A-Z]\-[0-9]+", inferred=SURE)
    assert found(frame, Contract(columns=(column,))) == [("contract.pattern", "fail", ("code",), 2, (3, 6))]
    seen = column.model_copy(update={"inferred": {"pattern": 0.9}})
    assert found(frame, Contract(columns=(seen,))) == [("contract.pattern", "warn", ("code",), 2, (3, 6))]


def test_a_stated_range_or_list_fails_and_an_inferred_one_warns():
    frame = pl.DataFrame({"n": [1.0, 9.0], "c": ["a", "z"]})
    n = Column(name="n", kind="number", minimum=0.0, maximum=5.0, inferred={"kind": 0.9, "minimum": 0.9})
    c = Column(name="c", kind="category", allowed=("a",), inferred={"allowed": 0.9})
    assert found(frame, Contract(columns=(n, c))) == [
        ("contract.range", "fail", ("n",), 1, (2,)),
        ("contract.allowed", "warn", ("c",), 1, (2,)),
    ]


def test_a_group_that_comes_again_fails_and_missing_values_are_no_repetition():
    frame = pl.DataFrame({"a": [1, 1, 1, None, None], "b": [1, 2, 1, 3, 3], "x": [0.5, 1.5, 2.5, 3.5, 4.5]})
    columns = (
        Column(name="a", kind="integer", nullable=True),
        Column(name="b", kind="integer"),
        Column(name="x", kind="number"),
    )
    contract = Contract(columns=columns, unique_together=(("a", "b"),))
    assert found(frame, contract) == [("contract.unique_together", "fail", ("a", "b"), 1, (3,))]


@pytest.mark.parametrize(
    ("bounds", "broken"),
    [
        ({"minimum": 4}, True),
        ({"maximum": 2}, True),
        ({"minimum": 3, "maximum": 3}, False),
    ],
)
def test_too_few_or_too_many_rows_fail(bounds, broken):
    frame = pl.DataFrame({"x": [0.5, 1.5, 2.5]})
    contract = Contract(columns=(Column(name="x", kind="number"),), row_bounds=RowBounds(**bounds))
    assert found(frame, contract) == ([("contract.rows", "fail", (), 3, ())] if broken else [])


def fresh(days: float, against: str, **frame: list) -> tuple[pl.DataFrame, Contract]:
    columns = tuple(
        Column(
            name=name,
            kind="date" if isinstance(values[0], date) else "number",
            role="time" if name == "day" else "ignored",
        )
        for name, values in frame.items()
    )
    return pl.DataFrame(frame), Contract(columns=columns, freshness=Freshness(days=days, against=against))


def test_a_table_is_fresh_up_to_the_promised_age():
    days = [date(2015, 6, 1), date(2015, 6, 8)]
    stale = ("contract.freshness", "fail", ("day",), 1, ())
    assert found(*fresh(2.5, "now", day=days)) == []
    assert found(*fresh(2.4, "now", day=days)) == [stale]
    assert found(*fresh(0.5, "data", day=days)) == []
    loaded = [date(2015, 6, 11), date(2015, 6, 10)]
    assert found(*fresh(3.0, "data", day=days, loaded=loaded)) == []
    assert found(*fresh(2.9, "data", day=days, loaded=loaded)) == [stale]


def test_without_a_time_freshness_is_said_not_to_be_looked_at():
    frame, contract = fresh(1.0, "now", day=[date(2000, 1, 1), date(2000, 1, 2)])
    report = validate(frame, contract, rng=np.random.default_rng(1))
    assert not [finding for finding in report.findings if finding.rule == "contract.freshness"]
    assert any("fresh" in line for line in report.not_looked_for)
    told = validate(frame, contract, now=NOW, rng=np.random.default_rng(1))
    assert not any("fresh" in line for line in told.not_looked_for)


def test_rows_that_break_a_rule_are_found_with_its_severity_and_columns():
    frame = pl.DataFrame({"home": [3, 5, None, 2], "away": [1, 5, 2, 4], "x": [0.5, 1.5, 2.5, 3.5]})
    columns = (
        Column(name="home", kind="integer", nullable=True),
        Column(name="away", kind="integer"),
        Column(name="x", kind="number"),
    )
    rules = (
        Rule(name="no_ties", expression="away != home"),
        Rule(name="low", expression="away < 5", severity="info"),
        Rule(name="kept", expression="x > 0"),
    )
    assert found(frame, Contract(columns=columns, rules=rules)) == [
        ("rule.no_ties", "fail", ("home", "away"), 1, (2,)),
        ("rule.low", "info", ("away",), 1, (2,)),
    ]


codes = st.from_regex(r"[A-Z]{2}-[0-9]{1,3}", fullmatch=True)
cells = {
    pl.Int64: st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3),
    pl.Float64: st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.5]),
    pl.Boolean: st.booleans(),
    pl.String: st.sampled_from(["a", "b", ""]) | codes | st.text(max_size=5),
    pl.Date: st.dates(),
    pl.Datetime("us", "UTC"): st.datetimes(timezones=st.just(UTC)),
}


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 40))
    columns = draw(st.lists(st.sampled_from(list(cells)), min_size=1, max_size=4))
    series = []
    for at, dtype in enumerate(columns):
        cell = codes if dtype == pl.String and draw(st.booleans()) else cells[dtype]
        if draw(st.booleans()):
            cell = st.none() | cell
        series.append(pl.Series(f"c{at}", draw(st.lists(cell, min_size=rows, max_size=rows)), dtype=dtype))
    return pl.DataFrame(series)


@settings(max_examples=150, deadline=None)
@given(tables())
def test_a_table_keeps_the_contract_that_was_inferred_from_it(frame):
    shaped, contract = shape_table(frame)
    assert found(shaped, contract) == []


def test_codes_of_one_shape_get_a_pattern_and_the_next_code_is_held_to_it():
    frame, contract = shape_table(pl.DataFrame({"code": [f"NBA-{n:03d}" for n in range(200)]}))
    column = contract.column("code")
    assert column.pattern == r"[A-Z]{3}\-[0-9]{3}"
    assert 0.99 < column.inferred["pattern"] < 1
    later = pl.DataFrame({"code": [*frame["code"][:-1].to_list(), "nba 1"]})
    assert ("contract.pattern", "warn", ("code",), 1, (200,)) in found(later, contract)


@pytest.mark.parametrize(
    "values",
    [
        ["Boston", "New York", "Utah"] * 20,
        [f"word{'s' * (n % 5)}{n}" for n in range(60)],
        [f"é{n:03d}" for n in range(60)],
        ["BOS", "NYK", "LAL"] * 50,
        [f"{n:03d}@example.org" for n in range(60)],
    ],
    ids=["names", "words", "letters of another script", "few codes", "mail"],
)
def test_where_there_is_doubt_no_pattern_is_inferred(values):
    _, contract = shape_table(pl.DataFrame({"value": values}))
    assert contract.column("value").pattern is None


def test_more_rows_make_what_was_inferred_surer():
    def sure(rows: int) -> dict:
        frame = pl.DataFrame({"n": range(rows), "c": ["a", "b"] * (rows // 2)})
        return shape_table(frame)[1].column("n").inferred

    few, many = sure(10), sure(1000)
    assert few.keys() == many.keys() == {"kind", "nullable", "minimum", "maximum", "unique"}
    assert all(few[part] < many[part] < 1 for part in few)
    assert few["kind"] == 0.9166  # 11/12, rounded down
    assert few["minimum"] == 0.9090  # 10/11


pieces = st.recursive(
    st.sampled_from(
        ["a", "b", "0", "-", " ", r"\-", r"\.", r"\^", r"\d", r"\w", r"\s", ".", "[a-z]", "[A-Z0-9]", "[0-9]", "[ab]"]
    ),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("({}|{})".format, inner, inner),
        st.builds("({}){}".format, inner, st.sampled_from(["+", "*", "?", "{2}", "{1,3}", "{2,}", "+?"])),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(pieces, st.lists(st.none() | st.text("ab0-. \n^Zé١\u00a0\v_", max_size=6), min_size=1, max_size=8))
def test_a_whole_column_is_matched_as_each_value_is(pattern, values):
    assert for_columns(pattern) is not None
    texts = pl.Series("t", values, dtype=pl.String)
    known = compiled(pattern)
    assert unlike(pattern, texts).to_list() == [None if value is None else not known.matches(value) for value in values]


@pytest.mark.parametrize(
    "pattern", [r"[\d]", r"\D", r"\b", r"\<", r"\>", "(?i)a", "[[:alpha:]]", "[^a]", "a{,3}", r"\pL", "é", "^a$"]
)
def test_what_the_engines_read_differently_is_matched_value_by_value(pattern):
    assert for_columns(pattern) is None
    texts = pl.Series("t", ["a", "A", "é", "1", "١", "<", ">", "b", None])
    try:
        known = compiled(pattern)
    except DataRejected:
        return
    found = unlike(pattern, texts).fill_null(False).to_list()
    assert found == [value is not None and not known.matches(value) for value in texts.to_list()]
