"""The pictures of a comparison: differences as intervals, and forecasts against what happened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcp_server.charts import forest, reliability, render
from mcp_server.core.comparison import Field, Pair, short_number
from mcp_server.core.comparison.wording import opened
from mcp_server.core.metrics.reliability import CalibrationError, reliability_table

FloatArray = NDArray[np.float64]


def draw(
    field: Field,
    lead: Pair,
    names: Sequence[str],
    target: FloatArray,
    forecasts: Sequence[FloatArray],
    *,
    margin: float | None,
) -> list[bytes]:
    """A forest plot and, of classes, a reliability picture, as PNG.

    Args:
        lead: the two models in front.
        names, forecasts: in the field's order.
        target: shape (n,).
    """
    pictures = [
        _metrics(field, lead, names, margin) if len(names) == 2 else _rivals(field, names, margin),
    ]
    if field.task != "regression":
        drawn = {names[place]: forecasts[place] for place in (lead.first, lead.second)}
        pictures.append(_reliability(target, drawn, of=len(names)))
    return pictures


def event(target: FloatArray, forecast: FloatArray) -> tuple[NDArray[np.bool_], FloatArray]:
    """What a reliability curve is of: that the second class came, or that the most probable of several did.

    Returns:
        whether it happened, and its forecast probability, both of shape (n,).
    """
    if forecast.ndim == 1:
        return target == 1, forecast
    return forecast.argmax(axis=1) == target, forecast.max(axis=1)


def _metrics(field: Field, pair: Pair, names: Sequence[str], margin: float | None) -> bytes:
    """Two models: a row for each metric."""
    first, second = names[pair.first], names[pair.second]
    # The margin is in the deciding metric's unit, which only errors in the target's share.
    stated = margin if field.task == "regression" else None
    rows = [
        _row(one.found.title[:1].upper() + one.found.title[1:], pair, at)
        for at, one in enumerate(pair.metrics)
        # One axis, one unit: R2 has none, beside errors in the target's.
        if one.found.metric != "r2"
    ]
    title = {
        "better": f"{first} is better than {second}",
        "worse": f"{first} is worse than {second}",
        "no detectable difference": f"No difference detected between {first} and {second}",
    }[pair.verdict]
    spec = forest.forest(
        rows,
        title=opened(title),
        subtitle=f"Paired bootstrap, {field.resamples:,} resamples of {field.rows:,} rows, "
        f"signed so that right is better · bar is 95 % CI, colour after Holm{_shaded(stated)}",
        reference=second,
        candidate=first,
        practical=stated,
    )
    return render.render_png(spec)


def _rivals(field: Field, names: Sequence[str], margin: float | None) -> bytes:
    """More models: the best against each other one, by the deciding metric."""
    leader, *others = field.order
    pairs = [field.pair(leader, other) for other in others]
    beaten = sum(pair.verdict == "better" for pair in pairs)
    metric = pairs[0].primary.found.title
    title = (
        f"{names[leader]} is better than all {len(others)} others by {metric}"
        if beaten == len(others)
        else f"{names[leader]} leads by {metric}; no difference detected from {len(others) - beaten} of {len(others)}"
    )
    spec = forest.forest(
        [_row(names[pair.second], pair, pair.metrics.index(pair.primary)) for pair in pairs],
        title=opened(title),
        subtitle=f"Difference of {metric} on {field.rows:,} rows, signed so that right favours {names[leader]} · "
        f"bar is 95 % CI, colour after Holm over {len(field.pairs)} pairs{_shaded(margin)}",
        reference="other",
        candidate=names[leader],
        practical=margin,
    )
    return render.render_png(spec)


def _shaded(margin: float | None) -> str:
    return "" if margin is None else f" · shaded ± {short_number(margin)}"


def _row(label: str, pair: Pair, at: int) -> forest.ForestRow:
    found = pair.metrics[at].found
    return forest.ForestRow(
        label=label,
        reference=found.second,
        candidate=found.first,
        difference=found.difference,
        low=found.low,
        high=found.high,
        verdict=found.verdict,
    )


def _reliability(target: FloatArray, forecasts: dict[str, FloatArray], *, of: int) -> bytes:
    curves = []
    for name, forecast in forecasts.items():
        happened, share = event(target, forecast)
        points = tuple(
            reliability.CurvePoint(
                predicted=row.forecast,
                observed=row.observed,
                low=row.observed_low,
                high=row.observed_high,
                rows=row.rows,
            )
            for row in reliability_table(happened, share)
        )
        counts = np.histogram(share, bins=10, range=(0.0, 1.0))[0]
        error = CalibrationError(happened, share).value
        curves.append(reliability.Curve(name, error, points, tuple(int(count) for count in counts)))
    errors = " vs ".join(f"{curve.error:.3f}" for curve in curves)
    leading = f" · the leading two of {of}" if of > len(forecasts) else ""
    several = next(iter(forecasts.values())).ndim > 1
    what = "Reliability of the most probable class" if several else "Reliability"
    spec = reliability.reliability(
        curves,
        title=opened(_finding(curves)),
        subtitle=f"{what}, bins of equal rows, 95 % Wilson bands · {len(target):,} unseen rows · ECE {errors}{leading}",
    )
    return render.render_png(spec)


def _finding(curves: Sequence[reliability.Curve]) -> str:
    """What the curves show, beyond what chance would: a point whose band leaves the diagonal out counts."""
    for curve in curves:
        over = sum(point.predicted > point.high for point in curve.points)
        under = sum(point.predicted < point.low for point in curve.points)
        # About one band in twenty leaves the truth out by chance.
        if over + under > max(1, len(curve.points) // 10):
            does = "over-predicts" if not under else "under-predicts" if not over else "misses"
            return f"{curve.name} {does} in {over + under} of {len(curve.points)} bins"
    return "Predicted and observed rates agree within their bands"
