"""What of a row may be changed to get another answer, to which values, and how far each is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract
from mcp_server.core.explain.permutation import given_inputs, used_inputs
from mcp_server.core.predictor.encodings import NumberEncoding, OneHotEncoding, OrdinalEncoding
from mcp_server.core.predictor.form import Form, Input, Linear

FloatArray = NDArray[np.float64]

_QUANTILES = 25
_THRESHOLDS = 40
_NORMAL_MAD = 1.4826  # of a normal distribution this many deviations are one standard deviation
_NORMAL_SPAN = 4.6527  # standard deviations between its 1st and 99th percentile
_MOST_VALUES = 50


@dataclass(frozen=True, slots=True)
class Movable:
    """A column that may be changed.

    Args:
        column: its name.
        kind: number, integer, boolean or category.
        values: to try, within the contract, without the row's own.
        scale: what counts as one unit of distance: 1.4826 times the median absolute deviation, in the column's unit;
            1 for a category or a boolean, whose change is one unit.
        low, high: what the contract and the training rows bound it by; None for a category or a boolean.
    """

    column: str
    kind: str
    values: tuple[Any, ...]
    scale: float
    low: float | None = None
    high: float | None = None

    @property
    def numeric(self) -> bool:
        return self.kind in ("number", "integer")

    def distance(self, before: Any, after: Any) -> float:
        """How far a change is, in units of the column."""
        return abs(float(after) - float(before)) / self.scale if self.numeric else float(before != after)


def movable_columns(
    form: Form,
    contract: Contract,
    sample: pl.DataFrame,
    row: Mapping[str, Any],
    *,
    fixed: Collection[str],
    personal: Collection[str] = (),
) -> tuple[list[Movable], dict[str, str]]:
    """The columns that a change may use.

    Args:
        contract: of the training data: roles, ranges, allowed values, what is personal.
        sample: ordinary rows with the form's inputs, for the spread and for values to try.
        row: typed, by given input; None where missing.
        fixed: columns that the caller doesn't want changed.
        personal: further columns that are personal, such as by the contract of the sample.
    Returns:
        those that may be changed, and for each other one that the model uses why not.
    """
    used = used_inputs(form)
    specs = {spec.name: spec for spec in form.inputs}
    found: list[Movable] = []
    kept: dict[str, str] = {}
    for name in given_inputs(form):
        if name not in used:
            continue
        reason = _reason(contract, specs[name], row.get(name), fixed=name in fixed, personal=name in personal)
        if reason is not None:
            kept[name] = reason
            continue
        movable = _movable(form, contract, specs[name], sample, row[name])
        if movable.values:
            found.append(movable)
        else:
            kept[name] = "has no other value within the contract"
    return found, kept


def _reason(contract: Contract, spec: Input, value: Any, *, fixed: bool, personal: bool) -> str | None:
    column = next((one for one in contract.columns if one.name == spec.name), None)
    if fixed:
        return "is to stay as it is"
    if column is None or column.role != "feature":
        return "isn't a feature by the contract"
    if column.personal or personal:
        return "is personal"
    if spec.kind in ("date", "datetime"):
        return "is a moment in time"
    if value is None:
        return "is missing"
    return None


def _movable(form: Form, contract: Contract, spec: Input, sample: pl.DataFrame, value: Any) -> Movable:
    column = contract.column(spec.name)
    if spec.kind == "boolean":
        return Movable(spec.name, "boolean", (not value,), 1.0)
    if spec.kind == "category":
        known = _known_values(form, spec)
        allowed = known if column.allowed is None else [one for one in known if one in set(column.allowed)]
        return Movable(spec.name, "category", tuple(one for one in allowed[:_MOST_VALUES] if one != value), 1.0)
    bounds = [bound for bound in (column.minimum, spec.minimum) if bound is not None]
    tops = [bound for bound in (column.maximum, spec.maximum) if bound is not None]
    if not bounds or not tops:
        return Movable(spec.name, spec.kind, (), 1.0)
    low, high = max(bounds), min(tops)
    if spec.kind == "integer":
        low, high = float(ceil(low)), float(floor(high))
    values = sample.get_column(spec.name).cast(pl.Float64).drop_nulls().to_numpy()
    tried = _tried(values, _thresholds(form, spec.name), float(value), low, high, whole=spec.kind == "integer")
    plain = tuple(int(one) if spec.kind == "integer" else float(one) for one in tried if one != value)
    return Movable(spec.name, spec.kind, plain, _scale(values, spec), low, high)


def _known_values(form: Form, spec: Input) -> list[str]:
    for encoding in form.single:
        if encoding.column == spec.name and isinstance(encoding, OneHotEncoding | OrdinalEncoding):
            return [one for one in encoding.values if spec.allowed is None or one in set(spec.allowed)]
    return list(spec.allowed or ())


def _thresholds(form: Form, name: str) -> FloatArray:
    """Where the trees branch on a column of numbers itself, sorted."""
    at, places = 0, set()
    for encoding in form.encoder:
        if isinstance(encoding, NumberEncoding) and encoding.column == name:
            places.add(at)
        at += encoding.width
    return np.unique(
        [
            node["t"]
            for _, part, estimator in form.members
            if not isinstance(estimator, Linear)
            for tree in estimator.trees
            for node in tree
            if "f" in node and node["f"] + part.start in places
        ]
    )


def _tried(
    values: FloatArray, thresholds: FloatArray, value: float, low: float, high: float, *, whole: bool
) -> FloatArray:
    """Numbers to try: ends, quantiles, and both sides of thresholds, the nearest ones among them."""
    parts = [np.array([low, high])]
    inside = values[(values >= low) & (values <= high)]
    if len(inside):
        parts.append(np.quantile(inside, np.linspace(0.0, 1.0, _QUANTILES), method="inverted_cdf"))
    within = thresholds[(thresholds >= low) & (thresholds < high)]
    if len(within):
        near = within[np.argsort(np.abs(within - value), kind="stable")[: _THRESHOLDS // 2]]
        spread = within[np.unique(np.linspace(0, len(within) - 1, _THRESHOLDS // 2).astype(np.int64))]
        chosen = np.unique(np.concatenate([near, spread]))
        # At a threshold a value goes left; the next one above it goes right.
        below = np.floor(chosen) if whole else chosen
        parts += [below, below + 1.0 if whole else np.nextafter(chosen, np.inf)]
        if not whole:  # Averaged trees are asked in single precision.
            parts.append(np.nextafter(chosen.astype(np.float32), np.float32(np.inf)).astype(np.float64))
    tried = np.concatenate(parts)
    tried = np.unique(np.round(tried) if whole else tried)
    result: FloatArray = tried[(tried >= low) & (tried <= high)]
    return result


def _scale(values: FloatArray, spec: Input) -> float:
    """One unit of distance; where over half of the values are alike, from the span of the middle 98 % or of all."""
    if len(values):
        deviation = float(np.median(np.abs(values - np.median(values)))) * _NORMAL_MAD
        if deviation > 0.0:
            return deviation
    if spec.p01 is not None and spec.p99 is not None and spec.p99 > spec.p01:
        return (spec.p99 - spec.p01) / _NORMAL_SPAN
    if spec.minimum is not None and spec.maximum is not None and spec.maximum > spec.minimum:
        return (spec.maximum - spec.minimum) / _NORMAL_SPAN
    return 1.0
