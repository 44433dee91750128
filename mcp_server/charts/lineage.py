"""Where something comes from and what became of it: boxes in layers, from the sources at the top downwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mcp_server.charts.lettering import fit, shorten, width, wrap
from mcp_server.charts.theme import FIGURE_SIZE, SUBTITLE_SIZE, TICK_SIZE, TITLE_SIZE, Spec, frame, token
from mcp_server.errors import InvalidInput

Kind = Literal["source", "data", "run", "model", "prediction", "more"]

MOST_NODES = 48

_BARS: dict[Kind, str] = {
    "source": "faint",
    "data": "series-1",
    "run": "axis",
    "model": "series-2",
    "prediction": "good",
    "more": "grid",
}
_WIDE, _TALL = 168, 44
_ACROSS, _DOWN = 14, 40
_LEAST = 680
_SWEEPS = 12
_PIECES = 14
"""Straight pieces of a curve."""


@dataclass(frozen=True, slots=True)
class Node:
    """One box.

    Args:
        id: what edges call it.
        name: what it is called, for a person.
        said: a few words about it; the kind is said before them, but for predictions.
        asked: whether it's what was asked about; it stands out.
        gone: whether it was deleted.
    """

    id: str
    kind: Kind
    name: str
    said: str = ""
    asked: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    x: float
    y: float


def lineage(
    nodes: Sequence[Node],
    edges: Sequence[tuple[str, str]],
    *,
    title: str,
    subtitle: str,
) -> Spec:
    """A specification of boxes and the curves between them, each below everything that it was made from.

    Args:
        nodes: 1 to 48, ids distinct.
        edges: from and to, of ids that are there; no circle.
        title: the finding, as a sentence.
        subtitle: what else there is to say; may be empty.
    Raises:
        InvalidInput: no box, too many, an edge to nowhere, or a circle.
    """
    ids = {node.id for node in nodes}
    if not 1 <= len(nodes) <= MOST_NODES or len(ids) != len(nodes):
        raise InvalidInput(f"A lineage takes 1 to {MOST_NODES} boxes.", hint="Leave out what is far away.")
    if any(end not in ids for edge in edges for end in edge):
        raise InvalidInput("An edge of a lineage leads nowhere.", hint="Give both of its boxes.")
    places, depth = _placed([node.id for node in nodes], edges)
    left = min(place.x for place in places.values()) - _WIDE / 2
    right = max(place.x for place in places.values()) + _WIDE / 2
    total = max(right - left, _LEAST)
    shift = (total - (right - left)) / 2 - left
    places = {name: _Place(place.x + shift, place.y) for name, place in places.items()}
    height = depth * (_TALL + _DOWN) - _DOWN
    x = {"type": "quantitative", "axis": None, "scale": {"domain": [0, total], "nice": False, "zero": False}}
    y = {"type": "quantitative", "axis": None, "scale": {"domain": [height, 0], "nice": False, "zero": False}}
    layers = [
        *_curves(edges, places, x, y),
        *_boxes([node for node in nodes if not node.asked], places, x, y, asked=False),
        *_boxes([node for node in nodes if node.asked], places, x, y, asked=True),
    ]
    return {
        **frame(wrap(title, total, TITLE_SIZE, 600), wrap(subtitle, total, SUBTITLE_SIZE)),
        "description": shorten(title, 200),
        "width": round(total),
        "height": height,
        "layer": layers,
    }


def layers_of(ids: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The layer of each box, from 0: below all that it was made from, and no further above what it made than it must.

    Raises:
        InvalidInput: the edges go in a circle.
    >>> layers_of(["file", "a", "b", "other"], [("file", "a"), ("a", "b"), ("other", "b")])
    {'file': 0, 'a': 1, 'b': 2, 'other': 1}
    """
    found = dict.fromkeys(ids, 0)
    for _ in ids:
        settled = True
        for start, end in edges:
            if found[end] <= found[start]:
                found[end], settled = found[start] + 1, False
        if settled:
            break
    else:
        raise InvalidInput("A lineage goes in a circle.", hint="Nothing is made from itself.")
    made = {start for start, _ in edges}
    for name in ids:
        if name in made and not any(end == name for _, end in edges):
            found[name] = min(found[end] for start, end in edges if start == name) - 1
    return found


