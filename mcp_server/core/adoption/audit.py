"""The audit before anything else: scikit-learn isn't even imported for a file that doesn't pass it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcp_server.core.adoption.described import plain, refused
from mcp_server.core.adoption.skops_file import described_schema
from mcp_server.core.model_files import ModelFileReport, open_model_file
from mcp_server.errors import Unverified


@dataclass(frozen=True, slots=True, eq=False)
class AuditedFile:
    """A file that is data alone.

    Args:
        report: of its audit.
        root: what the audited bytes describe, as `described.plain` gives it.
    """

    report: ModelFileReport
    root: Any


def audit_file(content: bytes) -> AuditedFile:
    """Audit a file, and say what the same bytes describe.

    Raises:
        Unverified: the audit found something.
        AdoptionRefused: it's data alone, but no pickle, joblib or skops file.
    """
    report, root = open_model_file(content)
    if report.verdict != "data-only":
        raise Unverified(
            f"The file is {report.verdict}, so it wasn't read further: {report.findings[0].what}",
            hint="Don't load it anywhere. verify_model with its path tells each finding.",
            details={"verdict": report.verdict, "kind": report.kind, "digest": report.digest, "found": report.found},
        )
    if root is None:
        raise refused(f"the file is {report.kind}; models of scikit-learn in pickle, joblib or skops files are.")
    return AuditedFile(report, described_schema(*root) if report.kind.startswith("skops") else plain(root))
