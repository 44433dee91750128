"""What makes a model version trustworthy: each check of its record, its files and its answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mcp_server
from mcp_server.core.canonical import canonical_bytes
from mcp_server.core.names import parse_reference
from mcp_server.core.verification import (
    REQUIRED,
    Check,
    State,
    check_manifest,
    check_provenance,
    check_signature,
    not_done,
    verdict,
)
from mcp_server.core.verification.provenance import LIBRARIES
from mcp_server.errors import ComputeFailed, CourtsideError, NotFound
from mcp_server.settings import Settings
from mcp_server.storage.records import ModelVersion, Verdict

if TYPE_CHECKING:
    from mcp_server.jobs.compute import Compute
    from mcp_server.storage import Storage

# Each stored file that a verification reads, by its name in the manifest, and what its check is called.
FILES = {
    "form.json": "form",
    "estimator.skops": "estimator",
    "golden.json": "golden",
    "test_rows.json": "test_rows",
    "seen_rows.bin": "seen_rows",
    "data": "data",
}
# Those that a version may do without.
OPTIONAL = ("seen_rows",)
# Why a child may end that has nothing to do with what it loaded.
PASSING = ("memory", "killed", "start", "ended")
REQUIRED_HERE = (*REQUIRED, "provenance", *(f"{part}_file" for part in FILES.values() if part not in OPTIONAL))
OVERRIDABLE = "membership"
OVERRIDDEN = "Overridden by COURTSIDE_MEMBERSHIP_OVERRIDES."


@dataclass(frozen=True, slots=True)
class VerificationPolicy:
    """What is asked of a version beyond being what was trained.

    Args:
        most_days: how old its training data may be without a warning; 0 for no bound.
        membership: whose answers may not tell the rows they learned from: `personal` data's, or `always` anyone's.
        overrides: versions, as `name@version`, that may all the same.
    """

    most_days: int
    membership: str
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> VerificationPolicy:
        return cls(settings.model_age_days, settings.membership_block, settings.membership_overrides)


def verdict_of(checks: list[dict[str, Any]]) -> Verdict:
    """`passed` only where every required check was done and passed."""
    return verdict([Check(**check) for check in checks], required=REQUIRED_HERE)


async def examine(
    storage: Storage,
    compute: Compute,
    record: ModelVersion,
    *,
    seconds: float | None,
    policy: VerificationPolicy,
) -> list[dict[str, Any]]:
    """Every check, in order; what an earlier failure makes impossible is `not_done`."""
    checks, paths = await check_files(storage, record)
    if not paths:
        return completed(checks)
    try:
        facts = await _ageing_facts(storage, record)
        newer = facts["newer"]
        # A fresh child: what it loads was on a disk that others may write to.
        found = await compute.run(
            "verify_model",
            {
                **paths,
                "digest": record.digest,
                "most_days": policy.most_days,
                "membership": policy.membership,
                **facts,
            },
            timeout=seconds,
            fresh=True,
            reads=[Path(path) for path in (*paths.values(), *([] if newer is None else [newer["path"]]))],
        )
        checks.extend(found["checks"])
    except ComputeFailed as failed:
        if failed.details.get("reason") in PASSING:
            raise  # says nothing of the version: the machine ended the child
        checks.append(asdict(Check("training_form", "failed", failed.message)))
    if f"{record.name}@{record.version}" in policy.overrides:
        checks = [_overridden(check) for check in checks]
    return completed(checks)


def _overridden(check: dict[str, Any]) -> dict[str, Any]:
    if check["name"] != OVERRIDABLE or check["state"] not in ("failed", "barred"):
        return check
    return {**check, "state": "warned", "detail": f"{check['detail']} {OVERRIDDEN}"}


async def _ageing_facts(storage: Storage, record: ModelVersion) -> dict[str, Any]:
    """What tells how old its training data are, and the newest version of them where there is a newer one."""
    from mcp_server.storage import datasets
    from mcp_server.workflows.describing import genuine

    name, number = parse_reference(record.dataset)
    async with storage.database.reading() as tx:
        data, last = await datasets.get(tx, name, number), await datasets.get(tx, name)
    newer, why = None, "There is no newer version of its data."
    if last.version > data.version:
        try:
            path = await storage.artefacts.local_path(genuine(last).artefact)
            newer = {"path": str(path), "contract": last.contract}
        except CourtsideError as failed:  # it's another version's trouble
            why = f"The newest version of its data can't be used: {failed.message}"
    now = storage.database.clock.now()
    return {
        "imported": data.created_at.isoformat(),
        "now": now.isoformat(),
        "newer": newer,
        "why": why,
    }


async def check_files(storage: Storage, record: ModelVersion) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Signature, record and digests; and the paths of the files to load, none of them where a check failed."""
    manifest = record.manifest
    named = manifest.get("files")
    named = {**named, "data": manifest.get("data", {}).get("artefact")} if isinstance(named, dict) else {}
    checks = [
        check_signature(lambda: storage.keys.check(canonical_bytes(manifest), record.signature)),
        check_manifest(
            manifest,
            {
                "model": record.name,
                "version": record.version,
                "digest": record.digest,
                "task": record.task,
                "target": record.target,
                "run": record.run_id,
                "metrics": record.metrics,
                "data.dataset": record.dataset,
            },
        ),
        *[await _check_file(storage, part, named.get(name)) for name, part in FILES.items()],
    ]
    if named.get("form.json") != record.artefact or named.get("estimator.skops") != record.training_artefact:
        checks.append(Check("manifest", "failed", "The record names other files than the signed manifest."))
    provenance, changed = await _check_provenance(storage, record)
    if changed is not None:
        checks = [Check("data_file", "failed", changed) if one.name == "data_file" else one for one in checks]
    checks.append(provenance)
    if any(check.state == "failed" for check in checks):
        return [asdict(check) for check in checks], {}
    paths = {
        part: str(await storage.artefacts.local_path(named[name])) for name, part in FILES.items() if named.get(name)
    }
    return [asdict(check) for check in checks], paths


