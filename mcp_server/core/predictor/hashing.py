"""Feature hashing of a category: the same place and sign in every process."""

from __future__ import annotations

import hashlib


def hashed(text: str, width: int) -> tuple[int, float]:
    """The place and the sign of a category among `width` columns: Weinberger et al. (2009).

    >>> hashed("BOS", 8) == hashed("BOS", 8)
    True
    """
    number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
    return (number >> 1) % width, 1.0 if number & 1 else -1.0
