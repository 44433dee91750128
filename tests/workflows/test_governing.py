"""What a look at a version says of the way into production, and what no review may hold."""

from pathlib import Path
from typing import Any

import pytest

from mcp_server.context import CallContext, Caller, SystemClock
from mcp_server.core.gates import VersionGates
from mcp_server.errors import InvalidInput
from mcp_server.serving.seals import sealed
from mcp_server.settings import Settings
from mcp_server.storage import governance, models
from mcp_server.workflows import governing
from mcp_server.workflows.app import App
from mcp_server.workflows.governing import Review, review
from storage.test_models import add as add_model

pytestmark = pytest.mark.anyio

POLICY = """
stages:
  production:
    verified_within_days: 7
    approvals: 1
    owner: true
    tags: [team]
    card_complete: true
    data_contract: true
    validation: warn
    max_age_days: 0.000000001
    gates: {metrics: {log_loss: {max: 0.6}}}
"""


def call() -> CallContext:
    return CallContext(Caller("local", frozenset()), request_id="q", tool="review_model", clock=SystemClock())


async def looked_at(app: App) -> dict[str, dict[str, str]]:
    found = await review(app, call(), Review("games@1"))
    assert found.changed == []
    return {one["rule"]: one for one in found.lacks}


async def test_a_look_tells_what_production_lacks_each_with_its_next_step(tmp_path: Path) -> None:
    stated = tmp_path / "policy.yaml"
    stated.write_text(POLICY)
    app = App(Settings(data_dir=tmp_path / "data", policy_file=stated), SystemClock())
    try:
        await add_model(await app.storage(), "games")
        lacking = await looked_at(app)
        rules = ["verified_within_days", "approvals", "owner", "tags", "card_complete", "data_contract", "validation"]
        assert list(lacking) == ["verified", *rules, "max_age_days", "gates"]
        assert "0 of 1 approvals" in lacking["approvals"]["found"]
        assert all(one["step"] for one in lacking.values())
        text = "\n".join((await review(app, call(), Review("games@1"))).lines())
        assert "For production it lacks:\n- verified:" in text
        assert "Call verify_model." in text
    finally:
        await app.close()


async def test_without_a_policy_a_look_tells_verification_and_membership_alone(tmp_path: Path) -> None:
    app = App(Settings(data_dir=tmp_path), SystemClock())
    try:
        storage = await app.storage()
        record = await add_model(storage, "games")
        assert list(await looked_at(app)) == ["verified"]
        for state, lacking in (("barred", ["barred"]), ("passed", [])):
            checks: list[dict[str, Any]] = [{"name": "membership", "state": state, "detail": "It tells its rows."}]
            async with storage.database.transaction() as tx:
                kept = sealed(storage.keys, record, "passed", checks)
                await models.set_verification(tx, "games", 1, verdict="passed", checks=kept)
            assert list(await looked_at(app)) == lacking
        async with storage.database.transaction() as tx:
            await governance.set_standing(tx, record, stage="production", owner=None, policy=None)
        assert await looked_at(app) == {}, "it's there"
    finally:
        await app.close()


def test_every_rule_has_its_next_step() -> None:
    """`judge_version` names its outcomes by these, and four eyes are part of approvals."""
    from mcp_server.core.governance.policy import StageRules

    assert {*StageRules.model_fields, "sealed", "verified", "barred"} - {"four_eyes"} == set(governing._STEPS)
    assert VersionGates in StageRules.model_fields["gates"].annotation.__args__


@pytest.mark.parametrize("note", ["a\0b", "half \ud800 of a pair"])
async def test_a_note_that_no_database_keeps_is_refused_as_an_argument(tmp_path: Path, note: str) -> None:
    app = App(Settings(data_dir=tmp_path), SystemClock())
    try:
        with pytest.raises(InvalidInput, match="NUL character or half of a surrogate pair"):
            await review(app, call(), Review("games@1", approve="staging", note=note))
    finally:
        await app.close()
