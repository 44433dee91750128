"""Tuning through the server: what a budget buys, and that neither a kill nor a repetition changes what comes out."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from mcp import Client

from acceptance.processes import environment, in_server, refused, text_of, told
from acceptance.worker_kills import WorkerKills
from mcp_server import settings
from mcp_server.core.training.light import is_usable
from mcp_server.server import build_server
from mcp_server.storage import models

KILLS = int(os.environ.get("KILLS", "3"))
KILLS_OF_A_JOB = 10
ROWS = [f"{i % 17},{(i * 31) % 23},{int((i % 17) + (i * 7919) % 13 > 12)}" for i in range(240)]
TABLE = "x,z,y\n" + "\n".join(ROWS) + "\n"
WAITING = ("queued", "running")


async def finished(client, job: str) -> dict:
    for _ in range(20):
        found = (await told(client, "get_job", job=job, wait=50.0)).structured_content
        if found["state"] not in WAITING:
            assert found["state"] == "succeeded", found
            return found["result"]
    raise AssertionError("the job ends")


async def tuned(client, model: str, **arguments) -> dict:
    started = await told(client, "train_model", model=model, dataset="table@1", **arguments)
    return await finished(client, started.structured_content["job"])


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    env = environment(tmp_path_factory.mktemp("tuning"), rate_per_second="1000", rate_burst="1000")

    async def scene(client):
        await told(client, "import_data", name="table", text=TABLE, target="y")

    in_server(env, scene)
    return env


@pytest.fixture(scope="module")
def quiet(env) -> dict:
    """A job of six trials that nothing disturbed."""

    async def scene(client):
        return await tuned(client, "quiet", trials=6)

    return in_server(env, scene)


def test_a_budget_of_trials_gives_a_baseline_a_tuned_version_and_an_account(env, quiet):
    account = quiet["account"]
    assert [one["verification"] for one in quiet["versions"]] == ["passed", "passed"]
    assert quiet["versions"][0]["algorithm"] == "linear"
    assert quiet["versions"][1]["algorithm"] == f"tuned: {account['winner']}"
    assert account["ended_by"] == "trials"
    assert account["trials"] == sum(one["trials"] for one in account["tried"]) == 6
    light = {"lightgbm"} if is_usable() else set()
    assert {one["algorithm"] for one in account["tried"]} == {"linear", "boosting", "extra_trees"} | light
    assert sum(member["weight"] for member in account["members"]) == pytest.approx(1.0)
    for one in account["against"]:
        assert one["low"] <= one["difference"] <= one["high"]
    points = account["curve"]["points"]
    assert [point["rows"] for point in points] == sorted(point["rows"] for point in points)

    async def scene(client):
        job = (await told(client, "get_job", job="quiet")).structured_content["job"]
        page = await client.read_resource(f"experiment://runs/r{job[1:]}-tuned")
        (run,) = json.loads(page.contents[0].text)["runs"]
        assert run["metrics"]["account"]["tried"] == account["tried"]
        words = text_of(await told(client, "get_job", job="quiet"))
        assert "6 trials" in words
        assert "Learning curve of" in words
        assert ("LightGBM took no part" in words) == (not is_usable())
        assert f"tuned: {account['winner']}" in words
        facts = json.loads((await client.read_resource("lineage://quiet@2")).contents[0].text)
        assert facts["models"]["quiet@2"]["algorithm"] == f"tuned: {account['winner']}"
        answered = await told(client, "predict", model="quiet@2", rows=[{"x": 16, "z": 3}])
        assert answered.structured_content["predictions"][0]["value"] == "1"

    in_server(env, scene)


def test_seconds_end_the_tuning_and_the_answer_says_so(env):
    async def scene(client):
        return await tuned(client, "hasty", seconds=1)

    account = in_server(env, scene)["account"]
    assert account["ended_by"] == "seconds"
    assert all(one["trials"] >= 1 for one in account["tried"]), "each algorithm has its defaults tried"


def test_costs_move_what_is_said_and_not_the_probability(env):
    async def scene(client):
        costs = {"false_positive": 1.0, "false_negative": 50.0}
        started = await told(client, "train_model", model="dear", dataset="table@1", algorithm="linear", costs=costs)
        await finished(client, started.structured_content["job"])
        started = await told(client, "train_model", model="even", dataset="table@1", algorithm="linear")
        await finished(client, started.structured_content["job"])
        row = {"x": 5, "z": 3}
        dear, even = [
            (await told(client, "predict", model=f"{name}@1", rows=[row])).structured_content["predictions"][0]
            for name in ("dear", "even")
        ]
        assert (dear["value"], even["value"]) == ("1", "0")
        assert dear["probability"] == pytest.approx(1.0 - even["probability"])
        for tool in ("predict", "explain_model"):
            words = text_of(await told(client, tool, model="dear@1", rows=[row]))
            assert words.count("1 is said beyond a probability of .02, by the stated costs") == 1
            assert "by the stated costs" not in text_of(await told(client, tool, model="even@1", rows=[row]))
        cards = [(await client.read_resource(f"model://{name}@1/card")).contents[0].text for name in ("dear", "even")]
        assert ["is said beyond a probability of .02 |" in card for card in cards] == [True, False]
        for wrong in ({"false_positive": 1.0}, {"false_positive": 1.0, "false_negative": 0.0}):
            error = await refused(client, "train_model", model="dear", dataset="table@1", costs=wrong)
            assert "false_negative" in error["hint"]
        error = await refused(client, "train_model", model="dear", dataset="table@1", trials=2)
        assert "at least 3" in error["hint"]
        error = await refused(client, "train_model", model="dear", dataset="table@1", seconds=3_000)
        assert "2880" in error["hint"]

    in_server(env, scene)


def after_a_kill(tmp_path, monkeypatch, workflows: str, **arguments) -> tuple[str, dict[int, str]]:
    """How a training ends whose worker is killed between its commit and the record of that, and its versions."""
    env = environment(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))

    async def run():
        server = build_server(settings.load(env))
        (await server.app.queue())._arguments = ("--workflows", f"acceptance.killed_training:{workflows}")
        async with Client(server) as client:
            await told(client, "import_data", name="table", text=TABLE, target="y")
            await told(client, "train_model", model="killed", dataset="table@1", **arguments)
            for _ in range(20):
                job = (await told(client, "get_job", job="killed", wait=50.0)).structured_content
                if job["state"] not in WAITING:
                    break
            async with (await server.app.storage()).database.reading() as tx:
                found = (await models.list_page(tx, name="killed")).items
            return job["state"], {one.version: one.digest for one in found}

    return asyncio.run(run())


@pytest.mark.fault
@pytest.mark.parametrize("arguments", [{}, {"trials": 3}], ids=["training", "tuning"])
def test_a_worker_killed_before_its_commit_is_noted_adds_no_version_twice(tmp_path, monkeypatch, arguments):
    state, versions = after_a_kill(tmp_path, monkeypatch, "WORKFLOWS", **arguments)
    assert (state, sorted(versions)) == ("succeeded", [1, 2])


@pytest.mark.fault
@pytest.mark.parametrize("arguments", [{}, {"trials": 3}], ids=["training", "tuning"])
def test_the_control_that_doesnt_look_whether_versions_are_there_fails_the_same_check(tmp_path, monkeypatch, arguments):
    state, versions = after_a_kill(tmp_path, monkeypatch, "FORGETFUL", **arguments)
    assert (state, sorted(versions)) != ("succeeded", [1, 2]), "a check that can't fail shows nothing"


@pytest.mark.fault
def test_a_killed_worker_ends_with_the_digest_of_an_undisturbed_one(env, quiet):
    workers = WorkerKills(env, seed=5, longest=3.0)
    kept = ("winner", "members", "loss", "candidates", "trials", "ended_by")

    async def scene(client):
        kills, ended = 0, []
        while kills < KILLS:
            started = await told(client, "train_model", model=f"killed{len(ended)}", dataset="table@1", trials=6)
            job = started.structured_content["job"]
            for _ in range(KILLS_OF_A_JOB):
                await asyncio.to_thread(workers.kill)
                if (await told(client, "get_job", job=job, wait=0.0)).structured_content["state"] not in WAITING:
                    break
                kills += 1
            ended.append(await finished(client, job))
        return ended

    for again in in_server(env, scene):
        assert [one["digest"] for one in again["versions"]] == [one["digest"] for one in quiet["versions"]]
        assert {name: again["account"][name] for name in kept} == {name: quiet["account"][name] for name in kept}
