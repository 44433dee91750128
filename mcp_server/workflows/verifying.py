"""Is a model version still what was trained, and is a file from elsewhere data alone: each check, or why not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.core.verification import Check
from mcp_server.errors import (
    ComputeFailed,
    CorruptArtefact,
    CourtsideError,
    DataRejected,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    StorageFailed,
)
from mcp_server.settings import MIB
from mcp_server.workflows import remote
from mcp_server.workflows.app import App
from mcp_server.workflows.files import copy_allowed, locate
from mcp_server.workflows.model_answers import Verified
from mcp_server.workflows.reply import Apart, counted, token

if TYPE_CHECKING:
    from mcp_server.storage.ledger import Part
    from mcp_server.storage.records import ModelVersion
    from mcp_server.storage.transaction import Transaction

MOST_WHY = 200
MOST_TOLD = 10
MOST_SHOWN = 5
LONGEST_PLACE = 256

_FILE_NAME = re.compile(
    r"\.(?:pkl|pickle|joblib|skops|onnx|pt|pth|ckpt|bin|npy|npz|h5|hdf5|keras|safetensors|pmml|xml|json|ubj|txt|cbm|zip|gz)\Z",
    re.IGNORECASE,
)
_OFFSET = re.compile(r"(?:byte|line) [0-9,]+\Z")


async def verify(app: App, call: CallContext, model: str) -> Verified:
    """Check a version and store the verdict, or say what a file is.

    Args:
        model: a reference such as `games@3`; else the path of a file in an allowed folder, or an https address.
    """
    if "/" in model or "\\" in model:
        return await _verify_file(app, call, model)
    from mcp_server.storage import models

    storage = await app.storage()
    try:
        async with storage.database.reading() as tx:
            record = await models.resolve(tx, model)
    except (NotFound, InvalidInput, DataRejected) as refused:
        # A version that has such a name comes first; a file of that name can be given as ./name.
        if _FILE_NAME.search(model) is None and not await asyncio.to_thread(_there, model, app.settings.allowed_dirs):
            refused.hint = f"{refused.hint} A file goes by its path in an allowed folder, such as ./model.pkl.".strip()
            raise
        return await _verify_file(app, call, model)
    except (CorruptArtefact, StorageFailed) as refused:
        await note_unreadable(app, call, model, refused)
        raise
    return await _verify_version(app, call, record)


async def note_unreadable(app: App, call: CallContext, model: str, refused: CourtsideError) -> None:
    """Say in the audit log that a version was refused because what is stored of it isn't what was written."""
    from mcp_server.storage import audit

    details = {"why": refused.message[:MOST_WHY]}
    async with (await app.storage()).database.transaction() as tx:
        # Only a well-formed reference comes as far as the database.
        await audit.add(tx, call, action="refuse", outcome=refused.code, subject=f"model:{model}", details=details)


async def _verify_version(app: App, call: CallContext, record: ModelVersion) -> Verified:
    """Check a version and store the verdict; a failing one stops answering at once."""
    from mcp_server.serving.seals import sealed
    from mcp_server.storage import ledger, models
    from mcp_server.workflows.examining import OVERRIDDEN, VerificationPolicy, examine, verdict_of

    storage = await app.storage()
    checks = await examine(
        storage,
        await app.compute(),
        record,
        seconds=call.remaining(),
        policy=VerificationPolicy.of(app.settings),
    )
    async with storage.database.reading() as tx:
        checks.append(_standing(await ledger.wrong(tx, record.name, record.version)))
    outcome = verdict_of(checks)
    reference = f"{record.name}@{record.version}"
    (await app.predictors()).evict(record.name, record.version)
    async with storage.database.transaction(call) as tx:
        stored = sealed(storage.keys, record, outcome, checks)
        await models.set_verification(tx, record.name, record.version, verdict=outcome, checks=stored)
        answer = Verified(
            model=reference,
            verdict=outcome,
            checks=checks,
            digest=record.digest,
            next=f"predict with model {reference}."
            if outcome == "passed"
            else "It no longer predicts. See runbook://verification-failed; train again if its files are damaged.",
        )
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        overridden = [check["name"] for check in checks if check["detail"].endswith(OVERRIDDEN)]
        tx.about(f"model:{reference}", verdict=outcome, **({"overridden": overridden} if overridden else {}))
        if outcome != "passed":
            await _note_refusal(tx, call, f"model:{reference}", record.digest, checks)
    (await app.predictors()).evict(record.name, record.version)
    return answer


def _standing(wrong: Sequence[Part]) -> dict[str, Any]:
    """Whether who made it and what was decided about it are as signed; a verdict that isn't is replaced by this one."""
    from mcp_server.storage.ledger import TOLD

    if "standing" in wrong:
        return asdict(Check("standing", "failed", f"Not as signed: {TOLD['standing']}."))
    if "verdict" in wrong:
        detail = f"{TOLD['verdict'].capitalize()}: someone put another there. This one takes its place."
        return asdict(Check("standing", "warned", detail))
    return asdict(Check("standing", "passed", "Its standing and its verdicts are as signed."))


async def _note_refusal(
    tx: Transaction, call: CallContext, subject: str, digest: str, checks: list[dict[str, Any]]
) -> None:
    """Say in the audit log what was refused and why."""
    from mcp_server.storage import audit

    failed = [check for check in checks if check["state"] == "failed"] or checks
    details = {"digest": digest, "failed": [check["name"] for check in failed], "why": failed[0]["detail"][:MOST_WHY]}
    await audit.add(tx, call, action="refuse", outcome="E_UNVERIFIED", subject=subject, details=details)


