"""Delimited text as blocks of text: checked bytes, rows as wide as the header, or a refusal with row and column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from mcp_server.core.ingest.header import read_header
from mcp_server.core.ingest.options import CsvOptions, Limits, Note
from mcp_server.core.ingest.rows import Block, Rows
from mcp_server.core.ingest.stream import Lines


class CsvText:
    """A file of comma-, semicolon-, tab- or bar-separated text with a header line.

    Args:
        file: open for reading in binary mode, seekable.
    Attributes:
        names: of the columns.
        notes: about the header.
    Raises:
        DataRejected: the bytes or the header are refused; see `Lines` and `read_header`.
    """

    def __init__(self, file: BinaryIO, limits: Limits, options: CsvOptions) -> None:
        self._lines = Lines(file, limits, encoding=options.encoding, strip_nul=options.nul == "strip")
        header = read_header(self._lines, options, limits)
        self._rows = Rows(self._lines, header, options, limits)
        self.names = header.names
        self.notes = header.notes
        self.delimiter: str = header.delimiter
        self.encoding: str = self._lines.encoding

    @property
    def rows(self) -> int:
        """Rows before the current block."""
        return self._lines.rows

    @property
    def share(self) -> float:
        """How much of the file has been read, 0..1."""
        return self._lines.share

    def blocks(self) -> Iterator[Block]:
        """All rows in order; see `Rows.blocks`."""
        return self._rows.blocks()

    def end_notes(self) -> list[Note]:
        """What is to be told once all blocks were read."""
        rows, lines = self._rows, self._lines
        notes = []
        if lines.encoding != "utf-8":
            notes.append(Note("encoding", f"The file was read as {lines.encoding.upper()}."))
        if rows.blank:
            notes.append(Note("blank_lines", f"{rows.blank} blank lines were left out.", count=rows.blank))
        if rows.padded:
            notes.append(Note("padded_rows", f"{rows.padded} short rows were filled up.", count=rows.padded))
        if lines.nuls:
            notes.append(Note("nul_removed", f"{lines.nuls} NUL characters were removed.", count=lines.nuls))
        return notes
