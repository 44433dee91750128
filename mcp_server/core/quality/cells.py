"""Errors in single cells, found without labels: each cell is told once, by the rule that says the most about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.quality.disguises import disguised_words
from mcp_server.core.quality.report import Finding
from mcp_server.core.quality.texts import LEAST_CELLS, Suspects, TextColumn, text_columns

_FINDERS: tuple[Callable[[TextColumn], Iterator[Suspects]], ...] = (disguised_words,)


def cell_findings(frame: pl.DataFrame, contract: Contract) -> Iterator[Finding]:
    """Suspect cells of the text columns.

    Args:
        frame: the contract's columns.
    """
    for column in text_columns(frame, contract):
        rest = column
        for finder in _FINDERS:
            if rest.total < LEAST_CELLS:
                break
            for suspects in finder(rest):
                yield suspects.finding(column)
                rest = rest.without(list(suspects.replacements))
