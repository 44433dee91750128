"""Adopting a person's model file in a process of its own; its files are left in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp_server.core.adoption.audit import audit_file

Report = Callable[[float, str], None]


def adopt_model(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Audit a file, rebuild its model, write its serving form, check parity, measure.

    Args:
        arguments: file (the person's), path and contract of the data version, target, columns (or None),
            test (a condition on rows that it wasn't trained on, or None), seed, and out: the folder for form.json,
            estimator.skops, test_rows.json, seen_rows.bin and golden.json.
    Returns:
        digest (of the version), task, metrics, parity, environment, parameters and notes.
    Raises:
        Unverified: the audit found something; nothing in the file was used.
        AdoptionRefused: a part of the model can't be adopted.
        ParityFailed: the serving form doesn't answer as the model does.
        BadTarget, InvalidInput: the data doesn't fit the model.
    """
    report(0.05, "Auditing")
    # Read once: what is rebuilt is what was audited.
    file = audit_file(Path(arguments["file"]).read_bytes())
    from mcp_server.workflows.operations.adopted_version import make_version  # scikit-learn, for sound files alone

    return make_version(file, arguments, report)
