"""A contract as a document to read: what it says, without what is usual, without values of personal columns."""

from __future__ import annotations

from typing import Any

from mcp_server.core.contract.foreign import hidden
from mcp_server.core.contract.model import Column, Contract
from mcp_server.core.labels import label

MAX_COLUMNS = 200
MAX_LISTED = 50


def shown(contract: Contract) -> dict[str, Any]:
    """The contract in the words that a change of it takes; its texts are from data, shortened and made visible.

    Returns:
        `columns` (at most 200; target, time, key and those with promises first, in the table's order), and where there
        is something to say `columns_left_out`, `derived`, `row_filter`, `rules`, `unique_together`, `freshness`,
        `row_bounds`, `fairness`. A column's `stated` names the parts that a person stated, `confidence` how sure the
        others are.
    """
    listed = _listed(contract)
    document: dict[str, Any] = {"columns": [_column(contract, column) for column in listed]}
    if len(listed) < len(contract.columns):
        document["columns_left_out"] = len(contract.columns) - len(listed)
    if contract.derived:
        document["derived"] = {label(one.name): label(one.expression, 500) for one in contract.derived[:MAX_COLUMNS]}
    if contract.row_filter is not None:
        document["row_filter"] = label(contract.row_filter, 500)
    if contract.rules:
        document["rules"] = {
            rule.name: {"expression": label(rule.expression, 500), "severity": rule.severity} for rule in contract.rules
        }
    if contract.unique_together:
        document["unique_together"] = [[label(name) for name in group] for group in contract.unique_together]
    for name in ("freshness", "row_bounds"):
        promise = getattr(contract, name)
        if promise is not None:
            document[name] = promise.model_dump(mode="json", exclude_none=True)
    if contract.fairness:
        document["fairness"] = {
            rate: limits.model_dump(exclude_none=True) for rate, limits in contract.fairness.items()
        }
    return document


def _listed(contract: Contract) -> list[Column]:
    if len(contract.columns) <= MAX_COLUMNS:
        return list(contract.columns)
    order = sorted(
        range(len(contract.columns)),
        key=lambda at: (
            contract.columns[at].role in ("feature", "ignored"),
            not contract.promised(contract.columns[at]),
            at,
        ),
    )
    return [contract.columns[at] for at in sorted(order[:MAX_COLUMNS])]


def _column(contract: Contract, column: Column) -> dict[str, Any]:
    described: dict[str, Any] = {"name": label(column.name), "kind": column.kind, "role": column.role}
    known = hidden(column)
    if column.unit is not None:
        described["unit"] = label(column.unit)
    described["nullable"] = column.nullable
    described |= {name: getattr(known, name) for name in ("minimum", "maximum") if getattr(known, name) is not None}
    if known.allowed is not None:
        described["allowed"] = [label(value) for value in known.allowed[:MAX_LISTED]]
        if len(known.allowed) > MAX_LISTED:
            described["allowed_left_out"] = len(known.allowed) - MAX_LISTED
    if known.pattern is not None:
        described["pattern"] = label(known.pattern, 200)
    described |= {name: True for name in ("unique", "personal", "sensitive") if getattr(column, name)}
    if column.source == "derived":
        described["derived"] = True
    stated = contract.promised(column)
    if stated:
        described["stated"] = list(stated)
    if column.inferred:
        described["confidence"] = dict(column.inferred)
    return described
