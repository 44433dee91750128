"""Text to nodes: Python's own parser reads it, an allow-list decides, nothing is ever evaluated as Python."""

from __future__ import annotations

import ast
import math
from typing import get_args

from mcp_server.core.expressions.nodes import (
    Arithmetic,
    Calculate,
    Call,
    Combine,
    Compare,
    Comparison,
    Constant,
    Function,
    Name,
    Node,
    Not,
    Value,
    Within,
)
from mcp_server.core.labels import closest, label
from mcp_server.errors import DataRejected

MAX_LENGTH = 500
MAX_DEPTH = 20
INT64 = range(-(2**63), 2**63)

_GRAMMAR = (
    "An expression has column names (or col('name')), numbers, 'text', true, false, + - * / %, comparisons, "
    "and, or, not, in [..], abs, min, max, round, is_missing, year, month and weekday."
)
_ARITHMETIC: dict[type[ast.operator], Arithmetic] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Mod: "%",
}
_COMPARISONS: dict[type[ast.cmpop], Comparison] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_FUNCTIONS: tuple[Function, ...] = get_args(Function)


def refusal(message: str, hint: str = _GRAMMAR) -> DataRejected:
    """The error of this language, to be raised."""
    return DataRejected("E_EXPRESSION", message, hint=hint)


def parse_nodes(text: str) -> Node:
    """Read one expression.

    Raises:
        DataRejected: `E_EXPRESSION`: too long, too deep, or not in the language.
    """
    if len(text) > MAX_LENGTH:
        raise refusal(
            f"The expression has {len(text)} characters; {MAX_LENGTH} are allowed.", "Split it in derived columns."
        )
    if "\\" in text or "\0" in text:
        raise refusal("An expression can't hold a backslash or a NUL character.")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refusal("The expression can't be read: it isn't complete or not in the language.") from None
    return _node(tree.body, 1)


def _node(tree: ast.expr, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise refusal(f"The expression is nested more than {MAX_DEPTH} deep.", "Split it in derived columns.")
    match tree:
        case ast.Constant(value=value):
            return Constant(_value(value))
        case ast.Name(id=name):
            return Constant(name.lower() == "true") if name in {"true", "false"} else Name(name)
        case ast.BinOp(left=left, op=operator, right=right):
            if type(operator) not in _ARITHMETIC:
                raise refusal("Only + - * / % are known between numbers.")
            return Calculate(_ARITHMETIC[type(operator)], _node(left, depth + 1), _node(right, depth + 1))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return Not(_node(operand, depth + 1))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return _signed(sign, _node(operand, depth + 1))
        case ast.BoolOp(op=joiner, values=values):
            return Combine(
                "and" if isinstance(joiner, ast.And) else "or", tuple(_node(value, depth + 1) for value in values)
            )
        case ast.Compare():
            return _comparison(tree, depth)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(name, arguments, depth)
        case _:
            raise refusal("The expression uses something that isn't in the language.")


def _value(value: object) -> Value:
    match value:
        case bool() | str():
            return value
        case int() if value in INT64:
            return value
        case float() if math.isfinite(value):
            return value
        case int() | float():
            raise refusal("A number in the expression is out of range.")
        case None:
            raise refusal("None isn't in the language.", "Use is_missing(column).")
        case _:
            raise refusal("Only numbers, text, true and false can be written as constants.")


def _signed(sign: ast.unaryop, operand: Node) -> Node:
    if isinstance(operand, Constant) and isinstance(operand.value, int | float) and not isinstance(operand.value, bool):
        return Constant(-operand.value if isinstance(sign, ast.USub) else operand.value)
    return Calculate("-" if isinstance(sign, ast.USub) else "+", Constant(0), operand)


def _comparison(tree: ast.Compare, depth: int) -> Node:
    parts: list[Node] = []
    left = tree.left
    for operator, right in zip(tree.ops, tree.comparators, strict=True):
        if isinstance(operator, ast.In | ast.NotIn):
            within = Within(_node(left, depth + 1), _list(right))
            parts.append(within if isinstance(operator, ast.In) else Not(within))
        elif type(operator) in _COMPARISONS:
            parts.append(Compare(_COMPARISONS[type(operator)], _node(left, depth + 1), _node(right, depth + 1)))
        else:
            raise refusal("Only == != < <= > >= and in are known as comparisons.")
        left = right
    return parts[0] if len(parts) == 1 else Combine("and", tuple(parts))


def _list(tree: ast.expr) -> tuple[Value, ...]:
    if not isinstance(tree, ast.List | ast.Tuple) or not tree.elts:
        raise refusal("`in` needs a list of constants, such as team in ['BOS', 'NYK'].")
    values: list[Value] = []
    for element in tree.elts:
        node = _node(element, MAX_DEPTH - 1)
        if not isinstance(node, Constant):
            raise refusal("The list after `in` may hold constants only.")
        values.append(node.value)
    if len({_family(value) for value in values}) > 1 or isinstance(values[0], bool):
        raise refusal("The list after `in` must hold numbers only or text only.")
    return tuple(values)


def _family(value: Value) -> str:
    return "text" if isinstance(value, str) else "boolean" if isinstance(value, bool) else "number"


def _call(name: str, arguments: list[ast.expr], depth: int) -> Node:
    if name == "col":
        match arguments:
            case [ast.Constant(value=str() as column)]:
                return Name(column)
            case _:
                raise refusal("col() needs one name in quotes, such as col('name').")
    for function in _FUNCTIONS:
        if function == name:
            break
    else:
        suggestion = closest(name, _FUNCTIONS)
        raise refusal(f"There is no function {label(name)!r}.", f"{suggestion} {_GRAMMAR}".strip())
    nodes = tuple(_node(argument, depth + 1) for argument in arguments)
    if function in {"min", "max"}:
        if len(nodes) < 2:
            raise refusal(f"{function} needs two or more values.")
    elif function == "round":
        digits = nodes[1] if len(nodes) == 2 else Constant(0)
        if len(nodes) not in {1, 2} or not isinstance(digits, Constant) or digits.value not in range(10):
            raise refusal("round needs a value and, if wanted, a constant number of digits from 0 to 9.")
        return Call("round", (nodes[0], Constant(int(digits.value))))
    elif len(nodes) != 1:
        raise refusal(f"{function} needs one value.")
    return Call(function, nodes)
