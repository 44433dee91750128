"""Is everything well: what needs attention and its runbook first, then each part."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from mcp_server import telemetry
from mcp_server.errors import CODES, BadConfiguration, CourtsideError
from mcp_server.workflows import scheduling
from mcp_server.workflows.app import App
from mcp_server.workflows.model_answers import HealthReport

STALE = timedelta(days=90)
LOW_DISK_MIB = 1_024
PROBE_SECONDS = 5.0
FOLDERS = ("artefacts", "exports", "reports", "logs", "scratch", "keys")
"""Of the data folder; the files beside them are the databases'."""
MOST_LISTED = 10
MOST_LOOKED_AT = 50
LOOKED_AT = 100
"""The newest model versions, which are looked at one by one; the others are counted."""
MOST_RULES = 3
# Runbooks of requests that were refused for what they asked, which nobody has to attend to.
REFUSALS = (
    *("invalid-request", "leak-found", "training-refused", "import-refused", "plan-refused"),
    *("access", "throttled"),
)


async def report(app: App) -> HealthReport:
    """Probe every dependency and sum up models, jobs, errors, speed and disk."""
    attention: list[dict[str, str]] = []
    dependencies = [
        await _probe(app, "database", lambda: _database(app)),
        await _probe(app, "artefact store", lambda: _artefacts(app)),
        await _probe(app, "computing child", lambda: _child(app)),
        await _worker(app),
    ]
    attention += [
        {"what": f"{part['name']} is failing: {part['error']}.", "runbook": _book(part["code"])}
        for part in dependencies
        if part["status"] == "failing"
    ]
    stored = all(part["status"] != "failing" for part in dependencies[:2])
    models = await _models(app, attention) if stored else {"versions": 0, "verified": 0}
    jobs = await _jobs(app, attention) if stored else {}
    if stored and app.settings.mlflow_url is not None:
        await _copies(app, attention)
    if stored:
        attention += await scheduling.attention(app)
    errors = telemetry.recent_errors(MOST_LISTED)
    disk = await asyncio.to_thread(_disk, app.settings.data_dir)
    if disk["free_mib"] < LOW_DISK_MIB:
        attention.append({"what": f"Only {disk['free_mib']:,} MiB of disk are free.", "runbook": "runbook://disk-full"})
    if internal := sum(error["code"] == "E_INTERNAL" for error in errors):
        attention.append({"what": f"{internal} unexpected errors lately.", "runbook": "runbook://internal-error"})
    failing = any(part["status"] == "failing" for part in dependencies)
    status: Literal["ok", "attention", "failing"] = "failing" if failing else "attention" if attention else "ok"
    return HealthReport(
        status=status,
        attention=attention[:MOST_LISTED],
        dependencies=dependencies,
        models=models,
        jobs=jobs,
        errors=errors,
        slowest=[row for row in telemetry.slowest(20) if "/" not in row["tool"]][:5],
        disk=disk,
        next=f"Read {attention[0]['runbook']}." if attention else None,
    )


async def readiness(app: App) -> dict[str, str | None]:
    """What requests depend on, each with the reason why it isn't ready, or None."""
    rows = [
        await _probe(app, "database", lambda: _database(app)),
        await _probe(app, "artefact store", lambda: _artefacts(app)),
    ]
    return {row["name"]: row.get("error") for row in rows}


async def _probe(app: App, name: str, probe: Callable[[], Awaitable[object]]) -> dict[str, Any]:
    started = app.clock.monotonic()
    row: dict[str, Any] = {"name": name, "status": "ok"}
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe()
    except CourtsideError as failed:
        row |= {"status": "failing", "error": failed.message.rstrip("."), "code": failed.code}
    except TimeoutError:
        row |= {"status": "failing", "error": f"no answer in {PROBE_SECONDS:.0f} s", "code": "E_TRANSIENT"}
    row["latency_ms"] = round((app.clock.monotonic() - started) * 1000, 1)
    return row


async def _database(app: App) -> None:
    from mcp_server.storage import models

    storage = await app.storage()
    async with storage.database.reading() as tx:
        await models.count(tx)


async def _artefacts(app: App) -> None:
    storage = await app.storage()
    await storage.artefacts.probe()


async def _child(app: App) -> None:
    await (await app.compute()).run("ping", {}, timeout=PROBE_SECONDS)


async def _worker(app: App) -> dict[str, Any]:
    """An idle system has no worker: that's well. Waiting jobs without one are not."""
    started = app.clock.monotonic()
    queue = await app.queue()
    running = await queue.worker()
    return {
        "name": "worker",
        "status": "ok" if running else "idle",
        "latency_ms": round((app.clock.monotonic() - started) * 1000, 1),
    }


