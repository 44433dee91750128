"""Rows far from the bulk of a column because they're another kind of thing: unlike the others in other columns too."""

from __future__ import annotations

import numpy as np
from scipy.stats import ks_2samp

from mcp_server.core.screening.half_sample import Floats
from mcp_server.core.screening.rows import RowScreening
from mcp_server.core.screening.table import Bools

_LEAST_ROWS = 5
_MOST_COLUMNS = 50

_UNLIKE, _BY_CHANCE = 0.5, 1e-2
"""Difference of two distributions (Kolmogorov-Smirnov), and its chance times the columns, that tell kinds apart."""

_SHARE = 1 / 3
"""Rows of another kind are unlike in more than this share of the other columns; who pushes values out changes fewer."""


def of_another_kind(matrix: Floats, screening: RowScreening) -> Bools:
    """Which anomalous rows are a group that differs from the other rows in more than a third of the other columns.

    Honest tables have such groups: classes and kinds of things that lie apart. Rows a thousand scales away aren't
    looked at: no kind is so far.

    Args:
        matrix: shape (n, d), what was screened.
        screening: the answer.
    Returns:
        shape (n,).
    """
    found = np.zeros(len(matrix), dtype=np.bool_)
    far = screening.anomalous & ~screening.gross
    columns = range(matrix.shape[1])[:_MOST_COLUMNS]
    for group in (far, *(far & (screening.column == at) for at in np.unique(screening.column[far]))):
        # One column is why they are far, whatever they are.
        unlike = sum(_unlike(matrix[:, at], group, screening.anomalous, len(columns)) for at in columns) - 1
        if group.sum() >= _LEAST_ROWS and unlike > _SHARE * (len(columns) - 1):
            found |= group
    return found


def _unlike(values: Floats, group: Bools, anomalous: Bools, columns: int) -> bool:
    finite = np.isfinite(values)
    mine, usual = values[group & finite], values[~anomalous & finite]
    if min(mine.size, usual.size) < _LEAST_ROWS:
        return False
    tested = ks_2samp(mine, usual, method="asymp")
    return bool(tested.statistic >= _UNLIKE and tested.pvalue * columns <= _BY_CHANCE)
