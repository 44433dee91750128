"""Ids of what storage keeps: in the order of making, and past guessing."""

from __future__ import annotations

import hashlib
import secrets
import threading
from datetime import datetime

_lock = threading.Lock()
_last = (0, 0)  # Milliseconds, and how many ids were made in them.
_COUNTS = 1 << 16
_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]


def new_id(prefix: str, now: datetime) -> str:
    """One id; see `new_ids`."""
    return new_ids(prefix, 1, now)[0]


def new_ids(prefix: str, count: int, now: datetime) -> list[str]:
    """Make ids: the time, a counter and 128 random bits, in 39 digits and lower-case letters that sort as bytes do.

    Args:
        prefix: `p` for a prediction, `j` for a job, `r` for a run, `d` for a report.
        count: >= 0.
        now: aware.
    Returns:
        ids such as `p_0pb1...`, ascending, and after all that this process made before, whatever the clock did.
    """
    global _last
    moment = int(now.timestamp() * 1000)
    ids = []
    for _ in range(count):
        with _lock:
            milliseconds, used = _last
            if moment > milliseconds:
                milliseconds, used = moment, 0
            elif used + 1 < _COUNTS:
                used += 1
            else:
                milliseconds, used = milliseconds + 1, 0
            _last = (milliseconds, used)
        content = milliseconds.to_bytes(6, "big") + used.to_bytes(2, "big") + secrets.token_bytes(16)
        ids.append(f"{prefix}_{_written(content)}")
    return ids


def derived_id(prefix: str, at: datetime, key: str) -> str:
    """The id of something that another system made and names by a key: always the same, and in the order of its time.

    Args:
        prefix: as for `new_ids`.
        at: aware; when it was made.

    >>> from datetime import UTC
    >>> derived_id("r", datetime(2026, 3, 1, tzinfo=UTC), "mlflow:1")
    'r_06eadces000017oarrdckl0pe7s0u5rc6krsqmo'
    """
    moment = max(0, int(at.timestamp() * 1000)).to_bytes(6, "big")
    return f"{prefix}_{_written(moment + bytes(2) + hashlib.sha256(key.encode()).digest()[:16])}"


def _written(content: bytes) -> str:
    """24 bytes as 39 base-32 digits (RFC 4648, extended hex alphabet): ten bits at a time, an id is on the hot path."""
    number = int.from_bytes(content, "big") << 8
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(190, -1, -10)])[:39]
