"""What the abstract machine puts on its stack in place of objects: inert, and never compared by content.

`None`, true and false, numbers and text stand for themselves; tuples are tuples of values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MOST_KEYED = 32


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
        attributes: the state where it's a dictionary, or what the kind needs.
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
