"""The audit log as a chain: each row's digest covers the row and all before it, and the last one is signed.

Who can write to the database, but doesn't have the installation's keys, can change rows and digests, not the
signature; and what comes after goes on only from what was signed. An old state with its old signature, put back
whole, is told by the witness: a file beside the keys that holds the last head this machine saw. A head that was noted
elsewhere tells it too.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_server.core.canonical import PREFIX, canonical_bytes, digest
from mcp_server.errors import InvalidInput

if TYPE_CHECKING:
    from mcp_server.storage.keys import Keys

FORMAT = "courtside.audit/1"
START = PREFIX + "0" * 64
"""What stands before the first row."""

BROKEN = PREFIX + "f" * 64
"""What stands before a row that goes on from a log which isn't what was signed."""

_COVERED = (
    "place",
    "request_id",
    "caller",
    "tool",
    "action",
    "outcome",
    "subject",
    "arguments_digest",
    "trace_id",
    "details",
)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain.

    Args:
        place: of the last row, from 1; 0 where there is none.
        chain: its digest, which covers every row.
    """

    place: int
    chain: str

    def __str__(self) -> str:
        return f"{self.place}:{self.chain}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """A head as `str` writes it.

        Raises:
            InvalidInput: it isn't one.
        """
        place, _, chain = text.partition(":")
        hexadecimal = chain.removeprefix(PREFIX)
        if not (place.isascii() and place.isdigit() and chain.startswith(PREFIX) and len(hexadecimal) == 64):
            raise InvalidInput("That isn't a head of the audit log.", hint="It looks like 120:sha256:...")
        return cls(int(place), chain)


EMPTY = Head(0, START)


def link(before: str, row: Mapping[str, Any]) -> str:
    """The digest of a row and of all before it.

    Args:
        before: the digest of the row before, or `START`.
        row: every column of the row but `id` and `chain`; `at` is aware.
    """
    content = {name: row[name] for name in _COVERED}
    return digest({"format": FORMAT, "before": before, "at": row["at"].isoformat(timespec="microseconds"), **content})


def sign(keys: Keys, head: Head, of: str = FORMAT) -> bytes:
    """The installation's signature over a head.

    Args:
        of: the format of the chain, so that the head of one isn't taken for another's.
    """
    return keys.sign(_signed(head, of))


def is_signed(keys: Keys, head: Head, signature: bytes, of: str = FORMAT) -> bool:
    """Whether `sign` made it, with these keys and for this head."""
    return keys.verify(_signed(head, of), signature)


def _signed(head: Head, of: str) -> bytes:
    return canonical_bytes({"format": of, "head": str(head)})


class Witness:
    """The last head that this machine saw of a chain, in a file of its own.

    Args:
        path: in the folder of the keys; made with the first head.
        of: what the chain is, for a sentence.
    """

    def __init__(self, path: Path, of: str = "audit log") -> None:
        self.path, self._of = path, of

    def read(self) -> Head | None:
        """The head, or None where none was noted.

        Raises:
            InvalidInput: the file holds something else.
        """
        try:
            return Head.parse(json.loads(self.path.read_text())["head"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise InvalidInput(
                f"The witness of the {self._of} can't be read.",
                hint=f"Look who changed {self.path.name} beside the keys; without it, the next change makes one.",
            ) from None

    def seen(self) -> Head | None:
        """The head; None also where the file is damaged, which `read` tells."""
        try:
            return self.read()
        except InvalidInput:
            return None

    def note(self, head: Head) -> None:
        """Keep a head, unless a later one is kept; a damaged file is left for `read` to tell.

        Blocking, well under a millisecond: what a power cut takes of it only makes the witness older.
        """
        try:
            kept = self.read()
        except InvalidInput:
            return
        if kept is not None and kept.place >= head.place:
            return
        handle, draft = tempfile.mkstemp(dir=self.path.parent, prefix=".audit.")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump({"head": str(head)}, file)
            os.replace(draft, self.path)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise
