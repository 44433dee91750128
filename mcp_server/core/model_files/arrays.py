"""numpy's types and arrays by their description: sizes that fit, and nothing in them that is an object's address."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from mcp_server.core.model_files.report import FileReading, Unread

MOST_ITEM = 1 << 20
MOST_ITEMS = 1 << 40
MOST_DIMENSIONS = 32
LONGEST_HEADER = 65_536

_CODE = re.compile(r"([biufcSUVOMm])([0-9]{1,7})\Z")
_PLAIN_SIZES = {
    "b": (1,),
    "i": (1, 2, 4, 8),
    "u": (1, 2, 4, 8),
    "f": (2, 4, 8, 16),
    "c": (8, 16, 32),
    "M": (8,),
    "m": (8,),
}
_DESCR = re.compile(r"([<>=|]?)([biufcSUVMm?])([0-9]{0,7})(?:\[[0-9]{0,4}[A-Za-z]{1,3}\])?\Z")
_HEADER_CHARACTERS = re.compile(r"[\w\s'\"{}()\[\],:<>=|.?-]*\Z")


@dataclass(slots=True, eq=False)
class ItemType:
    """A type of array items.

    Args:
        kind: numpy's letter; `O` for objects.
        size: bytes of one item.
        order: `<`, `>` or `|`.
        fields: name to (type, offset), for a structured one.
        settled: whether its state was read; before, it's no use.
    """

    kind: str
    size: int
    order: str = "|"
    fields: dict[str, tuple[ItemType, int]] | None = None
    settled: bool = False


def item_type(code: str) -> ItemType | None:
    """The type for a code such as `f8` or `U5`; None where it isn't one that models have."""
    parts = _CODE.match(code)
    if parts is None:
        return None
    kind, number = parts[1], int(parts[2])
    if kind == "O":
        return ItemType("O", 8) if number == 8 else None
    if kind in _PLAIN_SIZES:
        return ItemType(kind, number) if number in _PLAIN_SIZES[kind] else None
    size = number * 4 if kind == "U" else number
    return ItemType(kind, size) if 0 < size <= MOST_ITEM else None


def item_count(shape: Any) -> int | None:
    """How many items an array of this shape has; None where it isn't a shape."""
    if not isinstance(shape, tuple) or len(shape) > MOST_DIMENSIONS:
        return None
    if not all(type(one) is int and 0 <= one <= MOST_ITEMS for one in shape):
        return None
    # One length of 0 makes the product 0; the other lengths must still fit into what is counted with.
    if math.prod(max(one, 1) for one in shape) > MOST_ITEMS:
        return None
    return math.prod(shape)


def read_npy(view: memoryview, reading: FileReading) -> tuple[ItemType, tuple[int, ...], memoryview]:
    """A file of numpy's own format, without objects.

    Returns:
        the type, the shape and the bytes of the items.
    Raises:
        Unread: it isn't one, holds objects, or has another size than its header says.
    """
    if bytes(view[:6]) != b"\x93NUMPY" or len(view) < 12 or view[6] not in (1, 2, 3) or view[7] != 0:
        raise Unread("damaged", "The start isn't that of an npy file.", 0)
    wide = 2 if view[6] == 1 else 4
    length = int.from_bytes(view[8 : 8 + wide], "little")
    start = 8 + wide + length
    if length > LONGEST_HEADER or start > len(view):
        raise Unread("damaged", "The header is longer than the file.", 8)
    header = _header(bytes(view[8 + wide : start]))
    shape = header["shape"]
    count = item_count(shape)
    if count is None or type(header["fortran_order"]) is not bool:
        raise Unread("damaged", "The header doesn't describe an array.", 8)
    of = _described(header["descr"])
    if count * of.size != len(view) - start:
        raise Unread("damaged", f"There are {len(view) - start:,} bytes for {count:,} items of {of.size:,}.", start)
    reading.counts["arrays"] += 1
    return of, shape, view[start:]


@lru_cache(maxsize=256)  # a forest's arrays have few different ones
def _header(raw: bytes) -> Mapping[str, Any]:
    try:
        text = raw.decode("utf-8")
        if not _HEADER_CHARACTERS.match(text) or _depth(text) > 6:
            raise ValueError
        # Literals alone: nothing is called. The depth is bounded before, since the parser's isn't.
        header = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        # The last two are the parser's way to end long runs of signs and dots.
        raise Unread("damaged", "The header isn't a literal.", 8) from None
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise Unread("damaged", "The header has other entries than an array's.", 8)
    return MappingProxyType(header)


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest


