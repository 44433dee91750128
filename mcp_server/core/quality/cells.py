"""Errors in single cells, found without labels: each cell is told once, by the rule that says the most about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mcp_server.core.contract import Contract
from mcp_server.core.quality.dates_as_text import text_dates
from mcp_server.core.quality.disguises import disguised_words, sentinel_findings
from mcp_server.core.quality.number_text import number_texts, numbers_under
from mcp_server.core.quality.numbers import Bools, NumberColumn
from mcp_server.core.quality.outliers import outlier_findings
from mcp_server.core.quality.patterns import rare_patterns
from mcp_server.core.quality.report import Finding
from mcp_server.core.quality.spelling import rare_spellings
from mcp_server.core.quality.texts import LEAST_CELLS, Suspects, TextColumn

_FINDERS: tuple[Callable[[TextColumn], Iterator[Suspects]], ...] = (
    disguised_words,
    text_dates,
    number_texts,
    rare_spellings,
    rare_patterns,
)


def text_findings(columns: list[TextColumn]) -> Iterator[Finding]:
    """Suspect cells of the text columns."""
    for column in columns:
        rest = column
        for finder in _FINDERS:
            if rest.total < LEAST_CELLS:
                break
            for suspects in finder(rest):
                yield suspects.finding(column)
                rest = rest.without(list(suspects.replacements))


def number_findings(
    contract: Contract, columns: list[NumberColumn], texts: list[TextColumn], explained: Bools
) -> Iterator[Finding]:
    """Suspect cells of the numeric columns, and of text columns that are numbers but for a few cells.

    Args:
        explained: shape (n,), rows that another rule has reported for being far.
    """
    personal = frozenset(column.name for column in contract.columns if column.personal)
    keys = {column.name for column in contract.columns if column.role == "key" or column.unique}
    for text in texts:
        if text.name not in keys and (values := numbers_under(text)) is not None:
            columns = [*columns, NumberColumn(text.name, None, values)]
    told = {column.name: explained.copy() for column in columns}
    for finding in sentinel_findings(columns, personal):
        told[finding.columns[0]][np.array(finding.rows) - 1] = True
        yield finding
    yield from outlier_findings(columns, told, personal)
