"""From a person's model file to a registered version: audited, converted, verified, or refused with the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mcp_server
from mcp_server.context import CallContext
from mcp_server.core.canonical import canonical_bytes
from mcp_server.core.labels import label
from mcp_server.core.names import check_name
from mcp_server.errors import BadTarget, Unverified
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import find
from mcp_server.workflows.model_answers import Registered
from mcp_server.workflows.reply import Apart
from mcp_server.workflows.training import check_model_name
from mcp_server.workflows.verifying import brought, computed

if TYPE_CHECKING:
    from mcp_server.storage import Storage
    from mcp_server.storage.records import DatasetVersion, ModelVersion, Verdict

SEED = 0
TOO_LARGE = (
    "Fit fewer or shallower trees, or raise COURTSIDE_CHILD_CPU_SECONDS or COURTSIDE_CHILD_MEMORY_MIB; where the file "
    "is small, don't load it."
)
FILES = ("form.json", "estimator.skops", "test_rows.json", "seen_rows.bin", "golden.json")


@dataclass(frozen=True, slots=True)
class AdoptionRequest:
    """What register_model was asked."""

    model: str
    file: str
    dataset: str
    target: str | None = None
    columns: list[str] | None = None
    test: str | None = None


_NO_TEST = (
    "Whether its answers tell the rows that it learned from is not checked (membership: not_done), since no rows are "
    "known that it wasn't trained on. Next: register_model again with test, a condition that picks such rows."
)


async def adopt(
    app: App,
    call: CallContext,
    request: AdoptionRequest,
    bring: Callable[[Path], Awaitable[tuple[Path, str]]] | None = None,
) -> Registered:
    """Make a version of a file; the same file, data and arguments give the version that is there.

    Args:
        bring: puts the file into a folder and gives its path and name; None where `file` says where it is.
    Raises:
        DataRejected: the file can't be had, or the process that read it ended.
        Unverified: it isn't data alone; that is audited.
        AdoptionRefused, ParityFailed: it can't be expressed, or doesn't answer alike.
        NotFound, BadTarget, InvalidInput, Conflict: the data, or the model's name, doesn't fit.
    """
    from mcp_server.core.contract import from_dict
    from mcp_server.core.training.judging import condition
    from mcp_server.storage import models

    check_name(request.model)
    data = await find(app, request.dataset)
    contract = from_dict(data.contract)
    target = request.target or contract.target
    if target is None:
        raise BadTarget(
            "Neither the call nor the data set's contract says what the model predicts.",
            hint="Give target, or import the data with one.",
        )
    target = contract.column(target).name
    for name in request.columns or ():
        contract.column(name)
    if request.test is not None:
        condition(contract, request.test)
    storage = await app.storage()
    async with storage.database.reading() as tx:
        await check_model_name(tx, request.model, target)
    async with app.scratch() as folder:
        file, name = await (brought(app, call, request.file, folder) if bring is None else bring(folder))
        table = Path(await storage.artefacts.local_path(data.artefact))
        made = folder / "made"
        arguments = {
            "file": str(file),
            "path": str(table),
            "contract": data.contract,
            "target": target,
            "columns": request.columns,
            "test": request.test,
            "seed": SEED,
            "out": str(made),
        }
        try:
            found = await computed(app, call, "adopt_model", arguments, reads=[file.parent, table], hint=TOO_LARGE)
        except Unverified as unsafe:
            await _note_refusal(storage, call, unsafe)
            raise
        async with storage.database.reading() as tx:
            known = await models.of_digest(tx, request.model, found["digest"])
        if known is not None:
            return await _again(storage, call, known, found)
        files = {part: await storage.artefacts.put_file(made / part) for part in FILES}
    # A name isn't content: a renamed file gives the same version.
    found["origin"] = {**found["parameters"]["adopted"], "file": label(name, 100)}
    return await _register(app, call, request, found, files, data, target)


async def _register(
    app: App,
    call: CallContext,
    request: AdoptionRequest,
    found: dict[str, Any],
    files: dict[str, str],
    data: DatasetVersion,
    target: str,
) -> Registered:
    """Verify what is stored, then the version with its run and verification in one transaction."""
    from mcp_server.serving.seals import sealed
    from mcp_server.storage import models, removal, runs
    from mcp_server.storage.ids import new_id
    from mcp_server.workflows.examining import VerificationPolicy, examine, verdict_of

    storage = await app.storage()
    run_id = new_id("r", app.clock.now())

    def version(number: int) -> ModelVersion:
        return _version(storage, request, found, files, data, target, run_id, number, app, call)

    checks = await examine(
        storage, await app.compute(), version(0), seconds=call.remaining(), policy=VerificationPolicy.of(app.settings)
    )
    verdict = verdict_of(checks)
    if verdict != "passed":
        failed = next(check for check in checks if check["state"] != "passed")
        raise Unverified(
            f"What was made of the file can't be verified ({failed['name']}): {failed['detail']}",
            hint="No version was made. Call again, or train_model on its data.",
        )
    async with storage.database.transaction(call) as tx:
        await check_model_name(tx, request.model, target)
        wanted = version(await models.next_version(tx, request.model))
        await removal.hold(tx, files.values())
        fields = asdict(wanted)
        kept = await models.add_version(
            tx, **{name: fields[name] for name in fields if name not in ("version", "created_at")}
        )
        fresh = kept.run_id == run_id  # or another call was quicker
        if fresh:
            await runs.start(
                tx,
                id=run_id,
                model=request.model,
                dataset=wanted.dataset,
                parameters=found["parameters"],
                algorithm=found["parameters"]["algorithm"],
                target=target,
                facts={
                    "data": {"digest": data.digest, "rows": data.rows},
                    "environment": {"courtside": mcp_server.__version__, **found["environment"]},
                    "artefacts": files,
                    "cost": {},  # what the training cost isn't known
                },
            )
            await runs.finish(tx, run_id, status="succeeded", metrics=found["metrics"])
            kept_checks = sealed(storage.keys, kept, verdict, checks)
            await models.set_verification(tx, kept.name, kept.version, verdict=verdict, checks=kept_checks)
        answer = _answer(kept, found, verdict, fresh=fresh)
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(f"model:{kept.name}@{kept.version}")
    return answer


async def _again(storage: Storage, call: CallContext, known: ModelVersion, found: dict[str, Any]) -> Registered:
    """The answer for a version that is there."""
    from mcp_server.storage import models

    async with storage.database.transaction(call) as tx:
        latest = await models.latest_verification(tx, known.name, known.version)
        answer = _answer(known, found, "failed" if latest is None else latest.verdict, fresh=False)
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(f"model:{known.name}@{known.version}")
    return answer


def _version(
    storage: Storage,
    request: AdoptionRequest,
    found: dict[str, Any],
    files: dict[str, str],
    data: DatasetVersion,
    target: str,
    run_id: str,
    number: int,
    app: App,
    call: CallContext,
) -> ModelVersion:
    from mcp_server.storage.records import ModelVersion

    dataset = f"{data.name}@{data.version}"
    manifest = {
        "format": "courtside.manifest/1",
        "model": request.model,
        "version": number,
        "task": found["task"],
        "target": target,
        "run": run_id,
        "digest": found["digest"],
        "files": files,
        "data": {"dataset": dataset, "digest": data.digest, "artefact": data.artefact, "rows": data.rows},
        "parameters": found["parameters"],
        "metrics": found["metrics"],
        "code": mcp_server.__version__,
        "environment": found["environment"],
        "parity": found["parity"],
        "adopted": found["origin"],
    }
    return ModelVersion(
        name=request.model,
        version=number,
        digest=found["digest"],
        task=found["task"],
        target=target,
        artefact=files["form.json"],
        training_artefact=files["estimator.skops"],
        manifest=manifest,
        signature=storage.keys.sign(canonical_bytes(manifest)),
        metrics=found["metrics"],
        dataset=dataset,
        run_id=run_id,
        created_at=app.clock.now(),
        created_by=call.caller.id,
    )


def _answer(kept: ModelVersion, found: dict[str, Any], verdict: Verdict, *, fresh: bool) -> Registered:
    apart = Apart()
    reference = f"{kept.name}@{kept.version}"
    origin = found["parameters"]["adopted"]
    notes = [apart.text(note) for note in found["notes"]]
    if not origin["held_out"]:
        notes.append(_NO_TEST)
    return Registered(
        model=reference,
        verification=verdict,
        metrics={name: value["value"] for name, value in found["metrics"]["test"].items()},
        facts={
            "algorithm": found["metrics"]["algorithm"],
            "task": found["task"],
            "digest": kept.digest,
            "file": origin["digest"],
            "kind": origin["kind"],
            "difference": found["parity"]["largest"],
            "held_out": origin["held_out"],
            "same_as_before": not fresh,
        },
        notes=notes,
        next=f"predict or explain_model with model {reference}; compare_models holds it against a trained one."
        if verdict == "passed"
        else f"verify_model with model {reference} tells which check failed; it doesn't answer.",
        untrusted={"names": apart.names} if apart.names else None,
    )


async def _note_refusal(storage: Storage, call: CallContext, unsafe: Unverified) -> None:
    """Leave an audit row of a file that isn't data alone."""
    from mcp_server.storage import audit

    details = {name: label(str(unsafe.details.get(name)), 100) for name in ("kind", "digest", "verdict")}
    subject = f"file:{details['digest'].removeprefix('sha256:')[:16]}"
    async with storage.database.transaction(call) as tx:
        tx.about(subject)
        await audit.add(tx, call, action="refuse", outcome="E_UNVERIFIED", subject=subject, details=details)
