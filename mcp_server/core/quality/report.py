"""What a check of a table found, in a size that fits a conversation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mcp_server.core.labels import label

Severity = Literal["fail", "warn", "info"]
Verdict = Literal["pass", "warn", "fail"]
Fix = Literal[
    "read as missing",
    "strip the unit",
    "replace by the frequent spelling",
    "replace by the usual value",
    "state the order of day and month",
    "drop the row",
    "look at it",
]
"""What may be done about suspect cells; nothing of it happens by itself."""

MAX_ROWS = 20
MAX_COLUMNS = 20
MAX_BYTES = 12_000
MAX_EXAMPLES = 3

MAX_ANOMALOUS = 0.10
"""The share of rows, far or in another unit, above which a table fails."""

_ORDER = {"fail": 0, "warn": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Example:
    """A suspect cell and what the proposed fix would make of it.

    Args:
        row: 1-based.
        value: the cell as text, from the data.
        replacement: None where the fix leaves nothing, or nobody can say.
    """

    row: int
    value: str
    replacement: str | None = None

    def to_list(self) -> list[Any]:
        """Row, value and replacement, each text shortened and without hidden characters."""
        return [self.row, label(self.value), None if self.replacement is None else label(self.replacement)]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or worth knowing.

    Args:
        rule: a stable id, such as `duplicates.rows`.
        severity: `fail` makes training wrong, `warn` wants a look, `info` is a property.
        columns: their names, in the order in which `reason` speaks of them.
        count: rows that it concerns; of a finding about whole columns, their number.
        rows: 1-based numbers of the rows, rising.
        reason: one sentence of ours, without names or values from the data.
        statistic: the figure that decided, as `reason` explains; None where there is none.
        confidence: that the cells are wrong, in [0, 1]; None for findings that follow from a definition. An ordering,
            measured on planted errors as a whole and not for each value.
        fix: what may be done about the cells.
        examples: the first suspect cells, of the last of `columns`; none where the column is personal.
    """

    rule: str
    severity: Severity
    columns: tuple[str, ...]
    count: int
    rows: tuple[int, ...]
    reason: str
    statistic: float | None = None
    confidence: float | None = None
    fix: Fix | None = None
    examples: tuple[Example, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON: at most 20 columns, 20 rows and 3 examples, text from data shortened and without hidden characters.

        What a finding doesn't have of confidence, fix and examples isn't there.
        """
        document: dict[str, Any] = {
            "rule": self.rule,
            "severity": self.severity,
            "columns": [label(name) for name in self.columns[:MAX_COLUMNS]],
            "count": self.count,
            "rows": list(self.rows[:MAX_ROWS]),
            "reason": self.reason,
            "statistic": self.statistic,
        }
        if self.confidence is not None:
            document["confidence"] = round(self.confidence, 2)
        if self.fix is not None:
            document["fix"] = self.fix
        if self.examples:
            document["examples"] = [example.to_list() for example in self.examples[:MAX_EXAMPLES]]
        return document


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """The verdict on a table.

    Args:
        verdict: the worst severity found; `pass` if that is `info`.
        rows, columns: the table's size.
        findings: worst first, each with every row that it concerns.
        not_looked_for: what this check can't see, one sentence each.
        compared: how many columns were compared with a baseline.
    """

    verdict: Verdict
    rows: int
    columns: int
    findings: tuple[Finding, ...]
    not_looked_for: tuple[str, ...]
    compared: int = 0

    def by_rule(self) -> dict[str, dict[str, Any]]:
        """For each rule its worst severity, its findings, and the rows that they name together.

        The count is of findings, and `of` says so, where they are about whole columns or the whole table.
        """
        rules: dict[str, dict[str, Any]] = {}
        for finding in self.findings:
            told = rules.setdefault(finding.rule, {"severity": finding.severity, "findings": 0, "count": 0, "of": ""})
            told["severity"] = min(told["severity"], finding.severity, key=lambda severity: _ORDER[severity])
            told["findings"] += 1
            told["count"] += len(finding.rows)
        for told in rules.values():
            told["of"] = "rows" if told["count"] else "findings"
            told["count"] = told["count"] or told["findings"]
        return rules

    def to_dict(self) -> dict[str, Any]:
        """As JSON of at most 12 kB: the last findings, the mildest, are left out if need be, and counted."""
        document: dict[str, Any] = {
            "verdict": self.verdict,
            "rows": self.rows,
            "columns": self.columns,
            "findings": [],
            "findings_left_out": len(self.findings),
            "not_looked_for": list(self.not_looked_for),
        }
        room = MAX_BYTES - _size(document)
        for finding in self.findings:
            shown = finding.to_dict()
            room -= _size(shown) + 2
            if room < 0:
                break
            document["findings"].append(shown)
            document["findings_left_out"] -= 1
        return document


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def rows_of(mask: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """1-based numbers of the rows where a mask holds."""
    return tuple((np.flatnonzero(mask) + 1).tolist())


def summarize(
    findings: Iterable[Finding], *, rows: int, columns: int, not_looked_for: Iterable[str], compared: int = 0
) -> ValidationReport:
    """Order the findings and give the verdict."""
    ordered = tuple(sorted(findings, key=lambda finding: (_ORDER[finding.severity], -finding.count)))
    severities = {finding.severity for finding in ordered}
    verdict: Verdict = "fail" if "fail" in severities else "warn" if "warn" in severities else "pass"
    rounded = tuple(replace(finding, statistic=_rounded(finding.statistic)) for finding in ordered)
    return ValidationReport(verdict, rows, columns, rounded, tuple(not_looked_for), compared)


def _rounded(statistic: float | None) -> float | None:
    """Six significant digits, and nothing that JSON can't hold."""
    return None if statistic is None or not np.isfinite(statistic) else float(f"{statistic:.6g}")
