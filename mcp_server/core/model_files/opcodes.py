"""The opcodes of pickle, protocols 0 to 5, and their arguments: read strictly, never carried out.

Source: the layout that `pickletools` of the standard library documents.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable
from typing import Any

from mcp_server.core.model_files.report import Unread

LONGEST_NAME = 512
MOST_PADDING = 16
LONGEST_NUMBER = 1_024
"""Bytes of a whole number; larger ones are no part of a model."""

_WHOLE = re.compile(rb"-?[0-9]{1,300}\Z")
_IN_NUMBERS = re.compile(rb"[0-9A-Za-z_+. \t\r\v\f-]*\Z")
_REAL = re.compile(rb"-?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,4})?\Z|-?(?:inf|nan)\Z")


class Content:
    """Bytes with a position that only moves on, within frames of protocol 4.

    Args:
        view: the whole part; nothing is copied out of it but short arguments and text.
    """

    __slots__ = ("_frame_end", "at", "end", "view")

    def __init__(self, view: memoryview, at: int = 0) -> None:
        self.view = view
        self.at = at
        self.end = len(view)
        self._frame_end: int | None = None

    def take(self, count: int) -> memoryview:
        """The next bytes.

        Raises:
            Unread: there are fewer, or they cross the end of a frame, which readers don't agree on.
        """
        after = self.at + count
        if after > self.end:
            raise Unread("damaged", "It's cut off.", self.at, fails=True)
        if self._frame_end is not None:
            if self.at >= self._frame_end:
                self._frame_end = None
            elif after > self._frame_end:
                raise Unread("damaged", "An opcode crosses the end of its frame.", self.at)
        taken = self.view[self.at : after]
        self.at = after
        return taken

    def line(self, longest: int, fails: Callable[[bytes], bool] = lambda _start: False) -> bytes:
        """The next bytes up to a newline, which is taken too.

        Args:
            longest: more bytes aren't read.
            fails: whether a line that starts so is an error to every unpickler, however long it is.
        """
        stop = self.at
        step = 256
        while True:
            piece = bytes(self.view[stop : stop + step])
            found = piece.find(b"\n")
            if found >= 0:
                stop += found
                break
            stop += len(piece)
            if not piece or stop - self.at > longest:
                break
            step = min(step * 4, 1 << 20)
        if found < 0 or stop - self.at > longest:
            start = bytes(self.view[self.at : min(stop, self.at + longest)])
            raise Unread("damaged", "A line is too long, or has no end.", self.at, fails=fails(start))
        taken = bytes(self.take(stop - self.at))
        self.take(1)
        return taken

    def open_frame(self, size: int) -> None:
        if self._frame_end is not None and self.at < self._frame_end:
            raise Unread("damaged", "A frame starts inside of another.", self.at)
        if self.at + size > self.end:
            raise Unread("damaged", "A frame is longer than the file.", self.at)
        self._frame_end = self.at + size

    def leave_frame(self) -> None:
        """For bytes that aren't opcodes.

        Raises:
            Unread: a frame isn't at its end: one reader would take the bytes from inside of it, another from behind.
        """
        if self._frame_end is not None and self.at < self._frame_end:
            raise Unread("second_content", "Array bytes start inside of a frame.", self.at)
        self._frame_end = None

    def leave_padding(self) -> None:
        """What joblib puts before an array's bytes: a length, and as many bytes of ones.

        Raises:
            Unread: what `pickle.load` would take for an opcode here could go on with others that joblib never sees.
        """
        at, padding = self.at, self.take(1)[0]
        if padding > MOST_PADDING or bytes(self.take(padding)).strip(b"\xff"):
            raise Unread("second_content", "The padding before array bytes isn't joblib's.", at)


def _u1(content: Content) -> int:
    return content.take(1)[0]


def _u2(content: Content) -> int:
    return int.from_bytes(content.take(2), "little")


def _u4(content: Content) -> int:
    return int.from_bytes(content.take(4), "little")


def _u8(content: Content) -> int:
    return int.from_bytes(content.take(8), "little")


def _s4(content: Content) -> int:
    return int.from_bytes(content.take(4), "little", signed=True)


def _text(size: Callable[[Content], int]) -> Callable[[Content], str]:
    def read(content: Content) -> str:
        return decoded(content.take(size(content)), content.at)

    return read


def _bytes(size: Callable[[Content], int]) -> Callable[[Content], memoryview]:
    return lambda content: content.take(size(content))


def _long(size: Callable[[Content], int]) -> Callable[[Content], int]:
    def read(content: Content) -> int:
        count = size(content)
        if not 0 <= count <= content.end - content.at:
            raise Unread("damaged", "It's cut off.", content.at, fails=True)
        if count > LONGEST_NUMBER:
            raise Unread("too_large", f"A whole number of {count:,} bytes.", content.at)
        return int.from_bytes(content.take(count), "little", signed=True)

    return read


def decoded(raw: memoryview | bytes, at: int) -> str:
    """Text as pickle writes it: UTF-8, half surrogates included."""
    try:
        return bytes(raw).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Unread("damaged", "A text isn't UTF-8.", at, fails=True) from None


def _whole_line(content: Content) -> int | bool:
    text = content.line(LONGEST_NUMBER, _is_no_number)
    if text in (b"00", b"01"):
        return text == b"01"
    return _whole(text, content.at)


def _long_line(content: Content) -> int:
    return _whole(content.line(LONGEST_NUMBER, _is_no_number).removesuffix(b"L"), content.at)


def _whole(text: bytes, at: int) -> int:
    # A leading zero would be read in base 8 by some.
    if not _WHOLE.match(text) or (len(text.lstrip(b"-")) > 1 and text.lstrip(b"-").startswith(b"0")):
        raise _no_number(text, at)
    return int(text)


def _no_number(text: bytes, at: int) -> Unread:
    return Unread("damaged", "A number isn't written as one.", at, fails=_is_no_number(text))


def _is_no_number(text: bytes) -> bool:
    """Whether it's none to any reader: to others, a NUL ends a number, and there are bases and underscores."""
    return not _IN_NUMBERS.match(text.split(b"\0")[0])


