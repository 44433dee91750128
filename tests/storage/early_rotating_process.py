"""The control: as `rotating_process`, but the new key is in the ring before the audit row about it is committed."""

from __future__ import annotations

from datetime import datetime

from mcp_server.storage.key_ring import KeyChange, SigningKeys
from storage.rotating_process import rotating
from storage.rounds import serve

propose = SigningKeys.propose_rotation


def early(ring: SigningKeys, at: datetime) -> KeyChange:
    change = propose(ring, at)
    ring.settle(committed=True)
    return change


if __name__ == "__main__":
    SigningKeys.propose_rotation = early  # type: ignore[method-assign]
    serve(rotating)
