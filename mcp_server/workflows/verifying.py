"""Is a model version still what was trained, and does it still answer as it did: each check, or why not."""

from __future__ import annotations

from mcp_server.context import CallContext
from mcp_server.workflows.app import App
from mcp_server.workflows.model_answers import Verified


async def verify(app: App, call: CallContext, model: str) -> Verified:
    """Check a version and store the verdict; a failing one stops answering at once."""
    from mcp_server.serving.seals import sealed
    from mcp_server.storage import models
    from mcp_server.workflows.examining import examine, verdict_of

    storage = await app.storage()
    async with storage.database.reading() as tx:
        record = await models.resolve(tx, model)
    checks = await examine(storage, await app.compute(), record, seconds=call.remaining())
    outcome = verdict_of(checks)
    stored = sealed(storage.keys, record, outcome, checks)
    reference = f"{record.name}@{record.version}"
    (await app.predictors()).evict(record.name, record.version)
    async with storage.database.transaction(call) as tx:
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
        tx.about(f"model:{reference}")
    (await app.predictors()).evict(record.name, record.version)
    return answer
