"""What makes a model version trustworthy: each check of its record, its files and its answers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_server.core.canonical import canonical_bytes
from mcp_server.core.verification import (
    REQUIRED,
    Check,
    check_manifest,
    check_signature,
    not_done,
    verdict,
)
from mcp_server.errors import ComputeFailed, CourtsideError, NotFound
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
    "data": "data",
}
# Why a child may end that has nothing to do with what it loaded.
PASSING = ("memory", "killed", "start", "ended")
REQUIRED_HERE = (*REQUIRED, *(f"{part}_file" for part in FILES.values()))


def verdict_of(checks: list[dict[str, Any]]) -> Verdict:
    """`passed` only where every required check was done and passed."""
    return verdict([Check(**check) for check in checks], required=REQUIRED_HERE)


async def examine(
    storage: Storage, compute: Compute, record: ModelVersion, *, seconds: float | None
) -> list[dict[str, Any]]:
    """Every check, in order; what an earlier failure makes impossible is `not_done`."""
    checks, paths = await check_files(storage, record)
    if not paths:
        return completed(checks)
    try:
        # A fresh child: what it loads was on a disk that others may write to.
        found = await compute.run(
            "verify_model",
            {**paths, "digest": record.digest},
            timeout=seconds,
            fresh=True,
            reads=[Path(path) for path in paths.values()],
        )
        checks.extend(found["checks"])
    except ComputeFailed as failed:
        if failed.details.get("reason") in PASSING:
            raise  # says nothing of the version: the machine ended the child
        checks.append(asdict(Check("training_form", "failed", failed.message)))
    return completed(checks)


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
    changed = await _why_without_data(storage, record)
    if changed is not None:
        checks = [Check("data_file", "failed", changed) if one.name == "data_file" else one for one in checks]
    if any(check.state != "passed" for check in checks):
        return [asdict(check) for check in checks], {}
    paths = {part: str(await storage.artefacts.local_path(named[name])) for name, part in FILES.items()}
    return [asdict(check) for check in checks], paths


def completed(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The checks, with each required one that wasn't reached named as not done."""
    done = {check["name"] for check in checks}
    rest = [not_done(name, "An earlier check failed.") for name in REQUIRED_HERE if name not in done]
    return checks + [asdict(check) for check in rest]


async def _why_without_data(storage: Storage, record: ModelVersion) -> str | None:
    """What happened to the training data on purpose, or None."""
    from mcp_server.storage import datasets

    async with storage.database.reading() as tx:
        try:
            data = await datasets.resolve(tx, record.dataset)
        except NotFound:
            return "Its training data were deleted, so it can't be checked against them: train again."
    if "erased" in data.source and record.manifest.get("data", {}).get("artefact") != data.artefact:
        return "A person was erased from its training data, so it can't be checked against them: train again."
    return None


async def _check_file(storage: Storage, part: str, artefact: str | None) -> Check:
    name = f"{part}_file"
    if artefact is None:
        return Check(name, "failed", "The signed manifest names no such file.")
    try:
        await storage.artefacts.get(artefact)
    except CourtsideError as failed:
        return Check(name, "failed", failed.message)
    return Check(name, "passed", "The stored bytes have the signed digest.")
