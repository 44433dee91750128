"""A table that is on the disk while it's read is the table that would be in memory."""

import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.contract import Derived
from mcp_server.core.ingest import (
    File,
    Limits,
    Parts,
    read_table,
    shape_parts,
    shape_table,
    to_parquet_bytes,
    write_parquet,
)
from mcp_server.core.profile import profile
from mcp_server.workflows.operations.spilling import Spilled

NAMES = ["n", "t.*", "x y", "x*"]


def rows(count):
    return pl.DataFrame(
        {
            "n": [None if i % 7 == 0 else i for i in range(count)],
            "t.*": [["red", "a longer text than fits a view", "", None][i % 4] for i in range(count)],
            "x y": [i / 3 for i in range(count)],
            "x*": [i % 2 == 0 for i in range(count)],
        }
    )


@pytest.fixture(params=[0, 3_000, 1 << 30], ids=["on the disk", "partly", "in memory"])
def make(request, tmp_path):
    return lambda: Spilled(tmp_path, in_memory=request.param)


def filled(parts, frame, cuts):
    for first, last in zip([0, *cuts], [*cuts, frame.height], strict=True):
        parts.put(frame[first:last])
    return parts


def written(table):
    target = io.BytesIO()
    write_parquet(table, target)
    return target.getvalue()


def test_what_was_put_in_comes_out(make):
    frame = rows(500)
    parts = filled(make(), frame, [100, 101, 400])
    assert (parts.height, parts.columns) == (500, NAMES)
    assert parts.whole().equals(frame)
    assert parts.scan().collect().equals(frame)
    assert [values.to_list() for values in parts.series()] == [values.to_list() for values in frame.get_columns()]
    assert parts.column(1).equals(frame.to_series(1))
    assert pl.concat(list(parts.drained())).equals(frame)


def test_nothing_is_left_of_what_was_drained(make, tmp_path):
    parts = filled(make(), rows(500), [200])
    assert sum(frame.height for frame in parts.drained()) == 500
    assert list(tmp_path.iterdir()) == []


def test_the_stored_bytes_do_not_depend_on_where_the_rows_were(make):
    frame = pl.concat([rows(50_000), rows(100_000), rows(1_000)])
    assert written(filled(make(), frame, [50_000, 70_001])) == to_parquet_bytes(frame)


def test_a_wide_table_has_the_same_bytes_too(make):
    frame = pl.DataFrame({f"c{at}": range(at, at + 9_000) for at in range(2_000)})
    assert written(filled(make(), frame, [100, 5_000])) == to_parquet_bytes(frame)


def test_contract_and_profile_are_those_of_the_table_in_memory(make):
    frame = rows(400)
    statements = {
        "target": "won",
        "derived": [Derived(name="won", expression='col("x y") > 20')],
        "row_filter": "not is_missing(n) and n != 50",
    }
    expected, contract = shape_table(frame, **statements)
    parts, found = shape_parts(filled(make(), frame, [33, 51, 52]), new_parts=make, **statements)
    assert found == contract
    assert parts.whole().equals(expected)
    assert profile(parts, found) == profile(expected, contract)


CELLS = st.sampled_from(["1", "2.5", "", "NA", "007", "x", "true", "2024-01-02", "13/01/2024", "99999999999999999999"])


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=12))
def test_a_file_is_read_the_same_whatever_the_block_and_wherever_the_rows_go(tmp_path_factory, cells):
    content = ("a,b,c\n" + "".join(",".join(row) + "\n" for row in cells)).encode()
    folder = tmp_path_factory.mktemp("spill")
    file = File(lambda: io.BytesIO(content), "a.csv")
    expected = read_table([file])
    found = read_table([file], limits=Limits(block=10), new_parts=lambda: Spilled(folder, in_memory=0))
    assert found.frame.equals(expected.frame)
    assert isinstance(expected.parts, Parts)
