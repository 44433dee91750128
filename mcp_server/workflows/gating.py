"""Gates for CI: verify models, validate data, measure, and hold all of it to what a file states."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext, Caller
from mcp_server.core.gates import (
    DataFacts,
    DataGates,
    FairnessGates,
    Gates,
    ModelFacts,
    Outcome,
    Quantile,
    VersionGates,
    judge_data,
    judge_model,
    quantile,
    read_gates,
)
from mcp_server.errors import CourtsideError, InvalidInput, StorageFailed
from mcp_server.settings import Settings
from mcp_server.workflows import fairness, validating, verifying
from mcp_server.workflows import policy as policies
from mcp_server.workflows.app import App, own_app
from mcp_server.workflows.describing import find

if TYPE_CHECKING:
    from mcp_server.core.governance.policy import Policy
    from mcp_server.core.governance.standing import Approvable
    from mcp_server.storage.records import ModelVersion

ANSWERS = 500
"""How many rows are answered to measure a model's latency, after a tenth of them to warm up."""
MOST_VERSIONS = 1_000
"""In one stage, that are held to the policy."""


def read(path: Path) -> Gates:
    """The gates of a file.

    Raises:
        InvalidInput: the file can't be read, or isn't one of gates.
    """
    return read_gates(policies.text_of(path))


