"""Checking a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from mcp_server.core.contract import from_dict
from mcp_server.core.quality import validate as validate_table
from mcp_server.workflows.operations.reading import stored_table

Report = Callable[[float, str], None]

MOST_SPANS = 300


def validate(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Check a table against its contract and for what tables suffer from.

    Args:
        arguments: path, contract, seed, and optionally baseline: the path of another version; and now: an instant in
            ISO form, for promises of freshness.
    """
    report(0.1, "Reading")
    frame, contract = stored_table(arguments["path"]), from_dict(arguments["contract"])
    baseline = stored_table(arguments["baseline"]) if arguments.get("baseline") else None
    report(0.2, "Checking")
    now = datetime.fromisoformat(arguments["now"]) if arguments.get("now") else None
    rng = np.random.default_rng(arguments["seed"])
    found = validate_table(frame, contract, baseline=baseline, now=now, rng=rng)
    told = found.to_dict()
    # The report keeps 20 rows of each finding; who wants to mend them needs them all.
    for shown, finding in zip(told["findings"], found.findings, strict=False):
        shown["spans"] = spans(finding.rows)[:MOST_SPANS]
    return told


def spans(rows: Sequence[int]) -> list[list[int]]:
    """Rising numbers as [first, last] pairs of neighbours.

    >>> spans([3, 4, 5, 9])
    [[3, 5], [9, 9]]
    """
    pairs: list[list[int]] = []
    for row in rows:
        if pairs and row == pairs[-1][1] + 1:
            pairs[-1][1] = row
        else:
            pairs.append([row, row])
    return pairs
