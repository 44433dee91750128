"""Lists in bounded parts: what a cursor is, and how a part is cut."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from mcp_server.errors import InvalidInput
from mcp_server.storage.records import Page

T = TypeVar("T")

MAX_LIMIT = 1_000
MAX_CURSOR = 512


def rows_wanted(limit: int) -> int:
    """How many rows to read for a part: one more, to see whether there are others.

    Raises:
        InvalidInput: the limit isn't between 1 and 1,000.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"The limit must be between 1 and {MAX_LIMIT}.", hint="Ask for fewer, and use the cursor.")
    return limit + 1


def page_of(found: Sequence[T], limit: int, key: Callable[[T], str | int]) -> Page[T]:
    """Cut a part from what `rows_wanted(limit)` rows gave.

    Args:
        key: what the list is ordered by; the cursor holds the last one.
    """
    items = tuple(found[:limit])
    more = len(found) > limit
    return Page(items, _encode(key(items[-1])) if more else None)


def text_after(cursor: str | None) -> str | None:
    """The text key that a cursor stands behind; None for the beginning.

    Raises:
        InvalidInput: it isn't a cursor of such a list.
    """
    key = _decode(cursor)
    if key is not None and not isinstance(key, str):
        raise _bad_cursor()
    return key


def number_after(cursor: str | None) -> int | None:
    """The number that a cursor stands behind; None for the beginning.

    Raises:
        InvalidInput: it isn't a cursor of such a list.
    """
    key = _decode(cursor)
    if key is not None and (not isinstance(key, int) or not 0 <= key < 2**63):
        raise _bad_cursor()
    return key


def contains(text: str) -> str:
    """A LIKE pattern for `text` anywhere, to be used with `escape="\\\\"`."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _encode(key: str | int) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _decode(cursor: str | None) -> str | int | None:
    if cursor is None:
        return None
    if len(cursor) > MAX_CURSOR or not cursor.isascii():
        raise _bad_cursor()
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if isinstance(key, str) and b"\0" in key.encode():  # half of a surrogate pair isn't text either
            raise ValueError("no database takes it")
    except (ValueError, binascii.Error, RecursionError):
        raise _bad_cursor() from None
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise _bad_cursor()
    return key


def _bad_cursor() -> InvalidInput:
    return InvalidInput("The cursor isn't one that this list gave.", hint="Leave the cursor out to begin again.")