def write(path: Path | None, text: str, *, append: bool = False) -> None:
    """Write outcomes where they are asked for.

    Raises:
        StorageFailed: the file can't be written.
    """
    if path is None:
        return
    try:
        with path.open("a" if append else "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        raise StorageFailed(f"{str(path)!r} can't be written.", hint="Name a file in a folder that exists.") from None


async def check(settings: Settings, gates: Gates | None, policy: Path | None = None) -> list[Outcome]:
    """Check every subject; one that can't be checked doesn't pass, and the others are checked all the same.

    Args:
        gates: None to hold every version in a guarded stage to the policy.
        policy: a file in place of the one that the settings name.
    Raises:
        InvalidInput: there is neither gates nor policy, or a stage is named and no policy; or more versions are in a
            stage than can be held to it.
        BadConfiguration: the policy of the settings can't be used.
    """
    rules = await policies.stated(settings) if policy is None else policies.read(policy)
    if rules is None and gates is None:
        raise InvalidInput(
            "There are neither gates nor a policy to check by.", hint="Name a file of gates, or a policy by --policy."
        )
    if rules is None and gates is not None and any(model.stage for model in gates.models):
        raise InvalidInput(
            "A stage is named, and there is no policy that says what it asks.",
            hint="Name one by --policy or COURTSIDE_POLICY_FILE, or leave stage out.",
        )
    async with own_app(settings) as app:
        call = CallContext(
            caller=Caller("local", frozenset()), request_id=secrets.token_hex(8), tool="cli:check", clock=app.clock
        )
        outcomes: list[Outcome] = []
        for data in [] if gates is None else gates.data:
            outcomes += await _data(app, call, data)
        for model in [] if gates is None else gates.models:
            outcomes += await hold(app, call, model.model, model)
        if rules is not None:
            for reference, stage in await _staged(app, rules) if gates is None else _asked(gates):
                outcomes += await _policed(app, call, rules, reference, stage)
        known = {one.subject for one in outcomes}
        return outcomes + [one for one in await _unsealed(app) if gates is None and one.subject not in known]


def _asked(gates: Gates) -> list[tuple[str, Approvable]]:
    return [(model.model, model.stage) for model in gates.models if model.stage is not None]


async def _unsealed(app: App) -> list[Outcome]:
    """Every version that isn't as signed: it may have been put out of a stage just so that nobody looks at it."""
    from mcp_server.storage import ledger

    async with (await app.storage()).database.reading() as tx:
        wrong = await ledger.not_as_sealed(tx)
    return [
        Outcome(f"{name}@{version}", "sealed", "failed", f"Not as signed: {ledger.TOLD[parts[0]]}.")
        for (name, version), parts in wrong.items()
    ]


async def _staged(app: App, rules: Policy) -> list[tuple[str, Approvable]]:
    """Every version in a stage that the policy guards; raises InvalidInput where there are too many."""
    from mcp_server.storage import governance

    found: list[tuple[str, Approvable]] = []
    async with (await app.storage()).database.reading() as tx:
        for stage in sorted(rules.stages):
            there = await governance.in_stage(tx, [stage], limit=MOST_VERSIONS + 1)
            if len(there) > MOST_VERSIONS:
                raise InvalidInput(
                    f"More than {MOST_VERSIONS:,} versions are in {stage}: not all can be held to the policy.",
                    hint="Move those that nobody uses to archived with review_model.",
                )
            found += [(f"{name}@{version}", stage) for name, version, _ in there]
    return found


async def _policed(app: App, call: CallContext, rules: Policy, reference: str, stage: Approvable) -> list[Outcome]:
    if stage not in rules.stages:
        return [Outcome(reference, stage, "unknown", f"The policy has no rules for {stage}.")]
    try:
        outcomes = await policies.held(app, call, rules.stages[stage], reference, stage)
    except CourtsideError as failed:
        return [_unchecked(reference, failed)]
    return [replace(one, gate=f"{stage} {one.gate}") for one in outcomes]


async def _data(app: App, call: CallContext, gates: DataGates) -> list[Outcome]:
    try:
        record = await find(app, gates.dataset)
        reference = f"{record.name}@{record.version}"
        found = await validating.validate(app, call, reference, gates.baseline)
    except CourtsideError as failed:
        return [_unchecked(gates.dataset, failed)]
    facts = DataFacts(
        reference=reference,
        verdict=found.verdict,
        reasons=tuple(
            f"{finding['rule']}: {finding['reason']}" for finding in found.findings if finding["severity"] != "info"
        ),
        rows=record.rows,
        age_days=policies.days(app.clock.now(), record.created_at),
    )
    return judge_data(gates, facts)


async def hold(app: App, call: CallContext, model: str, gates: VersionGates) -> list[Outcome]:
    """Verify a version, measure, and judge it by gates; a problem is an outcome too."""
    from mcp_server.storage import models

    try:
        verified = await verifying.verify(app, call, model)
        async with (await app.storage()).database.reading() as tx:
            record = await models.resolve(tx, verified.model)
        passed = verified.verdict == "passed"
        facts = ModelFacts(
            reference=verified.model,
            verified=passed,
            failed_checks=tuple(check["name"] for check in verified.checks if check["state"] != "passed"),
            test=record.metrics["test"],
            train=record.metrics.get("train", {}),
            age_days=policies.days(app.clock.now(), record.created_at),
            unseen=record.manifest.get("adopted", {}).get("held_out") is not False,
            latency_ms=await _latency(app, record) if passed and gates.latency_ms is not None else None,
            **(await _groups(app, call, verified.model, gates) if passed else {}),
        )
    except CourtsideError as failed:
        return [_unchecked(model, failed)]
    return judge_model(gates, facts)


async def _groups(app: App, call: CallContext, model: str, gates: VersionGates) -> dict[str, Any]:
    """What was found of its groups, for `ModelFacts`; why nothing was, where rows or columns don't allow it."""
    asked = gates.fairness or FairnessGates()
    try:
        found = await fairness.hold_groups(app, call, model, asked.dataset, asked.groups, asked.limits)
    except CourtsideError as failed:
        return {"not_compared": f"{failed.code}: {failed.message}"}
    return {"groups": tuple(found)}


async def _latency(app: App, record: ModelVersion) -> dict[str, Quantile]:
    """Milliseconds for one row, answered as predict answers it, over the version's golden rows."""
    import orjson

    storage = await app.storage()
    golden = orjson.loads(await storage.artefacts.get(record.manifest["files"]["golden.json"]))
    predictor = (await (await app.predictors()).get(f"{record.name}@{record.version}")).predictor
    taken = []
    for turn in range(ANSWERS + ANSWERS // 10):
        row = golden[turn % len(golden)]["row"]
        begun = app.clock.monotonic()
        predictor.answer(row)
        taken.append((app.clock.monotonic() - begun) * 1_000)
    measured = taken[ANSWERS // 10 :]
    return {"p50": quantile(measured, 0.5), "p99": quantile(measured, 0.99)}


def _unchecked(subject: str, failed: CourtsideError) -> Outcome:
    return Outcome(subject, "check", "unknown", f"{failed.code}: {failed.message}")