# Files from elsewhere ----------------------------------------------------------------------------------------------


async def _verify_file(app: App, call: CallContext, text: str) -> Verified:
    """Copy or fetch a file, and have a fresh process look into it; the verdict goes into the audit log.

    Raises:
        DataRejected: the file can't be had, or the process that read it ended.
    """
    from mcp_server.storage import audit

    async with app.scratch() as folder:
        file, _ = await brought(app, call, text, folder)
        found = await look_into(app, call, file)
    answer = _told(found)
    storage = await app.storage()
    async with storage.database.transaction(call) as tx:
        subject = f"file:{found['digest'].removeprefix('sha256:')[:16]}"
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(subject)
        if found["verdict"] != "data-only":
            codes = sorted({finding["code"] for finding in found["findings"]})
            details = {"kind": found["kind"], "digest": found["digest"], "codes": codes}
            await audit.add(tx, call, action="refuse", outcome="E_UNVERIFIED", subject=subject, details=details)
    return answer


def _there(text: str, allowed: Sequence[Path]) -> bool:
    """Whether a plain file in the allowed folders has this name."""
    try:
        root, parts = locate(text, allowed)
    except DataRejected:
        return False
    return root.joinpath(*parts).is_file()


async def brought(app: App, call: CallContext, text: str, folder: Path) -> tuple[Path, str]:
    """A copy of a model file (path in an allowed folder, or https address), and the name that it came under.

    Raises:
        DataRejected: it can't be had, or is larger than allowed.
    """
    from mcp_server.core.model_files.read import MOST_BYTES

    most = min(MOST_BYTES, app.settings.max_import_mib * MIB)
    if "://" not in text:
        copies = await asyncio.to_thread(copy_allowed, text, app.settings.allowed_dirs, folder, most_bytes=most)
        if len(copies) > 1:
            raise InvalidInput("The path names several files.", hint="Give one file.")
        return copies[0].path, copies[0].name or ""
    from mcp_server.integrations.download import Pace, fetch

    remaining = call.remaining()
    seconds = remote.MOST_SECONDS if remaining is None else min(remote.MOST_SECONDS, remaining)
    if seconds <= 0:
        raise DeadlineExceeded("The call ran out of time; nothing was fetched.", hint="Call again.")
    guard = remote.url_guard(app.settings)
    target = folder / "fetched"
    await fetch(text, target, guard=guard, most_bytes=most, pace=Pace(total=seconds))
    return target, text.partition("?")[0].rstrip("/").rpartition("/")[2]


async def look_into(app: App, call: CallContext, file: Path) -> dict[str, Any]:
    """What a file is, by a process of its own that can read it and nothing else; it's never loaded.

    Returns:
        as the operation `read_model`.
    Raises:
        DataRejected: the process ended before it was through.
    """
    return await computed(app, call, "read_model", {"path": str(file)}, reads=[file.parent])


async def computed(
    app: App,
    call: CallContext,
    operation: str,
    arguments: dict[str, Any],
    *,
    reads: Sequence[Path],
    hint: str = "Don't load it; ask whoever made it for another form, such as skops.",
) -> dict[str, Any]:
    """Run an operation on a model file from elsewhere, in a fresh process.

    Args:
        hint: what to do where the process ends before it's through.

    Raises:
        DataRejected: the process ended before it was through.
        CourtsideError: what the operation refused with.
    """
    try:
        return await (await app.compute()).run(
            operation, arguments, timeout=call.remaining(), fresh=True, reads=reads, progress=call.report
        )
    except ComputeFailed as failed:
        if failed.details.get("reason") not in ("memory", "cpu", "crashed"):
            raise
        raise DataRejected(
            "E_QUOTA" if failed.details["reason"] != "crashed" else "E_DAMAGED",
            "The process that looked into the file ended before it was through: the file isn't understood.",
            hint=hint,
            details={"reason": failed.details["reason"]},
        ) from None


def _told(found: dict[str, Any]) -> Verified:
    """The answer; names and places from the file stand under `untrusted`."""
    apart = Apart()
    checks = []
    for finding in found["findings"][:MOST_TOLD]:
        where = f" ({finding['where']})" if _OFFSET.fullmatch(finding["where"]) else ""
        checks.append({"name": finding["code"], "state": "failed", "detail": apart.text(finding["what"]) + where})
    verdict = found["verdict"]
    if verdict == "data-only":
        holds = [name for name in found["holds"] if token(name, "")][:MOST_SHOWN]
        counts = ", ".join(f"{number:,} {noun}" for noun, number in sorted(found["counts"].items()))
        held = f" It would make {', '.join(holds)}." if holds else ""
        checks.append({"name": "content", "state": "passed", "detail": f"All of it was read: {counts}.{held}"})
    checks += [{"name": "not_looked_at", "state": "not_done", "detail": why} for why in found["unchecked"]]
    shown = [{name: text[:LONGEST_PLACE] for name, text in one.items()} for one in found["findings"][:MOST_TOLD]]
    more = f" {counted(found['found'], 'finding')} in all." if found["found"] > len(shown) else ""
    after = {
        "data-only": "Compare the digest with one from whoever made it; data-only doesn't mean good or genuine.",
        "unsafe": "Don't load it anywhere. Ask for the model as skops, or train_model on its data." + more,
        "not understood": "Treat it as unsafe: not read is not clean. Ask for skops, joblib or ONNX." + more,
    }
    return Verified(
        model="The file",
        kind=found["kind"],
        verdict=verdict,
        checks=checks,
        digest=found["digest"],
        next=after[verdict],
        untrusted=({"findings": shown} | ({"names": apart.names} if apart.names else {})) if shown else None,
    )
