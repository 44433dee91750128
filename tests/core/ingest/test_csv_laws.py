"""Laws of reading: what was written is read, however the file is cut into blocks, ended, encoded or quoted."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.ingest import CsvOptions, Limits, read_csv
from mcp_server.core.ingest.options import MISSING_WORDS
from mcp_server.errors import CODES, CourtsideError, DataRejected

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
WORDS = st.text(LETTERS, min_size=1, max_size=12).filter(lambda text: text[0].isalpha() and text not in MISSING_WORDS)
TEXTS = WORDS.filter(lambda text: text.strip().lower() not in {"true", "false", "inf", "infinity", "nan"})
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def written(names, rows, delimiter=",", end="\n", quoting=csv.QUOTE_MINIMAL):
    if any(mark in str(cell) for row in rows for cell in row for mark in "\r\n"):
        quoting = csv.QUOTE_ALL  # The writer leaves some line ends inside cells bare.
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(names)
    writer.writerows(rows)
    return buffer.getvalue()


def column_of(values):
    return st.lists(st.none() | values, min_size=1, max_size=12).filter(
        lambda column: any(v is not None for v in column)
    )


def read(content, **options):
    limits = Limits(block=options.pop("block", 1024))
    return read_csv(
        content if isinstance(content, bytes) else content.encode(), limits=limits, options=CsvOptions(**options)
    )


def refusal(content, **options):
    """The refusal of a content, or None where it's read."""
    try:
        read(content, **options)
    except DataRejected as refused:
        return refused
    return None


@settings(deadline=None)
@given(values=column_of(INTEGERS), block=st.sampled_from([8, 64, 4096]))
def test_whole_numbers_come_back(values, block):
    frame = read(written(["n", "pad"], [[value, "x"] for value in values]), block=block).frame
    assert frame.schema["n"] == pl.Int64
    assert frame["n"].to_list() == values


@settings(deadline=None)
@given(values=column_of(FLOATS), block=st.sampled_from([8, 64, 4096]))
def test_decimals_come_back_to_the_last_bit(values, block):
    frame = read(written(["n", "pad"], [[value, "x"] for value in values]), block=block).frame
    assert frame.schema["n"] == pl.Float64
    assert frame["n"].to_list() == values


