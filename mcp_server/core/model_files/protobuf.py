"""The wire form of protocol buffers, for ONNX: fields by number, lengths checked, nothing copied."""

from __future__ import annotations

from collections.abc import Iterator

from mcp_server.core.model_files.report import Unread

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


def fields(view: memoryview, base: int = 0) -> Iterator[tuple[int, int, int | memoryview, int]]:
    """The fields of a message: number, wire type, value and the offset of the value in the file.

    Args:
        base: the offset of the message in the file.
    Raises:
        Unread: the message is damaged.
    """
    at, end = 0, len(view)
    while at < end:
        key, at = varint(view, at, base)
        number, wire = key >> 3, key & 7
        if not number:
            raise Unread("damaged", "A field has no number.", base + at)
        if wire == VARINT:
            value, after = varint(view, at, base)
            yield number, wire, value, base + at
            at = after
            continue
        if wire == BYTES:
            size, at = varint(view, at, base)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise Unread("damaged", "A field is of an unknown wire type.", base + at)
        if at + size > end:
            raise Unread("damaged", "A field is longer than its message.", base + at)
        yield number, wire, view[at : at + size], base + at
        at += size


def varint(view: memoryview, at: int, base: int = 0) -> tuple[int, int]:
    """A number of 64 bits, and where the next byte is."""
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= len(view):
            break
        byte = view[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at + place + 1
    raise Unread("damaged", "A number has no end.", base + at)
