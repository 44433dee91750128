"""Compressed files, Parquet and JSON, each with the value or the refusal that it must have."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import sys
import tracemalloc
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ingest.bad_files import CSV, JSON, PACKED, PARQUET, UNPACKED, gzip_bomb, parquet, zipped, zstd
from mcp_server.core.ingest import CsvOptions, File, Limits, packing_of, read_csv, read_table, unpack
from mcp_server.core.ingest.options import MIB
from mcp_server.errors import DataRejected
from mcp_server.workflows.operations.tables import plain_files


def read(name, content, limits=None, **options):
    file = File(lambda: io.BytesIO(content), name)
    return read_table([file], limits=limits, options=CsvOptions(**options))


def values(name, content, limits=None, **options):
    return read(name, content, limits, **options).frame.to_dict(as_series=False)


def notes(name, content, **options):
    return [(note.about, note.column, note.row, note.count) for note in read(name, content, **options).notes]


def read_packed(tmp_path, name, content, limits=None):
    path = tmp_path / "given"
    path.write_bytes(content)
    limits = limits or Limits()
    return read_table(plain_files([{"path": str(path), "name": name}], tmp_path, limits), limits=limits)


@pytest.mark.parametrize(("name", "build", "code"), PACKED.values(), ids=PACKED.keys())
def test_a_bad_compressed_file_is_refused(tmp_path, name, build, code):
    with pytest.raises(DataRejected) as refused:
        read_packed(tmp_path, name, build())
    assert refused.value.code == code
    assert refused.value.hint
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(("name", "build"), UNPACKED.values(), ids=UNPACKED.keys())
def test_a_file_is_read_whatever_holds_it(tmp_path, name, build):
    assert read_packed(tmp_path, name, build()).frame.to_dict(as_series=False) == {"a": [1, 3], "b": [2, 4]}


class Counted(io.RawIOBase):
    """A target that keeps nothing but the count."""

    size = 0

    def write(self, piece):
        self.size += len(piece)
        return len(piece)


@pytest.mark.parametrize("packing", ["gzip", "zstd", "zip"])
def test_a_bomb_ends_early_and_takes_little_memory(packing):
    """70. Had it been unpacked, it would have filled a hundred times as much."""
    content = {
        "gzip": gzip_bomb,
        "zstd": lambda: zstd(bytes(1 << 20)) * 1_000,
        "zip": lambda: zipped(("a.csv", bytes(60_000_000))),
    }[packing]()
    target = Counted()
    tracemalloc.start()
    try:
        with pytest.raises(DataRejected) as refused:
            unpack(io.BytesIO(content), target, packing, Limits())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.code == "E_BOMB"
    assert target.size < 64 * MIB
    assert peak < 16 * MIB


def test_the_same_bomb_is_unpacked_where_nothing_looks_at_its_proportion():
    """The control: it's well formed, and only its proportion speaks against it."""
    assert len(gzip.decompress(gzip_bomb(21_000_000))) == 21_000_000


@pytest.mark.parametrize(("more", "code"), [(0, None), (1, "E_SIZE")])
@pytest.mark.parametrize("packing", ["gzip", "zstd", "zip"])
def test_the_content_counts_against_the_limit_on_bytes(packing, more, code):
    content = random.Random(1).randbytes(50_000 + more)
    packed = {"gzip": gzip.compress, "zstd": zstd, "zip": lambda data: zipped(("a.csv", data))}[packing](content)
    target = io.BytesIO()
    if code is None:
        unpack(io.BytesIO(packed), target, packing, Limits(size=50_000))
        assert target.getvalue() == content
        return
    with pytest.raises(DataRejected) as refused:
        unpack(io.BytesIO(packed), target, packing, Limits(size=50_000))
    assert refused.value.code == code


@given(st.lists(st.binary(max_size=3_000), min_size=1, max_size=4))
def test_what_was_packed_comes_back_as_it_was(pieces):
    whole = b"".join(pieces)
    for packed, packing in (
        (b"".join(map(gzip.compress, pieces)), "gzip"),
        (b"".join(map(zstd, pieces)), "zstd"),
        (zipped(("a", whole)), "zip"),
    ):
        assert packing_of(packed, None) == packing
        target = io.BytesIO()
        unpack(io.BytesIO(packed), target, packing, Limits())
        assert target.getvalue() == whole


