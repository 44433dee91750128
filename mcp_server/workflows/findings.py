"""Every finding of a validation and every row that it concerns, page by page.

Nothing of it is stored: a check of the same version says the same again, and the computing process keeps its last one,
so that pages after an answer of validate_data come at once. What a page shows of the table is cleaned and cut; values
of personal columns are never shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_server.core.labels import label
from mcp_server.errors import InvalidInput, NotFound
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import find
from mcp_server.workflows.reply import token
from mcp_server.workflows.validating import checking

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion

FINDINGS_A_PAGE = 25
ROWS_A_PAGE = 100
MOST_COLUMNS = 3
MOST_PAGES = 1_000_000
SECONDS = 120.0


async def listed(app: App, name: str, page: str) -> dict[str, Any]:
    """The findings of a version, gravest first, each with the address of its rows.

    Raises:
        NotFound: there's no such version or page.
        InvalidInput: the page isn't a number.
    """
    record, found = await _asked(app, name, {"page": _number(page, "page"), "most": FINDINGS_A_PAGE})
    reference = f"{record.name}@{record.version}"
    at = f"data://{reference}/findings"
    positions = _positions(record)
    findings = [
        {**_shown(one, positions), **({"rows_at": f"{at}/{one['finding']}"} if one["named"] else {})}
        for one in found["findings"]
    ]
    return {
        "dataset": reference,
        "verdict": found["verdict"],
        "findings": findings,
        **_pages(found, at),
        "untrusted": {"column_names": _names(found["findings"], positions)},
    }


async def rows(app: App, name: str, finding: str, page: str) -> dict[str, Any]:
    """The rows of one finding, with the cells of its columns.

    Raises:
        NotFound: there's no such version, finding or page.
        InvalidInput: the finding or the page isn't a number.
    """
    wanted = {"finding": _number(finding, "finding"), "page": _number(page, "page"), "most": ROWS_A_PAGE}
    record, found = await _asked(app, name, wanted | {"columns": MOST_COLUMNS})
    reference = f"{record.name}@{record.version}"
    positions = _positions(record)
    one = found["finding"]
    return {
        "dataset": reference,
        **_shown(one, positions),
        "reason": one["reason"],
        "rows": found["rows"],
        **_pages(found, f"data://{reference}/findings/{one['finding']}"),
        "untrusted": {
            "column_names": _names([one], positions),
            "cells_of": [label(column) for column in found["cells_of"]],
            "cells": found["cells"],
        },
    }


async def _asked(app: App, name: str, wanted: dict[str, Any]) -> tuple[DatasetVersion, dict[str, Any]]:
    record = await find(app, name)
    arguments = await checking(app, record, await _baseline(app, record), app.clock.now())
    compute = await app.compute()
    return record, await compute.run("page_findings", arguments | wanted, timeout=SECONDS)


async def _baseline(app: App, record: DatasetVersion) -> DatasetVersion | None:
    """What the last validation of a version compared it with, where that is still there."""
    from mcp_server.storage import validations

    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await validations.list_page(tx, record.name, limit=100)
    last = next((one for one in page.items if one.version == record.version and one.suite is None), None)
    if last is None or last.baseline is None:
        return None
    try:
        return await find(app, last.baseline)
    except NotFound:
        return None


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= len(text) <= 7 and 1 <= int(text) <= MOST_PAGES):
        raise InvalidInput(f"The {what} is a number from 1.", hint="data://{name}/findings lists the findings.")
    return int(text)


def _positions(record: DatasetVersion) -> dict[str, int]:
    return {column["name"]: at for at, column in enumerate(record.contract["columns"], start=1)}


def _shown(one: dict[str, Any], positions: dict[str, int]) -> dict[str, Any]:
    """A finding in our own words: names that could pass for a sentence stand apart."""
    return {
        "finding": one["finding"],
        "rule": one["rule"],
        "severity": one["severity"],
        "columns": [token(label(name), f"column {positions.get(name, 0)}") for name in one["columns"]],
        "count": one["count"],
    }


def _names(findings: list[dict[str, Any]], positions: dict[str, int]) -> dict[str, str]:
    names = {name for one in findings for name in one["columns"]}
    return {f"column {positions.get(name, 0)}": label(name) for name in sorted(names) if not token(label(name), "")}


def _pages(found: dict[str, Any], at: str) -> dict[str, Any]:
    page, pages = found["page"], found["pages"]
    return {"page": page, "pages": pages} | ({"next": f"{at}?page={page + 1}"} if page < pages else {})
