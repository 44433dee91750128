"""Append and upsert: what keeps the contract goes in, and nothing of what doesn't."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.contract import Derived
from mcp_server.core.contract.edit import edit, read_change
from mcp_server.core.ingest import extend, new_classes, read_csv, shape_table, text_columns
from mcp_server.errors import DataRejected, InvalidInput


def version(text, **statements):
    return shape_table(read_csv(text.encode()).frame, **statements)


def more(text):
    return read_csv(text.encode()).frame


GAMES = "id,day,team,score,note\n1,2024-01-01,A,10,\n2,2024-01-02,B,12,late\n3,2024-01-03,A,9,\n"
PARENT, CONTRACT = version(GAMES, roles={"id": "key"})


def added(text, mode="append", since=None):
    return extend(PARENT, CONTRACT, more(text), mode=mode, since=since)


def test_rows_are_added_after_the_parents_in_any_order_of_columns():
    result = added("note,score,id,day,team\n,11,4,2024-01-04,B\n,8,5,2024-01-05,C\n")
    assert result.frame["id"].to_list() == [1, 2, 3, 4, 5]
    assert result.frame.columns == PARENT.columns
    assert result.frame[:3].equals(PARENT)
    assert (result.added, result.replaced, result.passed) == (2, 0, 0)


def test_a_row_with_a_known_key_replaces_the_old_one_in_its_place():
    result = added("id,day,team,score,note\n2,2024-01-02,B,13,\n4,2024-01-04,B,11,\n", "upsert")
    assert result.frame.select("id", "score", "note").rows() == [
        (1, 10, None),
        (2, 13, None),
        (3, 9, None),
        (4, 11, None),
    ]
    assert (result.added, result.replaced) == (1, 1)


def test_classes_of_the_target_that_the_version_lacks_are_told_with_their_rows():
    parent, contract = version("id,x,y\n1,1,yes\n2,2,no\n3,3,\n", target="y", roles={"id": "key"})
    came = extend(parent, contract, more("id,x,y\n3,3,maybe\n4,4,maybe\n5,5,no\n6,6,y\n7,7,\n"), mode="upsert")
    assert new_classes(parent, came.taken, contract) == [("maybe", 2), ("y", 1)]
    numbers, other = version("x,y\n" + "".join(f"{at},{at}.5\n" for at in range(12)), target="y")
    assert new_classes(numbers, more("x,y\n1,99.5\n"), other) == []
    nothing, unlabelled = version("id,x,y\n1,1,yes\n2,2,no\n", target="y")
    assert new_classes(nothing.with_columns(y=None), came.taken, unlabelled) == []


def test_roles_units_and_expressions_stay_and_ranges_follow_the_rows():
    parent, contract = version(
        GAMES,
        roles={"id": "key", "note": "ignored"},
        target="won",
        derived=[Derived(name="won", expression="score > 9")],
        row_filter="score > 0",
        units={"score": "points"},
    )
    result = extend(
        parent, contract, more("id,day,team,score,note\n4,2024-01-04,B,50,\n5,2024-01-05,B,0,\n"), mode="append"
    )
    assert {column.name: column.role for column in result.contract.columns} == {
        column.name: column.role for column in contract.columns
    }
    assert result.contract.column("score").unit == "points"
    assert (contract.column("score").maximum, result.contract.column("score").maximum) == (12, 50)
    assert result.frame["won"].to_list() == [True, True, False, True]
    assert (result.added, result.passed) == (1, 1)


def test_a_sensitive_column_stays_sensitive():
    stated = edit(CONTRACT, read_change({"columns": {"team": {"sensitive": True}}}))
    result = extend(PARENT, stated, more("id,day,team,score,note\n4,2024-01-04,B,11,\n"), mode="append")
    assert [column.name for column in result.contract.columns if column.sensitive] == ["team"]


@pytest.mark.parametrize("since", ["day", "id", "score"])
def test_only_rows_beyond_the_largest_value_are_taken(since):
    result = added("id,day,team,score,note\n3,2024-01-03,A,9,\n4,2024-01-04,B,13,\n", since=since)
    assert result.frame["id"].to_list() == [1, 2, 3, 4]
    assert (result.added, result.passed) == (1, 1)


def test_no_row_beyond_it_is_no_version():
    assert added(GAMES, since="day") is None


BROKEN = {
    "a column lacks": ("id,day,team,score\n4,2024-01-04,B,1\n", {"column": 5}, "isn't in the file"),
    "a column more": ("id,day,team,score,note,x\n4,2024-01-04,B,1,,1\n", {"count": 1}, "column 6 ('x')"),
    "text among numbers": (
        "id,day,team,score,note\n4,2024-01-04,B,1,\n5,2024-01-05,B,high,\n6,2024-01-06,B,low,\n",
        {"column": 4, "count": 2, "rows": [2, 3]},
        "must be a whole number",
    ),
    "fractions among whole numbers": (
        "id,day,team,score,note\n4,2024-01-04,B,1,\n5,2024-01-05,B,1.5,\n",
        {"column": 4, "count": 1, "rows": [2]},
        "must be a whole number",
    ),
    "text among dates": ("id,day,team,score,note\n4,soon,B,1,\n", {"column": 2, "count": 1, "rows": [1]}, "a date"),
    "times among dates": (
        "id,day,team,score,note\n4,2024-01-04T10:00,B,1,\n",
        {"column": 2, "count": 1, "rows": [1]},
        "a date",
    ),
    "a missing value": (
        "id,day,team,score,note\n4,2024-01-04,B,1,\n5,2024-01-05,,1,\n",
        {"column": 3, "count": 1, "rows": [2]},
        "must not be missing",
    ),
    "a key that is there already": (
        "id,day,team,score,note\n4,2024-01-04,B,1,\n2,2024-01-05,B,1,\n",
        {"column": 1, "count": 1, "rows": [2]},
        "is in the data set already",
    ),
    "a key that occurs twice": (
        "id,day,team,score,note\n4,2024-01-04,B,1,\n4,2024-01-05,B,1,\n",
        {"column": 1, "count": 2, "rows": [1, 2]},
        "occurs more than once",
    ),
}


@pytest.mark.parametrize(("text", "details", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_what_breaks_the_contract_is_named_with_column_count_and_first_rows(text, details, said):
    with pytest.raises(DataRejected) as refused:
        added(text)
    assert refused.value.code == "E_CONTRACT"
    assert refused.value.details.items() >= details.items()
    assert said in refused.value.message


def test_all_that_is_broken_is_counted():
    with pytest.raises(DataRejected) as refused:
        added("id,day,team,score,note\n4,soon,B,high,\n")
    assert "1 more" in refused.value.message
    assert [found["column"] for found in refused.value.details["violations"]] == [2, 4]


def test_rows_are_counted_as_in_the_file_also_where_some_are_left_out():
    with pytest.raises(DataRejected) as refused:
        added("id,day,team,score,note\n3,2024-01-03,A,9,\n4,2024-01-04,,1,\n", since="day")
    assert refused.value.details["rows"] == [2]


def test_whole_numbers_and_days_fit_where_numbers_and_instants_are():
    parent, contract = version("x,t\n0.5,2024-01-01T10:00\n1.5,2024-01-02T10:00\n")
    result = extend(parent, contract, more("x,t\n2,2024-01-03\n"), mode="append")
    assert result.frame["x"].to_list() == [0.5, 1.5, 2.0]
    assert result.frame["t"].dt.date().to_list()[-1] == date(2024, 1, 3)


def test_text_that_looks_like_numbers_is_read_as_the_parents_text():
    _, contract = version("zip,n\n00123,1\n00124,2\n")
    assert text_columns(contract) == {"zip"}


@pytest.mark.parametrize(
    ("text", "roles"), [("a,b\n1.5,x\n2.5,y\n", {}), ("a,b\n1,x\n1,y\n", {"a": "key"})], ids=["none", "repeated"]
)
def test_rows_cannot_be_replaced_without_a_key_that_names_each_once(text, roles):
    parent, contract = version(text, roles=roles | ({"b": "ignored"} if not roles else {}))
    with pytest.raises(InvalidInput):
        extend(parent, contract, more(text), mode="upsert")


def test_text_cannot_tell_what_is_new():
    with pytest.raises(InvalidInput):
        added(GAMES, since="team")
    with pytest.raises(InvalidInput):
        added(GAMES, since="dya")


TABLES = st.dictionaries(st.integers(0, 20), st.integers(0, 5), min_size=2, max_size=12)


def table(rows):
    return "key,value\n" + "".join(f"{key},{value}\n" for key, value in rows.items())


@given(TABLES, TABLES)
def test_an_upsert_is_an_update_of_a_dictionary_and_twice_is_once(old, new):
    parent, contract = version(table(old), roles={"key": "key"})
    once = extend(parent, contract, more(table(new)), mode="upsert")
    assert dict(once.frame.rows()) == old | new
    assert once.frame["key"].to_list() == list(old | new)
    assert (once.added, once.replaced) == (len(new.keys() - old.keys()), len(new.keys() & old.keys()))
    twice = extend(once.frame, once.contract, more(table(new)), mode="upsert")
    assert twice.frame.equals(once.frame)
    assert twice.contract == once.contract


@given(TABLES, TABLES)
def test_appended_parts_are_the_table_imported_whole(old, new):
    new = {key + 21: value for key, value in new.items()}
    parent, contract = version(table(old), roles={"key": "key"})
    result = extend(parent, contract, more(table(new)), mode="append")
    whole, whole_contract = version(table(old | new), roles={"key": "key"})
    assert result.frame.equals(whole)
    assert result.contract == whole_contract


def test_personal_values_that_come_later_make_a_column_personal():
    parent, contract = version("id,contact\n1,none\n2,n/a\n", roles={"id": "key"})
    assert not contract.column("contact").personal
    mails = "".join(f"{at},user{at}@example.org\n" for at in range(3, 60))
    found = extend(parent, contract, more(f"id,contact\n{mails}"), mode="append").contract.column("contact")
    assert found.personal
    assert found.allowed is None


@pytest.mark.parametrize(
    ("old", "new", "rows"),
    [("2024-01-01\n2024-01-02", "soon\n2024-01-03\n2024-01-04", [1]), ("1\n2", "5\n007\n6", [2])],
)
def test_only_the_wrong_rows_are_named(old, new, rows):
    parent, contract = version(f"a\n{old}\n")
    with pytest.raises(DataRejected) as refused:
        extend(parent, contract, more(f"a\n{new}\n"), mode="append")
    assert refused.value.details["violations"][0]["rows"] == rows
