"""Patterns of text: RE2, which answers in time linear in the text, whatever the pattern.

Python's own `re` can take minutes for thirty characters, so it never sees a pattern that came from outside.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from mcp_server.errors import DataRejected

MAX_LENGTH = 200
_MEMORY = 1 << 20  # bytes for a compiled pattern; what needs more is refused


# Letters, digits, classes of them, escaped signs, groups, alternatives and repeats: what RE2 and Rust's engine, which
# polars has and which is linear too, read alike once \d, \w and \s are written out. Their \<, flags and more differ.
_ALIKE = re.compile(
    r"(?:\\[!-/:;=?@\[-^`{-~]|\\[dws]|\[(?:[A-Za-z0-9]-[A-Za-z0-9]|[A-Za-z0-9])+\]|[A-Za-z0-9 _/:,;@#%&=~<>'\"!-]"
    r"|\((?!\?)|[)|.]|[+*?]|\{[0-9]{1,3}(?:,[0-9]{0,3})?\})+"
)
_ESCAPE = re.compile(r"\\(.)")
_CLASSES = {"d": "[0-9]", "w": "[0-9A-Za-z_]", "s": "[\\t\\n\\f\\r ]"}


def for_columns(text: str) -> str | None:
    r"""A pattern as polars reads it, to match whole columns; None where the two may differ.

    >>> for_columns(r"[A-Z]{3}-\d+"), for_columns("(?i)a")
    ('[A-Z]{3}-[0-9]+', None)
    """
    if _ALIKE.fullmatch(text) is None:
        return None
    return _ESCAPE.sub(lambda found: _CLASSES.get(found[1], found[0]), text)


class Pattern:
    """A compiled pattern.

    Args:
        text: RE2 syntax, at most 200 characters; `\\d`, `\\w` and `\\s` are ASCII.
    Raises:
        DataRejected: `E_CONTRACT`: it isn't in RE2's syntax, or too large.

    >>> Pattern("[A-Z]{3}").matches("BOS"), Pattern("[A-Z]{3}").matches("BOSTON")
    (True, False)
    """

    def __init__(self, text: str) -> None:
        # It's wanted only where a contract has a pattern.
        import re2

        options = re2.Options()
        options.max_mem = _MEMORY
        options.log_errors = False
        if not 0 < len(text) <= MAX_LENGTH:
            raise _refusal(f"A pattern has 1 to {MAX_LENGTH} characters.")
        try:
            self._compiled: Any = re2.compile(text, options)
        except (re2.error, UnicodeEncodeError):
            raise _refusal("The pattern isn't in RE2's syntax, or too large.") from None

    def matches(self, value: str) -> bool:
        """Whether the whole value has the pattern; text with half of a surrogate pair never has."""
        try:
            return self._compiled.fullmatch(value) is not None
        except UnicodeEncodeError:
            return False


@functools.lru_cache(maxsize=256)
def compiled(text: str) -> Pattern:
    """The pattern, compiled once. Raises as `Pattern` does."""
    return Pattern(text)


def _refusal(message: str) -> DataRejected:
    hint = "Write RE2, such as [A-Z]{3}-[0-9]+: no look-around, no back references, repeats up to 1,000."
    return DataRejected("E_CONTRACT", message, hint=hint)