def _is_no_text(start: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")("surrogatepass").decode(start)
    except UnicodeDecodeError:
        return True
    return False


def _real_line(content: Content) -> float:
    text = content.line(LONGEST_NUMBER, _is_no_number)
    if not _REAL.match(text):
        raise _no_number(text, content.at)
    return float(text)


def _real(content: Content) -> float:
    return float(struct.unpack(">d", content.take(8))[0])


def _text_line(content: Content) -> str:
    try:
        return content.line(content.end).decode("raw-unicode-escape")
    except UnicodeDecodeError:
        raise Unread("damaged", "A text has a broken escape.", content.at, fails=True) from None


def _name_lines(content: Content) -> tuple[str, str]:
    module = decoded(content.line(LONGEST_NAME, _is_no_text), content.at)
    return module, decoded(content.line(LONGEST_NAME, _is_no_text), content.at)


def _memo_line(content: Content) -> int:
    text = content.line(20, _is_no_number)
    if not text.isdigit():
        raise _no_number(text, content.at)
    return int(text)


def _nothing(_content: Content) -> None:
    return None


def _plain_line(content: Content) -> bytes:
    return content.line(LONGEST_NAME, lambda start: start[:1] not in (b"'", b'"'))


OPCODES: dict[int, tuple[str, Callable[[Content], Any]]] = {
    code[0]: (name, argument)
    for code, name, argument in [
        (b"\x80", "PROTO", _u1),
        (b"\x95", "FRAME", _u8),
        (b".", "STOP", _nothing),
        (b"(", "MARK", _nothing),
        (b"0", "POP", _nothing),
        (b"1", "POP_MARK", _nothing),
        (b"2", "DUP", _nothing),
        (b"N", "NONE", _nothing),
        (b"\x88", "NEWTRUE", _nothing),
        (b"\x89", "NEWFALSE", _nothing),
        (b"I", "INT", _whole_line),
        (b"J", "BININT", _s4),
        (b"K", "BININT1", _u1),
        (b"M", "BININT2", _u2),
        (b"L", "LONG", _long_line),
        (b"\x8a", "LONG1", _long(_u1)),
        (b"\x8b", "LONG4", _long(_s4)),
        (b"F", "FLOAT", _real_line),
        (b"G", "BINFLOAT", _real),
        (b"V", "UNICODE", _text_line),
        (b"X", "BINUNICODE", _text(_u4)),
        (b"\x8c", "SHORT_BINUNICODE", _text(_u1)),
        (b"\x8d", "BINUNICODE8", _text(_u8)),
        (b"B", "BINBYTES", _bytes(_u4)),
        (b"C", "SHORT_BINBYTES", _bytes(_u1)),
        (b"\x8e", "BINBYTES8", _bytes(_u8)),
        (b"\x96", "BYTEARRAY8", _bytes(_u8)),
        (b"S", "STRING", _plain_line),
        (b"T", "BINSTRING", _bytes(_u4)),
        (b"U", "SHORT_BINSTRING", _bytes(_u1)),
        (b"]", "EMPTY_LIST", _nothing),
        (b"l", "LIST", _nothing),
        (b"a", "APPEND", _nothing),
        (b"e", "APPENDS", _nothing),
        (b")", "EMPTY_TUPLE", _nothing),
        (b"t", "TUPLE", _nothing),
        (b"\x85", "TUPLE1", _nothing),
        (b"\x86", "TUPLE2", _nothing),
        (b"\x87", "TUPLE3", _nothing),
        (b"}", "EMPTY_DICT", _nothing),
        (b"d", "DICT", _nothing),
        (b"s", "SETITEM", _nothing),
        (b"u", "SETITEMS", _nothing),
        (b"\x8f", "EMPTY_SET", _nothing),
        (b"\x90", "ADDITEMS", _nothing),
        (b"\x91", "FROZENSET", _nothing),
        (b"p", "PUT", _memo_line),
        (b"q", "BINPUT", _u1),
        (b"r", "LONG_BINPUT", _u4),
        (b"\x94", "MEMOIZE", _nothing),
        (b"g", "GET", _memo_line),
        (b"h", "BINGET", _u1),
        (b"j", "LONG_BINGET", _u4),
        (b"c", "GLOBAL", _name_lines),
        (b"\x93", "STACK_GLOBAL", _nothing),
        (b"R", "REDUCE", _nothing),
        (b"\x81", "NEWOBJ", _nothing),
        (b"\x92", "NEWOBJ_EX", _nothing),
        (b"b", "BUILD", _nothing),
        (b"i", "INST", _name_lines),
        (b"o", "OBJ", _nothing),
        (b"\x82", "EXT1", _u1),
        (b"\x83", "EXT2", _u2),
        (b"\x84", "EXT4", _s4),
        (b"P", "PERSID", _plain_line),
        (b"Q", "BINPERSID", _nothing),
        (b"\x97", "NEXT_BUFFER", _nothing),
        (b"\x98", "READONLY_BUFFER", _nothing),
    ]
}
"""Byte to name and reader of its argument."""
