"""Contracts as other programs write them: what goes over, what can't, and how one is read onto a contract of ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mcp_server.core.contract.edit import ContractChange, edit, read_change
from mcp_server.core.contract.model import Column, Contract
from mcp_server.core.contract.pattern import compiled
from mcp_server.core.expressions import Kind
from mcp_server.core.labels import closest, label
from mcp_server.errors import DataRejected

MAX_BYTES = 512 * 1024
_WHOLE = ("^(?:", r")\Z")
_NEAR = {frozenset({"category", "text"}), frozenset({"integer", "number"}), frozenset({"date", "datetime"})}


@dataclass(frozen=True, slots=True)
class Exported:
    """A contract in another program's form.

    Args:
        text: the document.
        not_carried: what it can't say, one part a line, such as `home_elo: unit`; may hold names from data.
    """

    text: str
    not_carried: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Foreign:
    """What another program's document says about a table.

    Args:
        kinds: of the columns that it tells the kind of.
        change: what it states.
        not_carried: what it says and a contract can't; may hold names from the document.
    """

    kinds: dict[str, Kind]
    change: ContractChange
    not_carried: tuple[str, ...] = field(default=())

    def contract(self) -> Contract:
        """A contract of its own, all features. Raises DataRejected, InvalidInput: it contradicts itself."""
        if not self.kinds:
            raise DataRejected(
                "E_CONTRACT", "The document tells no column's kind.", hint="Apply it to a data set instead."
            )
        bare = tuple(Column(name=name, kind=kind, nullable=True) for name, kind in self.kinds.items())
        return edit(Contract(columns=bare), self.change)

    def onto(self, contract: Contract) -> Contract:
        """A contract of ours with what the document states.

        Raises:
            DataRejected: `E_CONTRACT`: a column that isn't there or is of another kind.
        """
        ours = contract.kinds
        for name, kind in self.kinds.items():
            if name not in ours:
                near = closest(name, ours) or "describe_data lists the names."
                raise DataRejected("E_CONTRACT", f"The data set has no column {label(name)!r}.", hint=near)
            if ours[name] != kind and {ours[name], kind} not in _NEAR:
                raise DataRejected(
                    "E_CONTRACT",
                    f"{label(name)!r} is {ours[name]} in the data set and {kind} in the document.",
                    hint="Mend the document, or derive the column anew.",
                )
        return edit(contract, self.change)


def of_document(kinds: dict[str, Kind], document: dict[str, Any], not_carried: list[str]) -> Foreign:
    """A foreign contract from a change document; parts without anything in them are left out."""
    return Foreign(kinds, read_change({name: part for name, part in document.items() if part}), tuple(not_carried))


def lost(contract: Contract) -> Iterator[str]:
    """What neither pandera nor Great Expectations has a word for."""
    for column in contract.columns:
        if column.unit is not None:
            yield f"{column.name}: unit"
        if column.role != "feature":
            yield f"{column.name}: role"
        if column.personal:
            yield f"{column.name}: personal"
            if hidden(column) != column:
                yield f"{column.name}: values, as it's personal"
        if column.sensitive:
            yield f"{column.name}: sensitive"
        if column.source == "derived":
            yield f"{column.name}: how it's computed"
        if column.kind == "category" and hidden(column).allowed is None:
            yield f"{column.name}: that it's a category"
    if any(column.inferred for column in contract.columns):
        yield "how sure what was inferred is"
    if contract.row_filter is not None:
        yield "row filter"
    if contract.freshness is not None:
        yield "freshness"
    yield from (f"fairness {rate}" for rate in contract.fairness)


def hidden(column: Column) -> Column:
    """A column without values, where it's data about a person."""
    if not column.personal:
        return column
    return column.model_copy(update={"minimum": None, "maximum": None, "allowed": None, "pattern": None})


def whole(pattern: str) -> str:
    """A pattern for programs that search with Python's `re`, to be met by the whole value."""
    return f"{_WHOLE[0]}{pattern}{_WHOLE[1]}"


def from_search(pattern: object, *, start: bool) -> str | None:
    """A pattern of theirs as one for whole values; None where RE2 can't say it.

    Args:
        start: whether it's met from the value's start on; otherwise anywhere.
    """
    if not isinstance(pattern, str):
        return None
    if pattern.startswith(_WHOLE[0]) and pattern.endswith(_WHOLE[1]):
        text = pattern[len(_WHOLE[0]) : -len(_WHOLE[1])]
    else:
        text = f"{'' if start else '(?s:.*)'}(?:{pattern})(?s:.*)"
    try:
        compiled(text)
    except DataRejected:
        return None
    return text


def number(value: object) -> float | None:
    """A bound, or None where it isn't a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        bound = float(value)
    except OverflowError:  # digits beyond what a number of a table can have
        return None
    return bound if math.isfinite(bound) else None


def texts(value: object) -> list[str] | None:
    """A list of texts, or None where it's anything else."""
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        return None
    return list(value)


def refusal(message: str, hint: str) -> DataRejected:
    """A document that can't be read."""
    return DataRejected("E_CONTRACT", message, hint=hint)
