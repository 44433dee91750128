"""The rows that models are compared on, and what each of them forecasts there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract, Overrides, apply_overrides, from_dict
from mcp_server.core.predictor import Form
from mcp_server.core.predictor.batch import BatchPredictor, compile_batch
from mcp_server.core.training.split import synthetic_rows
from mcp_server.core.training.target import Target, target_values
from mcp_server.errors import InvalidInput
from mcp_server.workflows.operations.reading import row_digests, stored_table
from mcp_server.workflows.operations.unseen import under_known_keys, unseen_rows, with_key

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

MINIMUM_ROWS = 20
_ROUNDED = 0.01
"""How far the probabilities of a row, written with few decimals, may be from summing to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class UnseenRows:
    """Rows of one data set that none of the models has seen, as far as can be told.

    Args:
        frame: the rows, with the contract's columns.
        contract: of the data set, with the models' target.
        target: shape (n,): class indexes or numbers.
        forecasts: of each model and then of the outside, shape (n,) or (n, classes).
        seen: rows left out because a model was trained on them or their like.
        untold: rows that the outside forecasts say nothing of.
        recurring: rows whose key a model was trained under, in another data set.
    """

    frame: pl.DataFrame
    contract: Contract
    target: FloatArray
    forecasts: tuple[FloatArray, ...]
    seen: int
    untold: int
    recurring: int


@dataclass(frozen=True, slots=True, eq=False)
class Contestants:
    """The models that are compared.

    Args:
        documents: of each, as stored.
        predictors: compiled.
    """

    documents: tuple[dict[str, Any], ...]
    predictors: tuple[BatchPredictor, ...] = field(repr=False)

    @property
    def form(self) -> Form:
        return self.predictors[0].form

    @property
    def target(self) -> Target:
        form = self.form
        return Target(form.target, form.task, None if form.classes is None else tuple(form.classes))


def read_contestants(paths: Sequence[str]) -> Contestants:
    """Read and compile the models.

    Raises:
        InvalidInput: they name their classes differently.
    """
    documents = tuple(orjson.loads(Path(path).read_bytes()) for path in paths)
    found = Contestants(documents, tuple(compile_batch(document["form"]) for document in documents))
    if any(predictor.form.classes != found.form.classes for predictor in found.predictors):
        raise InvalidInput(
            "The models don't tell the same classes apart.", hint="Compare versions that were trained for one target."
        )
    return found


def read_rows(table: Mapping[str, Any], contestants: Contestants, outside: Mapping[str, Any] | None) -> UnseenRows:
    """The rows of one data set that models and outside forecasts can be compared on.

    Args:
        table: path, contract, and held_out: for each model what tells which rows it saw (`unseen_rows`).
        outside: column, and where the forecasts stand in a data set of their own, its path and contract.
    Raises:
        InvalidInput: no target, no usable forecasts, or under 20 rows left.
    """
    frame = stored_table(table["path"])
    given = from_dict(table["contract"])
    form = contestants.form
    if form.target not in frame.columns:
        raise InvalidInput("The data doesn't have the models' target.", hint="Compare on data with known outcomes.")
    unseen = np.ones(frame.height, dtype=np.bool_)
    recurring = np.zeros(frame.height, dtype=np.bool_)
    for held_out, document in zip(table["held_out"], contestants.documents, strict=True):
        unseen &= unseen_rows(held_out, document["form"], frame, given)
        recurring |= under_known_keys(held_out, frame, given)
    unseen &= ~synthetic_rows(frame, given)
    seen = int(frame.height - unseen.sum())
    recurring &= unseen
    contract = given if given.target == form.target else apply_overrides(given, Overrides(target=form.target))
    target = target_values(frame, contract, contestants.target)
    usable = unseen & ~np.isnan(target)
    theirs, untold = None, 0
    if outside is not None:
        theirs = _outside(outside, frame, given, form)
        told = ~np.isnan(theirs).reshape(len(theirs), -1).any(axis=1)
        untold = int((usable & ~told).sum())
        usable &= told
        if untold and usable.sum() < MINIMUM_ROWS:
            raise InvalidInput(
                f"Only {int(usable.sum())} unseen rows have an outside forecast; {MINIMUM_ROWS} are needed.",
                hint="Check that the keys of both data sets are written alike.",
            )
    if usable.sum() < MINIMUM_ROWS:
        raise InvalidInput(
            f"Only {int(usable.sum())} rows with an outcome were seen by none of the models; "
            f"{MINIMUM_ROWS} are needed.",
            hint="Name a dataset with rows that none of the models was trained on.",
        )
    rows = frame.filter(pl.Series(usable))
    forecasts = [predictor.answer(rows).forecast for predictor in contestants.predictors]
    if theirs is not None:
        forecasts.append(_probabilities(theirs[usable], form))
    return UnseenRows(rows, contract, target[usable], tuple(forecasts), seen, untold, int((recurring & usable).sum()))


