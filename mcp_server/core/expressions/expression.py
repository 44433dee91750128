"""A parsed expression: which columns it needs, what kind it gives, what it is for a row."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from mcp_server.core.expressions.evaluate import Cell, evaluate
from mcp_server.core.expressions.kinds import Kind, kind_of
from mcp_server.core.expressions.nodes import Node, columns
from mcp_server.core.expressions.parser import parse_nodes, refusal


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression in the safe language.

    Args:
        text: as it was written.
        columns: the columns that it reads; at least one.
    """

    text: str
    root: Node = field(repr=False)
    columns: frozenset[str]

    def evaluate(self, row: Mapping[str, object]) -> Cell:
        """The value for one row: missing (None) in, missing out.

        Args:
            row: column name to bool, int, float, str, date, datetime or None; dates may be ISO text.
        Raises:
            DataRejected: `E_EXPRESSION`: the row's values don't go together.
        """
        return evaluate(self.root, row)

    def kind(self, kinds: Mapping[str, Kind]) -> Kind:
        """The kind of the result; text is always `text`.

        Raises:
            DataRejected: `E_EXPRESSION`: an unknown column, or kinds that don't go together.
        """
        return kind_of(self.root, kinds)


@functools.lru_cache(maxsize=512)
def parse(text: str) -> Expression:
    """Read an expression such as `home_score > away_score`.

    Args:
        text: at most 500 characters, nested at most 20 deep.
    Raises:
        DataRejected: `E_EXPRESSION`.

    >>> parse("home - away").evaluate({"home": 3, "away": 5})
    -2
    >>> parse("home / away > 1").evaluate({"home": 3, "away": 0}) is None
    True
    """
    root = parse_nodes(text)
    names = frozenset(columns(root))
    if not names:
        raise refusal("The expression uses no column.")
    return Expression(text, root, names)
