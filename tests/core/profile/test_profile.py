"""A profile says what a table is like, and stays small whatever the table is."""

from __future__ import annotations

import json
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server.core.contract import Overrides, apply_overrides
from mcp_server.core.ingest import shape_table
from mcp_server.core.profile import MAX_BYTES, profile


def described(data, **arguments):
    frame, contract = shape_table(pl.DataFrame(data))
    return profile(frame, contract, **arguments)


def listed(found):
    return {column["name"]: column for column in found["listed"]}


def test_numbers_have_a_distribution():
    found = listed(described({"n": [*range(1, 101), None]}))["n"]
    assert found == {
        "position": 1,
        "name": "n",
        "kind": "integer",
        "role": "feature",
        "missing": 1,
        "distinct": 100,
        "min": 1,
        "max": 100,
        "mean": 50.5,
        "quantiles": {"p05": 5.0, "p25": 25.0, "p50": 50.0, "p75": 75.0, "p95": 95.0},
    }


def test_categories_have_their_most_frequent_values():
    found = listed(described({"team": ["NYK"] * 3 + ["BOS"] * 3 + ["LAL"] * 4}))["team"]
    assert found["top"] == [["LAL", 4], ["BOS", 3], ["NYK", 3]]


def test_dates_have_a_range():
    found = listed(described({"day": [date(2015, 1, 1), date(2015, 12, 31)]}))["day"]
    assert (found["min"], found["max"]) == ("2015-01-01", "2015-12-31")


def test_duplicate_rows_are_counted():
    assert described({"a": [1, 1, 1, 2], "b": ["x", "x", "x", "x"]})["duplicate_rows"] == 2


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ([7] * 10, "constant"),
        (pl.Series([None] * 10, dtype=pl.String), "all_missing"),
        (range(10), "all_unique"),
        ([1, 2, 1, None, None, None, None, None, None, None], "high_missing"),
        ([f"t{n % 300}" for n in range(1000)], "many_categories"),
    ],
)
def test_what_is_remarkable_is_flagged(values, flag):
    found = described({"x": values})
    assert found["listed"][0]["flags"] == [flag]
    assert found["flags"] == {flag: 1}


def test_an_ordinary_column_has_no_flag():
    assert "flags" not in described({"x": [1, 2, 2, 3]})["listed"][0]


def test_values_of_personal_columns_are_not_shown():
    found = described({"email": ["anna@example.org"] * 5, "birth_year_of": [1990] * 5, "phone": [123] * 5})
    assert "example.org" not in json.dumps(found)
    assert "123" not in json.dumps(found)
    assert listed(found)["email"]["personal"]


def test_a_column_marked_personal_is_not_shown():
    frame, contract = shape_table(pl.DataFrame({"nick": ["Zed"] * 5}))
    contract = apply_overrides(contract, Overrides(personal={"nick": True}))
    assert "Zed" not in json.dumps(profile(frame, contract))


def test_the_target_is_listed_however_many_columns_there_are():
    frame, contract = shape_table(pl.DataFrame({f"c{n}": [0, 1, 1] for n in range(200)}), target="c199")
    found = profile(frame, contract, max_columns=3)
    assert [column["name"] for column in found["listed"]] == ["c0", "c1", "c199"]
    assert found["unlisted"] == {"count": 197, "kinds": {"integer": 197}}
    assert found["truncated"]


def test_text_from_cells_is_cut_and_cleaned():
    found = described({"t": ["\x1b[31m\u202e" + "x" * 500, "b", "b"] * 4})
    shown = json.dumps(found, ensure_ascii=False)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert max(len(value) for value, _ in found["listed"][0]["top"]) <= 64


def test_ten_thousand_columns_stay_small():
    frame = pl.DataFrame({f"a column with quite a long name, number {n}": [0.123456789, 1 / 3] for n in range(10_000)})
    frame, contract = shape_table(frame)
    found = profile(frame, contract)
    assert len(json.dumps(found)) <= MAX_BYTES
    assert len(found["listed"]) + found["unlisted"]["count"] == 10_000


def test_cells_of_one_mebibyte_stay_small():
    found = described({f"t{n}": ["x" * 2**20, "y" * 2**20, "x" * 2**20] for n in range(5)})
    assert len(json.dumps(found)) <= MAX_BYTES
    assert len(found["listed"]) == 5


@pytest.mark.parametrize("letter", ["é", "😀", "\x00", '"', "\\"])
def test_letters_that_grow_in_json_stay_small(letter):
    data = {f"{n}{letter * 200}": [f"{v}{letter * 99}" for v in range(6)] * 5 for n in range(60)}
    assert len(json.dumps(described(data))) <= MAX_BYTES


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=80),
        st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_a_profile_is_always_json(data):
    frame = pl.DataFrame([pl.Series(name, values, dtype=pl.Float64) for name, values in data.items()])
    text = json.dumps(profile(*shape_table(frame)), allow_nan=False)
    assert len(text) <= MAX_BYTES


def test_the_same_table_has_the_same_profile():
    data = {"t": [f"t{n % 40}" for n in range(400)], "n": [n % 13 for n in range(400)]}
    assert described(data) == described(data)


def test_counts_of_large_tables_are_near():
    found = listed(described({"n": range(200_000), "m": [n % 700 for n in range(200_000)]}))
    assert abs(found["n"]["distinct"] - 200_000) < 10_000
    assert found["m"]["distinct"] == 700