async def _models(app: App, attention: list[dict[str, str]]) -> dict[str, Any]:
    from mcp_server.storage import ledger, models

    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await models.list_page(tx, limit=LOOKED_AT)
        older, cursor = [], page.next_cursor
        while cursor is not None:
            more = await models.list_page(tx, cursor=cursor, limit=10 * LOOKED_AT)
            older += [(f"{one.name}@{one.version}", one.verdict) for one in more.items]
            cursor = more.next_cursor
        wrong = [f"{name}@{version}" for name, version in await ledger.not_as_sealed(tx)]
    if wrong:
        what = f"Not as signed, so without answers: {_first(wrong)}."
        attention.append({"what": what, "runbook": "runbook://verification-failed"})
    await _guarded(app, attention)
    revoked = await _revoked(app, attention)
    silent = {*wrong, *revoked}
    now = app.clock.now()
    rows = []
    for model in page.items:
        reference = f"{model.name}@{model.version}"
        age = now - model.created_at
        verification: str = model.verdict or "not verified"
        if reference in silent:
            verification = "not as signed" if reference in wrong else "key revoked"
        rows.append({"model": reference, "age_days": age.days, "verification": verification})
        if model.verdict == "failed":
            attention.append(
                {
                    "what": f"{reference} failed its verification and doesn't answer.",
                    "runbook": "runbook://verification-failed",
                }
            )
        elif model.verdict is None:
            attention.append({"what": f"{reference} was never verified.", "runbook": "runbook://verification-failed"})
        if age > STALE:
            attention.append(
                {"what": f"{reference} was trained {age.days} days ago.", "runbook": "runbook://stale-model"}
            )
    return {
        "versions": len(rows) + len(older),
        "verified": sum(row["verification"] == "passed" for row in rows)
        + sum(verdict == "passed" and reference not in silent for reference, verdict in older),
        "newest": rows[:MOST_LISTED],
    }


def _first(names: list[str]) -> str:
    rest = len(names) - MOST_RULES
    return ", ".join(names[:MOST_RULES]) + (f" and {rest} more" if rest > 0 else "")


async def _revoked(app: App, attention: list[dict[str, str]]) -> list[str]:
    """Versions that don't answer since the key that signed them was revoked, whatever their last verification said."""
    from mcp_server.core.canonical import canonical_bytes
    from mcp_server.storage import models

    storage = await app.storage()
    if not any(key.state == "revoked" for key in storage.keys.ring.keys):
        return []
    async with storage.database.reading() as tx:
        signed = await models.signed(tx)
    revoked = []
    for name, version, manifest, signature in signed:
        signer = storage.keys.ring.signer(canonical_bytes(manifest), signature)
        if signer is not None and signer.state == "revoked":
            revoked.append(f"{name}@{version}")
    if revoked:
        what = f"Signed with a key that was revoked, so without answers: {_first(revoked)}."
        attention.append({"what": what, "runbook": "runbook://verification-failed"})
    return revoked


async def _guarded(app: App, attention: list[dict[str, str]]) -> None:
    """Versions in production that nobody approves, or that a rule of the policy is against; gates aren't measured."""
    from mcp_server.storage import governance, models

    storage = await app.storage()
    async with storage.database.reading() as tx:
        live = await governance.in_stage(tx, ["production"], limit=MOST_LOOKED_AT)
    if not live:
        return
    from mcp_server.core.governance.judge import judge_version
    from mcp_server.workflows import policy as policies

    try:
        policy = await policies.stated(app.settings)
    except BadConfiguration as wrong:
        attention.append({"what": wrong.message, "runbook": _book(wrong.code)})
        return
    rules = None if policy is None else policy.stages.get("production")
    async with storage.database.reading() as tx:
        for name, version, _ in live:
            record = await models.get(tx, name, version)
            standing = await governance.get(tx, record)
            told = "" if standing.approvers().get("production") else " and nobody approves it."
            if rules is not None:
                facts = await policies.facts_of(tx, record, standing)
                unmet = [one for one in judge_version(rules, facts, "production") if one.state != "passed"]
                broken = "".join(f" {one.gate}: {one.detail}" for one in unmet[:MOST_RULES])
                told = f" and shouldn't be.{broken}" if broken else ""
            if told:
                what = f"{name}@{version} is in production{told}"
                attention.append({"what": what, "runbook": "runbook://policy-unmet"})


async def _jobs(app: App, attention: list[dict[str, str]]) -> dict[str, Any]:
    from mcp_server.storage import jobs

    storage = await app.storage()
    async with storage.database.reading() as tx:
        counts = await jobs.count_by_state(tx)
        page = await jobs.list_page(tx, states=["failed"], limit=MOST_LOOKED_AT)
    recent = app.clock.now() - timedelta(days=1)
    for job in page.items:
        if job.ended_at is not None and job.ended_at > recent:
            code = (job.error or {}).get("code", "E_JOB")
            if code in CODES and CODES[code].runbook in REFUSALS:
                continue  # whoever asked was told what to mend
            attention.append({"what": f"Job {job.id} failed with {code}.", "runbook": _book(code)})
    return counts


async def _copies(app: App, attention: list[dict[str, str]]) -> None:
    """Runs that couldn't be copied to the MLflow server, of the latest."""
    from mcp_server.storage import runs
    from mcp_server.workflows.mlflow_history import not_copied

    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await runs.list_page(tx, limit=MOST_LOOKED_AT)
    if codes := not_copied(list(page.items)):
        what = f"{len(codes)} of the latest {len(page.items)} runs aren't on the MLflow server ({codes[0]}); "
        attention.append({"what": f"{what}`courtside mlflow export` writes them.", "runbook": _book(codes[0])})


def _disk(folder: Path) -> dict[str, Any]:
    kinds: Counter[str] = Counter()
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            kind = file.relative_to(folder).parts[0]
            kinds[kind if kind in FOLDERS else "database"] += file.stat().st_size
    used = kinds.total()
    free = shutil.disk_usage(folder).free if folder.exists() else shutil.disk_usage(folder.anchor or "/").free
    shares = {kind: round(size / 2**20, 1) for kind, size in kinds.most_common()}
    return {"used_mib": used // 2**20, "free_mib": free // 2**20, "by_kind_mib": shares}


def _book(code: str) -> str:
    return f"runbook://{CODES[code].runbook if code in CODES else 'internal-error'}"
