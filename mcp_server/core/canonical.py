"""One way to write a JSON value as bytes, so that equal values have equal digests everywhere.

Keys are sorted by code point, nothing is indented, text is UTF-8, and a float is written in the shortest form that
reads back as the same number. `1` and `1.0` are different values, and so are `0.0` and `-0.0`.
"""

from __future__ import annotations

import hashlib
import json
import math

from mcp_server.errors import InvalidInput

PREFIX = "sha256:"
MAX_DEPTH = 200


def canonical_bytes(value: object) -> bytes:
    """Write a JSON value in its one canonical form.

    Args:
        value: None, bool, int, finite float, str, or lists, tuples and str-keyed dicts of these; at most 200 deep.
    Returns:
        UTF-8 bytes; the same for a tuple as for a list, and for any order of keys.
    Raises:
        InvalidInput: a number isn't finite, a key isn't text, text holds a lone surrogate, or the value isn't JSON.

    >>> canonical_bytes({"b": [1, 2.0, None], "a": "é"}).decode()
    '{"a":"é","b":[1,2.0,null]}'
    """
    _check(value, 0)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            "Text holds half of a surrogate pair, which no encoding can store.",
            hint="Send text that is valid Unicode.",
        ) from None


def digest(value: object) -> str:
    """The SHA-256 of a JSON value's canonical form, as `sha256:<64 hex digits>`.

    Args:
        value: as for `canonical_bytes`.
    Raises:
        InvalidInput: as for `canonical_bytes`.

    >>> digest({})
    'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'
    """
    return digest_of_bytes(canonical_bytes(value))


def digest_of_bytes(content: bytes) -> str:
    """The SHA-256 of bytes, as `sha256:<64 hex digits>`."""
    return PREFIX + hashlib.sha256(content).hexdigest()


def _check(value: object, depth: int) -> None:
    """Refuse what `json.dumps` would change silently, such as a key that it turns into text."""
    if isinstance(value, str | int) or value is None:
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput("A number is infinite or not a number.", hint="Send finite numbers, or null.")
        return
    if depth >= MAX_DEPTH:
        raise InvalidInput(f"The value is nested more than {MAX_DEPTH} deep.", hint="Send a flatter value.")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidInput("A key of an object isn't text.", hint="Write every key as a string.")
            _check(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth + 1)
    else:
        raise InvalidInput(
            f"A value of type {type(value).__name__} can't be written as JSON.",
            hint="Send numbers, text, true, false, null, lists and objects.",
        )