@settings(deadline=None)
@given(values=column_of(TEXTS), block=st.sampled_from([8, 64, 4096]), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_text_comes_back_as_it_was(values, block, end):
    frame = read(written(["t", "pad"], [[value, "x"] for value in values], end=end), block=block).frame
    assert frame["t"].to_list() == values


@settings(deadline=None)
@given(values=column_of(TEXTS), block=st.sampled_from([8, 64, 4096]))
def test_a_single_column_comes_back(values, block):
    assert (
        read(written(["t"], [[value] for value in values]), block=block, delimiter=",").frame["t"].to_list() == values
    )


@settings(deadline=None)
@given(values=column_of(st.dates()))
def test_days_come_back(values):
    frame = read(written(["d", "pad"], [[value, 1] for value in values])).frame
    assert frame["d"].dtype == pl.Date
    assert frame["d"].to_list() == values


@settings(deadline=None)
@given(values=column_of(st.datetimes(timezones=st.just(UTC))))
def test_instants_come_back(values):
    frame = read(written(["m", "pad"], [[value and value.isoformat(), 1] for value in values])).frame
    assert frame["m"].dtype == pl.Datetime("us", "UTC")
    assert frame["m"].to_list() == values


@settings(deadline=None)
@given(values=column_of(st.booleans()))
def test_truth_comes_back(values):
    assert read(written(["b", "pad"], [[value, 1] for value in values])).frame["b"].to_list() == values


CELLS = st.one_of(
    st.sampled_from(
        ["", "", "NA", "null", "1", "-5", "007", "+3", "2.5", "1e5", "inf", "1e999", " 4", "true", "False"]
    ),
    st.sampled_from(["2015-01-31", "2015-02-30", "2015-01-31T10:00:00Z", "13/02/2015", "02/13/2015", "1/2/2015"]),
    st.sampled_from(["9" * 19, "9" * 400, "1,234", "0x10", "a", 'say "hi"', "two\nlines", "a,b", "é", "=1+1"]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.sampled_from([1, 7, 20, 50]))
def test_no_result_depends_on_where_blocks_end(rows, block):
    content = written(["first", "second"], rows)

    def outcome(size):
        try:
            table = read(content, block=size)
        except DataRejected as refused:
            return refused.code, refused.details.get("column")
        reasons = {note.about for note in table.notes} - {"kept_as_text", "missing_words", "padded"}
        return table.frame.schema, table.frame.rows(), reasons

    assert outcome(block) == outcome(100_000)


@settings(deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_every_cell_is_kept_or_told(rows):
    """Text columns hold every cell; other columns miss only empty cells and those that a note counts."""
    content = written(["first", "second"], rows)
    refused = refusal(content, nonfinite="missing", date_order="dmy")
    if refused is not None:
        assert refused.code in {"E_NUMBER", "E_DATE_AMBIGUOUS"}
        return
    table = read(content, nonfinite="missing", date_order="dmy")
    assert table.frame.height == len(rows)
    for position, name in enumerate(table.frame.columns):
        cells = [row[position] for row in rows]
        counted = sum(note.count or 0 for note in table.notes if note.column == name and note.about in LOSSES)
        values = table.frame[name]
        assert values.null_count() == sum(not cell for cell in cells) + counted
        if values.dtype == pl.String and not counted:
            assert values.to_list() == [cell or None for cell in cells]


LOSSES = {"missing_words", "nonfinite"}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode), st.sampled_from([16, 4096]))
def test_any_bytes_are_a_table_or_refused(content, block):
    refused = refusal(content, block=block)
    if refused is None:
        assert read(content, block=block).frame.height >= 1
    else:
        assert refused.code in CODES
        assert len(refused.message) < 300


def as_python_reads(content):
    """The rows of a file by Python's csv module alone, or the code that it must be refused with."""
    try:
        found = list(csv.reader(io.StringIO(content, newline=""), strict=True))[1:]
    except csv.Error:
        return "E_QUOTE"
    found = [row for row in found if row]
    if any(len(row) != 2 for row in found):
        return "E_RAGGED"
    return [tuple(cell or None for cell in row) for row in found] or "E_NO_ROWS"


GOOD = st.sampled_from(['"a"', '"a,b"', '""', '"x""y"', '"""x"', '"p\nq"', "a", "", "7"])
ODD = st.sampled_from(['"', '""a', 'a"b', '"a"b', "a\r", '"\r\n"', "a,b", '"\r"'])
LINES = st.tuples(GOOD | GOOD | ODD, GOOD, st.sampled_from(["\n", "\n", "\r\n", "\n\n"])).map(
    "{0[0]},{0[1]}{0[2]}".format
)


@settings(max_examples=500, deadline=None)
@given(st.lists(LINES, max_size=6).map("".join), st.sampled_from([5, 20, 4096]))
def test_quotes_are_read_as_python_reads_them(body, block):
    content = "h1,h2\n" + body
    expected = as_python_reads(content)
    refused = refusal(content, delimiter=",", text_columns=["h1", "h2"], block=block)
    if refused is None:
        assert read(content, delimiter=",", text_columns=["h1", "h2"], block=block).frame.rows() == expected
    else:
        assert (
            refused.code in {"E_QUOTE", "E_RAGGED"} if expected in {"E_QUOTE", "E_RAGGED"} else refused.code == expected
        )


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, INTEGERS), min_size=1, max_size=6), st.sampled_from(",;\t|"), st.booleans())
def test_the_delimiter_is_found(rows, delimiter, quoted):
    rows = [(text.replace(";", "").replace("|", "").replace("\t", "").replace(",", "") or "x", n) for text, n in rows]
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    table = read(written(["team", "points"], rows, delimiter=delimiter, quoting=quoting))
    assert table.delimiter == delimiter
    assert table.frame["points"].to_list() == [n for _, n in rows]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_every_encoding_gives_the_same_table(encoding):
    content = "team;größe\nMünchen;1\nKöln;2\n"
    stated = encoding if encoding in {"latin-1", "cp1252"} else None
    assert read(content.encode(encoding), encoding=stated, block=8).frame.equals(read(content).frame)


