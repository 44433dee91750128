"""Figures as rows that no spreadsheet runs."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.reports.sheet import HEAD, flattened, sheet

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


@given(JSON)
def test_every_leaf_is_a_fact_once(value: object) -> None:
    def leaves(part: object) -> int:
        if isinstance(part, dict):
            return sum(map(leaves, part.values()))
        return sum(map(leaves, part)) if isinstance(part, list) else 1

    assert len(flattened(value, most=10**6)) == leaves(value)


@given(st.lists(st.tuples(st.text(), VALUES), max_size=10), st.text(max_size=10))
def test_no_cell_is_a_formula_and_no_row_is_lost(facts: list[tuple[str, object]], about: str) -> None:
    text = sheet([("data", about, facts)]).decode()  # type: ignore[list-item]
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == HEAD
    assert len(rows) == 1 + len(facts)
    for row, (_, value) in zip(rows[1:], facts, strict=True):
        cells = row if isinstance(value, str) else row[:3]
        assert not [cell for cell in cells if cell.lstrip()[:1] in {"=", "+", "-", "@", "＝", "＋", "－", "＠"}]
        if isinstance(value, float):
            assert float(row[3]) == value


def test_what_is_left_out_is_counted() -> None:
    assert flattened([*range(8), "name", 9], most=3) == [("1", 0), ("2", 1), ("9", "name"), ("left out", 7)]
