"""How far is too far: the limit on a row's score, given how many rows and columns there are."""

from __future__ import annotations

import math
from bisect import bisect_left

_ROWS = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 24, 29, 39, 49, 59)
_COLUMNS = (1, 2, 5, 10, 20, 50)

# Made by `python -m tests.performance.screening_rates --calibrate` (its seed is fixed). Each is the .994 quantile,
# over 40,000 tables of independent Gaussian columns, of the score that the table's (floor(rows / 10) + 1)-th most
# distant row reaches: above it, more than a tenth of the rows would be called anomalous.
_SCORES: tuple[tuple[float, ...], ...] = (
    (354.5, 687.5, 1594.0, 3195.0, 7339.0, 18090.0),
    (1073.0, 2112.0, 5793.0, 11510.0, 24050.0, 57080.0),
    (41.48, 59.59, 95.13, 139.2, 198.2, 308.6),
    (62.9, 98.96, 145.5, 212.4, 317.1, 495.0),
    (20.32, 24.94, 34.92, 44.77, 55.9, 77.46),
    (25.99, 34.04, 48.54, 61.34, 75.36, 100.4),
    (14.37, 16.82, 21.77, 25.75, 30.29, 39.54),
    (12.3, 14.97, 19.16, 22.86, 26.66, 34.41),
    (8.066, 9.351, 11.47, 13.37, 15.16, 18.45),
    (9.654, 11.46, 14.02, 16.25, 18.55, 22.23),
    (6.786, 7.923, 9.892, 11.12, 12.63, 14.94),
    (8.278, 9.787, 11.57, 12.91, 14.55, 17.12),
    (6.563, 7.33, 8.682, 9.623, 10.83, 12.44),
    (7.471, 8.421, 9.675, 10.82, 12.16, 14.2),
    (6.064, 6.826, 7.888, 8.764, 9.683, 10.89),
    (6.827, 7.601, 8.852, 9.758, 10.74, 12.24),
    (5.819, 6.382, 7.225, 8.048, 8.769, 9.996),
    (4.962, 5.83, 7.123, 8.138, 9.477, 11.48),
    (4.322, 4.927, 5.779, 6.518, 7.182, 8.392),
    (3.738, 4.1, 4.591, 5.005, 5.551, 6.193),
    (3.13, 3.464, 3.821, 4.115, 4.398, 4.818),
    (2.786, 3.08, 3.429, 3.676, 3.936, 4.282),
    (2.526, 2.862, 3.22, 3.469, 3.704, 4.025),
)
_CALIBRATED_AT = 3.0


def limit_for(rows: int, columns: int, threshold: float) -> float:
    """The score above which a row counts as anomalous.

    With many rows it's `threshold` for one column, and sqrt(threshold^2 + 2 ln columns) for more, so that more
    columns don't flag more rows. With few rows, location and scale are themselves uncertain, and the limit is raised
    by the factor that keeps clean Gaussian tables from failing: 330 with 4 rows and 1 column, 4 with 10 rows, 1 from
    60 rows.

    Args:
        rows: values in the column, >= 1; fewer than 3 are treated as 3.
        columns: columns screened together, >= 1.
        threshold: a Gaussian-equivalent z, > 0.
    Returns:
        a number of scales, >= `threshold`.
    """
    wanted = _many_rows(columns, threshold)
    if rows > _ROWS[-1]:
        return wanted
    return wanted * max(1.0, _simulated(rows, columns) / _many_rows(columns, _CALIBRATED_AT))


def _many_rows(columns: int, threshold: float) -> float:
    return math.sqrt(threshold * threshold + 2 * math.log(columns))


def _simulated(rows: int, columns: int) -> float:
    """The calibrated score, log-log between the simulated numbers of columns, and on from the last two."""
    upper = min(bisect_left(_ROWS, max(rows, _ROWS[0])), len(_ROWS) - 1)
    lower = upper if _ROWS[upper] == max(rows, _ROWS[0]) else upper - 1
    at = min(max(bisect_left(_COLUMNS, columns), 1), len(_COLUMNS) - 1)

    def score(row: int) -> float:
        low, high = _SCORES[row][at - 1], _SCORES[row][at]
        part = math.log(columns / _COLUMNS[at - 1]) / math.log(_COLUMNS[at] / _COLUMNS[at - 1])
        return float(low * (high / low) ** part)

    if lower == upper:
        return score(lower)
    part = math.log(rows / _ROWS[lower]) / math.log(_ROWS[upper] / _ROWS[lower])
    return float(score(lower) ** (1 - part) * score(upper) ** part)
