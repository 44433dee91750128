"""safetensors files: a JSON header, and tensors that cover the rest byte by byte."""

from __future__ import annotations

import math
from typing import Any

from mcp_server.core.model_files.arrays import item_count
from mcp_server.core.model_files.documents import read_json
from mcp_server.core.model_files.report import FileReading, Unread

LONGEST_HEADER = 100_000_000

_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


def looks_like_safetensors(view: memoryview) -> bool:
    if len(view) < 10 or view[8] != ord("{"):
        return False
    return int.from_bytes(view[:8], "little") <= LONGEST_HEADER


def read_safetensors(view: memoryview, reading: FileReading) -> None:
    """Check the header against the file.

    Raises:
        Unread: a tensor leads out of the file, lies over another one, or leaves bytes between.
    """
    length = int.from_bytes(view[:8], "little")
    if length > len(view) - 8:
        raise Unread("damaged", "The header is longer than the file.", 0)
    header = read_json(view[8 : 8 + length], 8)
    if not isinstance(header, dict):
        raise Unread("damaged", "The header isn't an object.", 8)
    about = header.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise Unread("unknown_part", "Its metadata isn't text.", 8)
    at = 0
    for first, last in sorted(_range(tensor) for tensor in header.values()):
        if first != at:
            raise Unread("second_content", "Tensors overlap, or bytes stand between them.", 8 + length + at)
        at = last
    if at != len(view) - 8 - length:
        raise Unread("second_content", "The tensors don't end where the file does.", 8 + length + at)
    reading.counts["tensors"] += len(header)


def _range(tensor: Any) -> tuple[int, int]:
    if not isinstance(tensor, dict) or tensor.keys() != {"dtype", "shape", "data_offsets"}:
        raise Unread("damaged", "A tensor isn't described as one.", 8)
    shape, offsets = tensor["shape"], tensor["data_offsets"]
    bits = _BITS.get(tensor["dtype"]) if isinstance(tensor["dtype"], str) else None
    if bits is None:
        raise Unread("unknown_part", "A tensor is of an unknown type.", 8)
    fine = isinstance(offsets, list) and len(offsets) == 2 and all(type(one) is int and one >= 0 for one in offsets)
    if not fine or not isinstance(shape, list) or item_count(tuple(shape)) is None:
        raise Unread("damaged", "A tensor has no shape or no place.", 8)
    if offsets[1] - offsets[0] != math.prod(shape) * bits // 8:
        raise Unread("damaged", "A tensor has another size than its shape.", 8)
    return offsets[0], offsets[1]
