"""Whether the target can be learned."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.quality.report import MAX_EXAMPLES, Example, Finding, Severity, rows_of

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
    classes = known.value_counts()
    counts = classes.get_column("count")
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
        least = float(counts.min())  # type: ignore[arg-type]
        reason = (
            f"So many classes have fewer than {_LEAST_OF_A_CLASS} rows; the cells are the first of each, rarest first. "
            "The statistic is the rows of the rarest."
        )
        shown = () if contract.column(name).personal else _first_of_rarest(series, classes)
        yield Finding("target.rare_class", "warn", names, rare, (), reason, least, examples=shown)


def _first_of_rarest(series: pl.Series, classes: pl.DataFrame) -> tuple[Example, ...]:
    """The first cell of each of the rarest classes; of equally rare ones in their order."""
    rarest = classes.filter(pl.col("count") < _LEAST_OF_A_CLASS).sort("count", classes.columns[0])
    values = rarest.to_series(0).head(MAX_EXAMPLES).to_list()
    return tuple(Example(int((series == value).arg_max() or 0) + 1, str(value)) for value in values)
