"""Bytes from outside as checked UTF-8, in blocks of whole lines."""

from __future__ import annotations

import codecs
import re
from typing import BinaryIO, NoReturn

import numpy as np

from mcp_server.core.ingest.options import Encoding, Limits
from mcp_server.errors import DataRejected

_HEAD = 4096
_MAGIC = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word document",
    b"\x1f\x8b": "gzip-compressed data",
    b"BZh": "bzip2-compressed data",
    b"\xfd7zXZ": "xz-compressed data",
    b"\x28\xb5\x2f\xfd": "zstd-compressed data",
    b"7z\xbc\xaf": "a 7z archive",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
    b"\x7fELF": "a program",
    b"\x80\x04\x95": "a pickle",
}
_MARKUP = re.compile(rb"\s*(<!doctype|<html|<\?xml|<svg|\{\s*\"|\[\s*\{)", re.IGNORECASE)
_TEXT_HINT = "Save the file as UTF-8, or state its encoding, such as latin-1 or cp1252."


class Lines:
    """A file as blocks of whole lines in UTF-8.

    Args:
        file: open for reading in binary mode, seekable, at its beginning.
        encoding: stated, or None for UTF-8 or what the byte order mark says.
        strip_nul: remove NUL characters and count them, instead of refusing them.
    Attributes:
        encoding: as stated or found.
        rows: data rows that the caller has counted so far; -1 before the header. For messages.
        nuls: NUL characters removed.
    """

    def __init__(self, file: BinaryIO, limits: Limits, *, encoding: Encoding | None, strip_nul: bool) -> None:
        self._file = file
        self._limits = limits
        self._strip_nul = strip_nul
        self.size = file.seek(0, 2)
        file.seek(0)
        limits.check_size(self.size)
        head = file.read(_HEAD)
        _check_format(head, encoding)
        self.encoding, self._skip = _find_encoding(head, encoding)
        self.rewind()

    def rewind(self) -> None:
        """Begin again at the first line."""
        self._file.seek(self._skip)
        # Re-encoding as UTF-8 makes every later step see one encoding only.
        self._decoder = None if self.encoding == "utf-8" else codecs.getincrementaldecoder(self.encoding)()
        self._carry = b""
        self._ended = False
        self.rows = -1
        self.nuls = 0

    @property
    def share(self) -> float:
        """How much of the file has been read, 0..1."""
        return self._file.tell() / self.size if self.size else 1.0

    def give_back(self, rest: bytes) -> None:
        """Return what wasn't used of the last block."""
        self._carry = rest + self._carry

    def take(self) -> bytes:
        """The next block: whole lines, about `limits.block` bytes or one longer line; empty when the file has ended.

        Raises:
            DataRejected: `E_ENCODING`, `E_NUL`, `E_CELL`, `E_LINE`, `E_COLUMNS`.
        """
        data, self._carry = self._carry, b""
        while not self._ended and not (len(data) >= self._limits.block and _last_line_end(data)):
            if len(data) > self._limits.line + 2 and not _last_line_end(data):
                self._refuse_long_line(data)
            data += self._read()
        cut = len(data) if self._ended else _last_line_end(data)
        block, self._carry = data[:cut], data[cut:]
        return self._checked(block)

    def _read(self) -> bytes:
        raw = self._file.read(self._limits.block)
        self._ended = self._ended or not raw
        if self._decoder is None:
            return raw
        try:
            return self._decoder.decode(raw, final=not raw).encode()
        except UnicodeDecodeError as bad:
            self._refuse_bytes(bad.object[: bad.start].decode(self.encoding, "ignore").encode())
        except UnicodeEncodeError:
            self._refuse_bytes(b"")

    def _checked(self, block: bytes) -> bytes:
        if not block.isascii():
            try:
                block.decode()
            except UnicodeDecodeError as bad:
                self._refuse_bytes(block[: bad.start])
        if b"\0" in block:
            if not self._strip_nul:
                row = self.row_at(block[: block.index(b"\0")])
                raise DataRejected(
                    "E_NUL",
                    f"There is a NUL character in {row_label(row)}.",
                    hint="Set nul to strip to remove NUL characters.",
                    details={"row": row},
                )
            self.nuls += block.count(b"\0")
            block = block.replace(b"\0", b"")
        return block

    def row_at(self, before: bytes) -> int:
        """The data row (0: the header) in which a block goes on after `before`; exact where no cell holds a newline."""
        lines = before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
        return self.rows + lines + 1

    def _refuse_bytes(self, before: bytes) -> NoReturn:
        row = self.row_at(before)
        raise DataRejected(
            "E_ENCODING",
            f"The bytes in {row_label(row)} aren't valid {self.encoding.upper()}.",
            hint=_TEXT_HINT,
            details={"row": row, "encoding": self.encoding},
        )

    def _refuse_long_line(self, data: bytes) -> NoReturn:
        row = self.row_at(b"")
        letters = np.frombuffer(data, dtype=np.uint8)
        ends = np.flatnonzero(np.isin(letters, np.frombuffer(b",;\t|", dtype=np.uint8)))
        if row == 0 and ends.size >= self._limits.columns:
            raise too_many_columns(int(ends.size) + 1, self._limits)
        if np.diff(ends, prepend=-1, append=letters.size).max() > self._limits.cell + 1:
            raise DataRejected(
                "E_CELL",
                f"A cell in {row_label(row)} is larger than {self._limits.cell} bytes.",
                hint="Shorten the cell, or leave the column out.",
                details={"row": row, "limit": self._limits.cell},
            )
        raise long_line(row, self._limits)


