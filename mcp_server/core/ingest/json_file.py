"""JSON and lines of JSON as blocks of text, strictly: one shape, no key twice, nothing that JSON doesn't have."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

import polars as pl

from mcp_server.core.ingest.header import check_names
from mcp_server.core.ingest.options import CsvOptions, Limits, Note
from mcp_server.core.ingest.rows import Block, internal, missing_where_empty
from mcp_server.core.labels import place
from mcp_server.errors import DataRejected

MAX_DEPTH = 64
_SPACE = re.compile(r"[ \t\r\n]*")
_SHAPE_HINT = "A table in JSON is an array of flat objects with the same keys, or one such object a line."
# A parsed value takes several times the room of its text.
_SHARE_OF_BLOCK = 4


class _Number(str):
    """The text of a number, told apart from text."""

    __slots__ = ()


class JsonText:
    """A file of objects as rows of text.

    Numbers stay the text that they were, to be typed by the rules for all text. Text stays text, dates excepted:
    JSON itself says what's a number.

    Args:
        file: open for reading in binary mode, seekable.
        lines: one object a line; otherwise one array of objects.
    Attributes:
        names: the keys of the first object.
        rows: rows before the current block.
    Raises:
        DataRejected: `E_SIZE`, `E_NO_ROWS`, or one of those of `blocks`.
    """

    delimiter = ""

    def __init__(self, file: BinaryIO, limits: Limits, options: CsvOptions, *, lines: bool) -> None:
        self._file = file
        self._limits = limits
        self._options = options
        self.encoding: str = options.encoding or "utf-8"
        self.size = file.seek(0, 2)
        file.seek(0)
        limits.check_size(self.size)
        self._decoder = codecs.getincrementaldecoder(self.encoding)()
        self._ended = False
        self._begun = 0
        self._count = 0
        self._where: dict[str, int] = {"row": 1}
        self._parser = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=self._refuse_constant,
        )
        self._elements = self._each_line() if lines else self._each_element()
        self.rows = 0
        self.padded = 0
        self.nuls = 0
        first = next(self._elements, None)
        if first is None:
            raise DataRejected("E_NO_ROWS", "The file has no objects.", hint="Is it the right file?")
        if not first:
            self._refuse("E_SHAPE", "has no keys", _SHAPE_HINT)
        notes: list[Note] = []
        self.names = check_names(list(self._flat(first)), options, limits, notes)
        self._keys = tuple(first)
        self._first = first
        self._kinds: list[type | None] = [None] * len(self.names)
        self.notes = tuple(notes)

    @property
    def share(self) -> float:
        return self._file.tell() / self.size

    def end_notes(self) -> list[Note]:
        """What is to be told once all blocks were read."""
        notes = []
        if self.encoding != "utf-8":
            notes.append(Note("encoding", f"The file was read as {self.encoding.upper()}."))
        if self.padded:
            notes.append(Note("padded_rows", f"{self.padded} objects lack keys.", count=self.padded))
        if self.nuls:
            notes.append(Note("nul_removed", f"{self.nuls} texts with NUL characters lost these.", count=self.nuls))
        return notes

    def blocks(self) -> Iterator[Block]:
        """All rows in order.

        Raises:
            DataRejected: `E_JSON`, `E_SHAPE`, `E_NESTED`, `E_DEPTH`, `E_DUP_KEY`, `E_NONFINITE`, `E_ENCODING`,
                `E_NUL`, `E_CELL`, `E_LINE`; details hold `row` (from 1), and `line` where each object has one.
        """
        room = max(1, self._limits.block // _SHARE_OF_BLOCK)
        gathered = [self._row(self._first)]
        begun = self._begun
        for element in self._elements:
            gathered.append(self._row(element))
            if self._begun - begun >= room:
                yield self._block(gathered)
                self.rows += len(gathered)
                gathered, begun = [], self._begun
        if gathered:
            yield self._block(gathered)
            self.rows += len(gathered)

    def _more(self) -> str:
        raw = self._file.read(self._limits.block)
        self._ended = not raw
        return self._decoded(raw, final=not raw)

    def _decoded(self, raw: bytes, *, final: bool) -> str:
        first = self._file.tell() == len(raw)
        try:
            text = self._decoder.decode(raw, final)
        except UnicodeDecodeError:
            self._refuse("E_ENCODING", f"isn't valid {self.encoding.upper()}", "Save the file as UTF-8.")
        return text.removeprefix("\ufeff") if first else text

    def _each_line(self) -> Iterator[dict[str, Any]]:
        line = 0
        while raw := self._file.readline(self._limits.line + 3):
            line += 1
            self._where = {"row": self._count + 1, "line": line}
            if len(raw.rstrip(b"\r\n")) > self._limits.line:
                self._refuse("E_LINE", f"is longer than {self._limits.line} bytes", "Shorten the line.")
            text = self._decoded(raw, final=True)
            if _space(text, 0) == len(text):
                continue
            self._count += 1
            try:
                value, end = self._parser.raw_decode(text, _space(text, 0))
            except ValueError:
                self._refuse_json()
            except RecursionError:
                self._refuse_depth()
            if _space(text, end) != len(text):
                self._refuse_json()
            self._begun += len(raw)
            yield self._checked(value, "\\u" in text)

    def _each_element(self) -> Iterator[dict[str, Any]]:
        text, at = self._past_space("", 0)
        if not text.startswith("[", at):
            self._refuse("E_JSON", "isn't where an array begins", _SHAPE_HINT)
        text, at = self._past_space(text, at + 1)
        empty = text.startswith("]", at)
        while not empty:
            self._count += 1
            self._where = {"row": self._count}
            text, at, value, end = self._element(text, at)
            self._begun += end - at
            yield self._checked(value, text.find("\\u", at, end) >= 0)
            text, at = self._past_space(text, end)
            if text.startswith("]", at):
                break
            if not text.startswith(",", at):
                self._refuse_json()
            text, at = self._past_space(text, at + 1)
        text, at = self._past_space(text, at + 1)
        if at < len(text):
            self._refuse("E_JSON", "is followed by something after the array", _SHAPE_HINT)

    def _element(self, text: str, at: int) -> tuple[str, int, Any, int]:
        """The text with a whole value in it, where that begins, the value, and where it ends."""
        while True:
            try:
                value, end = self._parser.raw_decode(text, at)
            except ValueError:
                # Cut off by the block's end, or wrong: more text tells.
                if self._ended or len(text) - at > self._limits.line:
                    self._refuse_json()
                text, at = text[at:] + self._more(), 0
            except RecursionError:
                self._refuse_depth()
            else:
                return text, at, value, end

    def _past_space(self, text: str, at: int) -> tuple[str, int]:
        at = _space(text, at)
        while at == len(text) and not self._ended:
            text, at = self._more(), 0
            at = _space(text, at)
        return text, at

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            self._refuse("E_DUP_KEY", "has a key twice", "Write each key once.")
        return found

    def _checked(self, value: Any, escaped: bool) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._refuse("E_SHAPE", "isn't an object", _SHAPE_HINT)
        if escaped and not _encodable(value):
            self._refuse("E_ENCODING", "holds half of a surrogate pair", "Write the whole character.")
        return value

    def _flat(self, element: dict[str, Any]) -> dict[str, Any]:
        for position, (name, value) in enumerate(element.items(), start=1):
            if isinstance(value, dict | list):
                if _deeper_than(value, MAX_DEPTH - 2):
                    self._refuse_depth()
                self._refuse("E_NESTED", f"holds a list or an object in {place(name, position)}", _SHAPE_HINT)
        return element

    def _row(self, element: dict[str, Any]) -> tuple[Any, ...]:
        keys = self._keys
        if tuple(element) == keys:
            return tuple(element.values())
        further = [name for name in element if name not in self._first]
        if further:
            self._flat(element)
            self._refuse("E_SHAPE", "has a key that the first one doesn't have", _SHAPE_HINT)
        if len(element) < len(keys):
            if self._options.short_rows == "refuse":
                position = next(at for at, key in enumerate(keys) if key not in element)
                self._refuse(
                    "E_SHAPE",
                    f"has no key for {place(self.names[position], position + 1)}",
                    "Set short_rows to pad to read what lacks as missing.",
                )
            self.padded += 1
        return tuple(element.get(key) for key in keys)

    def _block(self, gathered: list[tuple[Any, ...]]) -> Block:
        columns = [self._column(at, list(values)) for at, values in enumerate(zip(*gathered, strict=True))]
        quoted = frozenset(at for at, kind in enumerate(self._kinds) if kind is str)
        return Block(missing_where_empty(pl.DataFrame(columns)), zero_led=frozenset(), quoted=quoted)

    def _column(self, at: int, values: list[Any]) -> pl.Series:
        kinds = set(map(type, values)) - {type(None)}
        if kinds and self._kinds[at] is None:
            self._kinds[at] = next(type(value) for value in values if value is not None)
        expected = self._kinds[at]
        if kinds - {expected} or expected in {dict, list}:
            self._refuse_kind(at, values, expected)
        if expected is bool:
            values = [None if value is None else "true" if value else "false" for value in values]
        column = pl.Series(internal(at), values, dtype=pl.String)
        if expected is str:
            column = self._without_nul(at, column)
            large = (column.str.len_bytes() > self._limits.cell).fill_null(False)
            if large.any():
                self._where = {"row": self.rows + int(large.arg_max() or 0) + 1}
                what = f"has more than {self._limits.cell} bytes in {self._place(at)}"
                self._refuse("E_CELL", what, "Shorten the text.")
        return column

    def _without_nul(self, at: int, column: pl.Series) -> pl.Series:
        marked = column.str.contains("\0", literal=True).fill_null(False)
        if not marked.any():
            return column
        if self._options.nul == "refuse":
            self._where = {"row": self.rows + int(marked.arg_max() or 0) + 1}
            self._refuse("E_NUL", f"has a NUL character in {self._place(at)}", "Set nul to strip to remove them.")
        self.nuls += int(marked.sum())
        return column.str.replace_all("\0", "", literal=True)

    def _refuse_kind(self, at: int, values: list[Any], expected: type | None) -> NoReturn:
        for row, value in enumerate(values, start=self.rows + 1):
            self._where = {"row": row}
            if isinstance(value, dict | list):
                self._flat({self._keys[at]: value})
            if value is not None and type(value) is not expected:
                break
        self._refuse(
            "E_SHAPE",
            f"has a value in {self._place(at)} of another type than before",
            "Write all values of a key as numbers, or all as text, or all as true and false.",
        )

    def _place(self, at: int) -> str:
        return place(self.names[at], at + 1)

    def _refuse_constant(self, _word: str) -> NoReturn:
        self._refuse(
            "E_NONFINITE", "holds NaN or Infinity, which JSON doesn't have", "Write null for a missing number."
        )

    def _refuse_depth(self) -> NoReturn:
        self._refuse("E_DEPTH", f"is nested deeper than {MAX_DEPTH}", _SHAPE_HINT)

    def _refuse_json(self) -> NoReturn:
        self._refuse("E_JSON", "isn't valid JSON, or is cut off", _SHAPE_HINT)

    def _refuse(self, code: str, what: str, hint: str) -> NoReturn:
        where = f"line {self._where['line']}" if "line" in self._where else f"object {self._where['row']}"
        raise DataRejected(code, f"In the file, {where} {what}.", hint=hint, details=dict(self._where))


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _encodable(value: dict[str, Any]) -> bool:
    try:
        for key, cell in value.items():
            key.encode()
            if isinstance(cell, str):
                cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _deeper_than(value: Any, most: int) -> bool:
    level = [value]
    depth = 0
    while level:
        depth += 1
        if depth > most:
            return True
        inner = [value.values() if isinstance(value, dict) else value for value in level]
        level = [cell for cells in inner for cell in cells if isinstance(cell, dict | list)]
    return False
