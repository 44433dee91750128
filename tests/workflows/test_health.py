"""What health_report asks somebody to attend to."""

from pathlib import Path

import pytest
from sqlalchemy import update

from mcp_server import telemetry
from mcp_server.context import CallContext, Caller, SystemClock
from mcp_server.core.canonical import canonical_bytes
from mcp_server.serving.seals import sealed
from mcp_server.settings import Settings
from mcp_server.storage import governance, jobs, models, tables
from mcp_server.storage.ids import new_id
from mcp_server.workflows import health, signing
from mcp_server.workflows.app import App
from mcp_server.workflows.governing import Review, review
from storage.test_models import add as add_model

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_calls_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's errors may be of calls that other tests made."""
    monkeypatch.setattr(telemetry, "recent_errors", lambda _most=0: [])


async def test_a_refused_job_is_no_health_problem_and_hides_none(tmp_path: Path):
    app = App(Settings(data_dir=tmp_path), SystemClock())
    try:
        storage = await app.storage()
        refusals = ["E_EXPRESSION", "E_TRAINING", "E_PLAN", "E_ARG", "E_CONTRACT", "E_LEAK"]
        for codes in (["E_COMPUTE"], refusals):
            for code in codes:
                async with storage.database.transaction() as tx:
                    one = await jobs.enqueue(
                        tx, id=new_id("j", tx.now), kind="train", arguments={}, caller="local", runtime_version="1"
                    )
                    await jobs.finish(tx, one.id, state="failed", error={"code": code, "message": "It failed."})
            told = await health.report(app)
            assert [item["runbook"] for item in told.attention] == ["runbook://compute-failed"], told.attention
    finally:
        await app.close()


async def test_a_version_in_production_that_nobody_approves_or_a_policy_is_against_is_named(tmp_path: Path):
    policy = tmp_path / "policy.yaml"
    for settings, said in (
        (Settings(data_dir=tmp_path / "without"), "games@1 is in production and nobody approves it."),
        (Settings(data_dir=tmp_path / "with", policy_file=policy), "owner: It has no owner."),
    ):
        policy.write_text("stages: {production: {owner: true}}")
        app = App(settings, SystemClock())
        try:
            storage = await app.storage()
            record = await add_model(storage, "games")
            async with storage.database.transaction() as tx:
                checks = sealed(storage.keys, record, "passed", [])
                await models.set_verification(tx, "games", 1, verdict="passed", checks=checks)
                await governance.set_standing(tx, record, stage="production", owner=None, policy=None)
            (item,) = (await health.report(app)).attention
            assert item["runbook"] == "runbook://policy-unmet"
            assert said in item["what"]
            async with storage.database.transaction() as tx:
                await governance.approve(tx, record, "production", approver="local", note="Looked at it.")
                await governance.set_standing(tx, record, stage="production", owner="local", policy=None)
            assert (await health.report(app)).attention == []
            policy.write_text("stages: {production: {owners: true}}")
            told = (await health.report(app)).attention
            assert [item["runbook"] for item in told] == (["runbook://configuration"] if settings.policy_file else [])
        finally:
            await app.close()


async def test_versions_whose_key_was_revoked_are_named_though_they_once_passed(tmp_path: Path):
    settings = Settings(data_dir=tmp_path)
    app = App(settings, SystemClock())
    try:
        storage = await app.storage()
        manifest = {"model": "games"}
        for number in range(1, 6):
            signature = storage.keys.sign(canonical_bytes(manifest))
            await add_model(storage, "games", number, manifest=manifest, signature=signature)
            async with storage.database.transaction() as tx:
                await models.set_verification(tx, "games", number, verdict="passed", checks=[])
            async with storage.database.transaction() as tx:
                record = await models.get(tx, "games", number)
                await governance.approve(tx, record, "staging", approver="local", note="Looked at it.")
        assert (await health.report(app)).attention == []
        old = storage.keys.public_key_id
        await signing.rotate(settings)
        assert (await health.report(app)).attention == []
        await signing.revoke(settings, old, "It was lost.")
        (item,) = (await health.report(app)).attention
        assert item["what"].endswith("without answers: games@1, games@2, games@3 and 2 more.")
        assert item["runbook"] == "runbook://verification-failed"
        call = CallContext(Caller("local", frozenset()), request_id="1", tool="review_model", clock=app.clock)
        told = await review(app, call, Review("games@1"))
        assert told.lines()[1].startswith("An approval for staging doesn't count")
    finally:
        await app.close()


async def test_older_versions_are_counted_too_and_those_that_dont_answer_are_not(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(health, "LOOKED_AT", 1)
    app = App(Settings(data_dir=tmp_path), SystemClock())
    try:
        storage = await app.storage()
        for number in range(1, 14):
            record = await add_model(storage, "games", number)
            if number != 3:
                async with storage.database.transaction() as tx:
                    checks = sealed(storage.keys, record, "passed", [])
                    await models.set_verification(tx, "games", number, verdict="passed", checks=checks)
        told = await health.report(app)
        assert (told.models["versions"], told.models["verified"]) == (13, 12)
        async with storage.database.transaction() as tx:
            await tx.execute(update(tables.models).where(tables.models.c.version == 2).values(created_by="key:eve"))
        assert (await health.report(app)).models["verified"] == 11
    finally:
        await app.close()