def _outside(outside: Mapping[str, Any], frame: pl.DataFrame, contract: Contract, form: Form) -> FloatArray:
    """The outside forecasts row for row, shape (n,) or (n, classes); NaN where there are none.

    Raises:
        InvalidInput: no such columns of numbers, or no key to join them by.
    """
    if "path" not in outside:
        return _numbers(frame, _columns(outside, frame, frozenset(), form))
    other = stored_table(outside["path"])
    keys = list(contract.key)
    if not keys or not set(keys) <= set(other.columns):
        raise InvalidInput(
            "The data set and the predictions have no key in common.",
            hint="Import both with the role key for the columns that name a row, under the same names.",
        )
    values = _numbers(other, _columns(outside, other, frozenset([*keys, form.target]), form))
    theirs = row_digests(other, keys)
    if not len(theirs):
        raise InvalidInput("The predictions have no row.", hint="Give a row of predictions for each key.")
    if len(np.unique(theirs)) < len(theirs):
        raise InvalidInput(
            "The predictions have several rows for one key.", hint="Give one row of predictions for each key."
        )
    order = np.argsort(theirs)
    wanted = row_digests(frame, keys)
    place = np.minimum(np.searchsorted(theirs[order], wanted), len(theirs) - 1)
    found = (theirs[order][place] == wanted) & with_key(frame, keys)
    joined = values[order][place]
    joined[~found] = np.nan
    return joined


def _columns(outside: Mapping[str, Any], frame: pl.DataFrame, others: frozenset[str], form: Form) -> list[str]:
    """The columns that hold the forecasts: the one that was named, one for each class, or the only one of numbers."""
    stated = outside.get("column")
    if form.classes is not None and len(form.classes) > 2:
        names = list(form.classes)
        if stated is not None or not set(names) <= set(frame.columns):
            raise InvalidInput(
                "Forecasts of more than two classes need a column for each class, named as the class.",
                hint="Import them as a data set with these columns and a key, and name it in predictions.",
            )
    elif stated is not None:
        names = [stated]
    else:
        names = [name for name, kind in frame.schema.items() if kind.is_numeric() and name not in others]
    if len(names) != 1 and (form.classes is None or len(form.classes) == 2):
        raise InvalidInput(
            "The predictions don't have just one column of numbers beside their key.", hint="Name it in column."
        )
    if not all(name in frame.columns and frame.schema[name].is_numeric() for name in names):
        raise InvalidInput(
            "The column of forecasts isn't a column of numbers in this data set.",
            hint="describe_data lists the columns; forecasts are probabilities of the positive class, or values.",
        )
    return names


def _numbers(frame: pl.DataFrame, names: list[str]) -> FloatArray:
    values = np.column_stack([frame.get_column(name).cast(pl.Float64).fill_null(np.nan).to_numpy() for name in names])
    return values[:, 0] if len(names) == 1 else values


def _probabilities(values: FloatArray, form: Form) -> FloatArray:
    """The forecasts as metrics take them.

    Raises:
        InvalidInput: they aren't probabilities, or aren't finite.
    """
    if form.classes is None:
        if not np.isfinite(values).all():
            raise InvalidInput("A forecast isn't finite.", hint="Leave rows without a forecast empty.")
        return values
    if values.min() < 0.0 or values.max() > 1.0:
        raise InvalidInput(
            "The forecasts aren't probabilities between 0 and 1.",
            hint="Give probabilities; divide per cent by 100.",
        )
    if values.ndim == 1:
        return values
    total = values.sum(axis=1)
    if np.abs(total - 1.0).max() > _ROUNDED:
        raise InvalidInput(
            "The forecasts of a row don't sum to 1 over the classes.", hint="Give a probability for every class."
        )
    shares: FloatArray = values / total[:, None]
    return shares
