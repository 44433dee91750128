"""What each number that an estimator sees is made of: a column, and scalers after it.

A scaler is kept as its operations, in scikit-learn's order: folded into one factor they would round differently, and a
tree could branch the other way at a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from mcp_server.core.adoption.described import refused
from mcp_server.core.labels import label

FloatArray = NDArray[np.float64]
NAN = float("nan")

Op = tuple[str, float]


@dataclass(frozen=True, slots=True)
class RawNumber:
    """A column's number, or `fill` where it's missing; NaN where that is None."""

    column: int
    fill: float | None = None


@dataclass(frozen=True, slots=True)
class RawText:
    """A column's text before it's encoded, or `fill` where it's missing."""

    column: int
    fill: str | None = None


@dataclass(frozen=True, slots=True)
class CodedText:
    """A number for each text.

    Args:
        values, numbers: each text and its number.
        other, missing: for any other text, and for none; NaN where the estimator is to take the value for missing.
        among: every text that the step knows, where this is one mark of several.
    """

    column: int
    values: tuple[str, ...]
    numbers: tuple[float, ...]
    other: float
    missing: float
    among: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VectorEntry:
    """One number of an estimator's vector: operations on what a column gives."""

    base: RawNumber | RawText | CodedText
    ops: tuple[Op, ...] = ()

    def after(self, *ops: Op) -> VectorEntry:
        """With operations behind; those that change nothing are left out."""
        kept = tuple(op for op in ops if op not in (("sub", 0.0), ("add", 0.0), ("div", 1.0), ("mul", 1.0)))
        return replace(self, ops=self.ops + kept)


@dataclass(slots=True)
class Vector:
    """The vector, and what the model refuses.

    Args:
        features: in the estimator's order.
        texts: column to the texts that it knows, where it refuses others.
        none: columns whose missing values are None to the model; they're NaN of the others.
    """

    features: list[VectorEntry]
    texts: dict[int, frozenset[str]]
    none: set[int]
    strict_missing: set[int]


def read_vector(estimator: Any, columns: Sequence[str], texts: Sequence[bool]) -> tuple[Vector, Any]:
    """Follow columns through the steps of a rebuilt model.

    Args:
        estimator: of `rebuild`.
        columns: their names, for messages.
        texts: whether each holds text.
    Returns:
        the vector, and the last estimator.
    Raises:
        AdoptionRefused: a step takes another kind of column than the data has.
    """
    features = [VectorEntry(RawText(at) if text else RawNumber(at)) for at, text in enumerate(texts)]
    reader = _Reader(columns)
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    for step in steps[:-1]:
        features = reader.through(step, features)
    while isinstance(steps[-1], Pipeline):  # one pipeline as the last step of another
        steps = [step for _, step in steps[-1].steps]
        for step in steps[:-1]:
            features = reader.through(step, features)
    for feature in features:
        if isinstance(feature.base, RawText):
            raise refused(
                f"it takes {label(columns[feature.base.column])!r} as a number, and the data holds text there."
            )
    return Vector(features, reader.texts, reader.none, reader.strict_missing), steps[-1]


def apply(ops: Sequence[Op], values: FloatArray) -> FloatArray:
    """Operations on values, shape (n,), rounded as scikit-learn rounds them."""
    with np.errstate(over="ignore", invalid="ignore"):
        for name, by in ops:
            if name == "sub":
                values = values - by
            elif name == "add":
                values = values + by
            elif name == "div":
                values = values / by
            else:
                values = values * by
    return values


def affine(ops: Sequence[Op]) -> tuple[float, float]:
    """The factor and the summand that operations come to."""
    factor, summand = 1.0, 0.0
    for name, by in ops:
        if name in ("div", "mul"):
            factor, summand = (factor / by, summand / by) if name == "div" else (factor * by, summand * by)
        else:
            summand += by if name == "add" else -by
    return factor, summand


