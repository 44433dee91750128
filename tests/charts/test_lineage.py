"""A lineage draws each thing below what it was made from, boxes apart, names as text and nothing else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charts.drawings import spoken, texts
from charts.samples import HOSTILE, a_lineage
from mcp_server.charts.lineage import MOST_NODES, Node, layers_of, lineage
from mcp_server.charts.render import check, render_svg
from mcp_server.errors import InvalidInput

BOX = 168


def test_each_box_has_its_name_and_what_is_said_of_it() -> None:
    drawn = render_svg(a_lineage())
    assert {"games@3", "data, 900 rows", "winner@1", "model, boosting", "312 predictions", "stored"} <= set(
        texts(drawn)
    )
    assert "old@1, deleted 2026-01-02" in spoken(drawn)


def test_a_long_name_keeps_its_version() -> None:
    spec = lineage([Node("a", "data", "a_very_long_name_of_a_table_of_games@12")], [], title="t", subtitle="")
    (name,) = [one for one in texts(render_svg(spec)) if one.endswith("@12")]
    assert "…" in name


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_is_drawn_as_text(text: str) -> None:
    spec = lineage([Node("a", "source", text, text, asked=True)], [], title=text, subtitle=text)
    check(spec)
    render_svg(spec)


def test_a_circle_an_edge_to_nowhere_and_too_many_boxes_are_refused() -> None:
    two = [Node("a", "data", "a@1"), Node("b", "data", "b@1")]
    for nodes, edges in (
        (two, [("a", "b"), ("b", "a")]),
        (two, [("a", "c")]),
        ([], []),
        ([two[0], two[0]], []),
        ([Node(str(i), "data", "a@1") for i in range(MOST_NODES + 1)], []),
    ):
        with pytest.raises(InvalidInput):
            lineage(nodes, edges, title="t", subtitle="")


graphs = st.integers(1, 14).flatmap(
    lambda n: st.tuples(
        st.just([f"n{i}" for i in range(n)]),
        st.lists(
            st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] < pair[1]),
            max_size=24,
            unique=True,
        )
        if n > 1
        else st.just([]),
    )
)


@given(graphs)
def test_boxes_stand_below_what_they_were_made_from_and_never_on_each_other(graph) -> None:
    ids, pairs = graph
    edges = [(ids[start], ids[end]) for start, end in pairs]
    layers = layers_of(ids, edges)
    assert all(layers[start] < layers[end] for start, end in edges)
    assert min(layers.values()) == 0
    spec = lineage([Node(name, "data", name) for name in ids], edges, title="t", subtitle="")
    check(spec)
    (boxes,) = [
        layer["data"]["values"]
        for layer in spec["layer"]
        if layer["mark"]["type"] == "rect" and layer["mark"].get("cornerRadius") == 6
    ]
    assert len(boxes) == len(ids)
    for one, other in itertools.combinations(boxes, 2):
        apart = abs(one["x"] - other["x"]) >= BOX or one["y"] != other["y"]
        assert apart, (one, other)
    assert all(box["x"] >= 0 and box["x_end"] <= spec["width"] + 1 for box in boxes)