@given(st.sampled_from(["gzip", "zstd", "zip"]), st.integers(0, 10_000), st.binary(min_size=1, max_size=3))
def test_no_damage_gets_past_as_another_error(packing, at, by):
    packed = {"gzip": gzip.compress, "zstd": zstd, "zip": lambda data: zipped(("a", data))}[packing](CSV * 20)
    at %= len(packed)
    content = packed[:at] + by + packed[at + len(by) :]
    code = None
    try:
        unpack(io.BytesIO(content), io.BytesIO(), packing, Limits())
    except DataRejected as refused:
        code = refused.code
    assert code in {None, "E_DAMAGED", "E_ARCHIVE", "E_BOMB", "E_SIZE"}


@pytest.mark.parametrize(("name", "build", "code"), PARQUET.values(), ids=PARQUET.keys())
def test_a_bad_parquet_file_is_refused(name, build, code):
    with pytest.raises(DataRejected) as refused:
        read(name, build())
    assert refused.value.code == code
    assert refused.value.hint


ONE = datetime(2024, 1, 2, 3, 4, 5, 6_000, UTC)
HELD = {
    "whole numbers": (pl.Series("a", [1, None, -3], pl.Int8), [1, None, -3], pl.Int64, []),
    "87 uint64 that fits": (pl.Series("a", [2**63 - 1], pl.UInt64), [2**63 - 1], pl.Int64, []),
    "87 uint64": (pl.Series("a", [1, 2**64 - 1], pl.UInt64), ["1", str(2**64 - 1)], pl.String, ["kept_as_text"]),
    "short floats": (pl.Series("a", [0.5, 0.1], pl.Float32), [0.5, 0.10000000149011612], pl.Float64, []),
    "not a number": (pl.Series("a", [0.5, float("nan")]), [0.5, None], pl.Float64, ["missing_words"]),
    "87 decimals": (pl.Series("a", [Decimal("1.25")], pl.Decimal(10, 2)), [1.25], pl.Float64, []),
    "87 whole decimals": (pl.Series("a", [Decimal(7)], pl.Decimal(10, 0)), [7], pl.Int64, []),
    "87 decimals with too many digits": (
        pl.Series("a", [Decimal("12345678901234567.89")], pl.Decimal(38, 2)),
        [12345678901234567.89],
        pl.Float64,
        ["rounded"],
    ),
    "87 nanoseconds": (
        pl.Series("a", [1_500, 2_000]).cast(pl.Datetime("ns")),
        [datetime(1970, 1, 1, 0, 0, 0, 1, UTC), datetime(1970, 1, 1, 0, 0, 0, 2, UTC)],
        pl.Datetime("us", "UTC"),
        ["cut_fractions", "zoneless"],
    ),
    "87 nanoseconds before 1970": (
        pl.Series("a", [-1_500]).cast(pl.Datetime("ns", "UTC")),
        [datetime(1969, 12, 31, 23, 59, 59, 999_998, UTC)],
        pl.Datetime("us", "UTC"),
        ["cut_fractions"],
    ),
    "milliseconds elsewhere": (
        pl.Series("a", [ONE], pl.Datetime("ms", "UTC")).dt.convert_time_zone("America/New_York"),
        [ONE],
        pl.Datetime("us", "UTC"),
        ["zoned"],
    ),
    "days": (pl.Series("a", [date(1, 1, 1), date(9999, 12, 31)]), [date(1, 1, 1), date(9999, 12, 31)], pl.Date, []),
    "true and false": (pl.Series("a", [True, None]), [True, None], pl.Boolean, []),
    "text, the empty one too": (pl.Series("a", ["00123", "", None]), ["00123", "", None], pl.String, []),
    "categories": (pl.Series("a", ["x", "y"], pl.Categorical), ["x", "y"], pl.String, []),
    "nothing": (pl.Series("a", [None, None], pl.Null), [None, None], pl.String, ["all_missing"]),
}


@pytest.mark.parametrize(("column", "expected", "dtype", "about"), HELD.values(), ids=HELD.keys())
def test_parquet_keeps_its_values_or_says_by_what_rule_not(column, expected, dtype, about):
    table = read("a.parquet", parquet(column.to_frame()))
    assert table.frame["a"].to_list() == expected
    assert table.frame["a"].dtype == dtype
    assert [note.about for note in table.notes] == about


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        ),
        min_size=1,
    )
)
def test_a_parquet_file_of_our_types_is_read_as_it_is(rows):
    frame = pl.DataFrame(rows, schema={"n": pl.Int64, "x": pl.Float64, "t": pl.String}, orient="row")
    read_back = read("a.parquet", parquet(frame)).frame
    assert all(read_back[name].equals(frame[name]) for name in frame.columns if frame[name].null_count() < frame.height)


