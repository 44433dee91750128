"""An adopted model: what a file holds, made fit for a table's columns, and its serving form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.utils import get_tags

from mcp_server.core.adoption.convert import Encoder, calibration_part, estimator_part
from mcp_server.core.adoption.described import refused
from mcp_server.core.adoption.rebuild import Rebuilt
from mcp_server.core.adoption.vector import NAN, CodedText, RawNumber, Vector, VectorEntry, read_vector
from mcp_server.core.contract import Contract
from mcp_server.core.labels import label
from mcp_server.core.predictor import FORMAT, read_form
from mcp_server.core.predictor.encodings import MAX_VALUES, NUMERIC
from mcp_server.core.training.prepare import described_input
from mcp_server.core.training.target import Target
from mcp_server.errors import BadTarget, CorruptArtefact, InvalidInput

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class AdoptedModel:
    """A rebuilt model with the table's columns that it takes.

    Args:
        estimator: scikit-learn's, by position.
        columns: the table's, in the model's order.
        texts: whether each holds text.
        vector: what the last step sees.
        final: the last step.
    """

    estimator: Any
    columns: tuple[str, ...]
    texts: tuple[bool, ...]
    vector: Vector
    final: Any

    @property
    def filled(self) -> list[str]:
        """Columns of numbers of which the model takes no missing value."""
        if get_tags(self.final).input_tags.allow_nan:
            return []
        bases = [feature.base for feature in self.vector.features]
        found = {base.column for base in bases if isinstance(base, RawNumber) and base.fill is None}
        return [self.columns[at] for at in sorted(found)]

    def answers(self, rows: pl.DataFrame) -> BoolArray:
        """Which rows the model answers at all, shape (n,)."""
        fine = np.ones(rows.height, dtype=np.bool_)
        for name in self.filled:
            fine &= rows.get_column(name).is_not_null().to_numpy()
        for at, known in self.vector.texts.items():
            series = rows.get_column(self.columns[at])
            fine &= (series.is_in(sorted(known)) | series.is_null()).to_numpy()
        for at in self.vector.strict_missing:
            fine &= rows.get_column(self.columns[at]).is_not_null().to_numpy()
        return fine

    def ask(self, rows: pl.DataFrame) -> FloatArray:
        """What the model says, shape (n, classes) or (n, 1)."""
        cells: NDArray[Any] = np.empty(
            (rows.height, len(self.columns)), dtype=object if any(self.texts) else np.float64
        )
        for at, (name, text) in enumerate(zip(self.columns, self.texts, strict=True)):
            series = rows.get_column(name)
            if text:
                missing = None if at in self.vector.none else NAN
                cells[:, at] = [missing if one is None else one for one in series.to_list()]
            else:
                cells[:, at] = series.cast(pl.Float64).fill_null(NAN).to_numpy()
        ask = self.estimator.predict_proba if hasattr(self.final, "classes_") else self.estimator.predict
        return np.asarray(ask(cells), dtype=np.float64).reshape(rows.height, -1)


def model_columns(rebuilt: Rebuilt, contract: Contract, target: str, stated: Sequence[str] | None) -> list[str]:
    """The table's columns that a model takes, in its order.

    Args:
        stated: by the caller; else they go by the names in the file, or where it has none by the contract's features
            where there are as many.
    Raises:
        InvalidInput: there are no such columns, or another number of them.
    """
    if stated is not None:
        chosen = list(stated)
    elif rebuilt.names is not None:
        chosen = rebuilt.names
        lacking = [name for name in chosen if name not in {column.name for column in contract.columns}]
        if lacking:
            told = ", ".join(repr(label(name)) for name in lacking[:MOST_NAMED])
            more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
            raise InvalidInput(
                f"The data lacks columns that the model was fitted on: {told}{more}.",
                hint="Name a data set that has them, or give `columns`: the data's names in the model's order.",
            )
    else:
        chosen = [column.name for column in contract.features if column.name != target]
        if len(chosen) != rebuilt.width:
            raise InvalidInput(
                f"The file doesn't name its {rebuilt.width:,} columns, and the data has {len(chosen):,} features.",
                hint="Give `columns`: the data's columns in the order in which the model was fitted on them.",
            )
    if len(chosen) != rebuilt.width or len(set(chosen)) != len(chosen):
        raise InvalidInput(
            f"The model takes {rebuilt.width:,} columns; {len(set(chosen)):,} different ones are named.",
            hint="Give each column once, in the order in which the model was fitted on them.",
        )
    if target in chosen:
        raise InvalidInput("The target is among the model's columns.", hint="State the target that it predicts.")
    return chosen


def for_columns(estimator: Any, columns: Sequence[str], contract: Contract) -> AdoptedModel:
    """Follow a table's columns through a rebuilt model.

    Raises:
        InvalidInput: there is no such column.
        AdoptionRefused: a column is of a kind that the model doesn't take.
    """
    texts = []
    for name in columns:
        kind = contract.column(name).kind
        if kind not in NUMERIC and kind not in ("category", "text"):
            raise refused(
                f"the data's column {label(name)!r} is a {kind}.", hint="Derive a number from it, and fit on that."
            )
        texts.append(kind not in NUMERIC)
    vector, final = read_vector(estimator, columns, texts)
    return AdoptedModel(estimator, tuple(columns), tuple(texts), vector, final)


def adopted_target(model: AdoptedModel, contract: Contract, target: str) -> Target:
    """The target, its classes as the table's text has them, in the model's order.

    Raises:
        BadTarget: the model predicts numbers, and the target isn't one; or two of its classes are one text.
    """
    kind = contract.column(target).kind
    classes = getattr(model.final, "classes_", None)
    if classes is None:
        if kind not in ("integer", "number"):
            raise BadTarget(
                f"The model predicts numbers, and {label(target)!r} is {kind}.",
                hint="State the target that it predicts.",
            )
        return Target(target, "regression", None)
    texts = tuple(_class_text(one, kind) for one in classes.tolist())
    if len(set(texts)) != len(texts) or any(not 0 < len(text) <= 500 for text in texts):
        raise BadTarget("The model's classes can't be told apart by name.", hint="Fit it on classes with short names.")
    return Target(target, "binary" if len(texts) == 2 else "multiclass", texts)


def _class_text(value: Any, kind: str) -> str:
    if isinstance(value, str):
        return value
    if kind == "number":
        return str(float(value))
    return str(int(value)) if float(value).is_integer() else str(float(value))


def serving_form(
    model: AdoptedModel, frame: pl.DataFrame, contract: Contract, target: Target
) -> tuple[dict[str, Any], list[str]]:
    """Write the serving form of a model.

    Args:
        frame: rows of the contract's table, n >= 1: ranges, and what stands for a missing value where the model takes
            none, are told of them.
    Returns:
        JSON of `courtside.model/1`, and notes, one sentence each.
    Raises:
        AdoptionRefused: it can't be expressed: trees that are too large, coefficients that aren't finite.
    """
    features, notes = _filled(model, frame)
    encoder = Encoder(features, model.columns)
    estimator = estimator_part(model.final, features, encoder)
    form = {
        "format": FORMAT,
        "task": target.task,
        "target": target.name,
        "classes": None if target.classes is None else list(target.classes),
        "derived": [],
        "inputs": [_input(model, at, frame, contract) for at in range(len(model.columns))],
        "encoder": encoder.parts,
        "estimator": estimator,
        "calibration": calibration_part(estimator),
        "interval": None,
    }
    try:
        read_form(form)
    except CorruptArtefact as malformed:
        raise refused(f"its serving form would be malformed at {malformed.details['place']}.") from None
    return form, notes


def _input(model: AdoptedModel, at: int, frame: pl.DataFrame, contract: Contract) -> dict[str, Any]:
    column = contract.column(model.columns[at])
    text = model.texts[at]
    spec = described_input(column.name, "category" if text else column.kind, column.unit, frame.get_column(column.name))
    known = {
        value
        for feature in model.vector.features
        if isinstance(feature.base, CodedText) and feature.base.column == at
        for value in feature.base.among or feature.base.values
    }
    if text:
        spec = spec.model_copy(update={"allowed": sorted(known) if len(known) <= MAX_VALUES else None})
    return spec.model_dump(by_alias=True)


def _filled(model: AdoptedModel, frame: pl.DataFrame) -> tuple[list[VectorEntry], list[str]]:
    """The features without NaN where the model takes none: the data's median or most frequent text stands for it."""
    if get_tags(model.final).input_tags.allow_nan:
        return model.vector.features, []
    notes: dict[str, None] = {}
    made = []
    for feature in model.vector.features:
        base = feature.base
        name = model.columns[base.column]
        if isinstance(base, RawNumber) and base.fill is None:
            middle = frame.get_column(name).drop_nulls().cast(pl.Float64).median()
            if middle is None:
                raise InvalidInput(f"Column {label(name)!r} has no value.", hint="Name a data set with values in it.")
            feature = replace(feature, base=replace(base, fill=float(middle)))  # type: ignore[arg-type]
        elif isinstance(base, CodedText) and (base.other != base.other or base.missing != base.missing):
            counted = frame.get_column(name).drop_nulls().value_counts(sort=True).get_column(name).to_list()
            usual = next((text for text in counted if text in base.values), base.values[0])
            code = base.numbers[base.values.index(usual)]
            other, missing = (code if one != one else one for one in (base.other, base.missing))
            feature = replace(feature, base=replace(base, other=other, missing=missing))
            notes[f"a text of {label(name)!r} that it doesn't know"] = None
        made.append(feature)
    filled = model.filled
    told = [f"{len(filled):,} column{'s' if len(filled) > 1 else ''} without a value"] if filled else []
    if not told and not notes:
        return made, []
    return made, [
        f"The file's own steps refuse {' and '.join([*told, *notes])}; this version answers with the data's median or "
        "most frequent text instead, and flags it."
    ]
