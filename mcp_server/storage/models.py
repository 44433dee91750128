"""Model versions: immutable, numbered under a name, and what their verifications said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, delete, func, insert, or_, select, update

from mcp_server.core.governance.standing import FIRST, Approvable, Stage
from mcp_server.core.names import check_name, fold_name, parse_reference
from mcp_server.errors import Conflict, NotFound, Unverified
from mcp_server.storage import governance, ledger, versions
from mcp_server.storage.pages import contains, number_after, page_of, rows_wanted
from mcp_server.storage.records import Json, ModelSummary, ModelVersion, Page, Verdict, Verification
from mcp_server.storage.tables import assessments, models, standings, tags, verifications

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from mcp_server.storage.transaction import Transaction

ALIASES: Mapping[str, Approvable] = {"production": "production", "staging": "staging"}
"""What stands after @ in place of a number: the one version that has this stage."""

MOST_NAMED = 8

_SUMMARY = [
    models.c[name]
    for name in (
        *("name", "version", "digest", "task", "target", "metrics"),
        *("dataset", "run_id", "created_at", "created_by"),
    )
]
_STAGE: ColumnElement[str] = func.coalesce(standings.c.stage, FIRST)


async def add_version(
    tx: Transaction,
    *,
    name: str,
    digest: str,
    task: str,
    target: str,
    artefact: str,
    training_artefact: str | None,
    manifest: Json,
    signature: bytes,
    metrics: Json,
    dataset: str,
    run_id: str,
    created_by: str,
) -> ModelVersion:
    """Add a version, or give the one that this name has already for this digest or this run.

    A training step that is repeated after a crash therefore adds one version.

    Args:
        digest: over the canonical serving form, contract and parameters.
        artefact: digest of the serving form's bytes; they must be in the artefact store before.
        manifest: exactly what `signature` signs.
    Returns:
        the version; a fresh one has `created_at == tx.now`.
    Raises:
        DataRejected: `E_NAME`; the name isn't allowed.
        AlreadyExists: the name differs from a taken one only in case.
    """
    fields = {
        "name": name,
        "digest": digest,
        "task": task,
        "target": target,
        "artefact": artefact,
        "training_artefact": training_artefact,
        "manifest": manifest,
        "signature": signature,
        "metrics": metrics,
        "dataset": dataset,
        "run_id": run_id,
        "created_by": created_by,
    }
    number = await next_version(tx, name)
    added = await versions.add(
        tx, models, ModelVersion, fields, or_(models.c.digest == digest, models.c.run_id == run_id)
    )
    if added.version == number:
        ledger.seal(tx, added.name, added.version, *ledger.PARTS)
    return added


async def next_version(tx: Transaction, name: str) -> int:
    """The number that `add_version` gives in this transaction, if it adds one; to be signed with the rest."""
    return await versions.next_version(tx, models, name)


async def get(tx: Transaction, name: str, version: int | None = None) -> ModelVersion:
    """A version; the newest where no number is given.

    Raises:
        DataRejected: `E_NAME`; the name isn't well formed.
        NotFound: there's no such model or version.
        CorruptArtefact: its record was tampered with, or put back after it was deleted.
    """
    check_name(name)
    found = await _find(tx, name, *(() if version is None else (models.c.version == version,)))
    if found is not None:
        await versions.refuse_put_back(tx, models, found)
        return found
    if version is not None:
        await versions.refuse_deleted(tx, models, name, version)
    if version is not None and await _find(tx, name) is not None:
        raise NotFound(f"Model {name} has no version {version}.", hint="Call search_models to see its versions.")
    raise NotFound(f"There is no model {name}.", hint="Call search_models for the names, or train_model to make it.")


async def named(tx: Transaction, reference: str) -> ModelVersion:
    """The version that `name@version`, `name@production` or `name@staging` stands for; the newest for `name`.

    Raises:
        Conflict: the stage has several.
        Unverified: a version is in the stage, but not as it was sealed.
        DataRejected, NotFound: as for `get`; no version is in the stage.
    """
    bare, _, alias = reference.partition("@")
    if (stage := ALIASES.get(alias)) is not None:
        return await _in_stage(tx, await get(tx, bare), stage)
    return await get(tx, *parse_reference(reference))


async def resolve(tx: Transaction, reference: str) -> ModelVersion:
    """As `named`, but `name` alone is meant where it has one version.

    Raises:
        Conflict: also where the name has several versions and the reference says none.
    """
    version = await named(tx, reference)
    if "@" not in reference and version.version > 1 and (several := await _versions(tx, version.name)) > 1:
        raise Conflict(
            f"Model {version.name} has {several} versions.",
            hint=f"Say which one: {version.name}@{version.version} is the newest; search_models shows all.",
        )
    return version


async def _in_stage(tx: Transaction, newest: ModelVersion, stage: Approvable) -> ModelVersion:
    name = newest.name
    numbers = [number for _, number, _ in await governance.in_stage(tx, [stage], name=name)]
    if not numbers:
        raise NotFound(
            f"No version of {name} is in {stage}.", hint=f"Call review_model with a version and stage {stage}."
        )
    for (_, number), parts in (await ledger.not_as_sealed(tx, [(name, number) for number in numbers])).items():
        if "standing" in parts:
            raise Unverified(
                f"{name}@{number} is in {stage}, but {ledger.TOLD['standing']}.", hint=ledger.NEXT["standing"]
            )
    if len(numbers) > 1:
        both = ", ".join(f"{name}@{number}" for number in numbers[:MOST_NAMED])
        raise Conflict(
            f"{len(numbers)} versions of {name} are in {stage}: {both}.",
            hint="Say which one, or archive the others with review_model.",
        )
    return await get(tx, name, numbers[0])


async def of_digest(tx: Transaction, name: str, digest: str) -> ModelVersion | None:
    """The version that a name has for a digest, or None."""
    return await _find(tx, check_name(name), models.c.digest == digest)


async def trained_on(tx: Transaction, references: Sequence[str]) -> list[ModelVersion]:
    """Every version that was trained on one of some data set versions, oldest first."""
    query = (
        select(*(column for column in models.c if column.name not in ("id", "folded")))
        .where(models.c.dataset.in_(references))
        .order_by(models.c.id)
    )
    return [ModelVersion(**row) for row in (await tx.execute(query)).mappings()]


async def of_run(tx: Transaction, run_id: str) -> list[str]:
    """The versions that a run made, as `name@version`."""
    query = select(models.c.name, models.c.version).where(models.c.run_id == run_id).order_by(models.c.id)
    return [f"{row.name}@{row.version}" for row in await tx.execute(query)]


async def remove(tx: Transaction, record: ModelVersion) -> None:
    """Delete a version and what is known of it; its number isn't given again, and its predictions stay."""
    for table in (verifications, assessments):
        await tx.execute(delete(table).where(table.c.name == record.name, table.c.version == record.version))
    await governance.remove(tx, record)
    await versions.remove(tx, models, record)