def test_flipped_bits_are_refused_or_read_and_never_anything_else():
    """84. A file that's written without checksums can't show that a value was changed; the reader must survive it."""
    script = """
import io, random, sys
import polars as pl
from mcp_server.core.ingest import File, read_table
from mcp_server.errors import DataRejected
frame = pl.DataFrame({"n": range(300), "t": ["a", "b", "c"] * 100})
target = io.BytesIO()
frame.write_parquet(target)
whole, rng = target.getvalue(), random.Random(84)
for number in range(500):
    content = bytearray(whole)
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    try:
        read = read_table([File(lambda: io.BytesIO(bytes(content)), "a.parquet")])
        print("same" if read.frame.equals(frame) else "other")
    except DataRejected as refused:
        print(refused.code)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    outcomes = done.stdout.split()
    assert len(outcomes) == 500
    assert {"same", "E_DAMAGED"} <= set(outcomes)


@pytest.mark.parametrize(("name", "build", "code"), JSON.values(), ids=JSON.keys())
def test_bad_json_is_refused(name, build, code):
    with pytest.raises(DataRejected) as refused:
        read(name, build())
    assert refused.value.code == code
    assert refused.value.hint
    assert len(refused.value.message) < 200


def test_a_refused_line_is_named():
    """107."""
    with pytest.raises(DataRejected) as refused:
        read("a.ndjson", b'{"a":1}\n\n{"a":1}\n{"a":1}\n{"a":\n')
    assert refused.value.details == {"row": 4, "line": 5}


ROWS = (
    b'[{"a": 1, "b": "x", "c": true, "d": "2024-01-02", "e": 0.5}, {"e": 2, "d": null, "c": null, "b": "", "a": null}]'
)
JSON_READ = {
    "an array": (
        "a.json",
        ROWS,
        {"a": [1, None], "b": ["x", None], "c": [True, None], "d": [date(2024, 1, 2), None], "e": [0.5, 2.0]},
    ),
    "lines": ("a.ndjson", b'{"a": 1}\r\n\n{"a": 2}', {"a": [1, 2]}),
    "lines named JSON": ("a.json", b'{"a": 1}\n{"a": 2}\n', {"a": [1, 2]}),
    "a byte order mark": ("a.json", b'\xef\xbb\xbf[{"a": 1}]', {"a": [1]}),
    "text that looks like numbers": ("a.json", b'[{"a": "00123"}, {"a": "1"}]', {"a": ["00123", "1"]}),
    "NA is text": ("a.json", b'[{"a": "NA"}, {"a": "DE"}]', {"a": ["NA", "DE"]}),
    "NA among dates": ("a.json", b'[{"a": "NA"}, {"a": "2024-01-02"}]', {"a": [None, date(2024, 1, 2)]}),
    "instants": ("a.json", b'[{"a": "2024-01-02T03:04:05+01:00"}]', {"a": [datetime(2024, 1, 2, 2, 4, 5, 0, UTC)]}),
    "104 5,000 digits": ("a.json", b'[{"a":' + b"9" * 5_000 + b"}]", {"a": ["9" * 5_000]}),
    "beyond 64 bits": ("a.json", b'[{"a":9223372036854775808},{"a":1}]', {"a": ["9223372036854775808", "1"]}),
    "the last 64-bit number": ("a.json", b'[{"a":9223372036854775807}]', {"a": [2**63 - 1]}),
    "109 a whole surrogate pair": ("a.json", rb'[{"a":"\ud83c\udfc0"}]', {"a": ["\U0001f3c0"]}),
    "escapes": ("a.json", rb'[{"a\u0062":"\"\\\/\n\t"}]', {"ab": ['"\\/\n\t']}),
    "names": ("a.json", b'[{"__proto__":1,"^a":2}]', {"__proto__": [1], "^a": [2]}),
    "nothing but null": ("a.json", b'[{"a":null,"b":1}]', {"a": [None], "b": [1]}),
}


@pytest.mark.parametrize(("name", "content", "expected"), JSON_READ.values(), ids=JSON_READ.keys())
@pytest.mark.parametrize("block", [5, 16 * MIB])
def test_json_is_read(name, content, expected, block):
    assert values(name, content, limits=Limits(block=block)) == expected


VALID = [
    *(
        "0",
        "-0",
        "1",
        "-1",
        "123",
        "0.5",
        "-0.5",
        "1.25e3",
        "1E5",
        "1e+5",
        "1e-5",
        "0e1",
        "20e1",
        "true",
        "false",
        "null",
    ),
    *('""', '"x"', '" "', r'"\u0061"', r'"\n"', r'"\uD83D\uDE39"', r'"\u00e9"', r'"\u2028"', '"a/b"', r'"\/"'),
    *('"\x7f"', '"\u2028"', '"\U0001f600"', '"[]"', '"{}"', '","', '"\ufeff"', '"1"', '"null"'),
]
INVALID = [
    *("01", "-01", "+1", ".5", "1.", "1.e3", "1e", "1e+", "-", "--", "0x10", "1_000", "1,2", "Nan", "nan", "infinity"),
    *(
        "True",
        "TRUE",
        "None",
        "nul",
        "'x'",
        '"x',
        r'"\x"',
        r'"\u12"',
        r'"\u12G4"',
        '"a\tb"',
        '"a\nb"',
        "x",
        "undefined",
    ),
    *("[1", "{}", "[]", '{"b":1}', '{"b"', "{,}", "[,]", '"a"b', "//", "/**/", "1/**/", "\x00", "\ufeff1", "1\x0c", ""),
]


@pytest.mark.parametrize("value", VALID)
def test_what_the_standard_allows_is_read(value):
    """110, the values of a flat object."""
    assert read("a.json", f'[{{"a":{value}}}]'.encode()).frame.shape == (1, 1)
    assert read("a.ndjson", f'{{"a" : {value} }}'.encode()).frame.shape == (1, 1)


@pytest.mark.parametrize("value", INVALID)
def test_what_the_standard_or_a_table_forbids_is_refused(value):
    """110."""
    for name, content in (("a.json", f'[{{"a":{value}}}]'), ("a.ndjson", f'{{"a":{value}}}')):
        with pytest.raises(DataRejected) as refused:
            read(name, content.encode())
        assert refused.value.code in {"E_JSON", "E_NESTED", "E_NONFINITE"}


@pytest.mark.parametrize(
    "around", ['{"a":1}]', '[{"a":1}', '[{"a":1}{"a":2}]', '[{"a":1}]]', '[,{"a":1}]', "[", "{", '[{"a"']
)
def test_a_document_that_is_not_whole_is_refused(around):
    """110, around the objects."""
    with pytest.raises(DataRejected) as refused:
        read("a.json", around.encode())
    assert refused.value.code == "E_JSON"


@given(
    st.lists(
        st.tuples(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False), st.booleans()),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 60),
)
def test_json_lines_of_json_and_csv_of_the_same_values_are_the_same_table(rows, block):
    limits = Limits(block=block)
    objects = [f'{{"n":{n},"x":{x!r},"t":{str(t).lower()}}}' for n, x, t in rows]
    as_csv = "n,x,t\n" + "".join(f"{n},{x!r},{t}\n" for n, x, t in rows)
    expected = read_csv(as_csv.encode()).frame
    assert read("a.json", ("[" + ",".join(objects) + "]").encode(), limits).frame.equals(expected)
    assert read("a.ndjson", "\n".join(objects).encode(), limits).frame.equals(expected)


def test_what_was_done_to_json_is_told():
    assert notes("a.json", b'[{"a":"12"},{"a":"x"}]') == [("kept_as_text", "a", 1, 2)]
    assert notes("a.json", b'[{"a":99999999999999999999}]')[0][:2] == ("kept_as_text", "a")
    assert notes("a.json", b'[{"a":1,"b":2},{"a":1}]', short_rows="pad") == [("padded_rows", None, None, 1)]
    assert notes("a.json", rb'[{"a":"x\u0000"}]', nul="strip") == [("nul_removed", None, None, 1)]


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(rows=1), "E_ROWS"),
        (Limits(cells=3), "E_SIZE"),
        (Limits(size=20), "E_SIZE"),
        (Limits(columns=1), "E_COLUMNS"),
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.ndjson", "a.parquet"])
def test_one_more_than_a_limit_is_refused_in_every_format(name, limits, code):
    content = {
        "a.json": b'[{"a":1,"b":2},{"a":3,"b":4}]',
        "a.ndjson": b'{"a":1,"b":2}\n{"a":3,"b":4}\n',
        "a.parquet": parquet({"a": [1, 3], "b": [2, 4]}),
    }[name]
    with pytest.raises(DataRejected) as refused:
        read(name, content, limits)
    assert refused.value.code == code


def test_tables_without_a_telling_name_are_told_by_their_content():
    for content in (CSV, b'[{"a":1,"b":2},{"a":3,"b":4}]', b'{"a":1,"b":2}\n{"a":3,"b":4}\n'):
        for name in (None, "table", "table.dat"):
            assert values(name, content) == {"a": [1, 3], "b": [2, 4]}
