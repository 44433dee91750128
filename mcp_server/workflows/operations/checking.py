"""Checking a table, and what differs between two."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from mcp_server.core.canonical import canonical_bytes
from mcp_server.core.contract import from_dict
from mcp_server.core.contract.compatibility import breaks
from mcp_server.core.contract.edit import differences
from mcp_server.core.contract.great_expectations import read_suite
from mcp_server.core.labels import label
from mcp_server.core.profile import difference
from mcp_server.core.quality import NOT_LOOKED_FOR, ValidationReport
from mcp_server.core.quality import validate as validate_table
from mcp_server.errors import NotFound, QuotaExceeded
from mcp_server.workflows.operations.reading import stored_column, stored_table

Report = Callable[[float, str], None]

MOST_PROMISES = 30
MOST_EXPECTATIONS = 500
MOST_SPANS = 300
MOST_NAMES = 5
MOST_LETTERS = 40
ALL_SPANS = 1_500
"""Of all findings together, the gravest first: single cells are many, and seldom neighbours."""


def validate(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Check a table against its contract and for what tables suffer from.

    Args:
        arguments: path, contract, seed, and optionally baseline: the path of another version; and now: an instant in
            ISO form, for promises of freshness.
    Returns:
        the report with up to 300 spans of rows for each finding, under `rules` every rule's counts, and
        under `compared` how many columns were compared with the baseline, under `never` how many of `not_looked_for`,
        at its end, hold for every table.
    """
    found = _checked(arguments, report)
    told = found.to_dict()
    # The report keeps 20 rows of each finding; who wants to mend them needs them all.
    room = ALL_SPANS
    for shown, finding in zip(told["findings"], found.findings, strict=False):
        shown["spans"] = spans(finding.rows)[: min(MOST_SPANS, room)]
        room -= len(shown["spans"])
    told["rules"] = found.by_rule()
    told["compared"] = found.compared
    told["never"] = len(NOT_LOOKED_FOR)
    return told


def page_findings(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """A page of the findings, or of the rows of one of them.

    Args:
        arguments: as for `validate`; page, from 1; most: how many on it; and for rows finding, its number from 1, and
            columns: of how many of its columns the cells are shown.
    Returns:
        page, pages; verdict and findings, or finding, rows, cells_of: names of columns, and cells: for each row its
        number and those cells as text, None where missing. Those of personal columns aren't there.
    Raises:
        NotFound: there's no such finding or page.
    """
    key = _key(arguments)
    if _last is None or _last.key != key:
        _checked(arguments, report)
    assert _last is not None
    if "finding" not in arguments:
        listed, place = _cut(_last.findings, arguments)
        return {"verdict": _last.verdict, "findings": listed, **place}
    number = arguments["finding"]
    if number > len(_last.findings):
        raise NotFound(f"There is no finding {number}.", hint="data://{name}/findings lists the findings.")
    one = _last.findings[number - 1]
    rows, place = _cut(_last.rows[number - 1], arguments)
    personal = {column["name"] for column in arguments["contract"]["columns"] if column.get("personal")}
    names = [name for name in one["columns"] if name not in personal][: arguments["columns"]]
    cells = [_cells(arguments["path"], name, rows) for name in names]
    table = [[int(row), *values] for row, *values in zip(rows, *cells, strict=True)]
    return {"finding": one, "rows": rows.tolist(), "cells_of": names, "cells": table, **place}


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the last check found: each finding with its number, and its rows."""

    key: str
    verdict: str
    findings: list[dict[str, Any]]
    rows: list[npt.NDArray[np.uint32]]


_last: _Kept | None = None


def _key(arguments: dict[str, Any]) -> str:
    """What makes a check say the same again; the moment only decides what is too old."""
    asked = {name: arguments.get(name) for name in ("path", "contract", "seed", "baseline")}
    return hashlib.sha256(canonical_bytes(asked)).hexdigest()


def _checked(arguments: dict[str, Any], report: Report) -> ValidationReport:
    """Check the table, and keep what was found for who asks for its pages."""
    global _last
    report(0.1, "Reading")
    frame, contract = stored_table(arguments["path"]), from_dict(arguments["contract"])
    baseline = stored_table(arguments["baseline"]) if arguments.get("baseline") else None
    report(0.2, "Checking")
    now = datetime.fromisoformat(arguments["now"]) if arguments.get("now") else None
    rng = np.random.default_rng(arguments["seed"])
    found = validate_table(frame, contract, baseline=baseline, now=now, rng=rng)
    _last = _Kept(
        _key(arguments),
        found.verdict,
        [
            {
                "finding": number,
                "rule": one.rule,
                "severity": one.severity,
                "columns": list(one.columns[:MOST_NAMES]),
                "count": one.count,
                "named": len(one.rows),
                "reason": one.reason,
            }
            for number, one in enumerate(found.findings, start=1)
        ],
        [np.array(one.rows, dtype=np.uint32) for one in found.findings],
    )
    return found


def _cut(items: Any, arguments: dict[str, Any]) -> tuple[Any, dict[str, int]]:
    """The items on a page, and which page of how many it is."""
    page, most = arguments["page"], arguments["most"]
    pages = max(1, -(-len(items) // most))
    if page > pages:
        raise NotFound(f"There is no page {page}; there are {pages}.", hint="Begin with page 1.")
    return items[(page - 1) * most : page * most], {"page": page, "pages": pages}


def _cells(path: str, name: str, rows: npt.NDArray[np.uint32]) -> list[str | None]:
    values = stored_column(path, name).gather(rows - 1).to_list()
    return [None if value is None else label(str(value), MOST_LETTERS) for value in values]


def run_suite(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Have Great Expectations judge a table.

    Args:
        arguments: path; suite: its text; personal: columns of whose values nothing is asked.
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
    frame = stored_table(arguments["path"])
    return {"judged": [asdict(one) for one in judge(frame, expectations, personal=arguments["personal"])]}


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
