"""Whether a model version is what was registered: named checks and a verdict that fails closed."""

from mcp_server.core.verification.checks import (
    REQUIRED,
    Check,
    State,
    Verdict,
    check_digest,
    check_manifest,
    check_signature,
    not_done,
    verdict,
    version_digest,
)
from mcp_server.core.verification.provenance import check_provenance
from mcp_server.core.verification.replay import check_golden_rows

__all__ = [
    "REQUIRED",
    "Check",
    "State",
    "Verdict",
    "check_digest",
    "check_golden_rows",
    "check_manifest",
    "check_provenance",
    "check_signature",
    "not_done",
    "verdict",
    "version_digest",
]
