"""Pickles put together opcode by opcode."""

from __future__ import annotations

import pickle
import struct
from typing import Any


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def value(what: Any) -> bytes:
    """A plain value, without a place in the memo."""
    if isinstance(what, str):
        return text(what)
    if what is None or isinstance(what, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[what]
    if isinstance(what, int):
        return b"J" + struct.pack("<i", what)
    if isinstance(what, bytes):
        return b"B" + struct.pack("<I", len(what)) + what
    if isinstance(what, list):
        return b"](" + b"".join(map(part, what)) + b"e"
    if isinstance(what, dict):
        return b"}(" + b"".join(part(key) + part(one) for key, one in what.items()) + b"u"
    raise TypeError(type(what))


class Op(bytes):
    """Opcodes that leave one value on the stack."""


def part(what: Any) -> bytes:
    return what if isinstance(what, Op) else value(what)


def name(module: str, qualified: str) -> Op:
    return Op(f"c{module}\n{qualified}\n".encode())


def stack_name(module: bytes, qualified: bytes) -> Op:
    return Op(module + qualified + b"\x93")


def group(*parts: Any) -> Op:
    return Op(b"(" + b"".join(map(part, parts)) + b"t")


def call(of: Op, *arguments: Any) -> Op:
    return Op(of + group(*arguments) + b"R")


def build(made: Op, state: Any) -> Op:
    return Op(made + part(state) + b"b")


def made(module: str, qualified: str, state: dict[str, Any] | None = None) -> Op:
    """An object by NEWOBJ, with its state."""
    plain = Op(name(module, qualified) + b")\x81")
    return plain if state is None else build(plain, state)


def stream(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def dumped(what: Any, protocol: int = 4) -> bytes:
    return pickle.dumps(what, protocol)
