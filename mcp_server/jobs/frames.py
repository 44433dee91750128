"""JSON messages over a pipe: four bytes of length, big-endian, then the UTF-8 text.

Strict both ways: a number that isn't finite can't be sent, and a message over the bound isn't read.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
from typing import Any

import orjson

LARGEST = 64 * 1024 * 1024
"""Bytes of one message. Tables travel as files; only arguments and results travel here."""

_LENGTH = struct.Struct(">I")


class BadFrame(ValueError):
    """What came over the pipe isn't a message of this protocol, or what should go isn't plain JSON."""


def encode(message: dict[str, Any]) -> bytes:
    """The bytes of a message.

    Raises:
        BadFrame: a value isn't JSON, isn't finite, or the message is over `LARGEST`.
    """
    try:
        # json, not orjson, on this side: orjson writes NaN as null, and a lost number must not pass for "none".
        body = json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as wrong:
        raise BadFrame(f"the message isn't plain JSON ({type(wrong).__name__})") from wrong
    if len(body) > LARGEST:
        raise BadFrame(f"the message has {len(body)} bytes; {LARGEST} are allowed")
    return _LENGTH.pack(len(body)) + body


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as wrong:
        raise BadFrame("the message isn't JSON") from wrong
    if not isinstance(message, dict):
        raise BadFrame("the message isn't an object")
    return message


def _length(header: bytes) -> int:
    (length,) = _LENGTH.unpack(header)
    if length > LARGEST:
        raise BadFrame(f"the message has {length} bytes; {LARGEST} are allowed")
    return int(length)


async def receive(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next message.

    Raises:
        BadFrame: it isn't one.
        asyncio.IncompleteReadError: the pipe ended.
    """
    header = await reader.readexactly(_LENGTH.size)
    return _decode(await reader.readexactly(_length(header)))


def read(descriptor: int) -> dict[str, Any] | None:
    """The next message of a blocking pipe, or None at its end.

    Raises:
        BadFrame: it isn't one, or the pipe ended inside it.
    """
    header = _read_exactly(descriptor, _LENGTH.size)
    if not header:
        return None
    body = _read_exactly(descriptor, _length(header))
    if not body:
        raise BadFrame("the pipe ended inside a message")
    return _decode(body)


def write(descriptor: int, message: dict[str, Any]) -> None:
    """Send a message over a blocking pipe, whole.

    Raises:
        BadFrame: it can't be sent; nothing was written.
    """
    rest = memoryview(encode(message))
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read_exactly(descriptor: int, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = os.read(descriptor, min(count, 1024 * 1024))
        if not part:
            if parts:
                raise BadFrame("the pipe ended inside a message")
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
