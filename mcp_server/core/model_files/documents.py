"""JSON from a model file: every key once, and walked without recursion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mcp_server.core.model_files.report import Unread

MOST_BYTES = 64 * 1024 * 1024


def read_json(raw: memoryview | bytes, at: int | str | None = None) -> Any:
    """Read JSON.

    Raises:
        Unread: it isn't JSON, is too large or deep, or has a key twice.
    """
    if len(raw) > MOST_BYTES:
        raise Unread("too_large", f"Its JSON has more than {MOST_BYTES:,} bytes.", at)
    try:
        text = bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise Unread("damaged", "Its JSON isn't UTF-8.", at) from None
    try:
        return json.loads(text, object_pairs_hook=_once)
    except _TwiceKeyed:
        raise Unread(
            "second_content", "An object of its JSON has a key twice; two readers read two things.", at
        ) from None
    except RecursionError:
        raise Unread("too_large", "Its JSON is nested too deeply.", at) from None
    except ValueError:
        raise Unread("damaged", "It isn't JSON.", at) from None


class _TwiceKeyed(Exception):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _TwiceKeyed
    return made


def walk(document: Any) -> Iterator[tuple[str, Any]]:
    """Every object and list of a document with the path to it, the outermost first."""
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        path, part = waiting.pop()
        if isinstance(part, dict):
            yield path, part
            waiting += [(f"{path}/{str(key)[:40]}", value) for key, value in part.items()]
        elif isinstance(part, list):
            yield path, part
            waiting += [(f"{path}/{number}", value) for number, value in enumerate(part)]