def _placed(ids: Sequence[str], edges: Sequence[tuple[str, str]]) -> tuple[dict[str, _Place], int]:
    """The centre of each box, also of the bends of edges that pass a layer; and how many layers there are."""
    layer = layers_of(ids, edges)
    depth = max(layer.values()) + 1
    rows: list[list[str]] = [[] for _ in range(depth)]
    for name in ids:
        rows[layer[name]].append(name)
    links: dict[str, list[str]] = {name: [] for name in ids}
    for start, end in edges:
        before = start
        for between in range(layer[start] + 1, layer[end]):
            bend = bend_of(start, end, between)
            rows[between].append(bend)
            links.setdefault(bend, [])
            _link(links, before, bend)
            before = bend
        _link(links, before, end)
    known = set(ids)
    room = {name: float(_WIDE if name in known else _ACROSS) for row in rows for name in row}
    x = {name: float(at) * (_WIDE + _ACROSS) for row in rows for at, name in enumerate(row)}
    level = {name: at for at, row in enumerate(rows) for name in row}
    for sweep in range(_SWEEPS):
        order = range(depth) if sweep % 2 == 0 else range(depth - 1, -1, -1)
        for at in order:
            beside = at - 1 if sweep % 2 == 0 else at + 1
            wanted = {
                name: _mean([x[other] for other in links[name] if level[other] == beside], x[name]) for name in rows[at]
            }
            if sweep < _SWEEPS - 4:  # later the order stays, so that the places settle
                rows[at].sort(key=lambda name: (wanted[name], x[name]))
            x |= _apart(rows[at], wanted, room)
    return {name: _Place(x[name], level[name] * (_TALL + _DOWN) + _TALL / 2) for row in rows for name in row}, depth


def bend_of(start: str, end: str, layer: int) -> str:
    """What the place is called at which an edge passes a layer."""
    return f"{start}\n{end}\n{layer}"


