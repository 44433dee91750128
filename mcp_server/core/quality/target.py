"""Whether the target can be learned."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.quality.report import Finding, Severity, rows_of

MAX_CLASSES = 50

_COUNTED_CLASSES = 10
_LEAST_ROWS = 30
_LEAST_OF_A_CLASS = 10
_OFTEN_MISSING = 0.2


def target_findings(frame: pl.DataFrame, contract: Contract) -> Iterator[Finding]:
    """A target that is constant, missing, a date, of too many classes or with too few rows."""
    name = contract.target
    if name is None:
        return
    kind = contract.column(name).kind
    series = frame.get_column(name)
    known = series.drop_nulls()
    names = (name,)
    missing = series.null_count()
    if missing:
        share = missing / frame.height
        severity: Severity = "fail" if missing == frame.height else "warn" if share > _OFTEN_MISSING else "info"
        rows = rows_of(series.is_null().to_numpy())
        reason = "The target of these rows is missing; training leaves them out."
        yield Finding("target.missing", severity, names, missing, rows, reason, share)
    if kind in ("date", "datetime"):
        yield Finding("target.kind", "fail", names, 1, (), "The target is a date; derive a number from it.")
        return
    if not known.len():
        return
    counts = known.value_counts().get_column("count")
    if counts.len() == 1:
        yield Finding("target.constant", "fail", names, known.len(), (), "The target is the same in every row.")
        return
    if known.len() < _LEAST_ROWS:
        reason = f"Fewer than {_LEAST_ROWS} rows have a target."
        yield Finding("target.few_rows", "warn", names, known.len(), (), reason)
    if kind == "number" or (kind == "integer" and counts.len() > _COUNTED_CLASSES):
        return
    if counts.len() > MAX_CLASSES:
        reason = f"The target has more than {MAX_CLASSES} classes; the statistic is their number."
        yield Finding("target.classes", "fail", names, counts.len(), (), reason, float(counts.len()))
        return
    rare = int((counts < _LEAST_OF_A_CLASS).sum())
    if rare:
        reason = f"So many classes have fewer than {_LEAST_OF_A_CLASS} rows."
        yield Finding("target.rare_class", "warn", names, rare, (), reason, float(counts.min()))  # type: ignore[arg-type]
