"""Data set versions: immutable, numbered under a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_, cast, delete, func, or_, select, update

from mcp_server.core.names import check_name, fold_name, parse_reference
from mcp_server.errors import Conflict, NotFound
from mcp_server.storage import suggestions, versions
from mcp_server.storage.pages import contains, number_after, page_of, rows_wanted, text_after
from mcp_server.storage.records import DatasetSummary, DatasetVersion, Json, Page
from mcp_server.storage.tables import datasets, validations

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select

    from mcp_server.storage.transaction import Transaction

_SUMMARY = [datasets.c[name] for name in ("name", "version", "digest", "rows", "columns", "created_at", "created_by")]


async def add_version(
    tx: Transaction,
    *,
    name: str,
    digest: str,
    artefact: str,
    rows: int,
    columns: int,
    contract: Json,
    profile: Json,
    source: Json,
    parent: str | None,
    created_by: str,
) -> DatasetVersion:
    """Add a version, or give the one that has this digest under this name already.

    Args:
        digest: `sha256:<hex>`, of whatever makes two versions the same.
        artefact: digest of the Parquet bytes; they must be in the artefact store before.
    Returns:
        the version; a fresh one has `created_at == tx.now`.
    Raises:
        DataRejected: `E_NAME`; the name isn't allowed.
        AlreadyExists: the name differs from a taken one only in case.
    """
    fields = {
        "name": name,
        "digest": digest,
        "artefact": artefact,
        "rows": rows,
        "columns": columns,
        "contract": contract,
        "profile": profile,
        "source": source,
        "parent": parent,
        "created_by": created_by,
    }
    return await versions.add(tx, datasets, DatasetVersion, fields, datasets.c.digest == digest)


async def get(tx: Transaction, name: str, version: int | None = None) -> DatasetVersion:
    """A version; the newest where no number is given.

    Raises:
        DataRejected: `E_NAME`; the name isn't well formed.
        NotFound: there's no such data set or version.
    """
    check_name(name)
    found = await _find(tx, name, *(() if version is None else (datasets.c.version == version,)))
    if found is not None:
        return found
    if version is not None:
        await versions.refuse_deleted(tx, datasets, name, version)
    if version is not None and await _find(tx, name) is not None:
        raise NotFound(
            f"Data set {name} has no version {version}.",
            hint=f"describe_data with {name} shows the newest.",
        )
    raise NotFound(
        f"There is no data set {name}.", hint="describe_data without a name lists them; import_data makes one."
    )


async def before(tx: Transaction, record: DatasetVersion) -> DatasetVersion | None:
    """The newest version before one, of those that weren't deleted."""
    return await _find(tx, record.name, datasets.c.version < record.version)


async def with_digest(tx: Transaction, name: str, digest: str) -> DatasetVersion | None:
    """The version of a name that has this digest."""
    return await _find(tx, name, datasets.c.digest == digest)


async def resolve(tx: Transaction, reference: str) -> DatasetVersion:
    """The version that `name` (the newest) or `name@version` stands for.

    Raises:
        DataRejected, NotFound: as for `get`.
    """
    return await get(tx, *parse_reference(reference))


async def every(tx: Transaction, name: str | None = None) -> list[DatasetVersion]:
    """Every version, oldest first; of one data set where a name is given."""
    query = _whole().order_by(datasets.c.id)
    if name is not None:
        query = query.where(datasets.c.folded == fold_name(check_name(name)))
    return [DatasetVersion(**row) for row in (await tx.execute(query)).mappings()]


async def children(tx: Transaction, reference: str) -> list[str]:
    """The versions that were made from one, also by joining it, as `name@version`, oldest first."""
    named = cast(datasets.c.source, Text).contains(
        reference, autoescape=True
    )  # too many: as `sales@1` is in `sales@12`
    query = _whole().where(or_(datasets.c.parent == reference, named)).order_by(datasets.c.id)
    found = [DatasetVersion(**row) for row in (await tx.execute(query)).mappings()]
    return [f"{one.name}@{one.version}" for one in found if reference in one.parents]


