"""A verdict on a version, sealed: a row that someone wrote into the database by hand isn't one of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_server.core.canonical import canonical_bytes

if TYPE_CHECKING:
    from mcp_server.storage.keys import Keys
    from mcp_server.storage.records import ModelVersion, Verdict, Verification

SEAL = "seal"


def sealed(keys: Keys, record: ModelVersion, verdict: Verdict, checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The checks as they are stored: with this installation's signature over all that they say of which version."""
    signature = keys.sign(_statement(record, verdict, checks))
    return [*checks, {"name": SEAL, "state": "passed", "detail": signature.hex()}]


def genuine(keys: Keys, record: ModelVersion, verification: Verification) -> bool:
    """Whether a stored verdict was sealed here for this very version."""
    found = [check["detail"] for check in verification.checks if check.get("name") == SEAL]
    try:
        signature = bytes.fromhex(found[0]) if len(found) == 1 else b""
    except ValueError:
        return False
    said = [check for check in verification.checks if check.get("name") != SEAL]
    return bool(signature) and keys.verify(_statement(record, verification.verdict, said), signature)


def _statement(record: ModelVersion, verdict: Verdict, checks: list[dict[str, Any]]) -> bytes:
    return canonical_bytes(
        {
            "model": record.name,
            "version": record.version,
            "digest": record.digest,
            "verdict": verdict,
            "checks": checks,
        }
    )
