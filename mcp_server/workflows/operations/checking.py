"""Checking a table, and what differs between two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from mcp_server.core.contract import from_dict
from mcp_server.core.contract.compatibility import breaks
from mcp_server.core.contract.edit import differences
from mcp_server.core.contract.great_expectations import read_suite
from mcp_server.core.profile import difference
from mcp_server.core.quality import validate as validate_table
from mcp_server.errors import QuotaExceeded
from mcp_server.workflows.operations.reading import stored_table

Report = Callable[[float, str], None]

MOST_PROMISES = 30
MOST_EXPECTATIONS = 500
MOST_SPANS = 300
ALL_SPANS = 1_500
"""Of all findings together, the gravest first: single cells are many, and seldom neighbours."""


def validate(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Check a table against its contract and for what tables suffer from.

    Args:
        arguments: path, contract, seed, and optionally baseline: the path of another version; and now: an instant in
            ISO form, for promises of freshness.
    Returns:
        the report with up to 300 spans of rows for each finding, under `rules` every rule's counts, and
        under `compared` how many columns were compared with the baseline.
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
    room = ALL_SPANS
    for shown, finding in zip(told["findings"], found.findings, strict=False):
        shown["spans"] = spans(finding.rows)[: min(MOST_SPANS, room)]
        room -= len(shown["spans"])
    told["rules"] = found.by_rule()
    told["compared"] = found.compared
    return told


def run_suite(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Have Great Expectations judge a table.

    Args:
        arguments: path, and suite: its text.
    Returns:
        judged: one object for each expectation, as `integrations.expectations.Judged`.
    Raises:
        DataRejected: it isn't a suite.
        QuotaExceeded: it has more expectations than are run.
        Unsupported: the library isn't installed.
    """
    from mcp_server.integrations.expectations import judge

    expectations = read_suite(arguments["suite"])
    if len(expectations) > MOST_EXPECTATIONS:
        raise QuotaExceeded(
            f"The suite has {len(expectations):,} expectations; {MOST_EXPECTATIONS} are run.", hint="Split it."
        )
    report(0.1, "Loading the library")
    return {"judged": [asdict(one) for one in judge(stored_table(arguments["path"]), expectations)]}


def differ(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """What one table has otherwise than another.

    Args:
        arguments: path and contract; before: path and contract of the earlier one.
    Returns:
        as `core.profile.difference`, and promises and breaks: of each the count and the first ones.
    """
    report(0.1, "Reading")
    one, other = arguments["before"], arguments
    old, new = from_dict(one["contract"]), from_dict(other["contract"])
    before, after = stored_table(one["path"]), stored_table(other["path"])
    report(0.4, "Comparing")
    promises, broken = differences(old, new), breaks(old, new)
    return difference(before, old, after, new) | {
        "promises": [len(promises), [change.to_list() for change in promises[:MOST_PROMISES]]],
        "breaks": [len(broken), [str(one) for one in broken[:MOST_PROMISES]]],
    }


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
