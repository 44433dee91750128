"""From what a file describes to scikit-learn's estimators: our own constructors' calls, and numbers put in their place.

Nothing that a file names is called: each class here is looked up in a closed table, made by its constructor with its
defaults or values of ours, and given the arrays that answers are computed from, once these fit together. Compiled code
walks trees without looking at their bounds, so that is looked at here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
)

from mcp_server.core.adoption.audit import audit_file
from mcp_server.core.adoption.boosted import gradient_boosting, histogram_boosting
from mcp_server.core.adoption.described import Object, named, refused, writer
from mcp_server.core.adoption.forests import decision_tree, forest
from mcp_server.core.adoption.linear import LINEAR, linear_model
from mcp_server.core.adoption.state import FITTED, State
from mcp_server.core.adoption.steps import TRANSFORMERS

MOST_STEPS = 20
MOST_PARTS = 1_000  # of all pipelines within each other: a few shared ones could stand for billions
MOST_COLUMNS = 2_000

_SEARCHES = frozenset({"GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"})
_FINAL: dict[str, Callable[[Object], Any]] = {
    **dict.fromkeys(LINEAR, linear_model),
    **dict.fromkeys(
        ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"), decision_tree
    ),
    **dict.fromkeys(
        ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"), forest
    ),
    **dict.fromkeys(("GradientBoostingClassifier", "GradientBoostingRegressor"), gradient_boosting),
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), histogram_boosting),
}


@dataclass(slots=True)
class Rebuilt:
    """A model.

    Args:
        estimator: scikit-learn's; it takes columns by position.
        width: how many columns it takes.
        names: the columns that it was fitted on, in their order, where it knows them.
        written_by: the versions of scikit-learn that wrote its parts.
        steps: class names, the outermost first.
    """

    estimator: Any
    width: int
    names: list[str] | None
    written_by: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


def rebuild(root: Any) -> Rebuilt:
    """Make the model that a file describes.

    Args:
        root: of `described.plain`.
    Returns:
        the model; a search stands for its best estimator.
    Raises:
        AdoptionRefused: a part isn't one that can be adopted, isn't fitted, or doesn't fit the others.
    """
    try:
        return _Builder().model(root)
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError):
        # A file can hold anything in any place, such as an array for a word: what meets it says so in its own words.
        raise refused("a part of it holds something else than scikit-learn keeps there.") from None


def kept_bytes(rebuilt: Rebuilt) -> bytes:
    """The model as a skops file, once it could be read again from that.

    Raises:
        AdoptionRefused: it couldn't.
    """
    import skops.io

    content: bytes = skops.io.dumps(rebuilt.estimator)
    rebuild(audit_file(content).root)
    return content


class _Builder:
    def __init__(self) -> None:
        self._versions: dict[str, None] = {}
        self._steps: list[str] = []

    def model(self, root: Any) -> Rebuilt:
        of = self._object(root)
        names, width = self._input_of(of)
        estimator = self._final(of)
        return Rebuilt(estimator, width, names, list(self._versions), self._steps)

    def _object(self, value: Any) -> Object:
        """What stands for a model or a step, taken out of a search or a frozen estimator."""
        for _ in range(MOST_STEPS):
            if not isinstance(value, Object) or not value.module.startswith("sklearn."):
                what = f"there is {named(value)}" if isinstance(value, Object) else "there is something else"
                raise refused(
                    f"where an estimator of scikit-learn is expected, {what}.",
                    hint="Save the fitted model alone, such as joblib.dump(pipeline, 'model.joblib').",
                )
            version = writer(value)
            if version is not None:
                self._versions[version] = None
            if value.name in _SEARCHES:
                value = value.attributes.get("best_estimator_")
            elif value.name == "FrozenEstimator":
                value = value.attributes.get("estimator")
            else:
                self._steps.append(value.name)
                if len(self._steps) > MOST_PARTS:
                    raise refused(f"it has more than {MOST_PARTS:,} steps.")
                return value
        raise refused("its parts are nested too deeply.")

    def _input_of(self, of: Object) -> tuple[list[str] | None, int]:
        """Names and number of the columns that a step takes."""
        seen = of
        for _ in range(MOST_STEPS):
            if seen.name != "Pipeline":
                break
            steps = [one for _, one in _pairs(seen, "steps") if not _passes(one)]
            if not steps:
                raise refused("the pipeline has no steps.")
            seen = _Builder()._object(steps[0])
        state = State(seen, object, frozenset(seen.attributes))
        names, width = state.names(), state.width()
        if names is not None and len(names) != width:
            raise state.refused("has other column names than columns")
        if width > MOST_COLUMNS:
            raise state.refused(f"takes more than {MOST_COLUMNS:,} columns")
        return names, width

    def _final(self, of: Object) -> Any:
        if of.name == "Pipeline":
            *before, last = self._steps_of(of)
            return Pipeline([*self._made(before), ("model", self._final(self._object(last)))])
        make = _FINAL.get(of.name)
        if make is None:
            raise refused(f"{named(of)} isn't an estimator that can be adopted.")
        return make(of)

    def _steps_of(self, of: Object) -> list[Any]:
        """What a pipeline is made of; at least one."""
        state = State(of, Pipeline, FITTED["Pipeline"])
        state.demand("transform_input", None)
        steps = [one for _, one in _pairs(of, "steps")]
        if not 1 <= len(steps) <= MOST_STEPS:
            raise state.refused("has no steps, or too many")
        return steps

    def _made(self, steps: Sequence[Any]) -> list[tuple[str, Any]]:
        return [(f"step{number}", self._transformer(one)) for number, one in enumerate(steps, start=1)]

    def _transformer(self, value: Any) -> Any:
        if _passes(value):
            return "passthrough"
        of = self._object(value)
        if of.name == "Pipeline":
            return Pipeline(self._made(self._steps_of(of)))
        if of.name == "ColumnTransformer":
            return self._columns(of)
        make = TRANSFORMERS.get(of.name)
        if make is None:
            raise refused(f"the step {named(of)} isn't one that can be adopted.")
        return make(of)

    def _columns(self, of: Object) -> Any:
        """A column transformer with the same fitted parts, its columns by position."""
        state = State(of, ColumnTransformer, FITTED["ColumnTransformer"])
        state.demand("transformer_weights", None)
        width, names = state.width(), state.names()
        fitted = state.get("transformers_")
        if not isinstance(fitted, list) or not 1 <= len(fitted) <= MOST_STEPS:
            raise state.refused("has no fitted transformers, or too many")
        made: list[tuple[str, Any, list[int]]] = []
        for number, one in enumerate(fitted):
            if not isinstance(one, list) or len(one) != 3:
                raise state.refused("has a transformer without columns")
            positions = _positions(state, one[2], width, names)
            if one[1] == "drop" or not positions:
                continue
            transformer = self._transformer(one[1])
            if transformer != "passthrough":
                transformer = FrozenEstimator(transformer)
            made.append((f"part{number}", transformer, positions))
        if not made:
            raise state.refused("drops every column")
        columns = ColumnTransformer(made, remainder="drop", sparse_threshold=0.0)
        example = np.empty((1, width), dtype=object)
        example[:] = 0.0
        for _, transformer, positions in made:
            example[0, positions] = _example(transformer, len(positions))
        return columns.fit(example)


def _pairs(of: Object, name: str) -> list[tuple[str, Any]]:
    value = of.attributes.get(name)
    if not isinstance(value, list) or not all(isinstance(one, list) and len(one) == 2 for one in value):
        raise refused(f"{named(of)} has no {name} that can be read.")
    return [(str(one[0]), one[1]) for one in value]


def _passes(value: Any) -> bool:
    return value is None or value == "passthrough"


def _positions(state: State, columns: Any, width: int, names: list[str] | None) -> list[int]:
    """The columns of one transformer as numbers from 0."""
    if isinstance(columns, Object) and columns.name == "slice":
        parts = columns.arguments if len(columns.arguments) == 3 else (None, *columns.arguments, None)[:3]
        if any(isinstance(part, str) for part in parts):
            # Of names, the last one is meant too.
            start, stop = (None if part is None else _position(state, part, width, names) for part in parts[:2])
            return list(range(width))[slice(start, None if stop is None else stop + 1, parts[2])]
        return list(range(width))[slice(*parts)]
    if isinstance(columns, Object) and columns.name == "_RemainderColsList":
        columns = columns.attributes.get("data")
    if isinstance(columns, np.ndarray):
        columns = columns.tolist()
    if isinstance(columns, str | int) and not isinstance(columns, bool):
        # One column alone is handed over without its second dimension, which no step here takes.
        raise state.refused("gives a transformer one column as a vector; name it in a list")
    if not isinstance(columns, list):
        raise state.refused("names its columns in a way that isn't known here")
    if columns and all(isinstance(one, bool) for one in columns):
        if len(columns) != width:
            raise state.refused("names its columns in a way that isn't known here")
        return [at for at, taken in enumerate(columns) if taken]
    return [_position(state, one, width, names) for one in columns]


def _position(state: State, column: Any, width: int, names: list[str] | None) -> int:
    if isinstance(column, str) and names is not None and column in names:
        return names.index(column)
    if type(column) is int and -width <= column < width:
        return column % width
    raise state.refused("names a column that it wasn't fitted on")


def _example(transformer: Any, count: int) -> list[Any]:
    """Values that a fitted transformer takes, so that a column transformer can look at what becomes of them."""
    inner = transformer.estimator if isinstance(transformer, FrozenEstimator) else transformer
    steps = [step for _, step in inner.steps] if isinstance(inner, Pipeline) else [inner]
    for step in steps:
        if isinstance(step, OneHotEncoder | OrdinalEncoder):
            return [values[0] for values in step.categories_]
        if isinstance(step, SimpleImputer) and step.statistics_.dtype.kind == "O":
            return list(step.statistics_)
    return [0.0] * count
