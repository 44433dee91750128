"""Lines with hinges of numbers, and products of pairs of columns: what a linear model bends and combines with.

Source: Friedman (1991), Annals of Statistics 19(1), "Multivariate adaptive regression splines". His search for knots
and pairs is left out: knots are quantiles, and a penalty, chosen on folds, holds down what isn't needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mcp_server.core.predictor.encodings import (
    Encoding,
    HingesEncoding,
    OneHotEncoding,
    ProductEncoding,
)
from mcp_server.core.predictor.form import Input
from mcp_server.errors import TrainingRefused

PRODUCTS = ("none", "pairs")
"""What the parameter `products` of splines may say."""

MAX_TERMS = 400
MAX_CELLS = 6_000_000
"""Numbers in the matrix of a table's rows: tuning holds five such for each style, of 8 bytes each."""
_KNOTS = 4
_SMALL = 10  # values of a category that numbers are multiplied with


def most_terms(rows: int) -> int:
    """How wide the vector may become by hinges and products, in a table of so many rows.

    >>> [most_terms(rows) for rows in (1_000, 15_000, 60_000, 5_000_000)]
    [400, 400, 100, 1]
    """
    return min(MAX_TERMS, MAX_CELLS // max(1, rows))


def knots_each(numbers: int, terms: int) -> int:
    """How many hinges each of so many numbers may have.

    Args:
        terms: that these numbers may take in all; each has one without any hinge.

    >>> [knots_each(count, 400) for count in (1, 64, 100, 200, 1_000)]
    [4, 4, 3, 1, 0]
    """
    return max(0, min(_KNOTS, terms // max(1, numbers) - 1))


def hinges(spec: Input, series: pl.Series, knots: int) -> HingesEncoding:
    """Lines between quantiles of a column of numbers, level below its first and above its last hundredth.

    Args:
        spec: of the column, as training saw it.
        series: its values in the rows that are learned from, at least one.
        knots: at most.
    Raises:
        TrainingRefused: its numbers are too far apart for their difference to be a number.
    """
    values = series.drop_nulls().cast(pl.Float64).to_numpy()
    low, high = float(values.min()), float(values.max())
    # Where nearly all are alike, the few others are what there is to learn from.
    if spec.p01 is not None and spec.p99 is not None and low <= spec.p01 < spec.p99 <= high:
        low, high = spec.p01, spec.p99
    with np.errstate(over="ignore"):
        if not np.isfinite(np.float64(high) - np.float64(low)):
            raise TrainingRefused(
                "A number is too large for this kind of model.",
                hint="Check the units and the outliers with validate_data.",
            )
    places = np.unique(np.quantile(values, np.linspace(0.0, 1.0, knots + 2)[1:-1], method="inverted_cdf"))
    told: dict[str, Any] = {
        "column": spec.name,
        "as": "hinges",
        "low": low,
        "high": high,
        "center": min(max(float(np.median(values)), low), high),
        "scale": high - low if high > low else 1.0,
        "knots": [float(knot) for knot in places if low < knot < high],
    }
    return HingesEncoding.model_validate(told)


def products(encoder: Sequence[Encoding], terms: int) -> list[ProductEncoding]:
    """Products of what a vector has: of numbers, with their hinges, and small categories; and of two numbers.

    Args:
        encoder: of single columns, with `hinges`; the products come after it.
        terms: how wide the vector may become.
    Returns:
        as many whole groups as fit: first the categories, those of few
        values before others, where they don't fit with hinges without them; then all pairs of numbers.
    """
    numbers: list[range] = []
    categories: list[range] = []
    at = 0
    for encoding in encoder:
        if isinstance(encoding, HingesEncoding):
            numbers.append(range(at, at + encoding.width))
        elif isinstance(encoding, OneHotEncoding) and len(encoding.values) <= _SMALL:
            categories.append(range(at, at + len(encoding.values)))
        at += encoding.width
    groups = []
    for values in sorted(categories, key=len):
        bent = [(place, value) for number in numbers for place in number for value in values]
        straight = [(number.start, value) for number in numbers for value in values]
        groups.append((bent, straight))
    pairs = [(one.start, other.start) for place, one in enumerate(numbers) for other in numbers[place + 1 :]]
    groups.append((pairs, []))
    made: list[ProductEncoding] = []
    for tried in groups:
        fitting = next((group for group in tried if at + len(made) + len(group) <= terms), [])
        made += [
            ProductEncoding.model_validate({"as": "product", "first": one, "second": other}) for one, other in fitting
        ]
    return made


def shifted(encoder: Sequence[Encoding], by: int) -> list[Encoding]:
    """The encodings for a vector that has `by` numbers before theirs."""
    return [
        part.model_copy(update={"first": part.first + by, "second": part.second + by})
        if isinstance(part, ProductEncoding)
        else part
        for part in encoder
    ]
