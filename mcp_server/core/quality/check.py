"""The whole check of a table: every rule, one verdict, and what wasn't looked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.leakage import Leak, find_leaks
from mcp_server.core.quality.arithmetic import MAX_COLUMNS, arithmetic_findings
from mcp_server.core.quality.baseline import baseline_findings
from mcp_server.core.quality.cells import number_findings, text_findings
from mcp_server.core.quality.columns import completeness_findings, contract_findings, usable
from mcp_server.core.quality.comparisons import comparison_findings, decisive_columns
from mcp_server.core.quality.dependencies import dependency_findings
from mcp_server.core.quality.duplicates import duplicate_findings
from mcp_server.core.quality.missingness import missingness_findings
from mcp_server.core.quality.numbers import NumberColumn, number_columns
from mcp_server.core.quality.poisoning import comparable, poisoning_findings, table_findings
from mcp_server.core.quality.promises import promise_findings, unchecked
from mcp_server.core.quality.report import Finding, ValidationReport, summarize
from mcp_server.core.quality.target import target_findings
from mcp_server.core.quality.texts import MAX_CELL_ROWS, text_columns
from mcp_server.core.quality.units import unit_findings
from mcp_server.core.screening.verdict import CANT_SEE

NOT_LOOKED_FOR = (
    *CANT_SEE,
    "Units that differ by an offset, or by a factor within the column's own spread.",
    "Leaks through three or more columns together, or through the order of the rows.",
)


def validate(
    frame: pl.DataFrame,
    contract: Contract,
    *,
    baseline: pl.DataFrame | None = None,
    now: datetime | None = None,
    rng: np.random.Generator,
) -> ValidationReport:
    """Check a table against its contract, against itself and, where there is one, against an earlier table.

    Args:
        frame: shape (n, columns), with the contract's columns as Int64, Float64, Boolean, String, Date or Datetime.
        contract: what the table promises.
        baseline: an earlier table of the same contract that is trusted, to compare scales and missing values with.
        now: what a promise of freshness is compared with; None leaves it out, and the answer says so.
        rng: draws rows for the leakage check and shuffles columns to count chance duplicates.
    Returns:
        every finding with every row that it concerns; `to_dict` bounds it.
    """
    findings = list(contract_findings(frame, contract))
    compared = 0
    skipped: list[str] = []
    if not usable(frame, contract):
        skipped.append("Everything but the contract: a column is missing or of another kind.")
    elif not frame.height:
        findings.append(Finding("completeness.rows", "fail", (), 0, (), "The table has no rows."))
    else:
        frame = frame.select([column.name for column in contract.columns])
        findings += promise_findings(frame, contract, now)
        skipped += unchecked(contract, now)
        findings += _content(frame, contract, rng)
        if baseline is not None:
            compared = len(comparable(frame, baseline))
            skipped += _uncompared(compared, frame.width)
            findings += baseline_findings(frame, baseline, contract)
        screened, unscreened = table_findings(frame, contract, findings, baseline=baseline, rng=rng)
        findings += screened
        skipped += unscreened
        if frame.height > MAX_CELL_ROWS:
            step = -(-frame.height // MAX_CELL_ROWS)
            skipped.append(f"Text cells and single outliers of all rows: one row in {step} was looked at.")
        if len(number_columns(frame, contract)) > MAX_COLUMNS:
            skipped.append(f"Sums, differences and products beyond the first {MAX_COLUMNS} numeric columns.")
        if contract.target is None:
            skipped.append("Leakage and the target: no target is stated.")
    told = (*skipped, *NOT_LOOKED_FOR)
    return summarize(findings, rows=frame.height, columns=frame.width, not_looked_for=told, compared=compared)


def _uncompared(compared: int, columns: int) -> Iterator[str]:
    if not compared:
        yield "The baseline has no row, or no column in common with this table: nothing was compared with it."
    elif compared < columns:
        yield f"{compared} of {columns} columns were compared with the baseline; the others aren't alike there."


def _content(frame: pl.DataFrame, contract: Contract, rng: np.random.Generator) -> Iterator[Finding]:
    yield from completeness_findings(frame, contract)
    yield from duplicate_findings(frame, contract, rng)
    yield from target_findings(frame, contract)
    texts = list(text_columns(frame, contract))
    yield from text_findings(texts)
    numbers = number_columns(frame, contract)
    explained = np.zeros(frame.height, dtype=np.bool_)
    for finding in unit_findings(numbers):
        explained[np.array(finding.rows) - 1] = True
        yield finding
    yield from missingness_findings(frame, contract, rng)
    yield from number_findings(contract, numbers, texts, explained)
    yield from poisoning_findings(numbers, explained)
    yield from _contradictions(frame, contract, numbers)
    for leak in find_leaks(frame, contract, rng=rng):
        yield _leakage(leak)


def _contradictions(frame: pl.DataFrame, contract: Contract, numbers: list[NumberColumn]) -> list[Finding]:
    """Of findings about the same rows only the first, as grave as the gravest: a comparison tells the most."""
    found = [
        *comparison_findings(frame, contract, numbers),
        *arithmetic_findings(numbers, decisive_columns(contract)),
        *dependency_findings(frame, contract),
    ]
    first: dict[tuple[int, ...], Finding] = {}
    for finding in found:
        other = first.setdefault(finding.rows, finding)
        if finding.severity == "fail" and other.severity != "fail":
            first[finding.rows] = replace(other, severity="fail")
    return list(first.values())


def _leakage(leak: Leak) -> Finding:
    rule = "leakage.feature" if len(leak.columns) == 1 else "leakage.pair"
    reason = f"{leak.reason} The statistic is {_MEASURES[leak.measure]}."
    return Finding(rule, "fail", leak.columns, len(leak.columns), (), reason, leak.value)


_MEASURES = {
    "auc": "the area under the ROC curve",
    "missing_auc": "the area under the ROC curve",
    "errors_removed": "the share of guessing errors that it removes",
    "r2": "the share of the variance that it explains",
}
