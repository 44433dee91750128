"""ONNX files: a graph of operators of the standard sets, with every tensor inside of the file."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mcp_server.core.model_files.protobuf import BYTES, VARINT, fields, varint
from mcp_server.core.model_files.report import FileReading, Unread, quoted

DEEPEST = 32
MOST_MESSAGES = 2_000_000
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})

# Message to field number to what it holds: another message, a text that must be a known domain, or "" for plain data.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {1: "", 2: "", 3: "", 4: "", 5: "", 6: "", 7: "graph", 8: "operators", 14: "entry", 25: "function"},
    "operators": {1: "domain", 2: ""},
    "entry": {1: "", 2: ""},
    "graph": {
        1: "node",
        2: "",
        5: "tensor",
        10: "",
        11: "value",
        12: "value",
        13: "value",
        14: "annotation",
        15: "sparse",
        16: "entry",
    },
    "annotation": {1: "", 2: "entry"},
    "node": {1: "", 2: "", 3: "", 4: "operator", 5: "attribute", 6: "", 7: "domain", 8: "", 9: "entry"},
    "attribute": {
        1: "",
        2: "",
        3: "",
        4: "",
        5: "tensor",
        6: "graph",
        7: "",
        8: "",
        9: "",
        10: "tensor",
        11: "graph",
        13: "",
        14: "type",
        15: "type",
        20: "",
        21: "",
        22: "sparse",
        23: "sparse",
    },
    "tensor": dict.fromkeys((1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12), "") | {13: "outside", 14: "location", 16: "entry"},
    "sparse": {1: "tensor", 2: "tensor", 3: ""},
    "value": {1: "", 2: "type", 3: "", 4: "entry"},
    "type": dict.fromkeys((1, 4, 5, 6, 8, 9), ""),
    "function": {
        1: "",
        4: "",
        5: "",
        6: "",
        7: "node",
        8: "",
        9: "operators",
        10: "domain",
        11: "attribute",
        12: "value",
        13: "",
        14: "entry",
    },
}
_SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2}
_SIZES |= {17: 1, 18: 1, 19: 1, 20: 1}


@dataclass(slots=True)
class _Found:
    """What of one message decides about it."""

    data_type: int = 0
    raw: int | None = None
    dimensions: tuple[int, ...] = ()


def looks_like_onnx(view: memoryview) -> bool:
    """Whether content starts as an ONNX model does: its version, then another field of a model."""
    if len(view) < 8 or view[0] != 0x08 or not 1 <= view[1] <= 20:
        return False
    return view[2] >> 3 in _MESSAGES["model"] and view[2] & 7 in (VARINT, BYTES)


def read_onnx(view: memoryview, reading: FileReading) -> None:
    """Look through all messages.

    Raises:
        Unread: it's damaged, too deep, or has a field that isn't known.
    """
    waiting: list[tuple[str, memoryview, int, int]] = [("model", view, 0, 0)]
    messages = graphs = 0
    while waiting:
        kind, message, base, depth = waiting.pop()
        messages += 1
        if depth > DEEPEST or messages > MOST_MESSAGES:
            raise Unread("too_large", "Its messages are nested too deeply, or too many.", base)
        graphs += kind == "graph"
        found = _Found()
        for number, wire, value, at in fields(message, base):
            inside = _MESSAGES[kind].get(number)
            if inside is None:
                raise Unread("unknown_part", f"A {kind} has the unknown field {number}.", at)
            if inside in _MESSAGES:
                if wire != BYTES or isinstance(value, int):
                    raise Unread("damaged", f"A field of a {kind} isn't a message.", at)
                waiting.append((inside, value, at, depth + 1))
            elif inside:
                _judge(inside, value, reading, at)
            elif kind == "tensor":
                _note(found, number, value, at)
        if kind == "tensor":
            _fits(found, base)
            reading.counts["tensors"] += 1
        elif kind == "node":
            reading.counts["operators"] += 1
    if not graphs:
        raise Unread("damaged", "It has no graph.", 0)


def _judge(inside: str, value: int | memoryview, reading: FileReading, at: int) -> None:
    if inside == "outside" or (inside == "location" and value):
        reading.add("foreign_reference", "A tensor's bytes are in another file.", at)
    elif inside in ("domain", "operator"):
        text = "" if isinstance(value, int) else bytes(value[:200]).decode("utf-8", "replace")
        if inside == "domain" and text not in DOMAINS:
            reading.add("foreign_operator", f"It uses operators of {quoted(text)}.", at)


def _note(found: _Found, number: int, value: int | memoryview, at: int) -> None:
    if number == 1:
        if isinstance(value, int):
            found.dimensions += (value,)
        else:
            place = 0
            while place < len(value):
                size, place = varint(value, place, at)
                found.dimensions += (size,)
        if len(found.dimensions) > 64:
            raise Unread("damaged", "A tensor has too many dimensions.", at)
    elif number == 2 and isinstance(value, int):
        found.data_type = value
    elif number == 9 and not isinstance(value, int):
        found.raw = len(value)


def _fits(found: _Found, at: int) -> None:
    if found.raw is None:
        return
    if found.data_type not in _SIZES:
        raise Unread("unknown_part", "A tensor is of an unknown type.", at)
    if found.raw != math.prod(found.dimensions) * _SIZES[found.data_type]:
        raise Unread("damaged", "A tensor has another size than its dimensions.", at)
