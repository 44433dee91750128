"""What the abstract machine puts on its stack in place of objects: inert, and never compared by content.

`None`, true and false, numbers and text stand for themselves; tuples are tuples of values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_KEYED = 32
BYTES_PER_STEP = 1_024
LETTERS_PER_STEP = 256
STEPS_PER_ITEM = 4
"""What is copied or looked through in the time of one opcode, and how many of these an item of a set takes."""


@dataclass(slots=True, eq=False)
class Raw:
    """Bytes or a bytearray."""

    view: memoryview


@dataclass(slots=True, eq=False)
class Listed:
    items: list[Any] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Gathered:
    """A set or frozenset; its items are hashable without running anything."""

    items: list[Any] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Mapped:
    """A dictionary: pairs in the order in which they were set."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    def get(self, name: str) -> Any:
        """The value that was set last for a text; None where there is none."""
        found = None
        for key, value in self.pairs:
            if type(key) is str and key == name:
                found = value
        return found


@dataclass(slots=True, eq=False, frozen=True)
class Named:
    """A class or function of the list.

    Args:
        rule: how it may be used; see `allowed`.
    """

    module: str
    name: str
    rule: str


@dataclass(slots=True, eq=False)
class Instance:
    """An object.

    Args:
        of: what it's an object of.
        built: whether its state was set.
        attributes: the state where it's a dictionary, or what the kind needs: of an array its item type, shape, content
            and whether that goes by columns; of a tree its arguments and its state.
    """

    of: Named
    built: bool = False
    attributes: Any = None


@dataclass(slots=True, eq=False)
class Outsider:
    """What came of a name outside the list; it was reported when it was named."""

    name: str = ""


def hashable(value: Any) -> bool:
    """Whether a value may be a key or in a set: hashing it runs no code and takes no time."""
    if isinstance(value, tuple):
        return len(value) <= MOST_KEYED and all(not isinstance(part, tuple) and hashable(part) for part in value)
    if isinstance(value, Instance):
        return value.of.rule == "scalar"
    return value is None or isinstance(value, bool | int | float | str | Raw | Named | Outsider)


def is_whole(value: Any, low: int = -(2**63), high: int = 2**63 - 1) -> bool:
    """Whether a value is a whole number within bounds; true and false aren't."""
    return type(value) is int and low <= value <= high


def weight(value: Any, *, lists: bool) -> int:
    """How many opcodes' time it takes to look through what a call or an object is given.

    One list can be handed over many times.

    Args:
        value: arguments or a state.
        lists: whether lists in it are looked through too.
    """
    inside = _parts(value)
    return len(inside) + sum(_size(part, lists) for part in inside)


def _parts(value: Any) -> Sequence[Any]:
    if isinstance(value, tuple):
        return value
    if isinstance(value, Listed | Gathered):
        return value.items
    return [one for _, one in value.pairs] if isinstance(value, Mapped) else ()


def _size(value: Any, lists: bool) -> int:
    if isinstance(value, Instance):
        parts = value.attributes if isinstance(value.attributes, tuple) else ()
        return sum(len(part.view) for part in parts if isinstance(part, Raw)) // BYTES_PER_STEP
    if isinstance(value, str):
        return len(value) // LETTERS_PER_STEP
    if isinstance(value, Raw):
        return len(value.view) // BYTES_PER_STEP
    if isinstance(value, Listed | Gathered):
        return STEPS_PER_ITEM * len(value.items) if lists else 0
    return len(value.pairs) if isinstance(value, Mapped) else len(_parts(value))


def told(value: Any) -> str:
    """What a value is, for a sentence."""
    if isinstance(value, Instance):
        return f"an object of '{value.of.module}.{value.of.name}'"
    if isinstance(value, Named):
        return f"'{value.module}.{value.name}'"
    return {Listed: "a list", Mapped: "a dictionary", Gathered: "a set", tuple: "a tuple", str: "a text"}.get(
        type(value), "a value"
    )