def completed(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The checks, with each required one that wasn't reached named as not done."""
    done = {check["name"] for check in checks}
    rest = [not_done(name, "An earlier check failed.") for name in REQUIRED_HERE if name not in done]
    return checks + [asdict(check) for check in rest]


async def _check_provenance(storage: Storage, record: ModelVersion) -> tuple[Check, str | None]:
    """Where it comes from; and what happened to the training data on purpose, or None."""
    from mcp_server.storage import datasets
    from mcp_server.workflows.describing import content_digest

    async with storage.database.reading() as tx:
        try:
            data = await datasets.resolve(tx, record.dataset)
        except NotFound:
            why = "Its training data were deleted, so it can't be checked against them: train again."
            return not_done("provenance", "Its training data were deleted."), why
    if "erased" in data.source and record.manifest.get("data", {}).get("artefact") != data.artefact:
        why = "A person was erased from its training data, so it can't be checked against them: train again."
        return not_done("provenance", "A person was erased from its training data."), why
    found = check_provenance(
        record.manifest,
        data={"digest": data.digest, "artefact": data.artefact, "rows": data.rows},
        genuine=content_digest(data.artefact, data.contract, data.source) == data.digest,
        code=mcp_server.__version__,
        libraries={name: version(name) for name in LIBRARIES},
    )
    return found, None


async def _check_file(storage: Storage, part: str, artefact: str | None) -> Check:
    name = f"{part}_file"
    if artefact is None:
        state: State = "not_done" if part in OPTIONAL else "failed"
        return Check(name, state, "The signed manifest names no such file.")
    try:
        await storage.artefacts.get(artefact)
    except CourtsideError as failed:
        return Check(name, "failed", failed.message)
    return Check(name, "passed", "The stored bytes have the signed digest.")