def test_a_column_that_turns_out_to_be_text_gets_its_first_rows_back():
    cells = ["007", "+1", "NA", "1.50", " 2", "true", "x"]
    content = written(["code", "pad"], [[cell, "y"] for cell in cells])
    assert read(content, block=4).frame["code"].to_list() == cells


def test_whole_numbers_beyond_64_bits_keep_every_digit():
    cells = ["1", str(2**63), str(2**64), "9" * 400]
    table = read(written(["n", "pad"], [[cell, 1] for cell in cells]), block=4)
    assert table.frame["n"].to_list() == cells
    assert any(note.about == "kept_as_text" and note.column == "n" for note in table.notes)


def test_a_refusal_is_one_of_ours():
    with pytest.raises(CourtsideError) as refused:
        read("a,b\n1\n")
    assert refused.value.hint


def test_dates_and_instants_together_are_instants():
    table = read("when,pad\n2015-01-31,1\n2015-01-31 12:00,2\n")
    assert table.frame["when"].to_list() == [datetime(2015, 1, 31, tzinfo=UTC), datetime(2015, 1, 31, 12, tzinfo=UTC)]


def test_the_order_of_day_and_month_is_taken_from_a_day_beyond_twelve():
    table = read("when,pad\n01/02/2015,1\n31/01/2015,2\n", block=4)
    assert table.frame["when"].to_list() == [date(2015, 2, 1), date(2015, 1, 31)]
    assert any(note.about == "date_order" for note in table.notes)


LONG = "9" * 25


@pytest.mark.parametrize("block", [4, 4096])
@pytest.mark.parametrize("cells", [[LONG, "1.5"], ["1.5", LONG], ["2", LONG, "NA", "1.5"]])
def test_long_whole_numbers_beside_decimals_are_floats_and_told(cells, block):
    table = read(written(["n", "pad"], [[cell, "x"] for cell in cells]), block=block)
    assert table.frame["n"].to_list() == [None if cell == "NA" else float(cell) for cell in cells]
    assert [note.count for note in table.notes if note.about == "rounded"] == [1]


@pytest.mark.parametrize("block", [4, 4096])
def test_whole_numbers_too_long_for_a_float_are_not_lost_beside_decimals(block):
    content = written(["n", "pad"], [[cell, "x"] for cell in ["9" * 400, "1.5"]])
    with pytest.raises(DataRejected) as refused:
        read(content, block=block)
    assert (refused.value.code, refused.value.details) == ("E_NONFINITE", {"row": 1, "column": 1})
    table = read(content, block=block, nonfinite="missing")
    assert table.frame["n"].to_list() == [None, 1.5]
    assert [note.count for note in table.notes if note.about == "nonfinite"] == [1]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("12345678901234567.5", True),
        ("1234567890.123456789", True),
        ("-0.123456789012345678", True),
        ("12345678901234567", False),
        ("1234567890.1234567", False),
        ("-0.12345678901234567", False),
        ("-1.2345678901234567e-300", False),
        ("0.00000000000000000001", False),
        ("100000000000000000000000.0", False),
    ],
)
def test_digits_that_a_float_cannot_keep_are_told(cell, told):
    table = read(f"n,pad\n{cell},x\n0.5,y\n")
    assert any(note.about == "rounded" for note in table.notes) is told


def test_a_file_that_two_delimiters_fit_is_refused():
    with pytest.raises(DataRejected) as refused:
        read("a,b;c\n1,2;3\n")
    assert refused.value.code == "E_DELIM"


def test_times_on_dates_in_either_order_of_blocks_are_instants():
    for rows in (["2015-01-31", "2015-01-31T12:00"], ["2015-01-31T12:00", "2015-01-31"]):
        assert read("when,pad\n" + "".join(f"{row},1\n" for row in rows), block=4).frame["when"].dtype.is_temporal()
