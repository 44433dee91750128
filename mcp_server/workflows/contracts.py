"""A version's contract for who wants to read it or take it elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from mcp_server.core.labels import label
from mcp_server.errors import InvalidInput, QuotaExceeded
from mcp_server.workflows.app import App
from mcp_server.workflows.compatibility import against_previous
from mcp_server.workflows.describing import find

if TYPE_CHECKING:
    from mcp_server.core.contract import Contract
    from mcp_server.core.contract.foreign import Exported

MOST_LISTED = 200
MOST_DOCUMENT = 60_000
"""Bytes, once it stands as text in an answer."""


async def contract(app: App, dataset: str) -> dict[str, Any]:
    """A version's contract as a document; what came from data stands under `untrusted`."""
    from mcp_server.core.contract import from_dict
    from mcp_server.core.contract.shown import shown

    record = await find(app, dataset)
    storage = await app.storage()
    async with storage.database.reading() as tx:
        compared = await against_previous(tx, record)
    document: dict[str, Any] = {
        "dataset": f"{record.name}@{record.version}",
        "digest": record.digest,
        "created_at": record.created_at.isoformat(timespec="seconds"),
    }
    if compared.sentence:
        document["compatibility"] = compared.sentence
    described = await asyncio.to_thread(lambda: shown(from_dict(record.contract)))
    return {**document, "untrusted": {**described, **compared.apart}}


async def exported(app: App, dataset: str, form: str) -> dict[str, Any]:
    """A version's contract in another program's form.

    Returns:
        `dataset`, `form`, and under `untrusted` the document's text and what it can't say.
    Raises:
        InvalidInput: the form isn't known.
        QuotaExceeded: the document is too long to be handed out whole.
    """
    if form not in FORMS:
        raise InvalidInput("There is no such form of a contract.", hint=f"The forms are {' and '.join(FORMS)}.")
    from mcp_server.core.contract import from_dict

    record = await find(app, dataset)
    written = await asyncio.to_thread(lambda: FORMS[form](from_dict(record.contract), record.name))
    document = {
        "dataset": f"{record.name}@{record.version}",
        "form": form,
        "untrusted": {
            "document": written.text,
            "not_carried": [label(line, 120) for line in written.not_carried[:MOST_LISTED]],
        },
    }
    # As text in an answer it's quoted twice. Cut, it would be no document.
    if len(orjson.dumps(orjson.dumps(document).decode())) > MOST_DOCUMENT:
        raise QuotaExceeded(
            f"The document would have more than {MOST_DOCUMENT // 1_000} kB.",
            hint="Take columns out of the data set, or lists of allowed values out of its contract.",
        )
    return document


def _pandera(contract: Contract, _name: str) -> Exported:
    from mcp_server.core.contract.pandera import to_pandera

    return to_pandera(contract)


def _great_expectations(contract: Contract, name: str) -> Exported:
    from mcp_server.core.contract.great_expectations import to_great_expectations

    return to_great_expectations(contract, name)


# Each is imported when it's first asked for: the server starts without a reader of YAML.
FORMS: dict[str, Callable[[Contract, str], Exported]] = {
    "great_expectations": _great_expectations,
    "pandera": _pandera,
}