async def list_page(
    tx: Transaction,
    *,
    search: str | None = None,
    name: str | None = None,
    version: int | None = None,
    task: str | None = None,
    stage: Stage | None = None,
    owner: str | None = None,
    tagged: Mapping[str, str] | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> Page[ModelSummary]:
    """Versions, the newest first, each with the verdict of its latest verification.

    Args:
        search: a part of the name, the target or the data set's name; ASCII letters in any case.
        name: one model's versions only.
        version: the one of this number only.
        tagged: only versions that have each of these tags.
    Raises:
        InvalidInput: the cursor isn't one of ours, or the limit is out of bounds.
    """
    query = _summaries().add_columns(models.c.id)
    if search:
        pattern = contains(fold_name(search))
        columns = (models.c.folded, func.lower(models.c.target), func.lower(models.c.dataset))
        query = query.where(or_(*(column.like(pattern, escape="\\") for column in columns)))
    if name is not None:
        query = query.where(models.c.folded == fold_name(check_name(name)))
    if version is not None:
        query = query.where(models.c.version == version)
    if task is not None:
        query = query.where(models.c.task == task)
    if stage is not None:
        query = query.where(_STAGE.in_([stage]))
    if owner is not None:
        query = query.where(standings.c.owner == owner)
    for key, value in (tagged or {}).items():
        same = tags.c.name == models.c.name, tags.c.version == models.c.version
        query = query.where(select(tags.c.key).where(*same, tags.c.key == key, tags.c.value == value).exists())
    before = number_after(cursor)
    if before is not None:
        query = query.where(models.c.id < before)
    rows = (await tx.execute(query.order_by(models.c.id.desc()).limit(rows_wanted(limit)))).mappings().all()
    page = page_of(rows, limit, lambda row: int(row["id"]))
    return Page(tuple(_summary(row) for row in page.items), page.next_cursor)


async def set_verification(
    tx: Transaction, name: str, version: int, *, verdict: Verdict, checks: list[Json]
) -> Verification:
    """Record what a verification found; the latest counts.

    Raises:
        NotFound: there's no such version.
    """
    known = (
        await tx.execute(select(models.c.name).where(models.c.folded == fold_name(name), models.c.version == version))
    ).scalar()
    if known is None:
        raise NotFound("There is no such model version.", hint="Call search_models to see the versions.")
    found = Verification(name=known, version=version, verdict=verdict, checks=checks, at=tx.now)
    await tx.execute(
        insert(verifications).values(name=known, version=version, verdict=verdict, checks=checks, at=tx.now)
    )
    ledger.seal(tx, known, version, "verdict")
    return found


async def set_signature(tx: Transaction, name: str, version: int, signature: bytes) -> None:
    """Put another signature over the same manifest."""
    which = models.c.folded == fold_name(name), models.c.version == version
    await tx.execute(update(models).where(*which).values(signature=signature))


async def signed(tx: Transaction) -> list[tuple[str, int, Json, bytes]]:
    """Name, version, manifest and signature of every version, oldest first."""
    columns = models.c.name, models.c.version, models.c.manifest, models.c.signature
    return [tuple(row) for row in await tx.execute(select(*columns).order_by(models.c.id))]


async def latest_verification(tx: Transaction, name: str, version: int) -> Verification | None:
    """The latest verification of a version, or None where there was none."""
    columns = [column for column in verifications.c if column.name != "id"]
    query = (
        select(*columns)
        .where(verifications.c.name == name, verifications.c.version == version)
        .order_by(verifications.c.id.desc())
        .limit(1)
    )
    row: Any = (await tx.execute(query)).mappings().first()
    return None if row is None else Verification(**row)


async def names(tx: Transaction, prefix: str = "", limit: int = 100) -> list[str]:
    """Names that begin with a prefix, for completion."""
    return await versions.names(tx, models, prefix, limit)


async def count(tx: Transaction) -> int:
    """How many model versions there are."""
    return int((await tx.execute(select(func.count()).select_from(models))).scalar_one())


async def _versions(tx: Transaction, name: str) -> int:
    query = select(func.count()).select_from(models).where(models.c.folded == fold_name(name))
    return int((await tx.execute(query)).scalar_one())


def _summaries() -> Select[Any]:
    newest = (
        select(verifications.c.name, verifications.c.version, func.max(verifications.c.id).label("id"))
        .group_by(verifications.c.name, verifications.c.version)
        .subquery()
    )
    return (
        select(
            *_SUMMARY,
            *(verifications.c.verdict, verifications.c.at.label("verified_at")),
            *(_STAGE.label("stage"), standings.c.owner),
        )
        .outerjoin(newest, and_(newest.c.name == models.c.name, newest.c.version == models.c.version))
        .outerjoin(verifications, verifications.c.id == newest.c.id)
        .outerjoin(standings, and_(standings.c.name == models.c.name, standings.c.version == models.c.version))
    )


def _summary(row: Any) -> ModelSummary:
    return ModelSummary(**{name: value for name, value in row.items() if name != "id"})


async def _find(tx: Transaction, name: str, *conditions: ColumnElement[bool]) -> ModelVersion | None:
    return await versions.find(tx, models, ModelVersion, name, *conditions)