def row_label(row: int) -> str:
    return f"row {row}" if row > 0 else "the header"


def long_line(row: int, limits: Limits) -> DataRejected:
    return DataRejected(
        "E_LINE",
        f"The line of {row_label(row)} is longer than {limits.line} bytes.",
        hint="Shorten the line. Does the file have line ends?",
        details={"row": row, "limit": limits.line},
    )


def too_many_columns(columns: int, limits: Limits) -> DataRejected:
    return DataRejected(
        "E_COLUMNS",
        f"The header has {columns} columns; {limits.columns} are allowed.",
        hint="Leave columns out, or turn the table round so that rows are records.",
        details={"columns": columns, "limit": limits.columns},
    )


def _last_line_end(data: bytes) -> int:
    """Where the last whole line of unfinished data ends; 0 where none does."""
    newline = data.rfind(b"\n") + 1
    # A carriage return at the very end may be half of a pair.
    return newline or data.rfind(b"\r", 0, len(data) - 1) + 1


def _check_format(head: bytes, encoding: Encoding | None) -> None:
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            _refuse_format(what)
    plain = head.removeprefix(codecs.BOM_UTF8)
    if encoding is None and _MARKUP.match(plain):
        _refuse_format("JSON" if plain.lstrip()[:1] in b"{[" else "a web page or XML")


def _refuse_format(what: str) -> NoReturn:
    raise DataRejected(
        "E_FORMAT",
        f"The content is {what}, not comma-separated text.",
        hint="Export the table as CSV with a header line and import that.",
    )


def _find_encoding(head: bytes, stated: Encoding | None) -> tuple[Encoding, int]:
    """The encoding, and how many bytes its mark takes."""
    if stated in {None, "utf-8"} and head.startswith(codecs.BOM_UTF8):
        return "utf-8", 3
    marked: Encoding | None = None
    if head.startswith(codecs.BOM_UTF16_LE):
        marked = "utf-16-le"
    elif head.startswith(codecs.BOM_UTF16_BE):
        marked = "utf-16-be"
    if marked and stated in {None, "utf-16", marked}:
        return marked, 2
    if stated == "utf-16":
        _refuse_unmarked("The file has no byte order mark.")
    if stated is None and _every_second_is_nul(head):
        _refuse_unmarked("The bytes look like UTF-16 without a byte order mark.")
    return stated or "utf-8", 0


def _every_second_is_nul(head: bytes) -> bool:
    even, odd = head[0::2], head[1::2]
    return any(
        half and half.count(0) > 0.4 * len(half) and other.count(0) == 0 for half, other in ((even, odd), (odd, even))
    )


def _refuse_unmarked(message: str) -> NoReturn:
    raise DataRejected("E_ENCODING", message, hint="State the encoding as utf-16-le or utf-16-be.", details={"row": 0})