def _link(links: dict[str, list[str]], one: str, other: str) -> None:
    links[one].append(other)
    links[other].append(one)


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _apart(row: Sequence[str], wanted: Mapping[str, float], room: Mapping[str, float]) -> dict[str, float]:
    """Places as near to the wanted ones as the boxes' widths allow, in the order given.

    Least squares with an order: neighbours that would overlap move together (pool adjacent violators).
    """
    offsets, reach = [], 0.0
    for at, name in enumerate(row):
        reach += 0.0 if at == 0 else (room[row[at - 1]] + room[name]) / 2 + _ACROSS
        offsets.append(reach)
    blocks: list[tuple[float, int]] = []
    for name, offset in zip(row, offsets, strict=True):
        blocks.append((wanted[name] - offset, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (one, count), (other, further) = blocks[-2:]
            blocks[-2:] = [((one * count + other * further) / (count + further), count + further)]
    free = [value for value, count in blocks for _ in range(count)]
    return {name: value + offset for name, value, offset in zip(row, free, offsets, strict=True)}


def _curves(edges: Sequence[tuple[str, str]], places: Mapping[str, _Place], x: Spec, y: Spec) -> list[Spec]:
    """Every edge as a smooth curve of straight pieces, and a mark where it arrives."""
    pieces, heads = [], []
    for start, end in edges:
        before = _Place(places[start].x, places[start].y + _TALL / 2)
        layer = round((before.y + _DOWN) / (_TALL + _DOWN))
        while (bend := places.get(bend_of(start, end, layer))) is not None:
            top = _Place(bend.x, bend.y - _TALL / 2)
            pieces += _curve(before, top)
            before = _Place(bend.x, bend.y + _TALL / 2)
            pieces.append({"x": top.x, "y": top.y, "x_end": before.x, "y_end": before.y})
            layer += 1
        there = _Place(places[end].x, places[end].y - _TALL / 2)
        pieces += _curve(before, _Place(there.x, there.y - 5))
        heads.append({"x": there.x, "y": there.y - 5})
    if not pieces:
        return []
    line = {"type": "rule", "color": token("faint"), "strokeWidth": 1.25, "strokeCap": "round", "opacity": 1}
    arrow = {"type": "point", "shape": "triangle-down", "filled": True, "size": 36, "opacity": 1}
    ends = {"x2": {"field": "x_end"}, "y2": {"field": "y_end"}}
    at = {"x": {"field": "x", **x}, "y": {"field": "y", **y}}
    return [
        {"data": {"values": pieces}, "mark": {**line, "aria": False}, "encoding": {**at, **ends}},
        {"data": {"values": heads}, "mark": {**arrow, "color": token("faint"), "aria": False}, "encoding": at},
    ]


def _curve(start: _Place, end: _Place) -> list[dict[str, float]]:
    """A curve that leaves and arrives upright: a cubic of Bézier with its handles halfway down."""
    middle = (start.y + end.y) / 2
    points = []
    for at in range(_PIECES + 1):
        t = at / _PIECES
        near, far = (1 - t) ** 2 * (1 + 2 * t), t**2 * (3 - 2 * t)
        down = (1 - t) ** 3 * start.y + 3 * (1 - t) * t * middle + t**3 * end.y
        points.append((round(near * start.x + far * end.x, 1), round(down, 1)))
    return [{"x": one[0], "y": one[1], "x_end": other[0], "y_end": other[1]} for one, other in pairwise(points)]


def _boxes(nodes: Sequence[Node], places: Mapping[str, _Place], x: Spec, y: Spec, *, asked: bool) -> list[Spec]:
    if not nodes:
        return []
    values: list[Spec] = []
    for node in nodes:
        place = places[node.id]
        name, said = _fitted(node.name, _WIDE - 26, 600), fit(_about(node), _WIDE - 26, TICK_SIZE)
        values.append(
            {
                "x": round(place.x - _WIDE / 2, 1),
                "x_end": round(place.x + _WIDE / 2, 1),
                "y": place.y - _TALL / 2,
                "y_end": place.y + _TALL / 2,
                "name": name,
                "text": said,
                "said": shorten(f"{node.name}, {_about(node)}", 160),
            }
        )
    corners = {
        "x": {"field": "x", **x},
        "x2": {"field": "x_end"},
        "y": {"field": "y", **y},
        "y2": {"field": "y_end"},
    }
    body = {
        "type": "rect",
        "color": token("band" if asked else "surface"),
        "stroke": token("text" if asked else "axis"),
        "strokeWidth": 1.75 if asked else 1,
        "opacity": 1,
        "cornerRadius": 6,
    }
    layers: list[Spec] = [
        {
            "data": {"values": values},
            "mark": body,
            "encoding": {**corners, "description": {"field": "said", "type": "nominal"}},
        }
    ]
    for kind, tone in _BARS.items():
        bars = [
            {
                "x": one["x"] + 7,
                "x_end": one["x"] + 10,
                "y": one["y"] + 8,
                "y_end": one["y_end"] - 8,
            }
            for one, node in zip(values, nodes, strict=True)
            if node.kind == kind
        ]
        if bars:
            mark = {"type": "rect", "color": token(tone), "opacity": 1, "cornerRadius": 1.5, "aria": False}
            layers.append({"data": {"values": bars}, "mark": mark, "encoding": corners})
    written = [(node, one | {"at": one["x"] + 17}) for node, one in zip(nodes, values, strict=True)]
    here = [one | {"row": one["y"] + 15} for node, one in written if not node.gone and node.kind != "more"]
    gone = [one | {"row": one["y"] + 15} for node, one in written if node.gone or node.kind == "more"]
    below = [one | {"row": one["y"] + 30.5} for _, one in written]
    layers += [_text(here, "name", "text", FIGURE_SIZE, 600, x, y)] if here else []
    layers += [_text(gone, "name", "muted", FIGURE_SIZE, 500, x, y)] if gone else []
    return [*layers, _text(below, "text", "muted", TICK_SIZE, 400, x, y)]


def _text(values: Sequence[Spec], field: str, tone: str, size: float, weight: int, x: Spec, y: Spec) -> Spec:
    mark = {"type": "text", "align": "left", "color": token(tone), "fontSize": size, "fontWeight": weight}
    rows = [{"at": one["at"], "row": one["row"], "label": one[field]} for one in values]
    return {
        "data": {"values": rows},
        "mark": {**mark, "aria": False},
        "encoding": {
            "x": {"field": "at", **x},
            "y": {"field": "row", **y},
            "text": {"field": "label", "type": "nominal"},
        },
    }


def _about(node: Node) -> str:
    if node.gone:
        return f"deleted {node.said}".rstrip()
    word = "" if node.kind in ("more", "prediction") else node.kind
    return ", ".join(part for part in (word, node.said) if part)


def _fitted(name: str, room: float, weight: int) -> str:
    """A name within its box, cut in the middle: versions stand at the end."""
    for limit in range(60, 7, -1):
        short = shorten(name, limit)
        if width(short, FIGURE_SIZE, weight) <= room:
            return short
    return fit(name, room, FIGURE_SIZE, weight)
