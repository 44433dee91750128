"""A table without a person's rows: what was made up from them goes too, and what was promised stays."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.contract import Column, Contract, Synthetic, to_dict
from mcp_server.core.ingest import write_parquet
from mcp_server.workflows.operations.erasing import find_subject, without_subject
from mcp_server.workflows.operations.reading import stored_table


def without(folder: Path, frame: pl.DataFrame, contract: Contract, value: str, column: str = "who"):
    path, out = folder / "table.parquet", folder / "out.parquet"
    with path.open("wb") as file:
        write_parquet(frame, file)
    stored = {"path": str(path), "contract": to_dict(contract), "reference": "t@1"}
    found = find_subject({"column": column, "value": value, "tables": [stored], "models": []}, lambda *_: None)
    told = without_subject({**stored, "column": column, "value": value, "out": str(out)}, lambda *_: None)
    return found, told, stored_table(str(out))


MARKED = Contract(
    columns=(
        Column(name="who", kind="text", role="ignored"),
        Column(name="x", kind="integer"),
        Column(name="made_up", kind="boolean", role="ignored"),
        Column(name="made_from", kind="integer", role="ignored", nullable=True),
    ),
    synthetic=Synthetic(flag="made_up", sources=("made_from",)),
)


@given(
    people=st.lists(st.sampled_from(["ann", "bob", "cy"]), min_size=1, max_size=6).map(lambda some: [*some, "bob"]),
    picks=st.lists(st.integers(0, 100), max_size=6),
)
def test_made_up_rows_follow_the_rows_that_they_were_made_from(tmp_path_factory, people, picks):
    """Each carries its source's x, whatever its own name says."""
    real = len(people)
    sources = [pick % real for pick in picks]
    frame = pl.DataFrame(
        {
            "who": [*people, *("nobody" for _ in sources)],
            "x": [*range(real), *sources],
            "made_up": [False] * real + [True] * len(sources),
            "made_from": pl.Series([None] * real + [source + 1 for source in sources], dtype=pl.Int64),
        }
    )
    found, told, kept = without(tmp_path_factory.mktemp("marked"), frame, MARKED, "ann")
    made = kept.filter("made_up")
    assert kept["x"][(made["made_from"] - 1).to_list()].to_list() == made["x"].to_list()
    assert made["x"].to_list() == [source for source in sources if people[source] != "ann"]
    counted = sum(one["rows"] for one in found["tables"])
    assert counted == frame.height - told["rows"]


def test_what_a_person_stated_stays_but_for_the_value_itself(tmp_path):
    seen = {"minimum": 0.9, "maximum": 0.9, "allowed": 0.9}
    contract = Contract(
        columns=(
            Column(name="who", kind="category", allowed=("ann", "bob", "zoe")),
            Column(name="stated", kind="integer", minimum=0.0, maximum=100.0),
            Column(name="seen", kind="integer", minimum=1.0, maximum=9.0, inferred=seen),
            Column(name="half", kind="integer", minimum=5.0, maximum=9.0, inferred={"maximum": 0.9}),
            Column(name="team", kind="category", allowed=("a", "b"), inferred=seen),
            Column(name="other", kind="category", allowed=("ann", "c")),
        )
    )
    frame = pl.DataFrame(
        {
            "who": ["ann", "bob"],
            "stated": [1, 2],
            "seen": [9, 1],
            "half": [9, 4],
            "team": ["a", "b"],
            "other": ["c", "c"],
        }
    )
    _, told, _ = without(tmp_path, frame, contract, "ANN")
    after = {one["name"]: one for one in told["contract"]["columns"]}
    assert list(after["who"]["allowed"]) == ["bob", "zoe"]
    assert (after["stated"]["minimum"], after["stated"]["maximum"]) == (0, 100)
    assert (after["seen"]["minimum"], after["seen"]["maximum"]) == (1, 1)
    assert (after["half"]["minimum"], after["half"]["maximum"]) == (5, 5)
    assert list(after["team"]["allowed"]) == ["b"]
    assert list(after["other"]["allowed"]) == ["ann", "c"]
