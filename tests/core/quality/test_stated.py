"""What a person stated holds on the way in: the same rows are refused that a check of the whole table fails."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.contract import Column, Contract, RowBounds, Rule
from mcp_server.core.ingest import Parts, in_parts, shape_parts
from mcp_server.core.quality.columns import contract_findings
from mcp_server.core.quality.promises import promise_findings
from mcp_server.core.quality.stated import inherited, require_stated, stated_breaks
from mcp_server.errors import DataRejected

EVERY = ("kind", "nullable", "minimum", "maximum", "allowed", "pattern", "unique")


def in_pieces(frame: pl.DataFrame, cuts: list[int]) -> Parts:
    parts = Parts()
    places = [0, *sorted(cut % (frame.height + 1) for cut in cuts), frame.height]
    for start, end in pairwise(places):
        parts.put(frame[start:end])
    return parts


def column(name: str, kind: str, stated: set[str], **parts) -> Column:
    return Column(name=name, kind=kind, inferred={part: 0.9 for part in EVERY if part not in stated}, **parts)


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 30))
    maybe = st.none() | st.integers(-3, 3)
    frame = pl.DataFrame(
        {
            "n": pl.Series(draw(st.lists(maybe, min_size=rows, max_size=rows)), dtype=pl.Int64),
            "x": pl.Series(
                draw(st.lists(st.none() | st.sampled_from([0.0, -0.0, 1.5, -2.5]), min_size=rows, max_size=rows)),
                dtype=pl.Float64,
            ),
            "c": pl.Series(draw(st.lists(st.sampled_from(["a", "b", "A-1", ""]), min_size=rows, max_size=rows))),
        }
    )
    stated = st.sets(st.sampled_from(EVERY))
    bools = st.booleans()
    columns = (
        column("n", "integer", draw(stated), nullable=draw(bools), minimum=-1.0, maximum=2.0, unique=draw(bools)),
        column("x", "number", draw(stated), nullable=draw(bools), minimum=-1.0, unique=draw(bools)),
        column("c", "category", draw(stated), allowed=("A-1", "a"), pattern="[a-z]|[A-Z]-[0-9]"),
    )
    contract = Contract(
        columns=columns,
        rules=tuple(
            Rule(name=name, expression=text, severity=severity)
            for name, text, severity in (("apart", "n != x", "fail"), ("low", "n < 3", "warn"))
            if draw(bools)
        ),
        unique_together=(("n", "c"), ("x", "c"))[: draw(st.integers(0, 2))],
        row_bounds=draw(st.none() | st.just(RowBounds(minimum=5, maximum=20))),
    )
    return frame, contract, draw(st.lists(st.integers(0, 30), max_size=3))


def all_at_once(frame: pl.DataFrame, contract: Contract) -> set[tuple]:
    """What fails of what was stated, on the table in memory."""
    found = [*contract_findings(frame, contract), *promise_findings(frame, contract, None)]
    of_part = {"contract.missing": "nullable", "contract.unique": "unique"}
    return {
        (one.rule, one.columns, one.reason, one.count, one.rows[:10])
        for one in found
        if one.severity == "fail"
        and (one.rule not in of_part or of_part[one.rule] in contract.promised(contract.column(one.columns[0])))
    }


@settings(max_examples=150)
@given(tables())
def test_part_by_part_the_same_is_found_as_in_the_whole_table(given):
    frame, contract, cuts = given
    found = stated_breaks(in_pieces(frame, cuts), contract)
    told = {(one.rule, one.columns, one.reason, one.count, one.rows) for one in found}
    assert len(told) == len(found)
    assert told == all_at_once(frame, contract)


@settings(max_examples=80)
@given(tables(), st.integers(0, 30))
def test_rows_that_were_there_before_are_not_held_against_those_that_come(given, first):
    frame, contract, cuts = given
    first = min(first, frame.height)
    found = stated_breaks(in_pieces(frame, cuts), contract, first=first)
    whole = [*contract_findings(frame, contract), *promise_findings(frame, contract, None)]
    rows = {(one.rule, one.columns, one.reason): one.rows for one in whole}
    for one in found:
        if one.rule != "contract.rows":
            later = tuple(row - first for row in rows[one.rule, one.columns, one.reason] if row > first)
            assert (one.count, one.rows) == (len(later), later[:10])
            assert later


def test_more_than_ten_rows_are_counted_and_ten_named():
    frame = pl.DataFrame({"n": [*range(100)] * 2})
    contract = Contract(columns=(column("n", "integer", {"minimum", "unique"}, minimum=50.0, unique=True),))
    range_, unique = stated_breaks(in_pieces(frame, [30, 60, 150]), contract)
    assert (range_.rule, range_.count, range_.rows) == ("contract.range", 100, tuple(range(1, 11)))
    assert (unique.rule, unique.count, unique.rows) == ("contract.unique", 100, tuple(range(101, 111)))


def measured(**columns: list) -> tuple[Parts, Contract]:
    return shape_parts(in_parts(pl.DataFrame(columns)))


SEEN = {"kind": 0.9, "nullable": 0.9, "unique": 0.9, "maximum": 0.9}
STATED = Contract(
    columns=(
        Column(name="id", kind="integer", role="key", unique=True, inferred=SEEN),
        Column(name="elo", kind="integer", minimum=0.0, maximum=9.0, unit="points", inferred=SEEN),
        Column(name="made", kind="number", minimum=0.0, inferred=SEEN),
    ),
    rules=(Rule(name="apart", expression="id != elo"),),
)


def test_a_table_that_is_imported_again_is_held_to_what_was_stated_and_not_to_what_was_seen():
    parts, contract = measured(id=[1, 1, 3], elo=[0.5, 20.0, 4.0], made=[1.5, 2.5, 3.5])
    found = inherited(parts, contract, STATED, imported=True, hint="")
    elo = found.contract.column("elo")
    assert (elo.minimum, elo.maximum, elo.unit) == (0.0, 20.0, "points")
    assert not found.contract.column("id").unique
    assert [rule.name for rule in found.contract.rules] == ["apart"]
    assert (found.kept, found.lost) == (3, 0)


def test_broken_promises_name_column_count_and_first_rows():
    parts, contract = measured(id=[1, 2, 3, 4], elo=[-1, 2, 0, -5], made=[1.5, 2.5, 3.5, 4.5])
    with pytest.raises(DataRejected) as refused:
        inherited(parts, contract, STATED, imported=True, hint="Do this.")
    assert refused.value.code == "E_CONTRACT"
    assert refused.value.message == (
        "Column 2 ('elo') is below the range that is stated; 2 incoming rows: 1, 4. "
        "1 more of the contract's terms are broken."
    )
    assert refused.value.hint == "Do this."
    assert refused.value.details["violations"] == [
        {"column": 2, "count": 2, "rows": [1, 4]},
        {"column": 1, "count": 1, "rows": [2]},
    ]


def test_rows_are_numbered_as_in_the_file_where_a_filter_left_some_out():
    parts = in_parts(pl.DataFrame({"id": [1, 2, 3, 4], "elo": [1, 0, -2, -3], "made": [0.5, -1.5, 2.5, 3.5]}))
    parts, contract = shape_parts(parts, row_filter="made > 0 and id != 3")
    with pytest.raises(DataRejected) as refused:
        inherited(parts, contract, STATED, imported=True, hint="")
    assert refused.value.details["rows"] == [4]


def test_a_column_that_is_gone_or_of_another_kind_is_no_way_round_what_was_stated():
    parts, contract = measured(id=[1, 2, 3], elo=["7", "n/a", "9"], other=[1.5, 2.5, 3.5])
    with pytest.raises(DataRejected) as refused:
        inherited(parts, contract, STATED, imported=True, hint="")
    assert refused.value.message.startswith("Column 3 ('made') isn't in the file, and something is stated about it.")
    assert refused.value.details["violations"] == [{"column": 3}, {"column": 2, "count": 1, "rows": [2]}]


def test_columns_that_a_plan_made_are_not_looked_for_in_a_file():
    parts, contract = measured(id=[1, 2, 3], elo=[7, 8, 9])
    found = inherited(parts, contract, STATED, imported=False, hint="")
    assert (found.kept, found.lost) == (2, 1)


def test_a_bound_on_the_number_of_rows_counts_all_of_them():
    frame = pl.DataFrame({"n": [1, 2, 3]})
    contract = Contract(columns=(column("n", "integer", set()),), row_bounds=RowBounds(maximum=2))
    with pytest.raises(DataRejected) as refused:
        require_stated(in_parts(frame), contract, hint="", first=2)
    assert refused.value.message == "The data set would have 3 rows, and at most 2 are stated."
