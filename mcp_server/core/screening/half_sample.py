"""Where the bulk of a column lies and how wide it is, when up to half of it may be poisoned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

REFINE_FROM = 20
"""Rows from which the half-sample is refined; with fewer, too few rows are left to refine it with."""

_HALF_WIDTH = 0.6744897501960817
"""Half of a Gaussian lies within this many standard deviations of its mean."""

_KEEP = 3.0
_KEPT_SPREAD = 0.98658
"""Standard deviation of a standard Gaussian cut off at +-3."""


def half_sample(columns: Floats) -> tuple[Floats, Floats]:
    """Location and scale of each column from the shortest interval that holds half of it, refined once.

    The mean, the median and the MAD can all be moved by half of the rows; the shortest half can't, as long as the other
    half is wider. From `REFINE_FROM` rows, the mean and standard deviation of what lies within 3 scales replace the
    interval's own: it's about as hard to move, and varies less from sample to sample.

    Args:
        columns: shape (n, m), finite, n >= 2, **sorted along the first axis**.
    Returns:
        (location, scale), each of shape (m,), in the columns' units. A scale of 0 means that at least half of the
        column is one value.
    Source:
        Rousseeuw & Leroy (1987), Robust Regression and Outlier Detection, ch. 4 (shorth, reweighting).
    """
    rows = columns.shape[0]
    half = (rows + 1) // 2 if rows > 2 else 2
    widths = columns[half - 1 :] - columns[: rows - half + 1]
    start = widths.argmin(axis=0)
    which = np.arange(columns.shape[1])
    low, high = columns[start, which], columns[start + half - 1, which]
    centre, scale = low + (high - low) / 2, (high - low) / 2 / _HALF_WIDTH
    if rows < REFINE_FROM:
        return centre, scale
    tied = scale == 0
    unit = np.where(tied, 1.0, scale)
    with np.errstate(over="ignore"):
        deviations = (columns - centre) / unit  # in scales, so that squares neither overflow nor vanish
    kept = np.abs(deviations) <= _KEEP
    count = kept.sum(axis=0)
    inner = np.where(kept, deviations, 0.0)
    shift = inner.sum(axis=0) / count
    squares = (np.where(kept, inner - shift, 0.0) ** 2).sum(axis=0)
    refined = np.sqrt(squares / np.maximum(count - 1, 1)) / _KEPT_SPREAD
    return np.where(tied, centre, centre + shift * unit), np.where(tied, 0.0, refined * unit)
