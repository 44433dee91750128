"""Where cells and lines end, over a whole block at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Letters = np.ndarray[Any, np.dtype[np.uint8]]
Indices = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool]]

_NEWLINE = ord("\n")
_RETURN = ord("\r")
_QUOTE = ord('"')


@dataclass(frozen=True, slots=True)
class Cells:
    """A block, measured.

    Args:
        data: whole lines, each ended by one newline.
        ends: positions of the delimiters and newlines that end cells, ascending.
        newline: for each of these, whether it ends a line.
    """

    data: bytes
    ends: Indices
    newline: Flags

    @property
    def lines(self) -> int:
        return int(self.newline.sum())

    @property
    def widths(self) -> Indices:
        """Cells of each line."""
        return np.diff(np.flatnonzero(self.newline), prepend=-1)

    @property
    def sizes(self) -> Indices:
        """Bytes of each cell, quotes included."""
        return np.diff(self.ends, prepend=-1) - 1

    @property
    def lengths(self) -> Indices:
        """Bytes of each line, without its end."""
        return np.diff(self.ends[self.newline], prepend=-1) - 1

    def regular(self, width: int) -> bool:
        """Whether every line has `width` cells; a blank line has one."""
        return self.newline.size == self.lines * width and bool(self.newline[width - 1 :: width].all())


def plain_ends(data: bytes) -> bytes:
    """The same lines, each ended by one newline, where no cell holds a line end."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data if data.endswith(b"\n") else data + b"\n"


def measure(data: bytes, delimiter: str) -> Cells:
    """Measure lines that have no quote."""
    letters = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero((letters == ord(delimiter)) | (letters == _NEWLINE))
    return Cells(data, ends, letters[ends] == _NEWLINE)


def measure_quoted(data: bytes, delimiter: str) -> tuple[Cells, bytes] | None:
    """Measure lines with quotes, where every quote begins or ends a cell or stands double, as RFC 4180 has it.

    Args:
        data: whole lines, of which the last may end inside a quoted cell.
    Returns:
        the lines up to the last one that is whole, and the rest; None where a quote stands elsewhere, a line within
        quotes never ends, or a cell holds a carriage return: another reader has to look at it.
    """
    letters = np.frombuffer(data, dtype=np.uint8)
    quote = letters == _QUOTE
    # A quote turns "inside" on and off; a double one, off and on again.
    inside = np.bitwise_xor.accumulate(quote.view(np.uint8)).view(np.bool)
    newlines = np.flatnonzero((letters == _NEWLINE) & ~inside)
    if not newlines.size:
        return None
    end = int(newlines[-1]) + 1
    letters, quote, inside = letters[:end], quote[:end], inside[:end]
    returns = letters == _RETURN
    if returns.any():
        again = None if (returns & inside).any() else measure_quoted(plain_ends(data[:end]), delimiter)
        return again and (again[0], data[end:])
    marks = np.flatnonzero(quote)
    around = np.zeros(256, dtype=np.bool)
    around[[ord(delimiter), _NEWLINE, _QUOTE]] = True
    opening, closing = marks[0::2], marks[1::2]
    before = letters[opening[opening > 0] - 1]
    if not (around[before].all() and around[letters[closing + 1]].all()):
        return None
    ends = np.flatnonzero(((letters == ord(delimiter)) | (letters == _NEWLINE)) & ~inside)
    return Cells(data[:end], ends, letters[ends] == _NEWLINE), data[end:]


def zero_led(cells: Cells, width: int) -> frozenset[int]:
    """The columns with a cell that begins with a zero, after a sign or not, and goes on with a digit.

    Args:
        cells: regular, without quotes.
    """
    letters = np.frombuffer(cells.data, dtype=np.uint8)
    starts = np.concatenate([[0], cells.ends[:-1] + 1])
    first = letters[starts]
    starts += (first == ord("-")) | (first == ord("+"))
    # A cell's end follows every cell, so that the next letter is always there.
    zero = np.flatnonzero(letters[starts] == ord("0"))
    following = letters[starts[zero] + 1]
    led = zero[(following >= ord("0")) & (following <= ord("9"))]
    return frozenset(np.unique(led % width).tolist())
