"""What is said of a model file: a kind, a verdict, findings by code and place, and what wasn't looked at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from mcp_server.core.labels import label

FileVerdict = Literal["data-only", "unsafe", "not understood"]

MOST_FINDINGS = 20
MOST_OPCODES = 4_000_000
MOST_UNPACKED = 512 * 1024 * 1024
MOST_RATIO = 200
RATIO_FROM = 128 * 1024 * 1024
"""Weights that are mostly zero pack a thousandfold: below this size, no ratio is a bomb."""
MOST_DEPTH = 3

UNSAFE = {
    "foreign_name": "It names something that isn't on the list.",
    "foreign_call": "It calls something in a way that models don't.",
    "foreign_state": "It sets state where or as models don't.",
    "foreign_reference": "It refers to something outside of the file.",
    "foreign_layer": "A layer or object in its configuration isn't on the list.",
    "foreign_operator": "A node isn't of a standard operator set.",
    "out_of_bounds": "A tree leads out of its array or in a circle: compiled code would follow.",
    "second_content": "It holds more than one file: two readers would read two things.",
    "bomb": "It would grow out of all proportion.",
    "archive_trap": "The archive's directory has a trap: a path, a link, a twin or an overlap.",
    "runs_code": "The format holds a program.",
}
NOT_UNDERSTOOD = {
    "damaged": "It's cut off or breaks its format.",
    "unknown_kind": "The content isn't of a kind that is read here.",
    "uncheckable": "The kind is known, and isn't read here.",
    "unknown_part": "It has a part that isn't known here.",
    "too_large": "It's beyond what is looked through.",
}
CODES = UNSAFE | NOT_UNDERSTOOD
"""Every code with its meaning; those of `UNSAFE` make a file unsafe, the others leave it not understood."""


@dataclass(frozen=True, slots=True)
class FileFinding:
    """One reason why a file isn't data-only.

    Args:
        code: of `CODES`.
        where: the way through nested files, and the byte offset or path there.
        what: a sentence; names from the file stand in it quoted, cut and cleaned.
    """

    code: str
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class ModelFileReport:
    """What a file is, and whether loading it would run anything but scikit-learn's and numpy's own constructors.

    Args:
        kind: such as `joblib (zlib)`; `unknown` where it can't be told.
        verdict: `data-only` where all of it was read and nothing is outside of the lists; never by default.
        findings: the first `MOST_FINDINGS`; empty for data-only.
        found: how many there are.
        holds: class names that it would build, the root first where there is one.
        counts: bytes, opcodes, arrays, entries, layers... as the kind has them.
        digest: `sha256:` of the file.
        unchecked: sentences: what a data-only file of this kind may still hide.
    """

    kind: str
    verdict: FileVerdict
    findings: tuple[FileFinding, ...]
    found: int
    holds: tuple[str, ...]
    counts: dict[str, int]
    digest: str
    unchecked: tuple[str, ...]


class Unread(Exception):
    """Reading of one part ends here.

    Args:
        code: of `CODES`.
        what: a sentence.
        at: a byte offset in the part, or a path.
        fails: whether every unpickler ends with an error there, and not only this reader.
    """

    def __init__(self, code: str, what: str, at: int | str | None = None, *, fails: bool = False) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.at = at
        self.fails = fails


@dataclass(slots=True)
class FileReading:
    """What is gathered while a file is read, and how much of it may still be.

    Args:
        opcodes: pickle opcodes that may still be read, over all parts of the file.
        unpacked: bytes that may still be unpacked, over all parts.
    """

    opcodes: int = MOST_OPCODES
    unpacked: int = MOST_UNPACKED
    findings: list[FileFinding] = field(default_factory=list)
    found: int = 0
    unsafe: bool = False
    holds: dict[str, None] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    unchecked: dict[str, None] = field(default_factory=dict)
    way: tuple[str, ...] = ()
    """The entries that lead to the part that is being read."""
    root: Any = None
    """What the file describes: of a pickle its root as `values`, of a skops file its schema and archive."""

    def add(self, code: str, what: str, at: int | str | None = None) -> None:
        """Keep a finding; the same one twice counts once more and is told once."""
        place = at if isinstance(at, str) else f"byte {at:,}" if at is not None else "the file"
        self.found += 1
        self.unsafe |= code in UNSAFE
        if len(self.findings) < MOST_FINDINGS and not any(
            (one.code, one.what) == (code, what) for one in self.findings
        ):
            self.findings.append(FileFinding(code, " > ".join([*self.way, place]), what))

    def take_unpacked(self, size: int, packed: int, at: int | str | None = None) -> None:
        """Account for bytes that are about to be unpacked.

        Raises:
            Unread: bomb or too_large.
        """
        if size > RATIO_FROM and size > MOST_RATIO * max(packed, 1):
            raise Unread("bomb", f"{packed:,} bytes would become {size:,}.", at)
        if size > self.unpacked:
            raise Unread("too_large", f"More than {MOST_UNPACKED:,} bytes unpacked.", at)
        self.unpacked -= size

    def hold(self, name: str) -> None:
        if len(self.holds) < MOST_FINDINGS:
            self.holds[name] = None


def quoted(name: str) -> str:
    """A name from the file for a sentence of ours; letters that only look like others are written out."""
    return ascii(label(name, 96))
