"""What a data set version is: its profile and its contract."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mcp_server.errors import CorruptArtefact
from mcp_server.workflows.app import App
from mcp_server.workflows.compatibility import against_previous
from mcp_server.workflows.data_answers import Described
from mcp_server.workflows.lineage import made_from

if TYPE_CHECKING:
    from mcp_server.storage.records import DatasetVersion

MOST_LISTED = 100
MOST_PLAN = 4_000
SOURCE = (
    *("kind", "uri", "query", "time", "name", "bytes", "digest", "md5", "tracked_by"),
    *("encoding", "delimiter"),
    *("plan", "plan_digest", "inputs", "seed", "fitted"),
)


async def describe(app: App, dataset: str | None) -> Described:
    """The profile and contract of a version, of the newest where no number is given; without a name, the list."""
    if dataset is None:
        return await _listed(app)
    record = await find(app, dataset)
    reference = f"{record.name}@{record.version}"
    storage = await app.storage()
    async with storage.database.reading() as tx:
        compared = await against_previous(tx, record)
    return Described(
        dataset=reference,
        rows=record.rows,
        columns=record.columns,
        digest=record.digest,
        created_at=record.created_at.isoformat(timespec="seconds"),
        made_from=made_from(record),
        roles=dict(Counter(column["role"] for column in record.contract["columns"])),
        compatibility=compared.sentence,
        next=f"validate_data with dataset {reference}.",
        untrusted={
            "profile": record.profile,
            "derived": record.contract.get("derived", []),
            "row_filter": record.contract.get("row_filter"),
            "source": _source(record.source),
            **compared.apart,
        },
    )


async def _listed(app: App) -> Described:
    from mcp_server.storage import datasets

    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await datasets.list_page(tx, limit=MOST_LISTED)
    listed = [{"dataset": f"{one.name}@{one.version}", "rows": one.rows, "columns": one.columns} for one in page.items]
    return Described(datasets=listed, next="describe_data with one of them." if listed else "import_data makes one.")


async def find(app: App, dataset: str) -> DatasetVersion:
    """The record of a version; the newest where none is named. Raises NotFound."""
    from mcp_server.storage import datasets

    storage = await app.storage()
    async with storage.database.reading() as tx:
        return genuine(await datasets.resolve(tx, dataset))


def genuine(record: DatasetVersion) -> DatasetVersion:
    """The record, once its table and contract have the digest that it was stored under.

    Raises:
        CorruptArtefact: they don't: a contract that was rewritten could make a feature of what isn't one.
    """
    if content_digest(record.artefact, record.contract, record.source) != record.digest:
        raise CorruptArtefact(
            f"{record.name}@{record.version} isn't what was imported: its record was changed.",
            hint="Import the data again.",
        )
    return record


def content_digest(artefact: str, contract: dict[str, Any], source: dict[str, Any]) -> str:
    """The digest of a version's content.

    What was erased from it counts: two versions that an erasure made equal stay two, and its note can't be changed.
    So does what it follows, where rows were put back to what an earlier version holds: it's newer all the same.
    """
    from mcp_server.core.canonical import digest

    content: dict[str, Any] = {"table": artefact, "contract": contract}
    return digest(content | {name: source[name] for name in ("erased", "follows") if name in source})


def _source(source: dict[str, Any]) -> dict[str, Any]:
    told = {name: source[name] for name in SOURCE if name in source}
    if len(str(told.get("plan", ""))) > MOST_PLAN:
        # The order of the steps at least; the record has them whole.
        told["plan"] = [{"do": step["do"]} for step in told["plan"]]
    return told
