"""What an expression is made of, once it's parsed. Every node is plain, immutable data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal as OneOf

Value = bool | int | float | str
Arithmetic = OneOf["+", "-", "*", "/", "%"]
Comparison = OneOf["==", "!=", "<", "<=", ">", ">="]
Function = OneOf["abs", "min", "max", "round", "is_missing", "year", "month", "weekday"]


@dataclass(frozen=True, slots=True)
class Name:
    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    value: Value


@dataclass(frozen=True, slots=True)
class Calculate:
    operator: Arithmetic
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Compare:
    operator: Comparison
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Combine:
    """`and` or `or` of two or more conditions."""

    operator: OneOf["and", "or"]
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    operand: Node


@dataclass(frozen=True, slots=True)
class Within:
    """`operand in [..]`: the values are constants of one type."""

    operand: Node
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Call:
    function: Function
    arguments: tuple[Node, ...]


Node = Name | Constant | Calculate | Compare | Combine | Not | Within | Call


def children(node: Node) -> tuple[Node, ...]:
    """The parts that a node is computed from."""
    match node:
        case Calculate(_, left, right) | Compare(_, left, right):
            return (left, right)
        case Combine(_, operands):
            return operands
        case Not(operand) | Within(operand, _):
            return (operand,)
        case Call(_, arguments):
            return arguments
        case _:
            return ()


def columns(node: Node) -> Iterator[str]:
    """The names of the columns below a node, with repetitions."""
    if isinstance(node, Name):
        yield node.name
    for child in children(node):
        yield from columns(child)
