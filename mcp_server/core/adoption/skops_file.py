"""What an audited skops file describes: its schema's nodes as plain values, its arrays as arrays. Nothing is made."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.adoption.described import MOST_DEPTH, Object, refused
from mcp_server.core.model_files.archive import Archive
from mcp_server.core.model_files.report import Unread

MOST_CELLS = 10_000_000

_DAMAGED = "a part of the file isn't as skops writes it."


def described_schema(schema: Any, archive: Archive) -> Any:
    """The root of a skops file as `described.plain` gives a pickle's.

    Args:
        schema, archive: as `open_model_file` read them; every node was audited.
    Raises:
        AdoptionRefused: a node isn't as skops writes it, or they're nested too deeply.
    """
    return _Reader(archive).value(schema, 0)


class _Reader:
    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def value(self, node: Any, depth: int) -> Any:
        if depth > MOST_DEPTH or not isinstance(node, dict):
            raise refused(_DAMAGED)
        loader, content = node.get("__loader__"), node.get("content")
        if loader == "JsonNode":
            return _json(content)
        if loader in ("ListNode", "TupleNode", "SetNode") and isinstance(content, list):
            return [self.value(one, depth + 1) for one in content]
        if loader in ("DictNode", "DefaultDictNode") and isinstance(content, dict):
            return {key: self.value(one, depth + 1) for key, one in content.items()}
        if loader == "NdArrayNode":
            return self._array(node, depth)
        name = str(node.get("__class__"))
        module = str(node.get("__module__"))
        if loader == "SliceNode" and isinstance(content, dict):
            return Object(module, name, {}, tuple(content.get(part) for part in ("start", "stop", "step")))
        if loader == "TreeNode":
            arguments = self.value(node.get("__reduce__", {}).get("args"), depth + 1)
            attributes = self.value(content, depth + 1)
            if not isinstance(arguments, list) or not isinstance(attributes, dict):
                raise refused(_DAMAGED)
            return Object(module, name, attributes, tuple(arguments))
        if loader == "ObjectNode" and isinstance(content, dict) and content.get("__loader__") == "DictNode":
            return Object(module, name, self.value(content, depth + 1))
        return Object(module, name, {})

    def _array(self, node: dict[str, Any], depth: int) -> Any:
        if node.get("type") == "numpy":
            try:
                made = np.load(io.BytesIO(self._archive.read(str(node.get("file")))), allow_pickle=False)
            except (Unread, KeyError, ValueError, EOFError):
                raise refused(_DAMAGED) from None
            return made if node.get("__class__") == "ndarray" else made[()].item()
        content = node.get("content")
        if not isinstance(content, list):
            raise refused(_DAMAGED)
        shape = self.value(node.get("shape"), depth + 1)
        lengths = isinstance(shape, list) and all(type(one) is int and 0 <= one <= MOST_CELLS for one in shape)
        if not lengths or not 1 <= len(shape) <= 3 or math.prod(shape) > MOST_CELLS:
            raise refused(_DAMAGED)
        cells: NDArray[Any] = np.empty(tuple(shape), dtype=object)
        parts = [self.value(one, depth + 1) for one in content]
        for place in np.ndindex(*shape):
            part: Any = parts
            for index in place:  # of several dimensions each item is a list of those below
                if not isinstance(part, list) or index >= len(part):
                    raise refused(_DAMAGED)
                part = part[index]
            cells[place] = part
        return cells


def _json(text: Any) -> Any:
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise refused(_DAMAGED) from None
    return value