def _described(descr: Any, level: int = 0) -> ItemType:
    if isinstance(descr, str):
        if "O" in descr:
            raise Unread("foreign_call", "The array holds objects, which are a pickle.", 8)
        parts = _DESCR.match(descr)
        of = None if parts is None else item_type("b1" if parts[2] == "?" else parts[2] + (parts[3] or "1"))
        if of is None or parts is None:
            raise Unread("unknown_part", "The array's type isn't known here.", 8)
        of.order, of.settled = parts[1] or "=", True
        return of
    if not isinstance(descr, list) or not descr or level > 2 or len(descr) > 1_000:
        raise Unread("unknown_part", "The array's type isn't known here.", 8)
    fields: dict[str, tuple[ItemType, int]] = {}
    size = 0
    for one in descr:
        if not isinstance(one, tuple) or len(one) not in (2, 3) or not isinstance(one[0], str):
            raise Unread("unknown_part", "The array's type isn't known here.", 8)
        inner = _described(one[1], level + 1)
        repeats = item_count(one[2]) if len(one) == 3 else 1
        if repeats is None or repeats * inner.size > MOST_ITEM:
            raise Unread("unknown_part", "The array's type isn't known here.", 8)
        if one[0] and len(one) == 2:
            fields[one[0]] = (inner, size)
        size += repeats * inner.size
    if not 0 < size <= MOST_ITEM:
        raise Unread("unknown_part", "The array's type isn't known here.", 8)
    return ItemType("V", size, fields=fields, settled=True)


def leads_out(of: ItemType, raw: memoryview, features: int | None) -> bool:
    """Whether the nodes of a decision tree lead out of their array, back, or to a feature that isn't there.

    Args:
        of: the structured type of `sklearn.tree._tree.Tree`'s or of histogram boosting's nodes.
        raw: the items.
        features: how many features the model has, or None where that isn't known.
    """
    names = _NODES if of.fields is not None and "left_child" in of.fields else _BOOSTING_NODES
    fields = of.fields or {}
    if not set(names) <= fields.keys():
        return True
    described = {
        "names": list(names),
        "formats": [f"{fields[name][0].order}{fields[name][0].kind}{fields[name][0].size}" for name in names],
        "offsets": [fields[name][1] for name in names],
        "itemsize": of.size,
    }
    if any(fields[name][0].kind not in "iub" for name in names) or len(raw) % of.size:
        return True
    nodes: Any = np.frombuffer(raw, dtype=np.dtype(described))  # type: ignore[call-overload]
    left, right, feature = (nodes[name].astype(np.int64) for name in names[:3])
    own = np.arange(len(nodes))
    inner = left != -1 if names is _NODES else nodes["is_leaf"] == 0
    onward = (left > own) & (right > own) & (left < len(nodes)) & (right < len(nodes)) & (feature >= 0)
    if features is not None:
        onward &= feature < features
    return not bool(onward[inner].all()) or not len(nodes)


def leads_beyond(of: ItemType, raw: memoryview, places: memoryview, rows: int) -> bool:
    """Whether a KDTree or BallTree leads out of its arrays.

    Args:
        of: the type of its nodes.
        raw: the nodes, in the order of a binary tree: the children of i are 2 i + 1 and 2 i + 2.
        places: of the rows, as whole numbers of 8 bytes.
        rows: how many there are.
    """
    fields = of.fields or {}
    laid_out = {name: (inner.kind, inner.size, at) for name, (inner, at) in fields.items()}
    if laid_out != _NEIGHBOUR_NODES or of.size != 32 or any(inner.order not in "<=" for inner, _ in fields.values()):
        return True
    start, end, leaf = np.frombuffer(raw, dtype="<i8").reshape(-1, 4)[:, :3].T
    at = np.frombuffer(places, dtype="<i8")
    childless = 2 * np.arange(len(start)) + 2 >= len(start)
    within = (start >= 0) & (start <= end) & (end <= rows) & ((leaf != 0) | ~childless)
    return not bool(within.all() and ((at >= 0) & (at < rows)).all())


_NEIGHBOUR_NODES = {"idx_start": ("i", 8, 0), "idx_end": ("i", 8, 8), "is_leaf": ("i", 8, 16), "radius": ("f", 8, 24)}
_NODES = ("left_child", "right_child", "feature")
_BOOSTING_NODES = ("left", "right", "feature_idx", "is_leaf")
