"""A first screening for poisoned rows, and the columns in which there can be none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mcp_server.core.quality.numbers import Bools, NumberColumn
from mcp_server.core.quality.report import MAX_ANOMALOUS, Finding, Severity, rows_of
from mcp_server.core.screening import screen_rows

REASONS: dict[str, str] = {
    "too_few": "Fewer than three values: nothing can be far from them.",
    "mostly_one_value": "At least half of the values are equal, so there is no spread to be far by.",
    "zero_inflated": "Zeros are apart from the rest or the most frequent: neither is called far.",
    "two_groups": "The values fall into two groups of which neither is small: neither is called far.",
    "heavy_tail": "Far values follow from the column's own tail, so honest and poisoned ones look alike.",
}


def poisoning_findings(columns: list[NumberColumn], explained: Bools) -> Iterator[Finding]:
    """Rows with values far from the bulk of their column, and columns in which that can't be told.

    Args:
        columns: those to screen.
        explained: shape (n,), rows that another rule has reported for being far; they don't count again.
    """
    if not columns:
        return
    screening = screen_rows(np.column_stack([column.values for column in columns]))
    far = screening.anomalous & ~explained
    if far.any():
        which = np.bincount(screening.column[far], minlength=len(columns))
        names = tuple(columns[at].name for at in np.argsort(-which, kind="stable") if which[at])
        severity: Severity = "fail" if far.mean() > MAX_ANOMALOUS else "warn"
        reason = "Far from the bulk of the column, and apart from its tail; the statistic is the largest robust z."
        largest = float(screening.scores[far].max())
        yield Finding("screening.far_rows", severity, names, int(far.sum()), rows_of(far), reason, largest)
    for code, reason in REASONS.items():
        names = tuple(columns[item.column].name for item in screening.undecidable if item.reason == code)
        if names:
            yield Finding("screening.undecidable", "info", names, len(names), (), reason)
