"""A policy is read as far as a file can be one, and holds for every version in a stage."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_server.errors import InvalidInput
from mcp_server.serving.seals import sealed
from mcp_server.settings import Settings
from mcp_server.storage import governance, models
from mcp_server.workflows import gating, policy
from mcp_server.workflows.app import own_app
from mcp_server.workflows.cards import missing_on_card
from storage.test_models import add as add_model


def test_a_file_that_is_too_large_is_refused_without_being_read_as_a_whole(tmp_path: Path):
    large = tmp_path / "policy.yaml"
    with large.open("wb") as file:
        file.truncate(64 * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="larger than 256 kB"):
            policy.read(large)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 32 * 2**20


@pytest.mark.anyio
async def test_a_check_of_more_versions_than_it_looks_at_doesnt_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stated = tmp_path / "policy.yaml"
    stated.write_text("stages: {production: {owner: true}}")
    settings = Settings(data_dir=tmp_path / "data")
    async with own_app(settings) as app:
        storage = await app.storage()
        for number in (1, 2):
            record = await add_model(storage, "games", number)
            checks = sealed(storage.keys, record, "passed", [])
            async with storage.database.transaction() as tx:
                await models.set_verification(tx, "games", number, verdict="passed", checks=checks)
                await governance.set_standing(tx, record, stage="production", owner="local", policy=None)
    outcomes = await gating.check(settings, None, stated)
    assert [one.state for one in outcomes] == ["passed", "passed"]
    monkeypatch.setattr(gating, "MOST_VERSIONS", 1)
    with pytest.raises(InvalidInput, match="not all can be held"):
        await gating.check(settings, None, stated)


@pytest.mark.anyio
async def test_a_card_that_doesnt_say_what_a_model_was_trained_on_is_incomplete(tmp_path: Path):
    async with own_app(Settings(data_dir=tmp_path)) as app:
        record = await add_model(await app.storage(), "games")
    said = "rows that it wasn't trained on"
    assert said not in missing_on_card(record, None, None, ())
    for held_out in (True, False):
        adopted = replace(record, manifest={**record.manifest, "adopted": {"held_out": held_out}})
        assert (said in missing_on_card(adopted, None, None, ())) is not held_out
