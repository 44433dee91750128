"""What a file describes, as plain values: numbers, text, lists, arrays and named objects that nobody has made yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.labels import label
from mcp_server.core.model_files.arrays import ItemType
from mcp_server.core.model_files.values import Gathered, Instance, Listed, Mapped, Named, Raw
from mcp_server.errors import AdoptionRefused

MOST_DEPTH = 40

_VERSION = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,4}){1,3}(?:\.?(?:a|b|rc|dev|post)[0-9]{1,4})*")

SUPPORTED_HINT = (
    "Adopted are linear and logistic regression, decision trees, random forests, extra trees and gradient boosting of "
    "scikit-learn, in a Pipeline with scalers, SimpleImputer, OneHotEncoder, OrdinalEncoder and ColumnTransformer. "
    "Save one of these, or train_model on its data."
)


@dataclass(frozen=True, slots=True, eq=False)
class Object:
    """An object as the file describes it.

    Args:
        module, name: of its class.
        attributes: its state, or nothing.
        arguments: what its constructor is given, of the kinds that have it.
    """

    module: str
    name: str
    attributes: Mapping[str, Any]
    arguments: tuple[Any, ...] = ()


def refused(why: str, *, hint: str = SUPPORTED_HINT) -> AdoptionRefused:
    """The refusal of a model, with the step that can't be adopted."""
    return AdoptionRefused(f"The model can't be adopted: {why}", hint=hint)


def plain(value: Any) -> Any:
    """A description of `model_files.values` as plain values.

    Returns:
        None, true and false, numbers, text and bytes as they are; lists and tuples as lists; dictionaries with text for
        keys as dictionaries; numpy's scalars as Python's and its arrays as arrays; anything else as an `Object`.
    Raises:
        AdoptionRefused: it's nested too deeply, or holds itself.
    """
    return _Plain().of(value, 0)


class _Plain:
    """Each part is looked at once: a file can hand over one list many times, and lists of these."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def of(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Named):
            return Object(value.module, value.name, {})
        if id(value) not in self._made:
            if depth > MOST_DEPTH:
                raise refused("its parts are nested too deeply.")
            # The description stays alive as a whole, so that no other part gets this number.
            self._made[id(value)] = self._one(value, depth + 1)
        return self._made[id(value)]

    def _one(self, value: Any, depth: int) -> Any:
        if isinstance(value, Raw):
            return bytes(value.view)
        if isinstance(value, Listed | Gathered):
            return [self.of(one, depth) for one in value.items]
        if isinstance(value, tuple):
            return [self.of(one, depth) for one in value]
        if isinstance(value, Mapped):
            return {str(key): self.of(one, depth) for key, one in value.pairs if isinstance(key, str | int)}
        return self._object(value, depth) if isinstance(value, Instance) else Object("", "", {})

    def _object(self, value: Instance, depth: int) -> Any:
        of, state = value.of, value.attributes
        if of.rule in ("ndarray", "masked") and isinstance(state, tuple):
            kind, shape, content, by_column = state
            return self._array(kind, shape, content, by_column, depth)
        if of.rule == "scalar" and isinstance(state, tuple):
            return np.frombuffer(state[1].view, dtype=item_dtype(state[0]))[0].item()
        if of.rule == "slice" and isinstance(state, tuple):
            return Object(of.module, of.name, {}, tuple(self.of(one, depth) for one in state))
        if of.rule == "tree" and isinstance(state, tuple) and isinstance(state[0], tuple):
            given = tuple(self.of(one, depth) for one in state[0])
            return Object(of.module, of.name, self.of(state[1], depth), given)
        return Object(of.module, of.name, self.of(state, depth) if isinstance(state, Mapped) else {})

    def _array(self, kind: ItemType, shape: tuple[int, ...], content: Any, by_column: bool, depth: int) -> NDArray[Any]:
        """An array of the description that `model_files` has of it; its sizes were checked there."""
        order: Any = "F" if by_column else "C"
        if kind.kind == "O":
            cells: NDArray[Any] = np.empty(len(content.items), dtype=object)
            for at, one in enumerate(content.items):
                cells[at] = self.of(one, depth)
            return cells.reshape(shape, order=order)
        made: NDArray[Any] = np.frombuffer(content.view, dtype=item_dtype(kind)).reshape(shape, order=order)
        return made


def item_dtype(kind: ItemType) -> np.dtype[Any]:
    """numpy's type of an array's items, plain or with fields."""
    if kind.fields is None:
        if kind.kind in "OVMm":
            raise refused("an array holds items of a kind that no part of it has.")
        size = kind.size // 4 if kind.kind == "U" else kind.size
        return np.dtype(f"{kind.order}{kind.kind}{size}")
    names = list(kind.fields)
    described = {
        "names": names,
        "formats": [item_dtype(kind.fields[name][0]) for name in names],
        "offsets": [kind.fields[name][1] for name in names],
        "itemsize": kind.size,
    }
    return np.dtype(described)  # type: ignore[call-overload,no-any-return]


def writer(of: Object) -> str | None:
    """The version of scikit-learn that an object says wrote it, `unknown` where it isn't one; None where it says none.

    >>> writer(Object("m", "n", {"_sklearn_version": "1.5.2"})), writer(Object("m", "n", {"_sklearn_version": "1. Do"}))
    ('1.5.2', 'unknown')
    """
    version = of.attributes.get("_sklearn_version")
    if not isinstance(version, str):
        return None
    return version if _VERSION.fullmatch(version) else "unknown"


def named(made: Object) -> str:
    """A class for a message: its name is on the list of `model_files`, or else it's shown as a label."""
    return repr(label(made.name, 60))
