"""skops files: a schema that says what to build, and arrays. Every type by exact name, every node by its form."""

from __future__ import annotations

import json
import re
from typing import Any

from mcp_server.core.model_files.allowed import ALLOWED
from mcp_server.core.model_files.archive import Archive
from mcp_server.core.model_files.arrays import leads_out, read_npy
from mcp_server.core.model_files.documents import read_json, walk
from mcp_server.core.model_files.npz_files import read_npz
from mcp_server.core.model_files.report import FileReading, Unread, quoted
from mcp_server.core.model_files.states import PLACES, build, is_place, refused
from mcp_server.core.model_files.values import BYTES_PER_STEP, Instance, Named, Raw

SCHEMA = "schema.json"
PROTOCOL = 2
MOST_PARTS = 13
_NUMBER = re.compile(r"null|-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?|Infinity")

_FILE = re.compile(r"[0-9]{1,20}\.(npy|npz)\Z")
_MARKS = {"__class__", "__module__", "__loader__"}
_KEYS = {*_MARKS, "__id__", "content", "file", "type", "shape", "key_types", "is_json", "__reduce__"}
_ROOT_KEYS = {"protocol", "_skops_version"}
_BY_RULE = {
    "ObjectNode": {"object", "neighbours", "metric"},
    "LossNode": {"loss"},
    "TreeNode": {"tree"},
    "FunctionNode": {"function"},
    "TypeNode": {"type"},
    "PartialNode": {"partial"},
    "SliceNode": {"slice"},
    "DTypeNode": {"dtype"},
    "MaskedArrayNode": {"masked"},
    "NdArrayNode": {"ndarray", "type"},
    "DictNode": {"type", "bunch", "ordered"},
    "ListNode": {"type"},
    "TupleNode": {"type", "triple"},
    "SetNode": {"set"},
    "DefaultDictNode": {"defaults"},
    "BytesNode": {"bytes"},
    "BytearrayNode": {"bytearray"},
    "SparseMatrixNode": {"object"},
    "RandomStateNode": {"type"},
    "RandomGeneratorNode": {"type"},
    "JsonNode": {"type"},
}
_BY_NAME = {
    "DictNode": {"dict", "Bunch", "OrderedDict"},
    "ListNode": {"list"},
    "TupleNode": {"tuple", "_ImputerTriplet"},
    "JsonNode": {"str"},
    "RandomStateNode": {"RandomState"},
    "RandomGeneratorNode": {"Generator"},
    "SparseMatrixNode": {f"{kind}_{form}" for kind in ("csr", "csc", "coo") for form in ("matrix", "array")},
}
_GENERATORS = {f'"{name}"' for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")}


def read_skops(archive: Archive, reading: FileReading) -> None:
    """Look through the schema and every array of a skops file.

    Raises:
        Unread: it can't be read to its end.
    """
    stray = [name for name in archive.members if name != SCHEMA and not _FILE.match(name)]
    if stray:
        raise Unread("second_content", "It has a member that skops doesn't write.", quoted(stray[0]))
    schema = read_json(archive.read(SCHEMA), SCHEMA)
    if not isinstance(schema, dict) or schema.get("protocol") != PROTOCOL:
        raise Unread("unknown_part", f"The schema isn't of protocol {PROTOCOL}.", SCHEMA)
    ids: dict[Any, dict[str, Any]] = {}
    for path, node in walk(schema):
        if isinstance(node, dict) and _MARKS & node.keys():
            _check_node(path, node, archive, reading, ids, extra=_ROOT_KEYS if node is schema else set())
    for name in archive.members:
        if name != SCHEMA:
            _read_array_file(archive, name, reading)
    reading.root = (schema, archive)


def _check_node(
    path: str,
    node: dict[str, Any],
    archive: Archive,
    reading: FileReading,
    ids: dict[Any, dict[str, Any]],
    extra: set[str],
) -> None:
    at = f"{SCHEMA}{path}"
    reading.counts["nodes"] += 1
    module, name, loader = (node.get(key) for key in ("__module__", "__class__", "__loader__"))
    if not (isinstance(module, str) and isinstance(name, str) and isinstance(loader, str)):
        raise Unread("damaged", "A node has no name.", at)
    rule = ALLOWED.get((module, name))
    if rule is None:
        reading.add("foreign_name", f"It names {quoted(f'{module}.{name}')}, which isn't on the list.", at)
        return
    if rule not in _BY_RULE.get(loader, ()) or name not in _BY_NAME.get(loader, {name}):
        reading.add("foreign_call", f"'{module}.{name}' is loaded by {quoted(loader)}, which isn't its way.", at)
        return
    if unknown := node.keys() - _KEYS - extra:
        raise Unread("unknown_part", f"A node has the unknown entry {quoted(min(unknown))}.", at)
    identity = node.get("__id__")
    if not isinstance(identity, int | str | None) or (
        identity is not None and not _same(ids.setdefault(identity, node), node, archive, reading)
    ):
        # skops would take the first node for all of that id.
        reading.add("second_content", "Two different nodes have one id.", at)
    if "file" in node and not _is_member(node["file"], archive):
        raise Unread("damaged", "A node names a member that isn't there.", at)
    if rule in ("object", "tree"):
        reading.hold(name)
    _check_content(loader, node, archive, reading, at)


def _same(one: Any, other: Any, archive: Archive, reading: FileReading) -> bool:
    """Whether two nodes say the same, but for the ids and files that skops gives to what it makes on its way."""
    waiting = [(one, other)]
    while waiting:
        if reading.opcodes <= 0:
            raise Unread("too_large", "There are more nodes of one id than are compared.", SCHEMA)
        reading.opcodes -= 1
        one, other = waiting.pop()
        if one is other:
            continue
        if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
            waiting += [(one[key], other[key]) for key in one if key not in ("__id__", "file")]
            if "file" in one and one["file"] != other["file"]:
                if not _is_member(one["file"], archive) or not _is_member(other["file"], archive):
                    return False
                first, second = (archive.read(node["file"]) for node in (one, other))
                reading.opcodes -= len(first) // BYTES_PER_STEP
                waiting.append((bytes(first), bytes(second)))
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            waiting += zip(one, other, strict=True)
        elif isinstance(one, dict | list) or type(one) is not type(other) or one != other:
            return False
    return True


def _is_member(name: Any, archive: Archive) -> bool:
    return isinstance(name, str) and name in archive.members


def _check_content(loader: str, node: dict[str, Any], archive: Archive, reading: FileReading, at: str) -> None:
    if loader == "ObjectNode":
        if ALLOWED[node["__module__"], node["__class__"]] == "object":
            _check_attributes(node, reading, at)
        else:
            _check_parts(node, archive, reading, at)
    elif loader == "PartialNode":
        function = _inside(node, "content", "func")
        if not isinstance(function, dict) or function.get("__class__") != "check_array":
            reading.add("foreign_call", "'functools.partial' is of a function that models don't bind.", at)
    elif loader == "NdArrayNode":
        if node.get("type") not in ("numpy", "json"):
            raise Unread("unknown_part", "An array is of an unknown form.", at)
    elif loader == "RandomGeneratorNode":
        named = _inside(node, "content", "bit_generator", "content", "bit_generator", "content")
        if named not in _GENERATORS:
            reading.add("foreign_call", "A random generator isn't one of numpy's.", at)
        _check_places(_inside(node, "content", "bit_generator"), reading, at)
    elif loader == "RandomStateNode":
        _check_places(node.get("content"), reading, at)
    if node["__class__"] in ("Tree", "TreePredictor"):
        _check_tree(node, archive, reading, at)


def _check_places(state: Any, reading: FileReading, at: str) -> None:
    """A random generator's place in its numbers is a place in memory."""
    entries, fine = _inside(state, "content"), _inside(state, "__loader__") == "DictNode"
    if fine and isinstance(entries, dict):
        inner = entries.get("state")
        fine = _inside(inner, "__loader__") == "DictNode" or type(_plain(inner)) is int
        both = [entries, _inside(inner, "content")]
        fine = fine and all(
            is_place(name, _plain(part[name]))
            for part in both
            if isinstance(part, dict)
            for name in PLACES & part.keys()
        )
    if not fine:
        reading.add("foreign_state", "A random generator is given a state that models don't give it.", at)


def _plain(node: Any) -> Any:
    """The value of a JSON node as skops would have it; None for others and for what isn't JSON."""
    text = _inside(node, "content")
    if _inside(node, "__loader__") != "JsonNode" or not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _check_attributes(node: dict[str, Any], reading: FileReading, at: str) -> None:
    content = node.get("content")
    if content is None or (_inside(content, "__loader__") == "JsonNode" and _inside(content, "content") == "null"):
        return
    attributes = content.get("content") if isinstance(content, dict) and content.get("__class__") == "dict" else None
    if not isinstance(attributes, dict):
        reading.add("foreign_state", "An object's state isn't a dictionary.", at)
        return
    for name, value in attributes.items():
        if name.startswith("__"):
            reading.add("foreign_state", f"An object is given the attribute {quoted(name)}, which Python acts on.", at)
        elif name == "memory" and (_inside(value, "__loader__"), _inside(value, "content")) != ("JsonNode", "null"):
            reading.add("foreign_state", "An object names a cache: a fit would load pickles from that folder.", at)
        elif name == "input" and _plain(value) != "content":
            reading.add("foreign_state", "An object would open the files that its rows name.", at)


def _check_parts(node: dict[str, Any], archive: Archive, reading: FileReading, at: str) -> None:
    """A search tree or a distance, judged as in a pickle."""
    try:
        _described(node, archive, reading)
    except Unread as unread:
        reading.add(unread.code, unread.what, at)


def _described(node: dict[str, Any], archive: Archive, reading: FileReading) -> Instance:
    module, name = node["__module__"], node["__class__"]
    made = Instance(Named(module, name, ALLOWED.get((module, name), "")))
    parts = _inside(node, "content", "content")
    if _inside(node, "content", "__loader__") != "TupleNode" or not isinstance(parts, list) or len(parts) > MOST_PARTS:
        raise refused(made, "is given a state that models don't give it")
    build(made, tuple(_part(part, made, archive, reading) for part in parts))
    return made


def _part(node: Any, of: Instance, archive: Archive, reading: FileReading) -> Any:
    loader, file, text = (_inside(node, key) for key in ("__loader__", "file", "content"))
    if loader == "NdArrayNode" and _is_member(file, archive) and file.endswith(".npy"):
        content = archive.read(file)
        reading.opcodes -= len(content) // BYTES_PER_STEP
        if reading.opcodes <= 0:
            raise Unread("too_large", "There are more arrays of search trees than are read.")
        kind, shape, raw = read_npy(content, FileReading())
        return Instance(Named("numpy", "ndarray", "ndarray"), built=True, attributes=(kind, shape, Raw(raw), False))
    if loader == "JsonNode" and isinstance(text, str) and _NUMBER.fullmatch(text):
        return json.loads(text)
    named = all(isinstance(_inside(node, key), str) for key in ("__module__", "__class__"))
    if loader == "ObjectNode" and of.of.rule == "neighbours" and named:
        return _described(node, archive, reading)
    raise refused(of, "is given a state that models don't give it")


def _inside(node: Any, *keys: str) -> Any:
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _check_tree(node: dict[str, Any], archive: Archive, reading: FileReading, at: str) -> None:
    """The nodes of a decision tree stay within their array."""
    nodes = _inside(node, "content", "content", "nodes", "file")
    if not isinstance(nodes, str) or nodes not in archive.members:
        raise Unread("unknown_part", "A tree has no nodes.", at)
    features = None
    if node["__class__"] == "Tree":
        stated = _inside(node, "__reduce__", "args", "content")
        text = _inside(stated[0], "content") if isinstance(stated, list) and stated else None
        if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,9}", text):
            raise Unread("unknown_part", "A tree doesn't say how many features it has.", at)
        features = int(text)
    kind, shape, raw = read_npy(archive.read(nodes), FileReading())
    counted = _inside(node, "content", "content", "node_count", "content")
    if len(shape) != 1 or (features is not None and counted != str(shape[0])) or leads_out(kind, raw, features):
        reading.add("out_of_bounds", f"A tree of '{node['__class__']}' leads out of its array.", at)


def _read_array_file(archive: Archive, name: str, reading: FileReading) -> None:
    try:
        if name.endswith(".npz"):
            read_npz(Archive(archive.read(name), reading), reading)
        else:
            read_npy(archive.read(name), reading)
    except Unread as unread:
        raise Unread(unread.code, unread.what, f"{name}, {unread.at}") from None
