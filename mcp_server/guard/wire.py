"""What a message must be before anything else reads it: strict, small JSON that is one JSON-RPC message.

The protocol library is lenient where a gap would open: it takes NaN and 1e999, lets the last of two equal keys win,
echoes identifiers of a megabyte, and answers some malformed lines with silence. Everything here refuses instead, with
a message of ours that repeats nothing of the input.
"""

from __future__ import annotations

from typing import Any

import orjson

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_KEYS = 100_000
MAX_VALUES = 250_000
MAX_ID = 128
SLOW_BYTES = 64 * 1024
"""From this size on a check takes longer than an event loop should stand still (about 1 ms)."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600

_INT64 = 2**63
_STRUCTURE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")

RequestId = str | int | None


class WireError(ValueError):
    """A message that goes no further.

    Args:
        code: the JSON-RPC error code, -32700 (not readable as JSON) or -32600 (not one proper message).
        message: what was wrong, in our words, without a byte of the input.
        id: the request's own id where it could be read, for the reply; otherwise None.
    """

    def __init__(self, code: int, message: str, id: RequestId = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id

    def reply(self) -> bytes:
        """The JSON-RPC error response, without a line end."""
        error = {"code": self.code, "message": self.message}
        return orjson.dumps({"jsonrpc": "2.0", "id": self.id, "error": error})


def check_message(raw: bytes) -> dict[str, Any]:
    """Read one JSON-RPC message strictly.

    Args:
        raw: the bytes of a line or of a request body.
    Returns:
        the message, decoded; what it accepts, the protocol library's own envelope accepts too.
    Raises:
        WireError: not UTF-8, not JSON, not finite, too large, too deep, too many keys, a key twice, a batch, or an
            envelope that isn't JSON-RPC 2.0.
    """
    message = parse(raw)
    if not isinstance(message, dict):
        if isinstance(message, list):
            raise WireError(INVALID_REQUEST, "Batches aren't served: send one JSON-RPC message at a time.")
        raise WireError(INVALID_REQUEST, "A message must be a JSON object.")
    _check_envelope(message)
    return message


def parse(raw: bytes) -> Any:
    """Decode JSON strictly: valid UTF-8, finite numbers, every key once, bounded size, depth and key count.

    Args:
        raw: at most 4 MiB of JSON.
    Returns:
        the value. Integers beyond 64 bits come back as floats: read those from the original where they matter.
    Raises:
        WireError: with code -32700 for what isn't JSON, -32600 for what is but breaks a bound.
    """
    if len(raw) > MAX_BYTES:
        raise WireError(PARSE_ERROR, f"The message is larger than {MAX_BYTES // 2**20} MiB.")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise WireError(
            PARSE_ERROR, "The message isn't strict JSON: UTF-8, finite numbers and paired surrogates only."
        ) from None
    if not isinstance(value, dict | list):
        return value
    structure = _outside_strings(raw)
    brackets = structure.translate(_STRUCTURE, _NOT_BRACKETS)
    if structure.count(b",") + len(brackets) // 2 > MAX_VALUES:
        raise WireError(INVALID_REQUEST, f"The message has more than {MAX_VALUES:,} values.", _id_of(value))
    _check_depth(brackets, value)
    keys = structure.count(b":")
    if keys > MAX_KEYS:
        raise WireError(
            INVALID_REQUEST,
            f"The message has more than {MAX_KEYS:,} keys; send fewer rows at once, or name a stored data set.",
            _id_of(value),
        )
    # A decoder keeps one of two equal keys, so a message that lost a colon on the way through it had a key twice.
    if keys > 1 and _outside_strings(orjson.dumps(value)).count(b":") != keys:
        known = _id_of(value) if raw.count(b'"id"') == 1 else None
        raise WireError(INVALID_REQUEST, "An object in the message has the same key twice.", known)
    return value


def _outside_strings(json: bytes) -> bytes:
    """The structure of valid JSON: everything that isn't inside a string."""
    if b"\\" in json:
        # Pairs first: what remains of backslashes before a quote does escape it.
        json = json.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(json.split(b'"')[::2])


def _check_depth(brackets: bytes, value: Any) -> None:
    for _ in range(MAX_DEPTH):  # one pass takes off exactly the innermost level
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise WireError(INVALID_REQUEST, f"The message is nested more than {MAX_DEPTH} levels deep.", _id_of(value))


def _check_envelope(message: dict[str, Any]) -> None:
    known = _id_of(message)
    if message.get("jsonrpc") != "2.0":
        raise WireError(INVALID_REQUEST, 'A message must say "jsonrpc": "2.0".', known)
    if "method" in message:
        if not isinstance(message["method"], str):
            raise WireError(INVALID_REQUEST, "The method must be a string.", known)
        if "id" in message:
            _check_id(message["id"])
        if not isinstance(message.get("params"), dict | None):
            raise WireError(INVALID_REQUEST, "The parameters must be an object.", known)
    elif "result" in message:
        _check_id(message.get("id"))
        if not isinstance(message["result"], dict):
            raise WireError(INVALID_REQUEST, "A result must be an object.", known)
    elif "error" in message:
        if message.get("id", ...) is not None:
            _check_id(message.get("id", ...))
        error = message["error"]
        if not (isinstance(error, dict) and type(error.get("code")) is int and isinstance(error.get("message"), str)):
            raise WireError(INVALID_REQUEST, "An error must have a number as code and a text as message.", known)
    else:
        raise WireError(INVALID_REQUEST, "A message must have a method, a result or an error.", known)


def _check_id(value: object) -> None:
    if isinstance(value, str):
        if len(value) > MAX_ID:
            raise WireError(INVALID_REQUEST, f"The id is longer than {MAX_ID} characters.")
    elif type(value) is not int or not -_INT64 <= value < _INT64:
        raise WireError(INVALID_REQUEST, "The id must be a string or an integer of 64 bits.")


def _id_of(message: Any) -> RequestId:
    """The request's id where it's one that may be repeated in a reply."""
    value = message.get("id") if isinstance(message, dict) else None
    try:
        _check_id(value)
    except WireError:
        return None
    return value