class _Reader:
    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self.texts: dict[int, frozenset[str]] = {}
        self.none: set[int] = set()
        self.strict_missing: set[int] = set()

    def through(self, step: Any, features: list[VectorEntry]) -> list[VectorEntry]:
        if isinstance(step, FrozenEstimator):
            step = step.estimator
        if step == "passthrough":
            return features
        if isinstance(step, Pipeline):
            for _, inner in step.steps:
                features = self.through(inner, features)
            return features
        if isinstance(step, ColumnTransformer):
            return [
                made
                for _, inner, positions in step.transformers
                for made in self.through(inner, self._taken(features, positions))
            ]
        if step.n_features_in_ != len(features):
            raise refused("a step takes another number of columns than the one before it gives.")
        if isinstance(step, OneHotEncoder | OrdinalEncoder):
            made = []
            for at, feature in enumerate(features):
                made += self._encoded(step, at, feature)
            return made
        if isinstance(step, SimpleImputer):
            return [
                self._filled(feature, value) for feature, value in zip(features, step.statistics_.tolist(), strict=True)
            ]
        return [self._scaled(step, at, feature) for at, feature in enumerate(features)]

    def _taken(self, features: list[VectorEntry], positions: Sequence[int]) -> list[VectorEntry]:
        if max(positions, default=0) >= len(features):
            raise refused("a step takes another number of columns than the one before it gives.")
        return [features[at] for at in positions]

    def _name(self, feature: VectorEntry) -> str:
        return repr(label(self._columns[feature.base.column]))

    def _scaled(self, step: Any, at: int, feature: VectorEntry) -> VectorEntry:
        if isinstance(feature.base, RawText):
            raise refused(f"it scales {self._name(feature)}, and the data holds text there.")
        if isinstance(step, StandardScaler):
            return feature.after(
                ("sub", float(step.mean_[at]) if step.with_mean else 0.0),
                ("div", float(step.scale_[at]) if step.with_std else 1.0),
            )
        if isinstance(step, MinMaxScaler):
            return feature.after(("mul", float(step.scale_[at])), ("add", float(step.min_[at])))
        if isinstance(step, MaxAbsScaler):
            return feature.after(("div", float(step.scale_[at])))
        if isinstance(step, RobustScaler):
            return feature.after(
                ("sub", float(step.center_[at]) if step.with_centering else 0.0),
                ("div", float(step.scale_[at]) if step.with_scaling else 1.0),
            )
        raise refused("a step isn't one that can be adopted.")

    def _filled(self, feature: VectorEntry, value: Any) -> VectorEntry:
        base = feature.base
        if isinstance(base, RawText):
            if not isinstance(value, str):
                raise refused(f"it fills in numbers in {self._name(feature)}, and the data holds text there.")
            return feature if base.fill is not None else replace(feature, base=replace(base, fill=value))
        if isinstance(value, str):
            raise refused(f"it fills in text in {self._name(feature)}, and the data holds numbers there.")
        factor, summand = affine(feature.ops)
        before = (float(value) - summand) / factor if feature.ops else float(value)
        if isinstance(base, RawNumber):
            return feature if base.fill is not None else replace(feature, base=replace(base, fill=before))
        other, missing = (before if one != one else one for one in (base.other, base.missing))
        return replace(feature, base=replace(base, other=other, missing=missing))

    def _encoded(self, step: Any, at: int, feature: VectorEntry) -> list[VectorEntry]:
        base = feature.base
        if not isinstance(base, RawText) or feature.ops:
            raise refused(f"it encodes {self._name(feature)} as text, and the data holds numbers there.")
        cells = step.categories_[at].tolist()
        texts = tuple(one for one in cells if isinstance(one, str))
        knows_missing = len(texts) < len(cells)
        if knows_missing and cells[-1] is None:
            self.none.add(base.column)
        if step.handle_unknown == "error":
            known = frozenset(texts)
            self.texts[base.column] = self.texts.get(base.column, known) & known
            if base.fill not in texts and not (base.fill is None and knows_missing):
                self.strict_missing.add(base.column)
        if isinstance(step, OneHotEncoder):
            return self._marks(step, at, base, texts, knows_missing)
        codes = tuple(float(number) for number in range(len(texts)))
        other = NAN if step.handle_unknown == "error" else float(step.unknown_value)
        missing = float(step.encoded_missing_value) if knows_missing else other
        if base.fill is not None:
            # What stands for a missing value may itself be a text that the encoder never saw.
            missing = codes[texts.index(base.fill)] if base.fill in texts else other
        return [VectorEntry(CodedText(base.column, texts, codes, other, missing))]

    def _marks(
        self, step: OneHotEncoder, at: int, base: RawText, texts: tuple[str, ...], knows_missing: bool
    ) -> list[VectorEntry]:
        made = [
            VectorEntry(CodedText(base.column, (text,), (1.0,), 0.0, float(text == base.fill), among=texts))
            for text in texts
        ]
        if knows_missing:
            made.append(VectorEntry(CodedText(base.column, (), (), 0.0, float(base.fill is None), among=texts)))
        dropped = None if step.drop_idx_ is None else step.drop_idx_[at]
        return [one for number, one in enumerate(made) if number != dropped]