async def require_unchanged(tx: Transaction, read: Mapping[str, str]) -> None:
    """Make sure that what a new version was made of is as it was read: a person may have been erased from it since.

    Args:
        read: `name@version` to the digest that it had.
    Raises:
        Conflict: one has another digest, or isn't there any more.
    """
    for reference, digest in read.items():
        name, version = parse_reference(reference)
        found = await _find(tx, name, datasets.c.version == version)
        if found is None or found.digest != digest:
            raise Conflict(f"{reference} changed meanwhile; nothing was stored.", hint="Call again.")


async def replace(tx: Transaction, new: DatasetVersion, *, expected: str) -> None:
    """Put other content in a version's place: the one exception to versions never changing, for erasing a person.

    Args:
        new: the version as it shall be; name and version say which one.
        expected: the digest that it has now.
    Raises:
        Conflict: it has another digest, or isn't there any more.
    """
    values = {name: getattr(new, name) for name in ("digest", "artefact", "rows", "contract", "profile", "source")}
    changed = await tx.execute(
        update(datasets)
        .where(
            datasets.c.folded == fold_name(new.name),
            datasets.c.version == new.version,
            datasets.c.digest == expected,
        )
        .values(**values)
    )
    if not changed.rowcount:
        raise Conflict(f"{new.name}@{new.version} changed meanwhile; nothing was erased.", hint="Ask for a new plan.")


async def remove(tx: Transaction, record: DatasetVersion) -> None:
    """Delete a version with what its validations said and what was suggested of it; its number isn't given again."""
    folded = fold_name(record.name)
    await tx.execute(delete(validations).where(validations.c.folded == folded, validations.c.version == record.version))
    await suggestions.forget(tx, record)
    await versions.remove(tx, datasets, record)


async def list_page(
    tx: Transaction, *, search: str | None = None, cursor: str | None = None, limit: int = 20
) -> Page[DatasetSummary]:
    """The newest version of each data set, by name.

    Args:
        search: a part of the name, in any case.
    Raises:
        InvalidInput: the cursor isn't one of ours, or the limit is out of bounds.
    """
    newest = select(datasets.c.folded, func.max(datasets.c.version).label("version")).group_by(datasets.c.folded)
    if search:
        newest = newest.where(datasets.c.folded.like(contains(fold_name(search)), escape="\\"))
    after = text_after(cursor)
    if after is not None:
        newest = newest.where(datasets.c.folded > after)
    latest = newest.order_by(datasets.c.folded).limit(rows_wanted(limit)).subquery()
    query = (
        select(*_SUMMARY)
        .join(latest, and_(datasets.c.folded == latest.c.folded, datasets.c.version == latest.c.version))
        .order_by(datasets.c.folded)
    )
    found = [DatasetSummary(**row) for row in (await tx.execute(query)).mappings()]
    return page_of(found, limit, lambda summary: fold_name(summary.name))


async def list_versions(
    tx: Transaction, name: str, *, cursor: str | None = None, limit: int = 20
) -> Page[DatasetSummary]:
    """The versions of one data set, the newest first; empty where there's none of the name.

    Raises:
        InvalidInput: the cursor isn't one of ours, or the limit is out of bounds.
    """
    query = select(*_SUMMARY).where(datasets.c.folded == fold_name(check_name(name)))
    before = number_after(cursor)
    if before is not None:
        query = query.where(datasets.c.version < before)
    rows = await tx.execute(query.order_by(datasets.c.version.desc()).limit(rows_wanted(limit)))
    return page_of([DatasetSummary(**row) for row in rows.mappings()], limit, lambda summary: summary.version)


async def names(tx: Transaction, prefix: str = "", limit: int = 100) -> list[str]:
    """Names that begin with a prefix, for completion."""
    return await versions.names(tx, datasets, prefix, limit)


async def count(tx: Transaction) -> int:
    """How many data sets there are, versions not counted."""
    query = select(func.count(datasets.c.folded.distinct()))
    return int((await tx.execute(query)).scalar_one())


def _whole() -> Select[Any]:
    return select(*(column for column in datasets.c if column.name not in ("id", "folded")))


async def _find(tx: Transaction, name: str, *conditions: ColumnElement[bool]) -> DatasetVersion | None:
    return await versions.find(tx, datasets, DatasetVersion, name, *conditions)
