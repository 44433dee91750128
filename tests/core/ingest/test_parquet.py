"""Data set versions as Parquet: equal tables, equal bytes, and back again."""

from __future__ import annotations

from datetime import UTC

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.ingest import DTYPES, read_parquet, to_parquet_bytes, write_parquet
from mcp_server.errors import CorruptArtefact

VALUES = {
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "text": st.text(st.characters(exclude_categories=["Cs"])),
    "date": st.dates(),
    "datetime": st.datetimes(timezones=st.just(UTC)),
}


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 8))
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
    return pl.DataFrame(
        [
            pl.Series(
                f"{kind} {at}", draw(st.lists(st.none() | VALUES[kind], min_size=rows, max_size=rows)), DTYPES[kind]
            )
            for at, kind in enumerate(kinds)
        ]
    )


@settings(deadline=None)
@given(tables())
def test_a_table_comes_back(frame):
    assert read_parquet(to_parquet_bytes(frame)).equals(frame)


@settings(deadline=None)
@given(tables(), st.integers(0, 8))
def test_equal_tables_give_equal_bytes(frame, cut):
    pieces = pl.concat([frame[:cut], frame[cut:]], rechunk=False)
    assert to_parquet_bytes(pieces) == to_parquet_bytes(frame)


def test_a_table_of_several_row_groups_gives_equal_bytes():
    frame = pl.DataFrame({"n": range(300_000), "t": ["a", "b", "c"] * 100_000})
    assert to_parquet_bytes(pl.concat([frame[:70_001], frame[70_001:]])) == to_parquet_bytes(frame)


def test_a_file_has_the_same_bytes(tmp_path):
    frame = pl.DataFrame({"n": [1, 2]})
    with open(tmp_path / "table", "wb") as target:
        write_parquet(frame, target)
    assert (tmp_path / "table").read_bytes() == to_parquet_bytes(frame)
    with open(tmp_path / "table", "rb") as source:
        assert read_parquet(source).equals(frame)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 50 + b"PAR1", b"a,b\n1,2\n"])
def test_what_is_not_parquet_is_refused(content):
    with pytest.raises(CorruptArtefact):
        read_parquet(content)


def test_a_table_with_types_that_ours_lack_is_refused():
    with pytest.raises(CorruptArtefact):
        read_parquet(to_parquet_bytes(pl.DataFrame({"n": [[1], [2]]})))
