"""Two versions of a table: which rows belong together, what changed, and nothing personal on the way."""

import json
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.ingest import shape_table
from mcp_server.core.profile import difference
from mcp_server.core.profile.difference import MOST_ROWS, match


def told(before: dict[str, Any], after: dict[str, Any], **stated: Any) -> dict[str, Any]:
    old, new = (shape_table(pl.DataFrame(columns), **stated) for columns in (before, after))
    return difference(*old, *new)


KEYED = {"roles": {"id": "key"}}


def test_rows_are_matched_by_their_key_whatever_their_order():
    found = told(
        {"id": [1, 2, 3, 4], "x": [1.5, 2.5, None, 4.5], "team": ["a", "b", "b", "a"]},
        {"id": [5, 4, 3, 2], "x": [9.0, 4.5, 3.5, 2.0], "team": ["c", "a", "b", "b"]},
        **KEYED,
    )
    assert found["counts"] == {
        "by": "key",
        "rows_added": 1,
        "rows_removed": 1,
        "rows_changed": 2,
        "rows_same": 1,
        "columns_changed": 3,
    }
    assert found["rows"]["added"] == [{"row": 1, "values": {"id": 5, "x": 9.0, "team": "c"}}]
    assert found["rows"]["removed"] == [{"row": 1, "values": {"id": 1, "x": 1.5, "team": "a"}}]
    assert found["rows"]["changed"] == [
        {"rows": [3, 3], "key": {"id": 3}, "values": {"x": [None, 3.5]}},
        {"rows": [2, 4], "key": {"id": 2}, "values": {"x": [2.5, 2.0]}},
    ]
    by_name = {one["name"]: one for one in found["columns"]}
    assert found["columns"][0]["name"] == "x"
    assert by_name["x"]["rows_changed"] == 2
    assert by_name["x"]["missing"] == [1, 0]
    assert by_name["x"]["mean"] == [2.83333, 4.75]
    assert by_name["team"] == {"name": "team", "top": [[["a", 2], ["b", 2]], [["b", 2], ["a", 1], ["c", 1]]]}


def test_without_a_key_equal_rows_are_paired_as_often_as_both_have_them():
    found = told({"a": [1, 1, 1, 2], "b": ["x", "x", "y", "x"]}, {"a": [1, 3, 1, 1, 1], "b": ["x", "x", "x", "x", "y"]})
    counts = found["counts"]
    assert (counts["by"], counts["rows_added"], counts["rows_removed"], counts["rows_same"]) == ("content", 2, 1, 3)
    assert found["rows"]["removed"] == [{"row": 4, "values": {"a": 2, "b": "x"}}]
    assert [one["row"] for one in found["rows"]["added"]] == [2, 4], "of three like it the last one is new"
    assert found["rows"]["changed"] == []


def test_a_key_that_names_a_row_twice_is_no_key():
    columns = {"id": [1, 1, 2], "x": [1.5, 2.5, 3.5]}
    assert told(columns, {"id": [1, 2, 3], "x": [1.5, 3.5, 4.5]}, **KEYED)["counts"]["by"] == "content"


def test_a_whole_number_that_became_a_number_is_the_same_row():
    found = told({"id": [1, 2], "x": [10, 20]}, {"id": [1, 2], "x": [10.0, 20.5]}, **KEYED)
    assert found["counts"]["rows_changed"] == 1
    assert found["rows"]["changed"][0]["values"] == {"x": [20, 20.5]}


def test_tables_without_a_common_column_share_no_row():
    counts = told({"a": [1, 2]}, {"b": [1, 2, 3]})["counts"]
    assert (counts["rows_added"], counts["rows_removed"], counts["rows_same"]) == (3, 2, 0)


def test_values_of_personal_columns_are_hidden_also_where_they_are_the_key():
    before = {"mail": [f"ann{i}@example.org" for i in range(20)], "x": [i + 0.5 for i in range(20)]}
    after = {"mail": [f"ann{i}@example.org" for i in range(1, 21)], "x": [i + 0.25 for i in range(1, 21)]}
    found = told(before, after, roles={"mail": "key"})
    assert found["counts"]["by"] == "key"
    assert found["counts"]["rows_changed"] == 19
    assert "example" not in json.dumps(found)
    assert found["rows"]["changed"][0]["key"] == {"mail": "hidden"}


def test_an_answer_is_bounded_and_text_from_data_is_made_visible():
    before = {f"c{i}": [f"{row} {'z' * 300}" for row in range(50)] for i in range(40)} | {"id": list(range(50))}
    after = {name: [f"\x1b{cell}" if name != "id" else cell for cell in cells] for name, cells in before.items()}
    found = told(before, after, **KEYED)
    assert len(found["rows"]["changed"]) == MOST_ROWS
    assert found["rows"]["changed"][0]["further_columns"] == 34
    assert found["counts"]["columns_changed"] == 40
    assert len(json.dumps(found)) < 24_000
    assert "\\u001b" not in json.dumps(found)


rows = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), min_size=1, max_size=12)


@given(rows, rows)
def test_every_row_of_both_is_told_once_and_the_way_back_mirrors_the_way_there(before, after):
    tables = [
        shape_table(pl.DataFrame({"n": [n for n, _ in one], "t": [t for _, t in one]})) for one in (before, after)
    ]
    there, back = match(*tables[0], *tables[1]), match(*tables[1], *tables[0])
    assert sorted([*there.before, *there.removed]) == list(range(len(before)))
    assert sorted([*there.after, *there.added]) == list(range(len(after)))
    assert all(before[i] == after[j] for i, j in zip(there.before, there.after, strict=True))
    assert not {before[i] for i in there.removed} & {after[j] for j in there.added}
    pairs = set(zip(there.before, there.after, strict=True))
    assert pairs == set(zip(back.after, back.before, strict=True))
