"""Tuning through the server: what a budget buys, and that neither a kill nor a repetition changes what comes out."""

from __future__ import annotations

import asyncio
import base64
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
    assert {one["algorithm"] for one in account["tried"]} == {"linear", "splines", "boosting", "extra_trees"} | light
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
        assert run["curve"]["rows"] == [point["rows"] for point in points]
        assert run["curve"]["validation"] == [point["folds"] for point in points]
        (drawn,) = (await client.read_resource(f"experiment://curves/{run['id']}")).contents
        assert (drawn.mime_type, base64.b64decode(drawn.blob)[:4]) == ("image/png", b"\x89PNG")
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


def test_what_was_tuned_is_trained_anew_with_what_was_chosen(env, quiet):
    async def scene(client):
        return await told(client, "compare_models", models=["quiet@1", "quiet@2"], retrain=3, picture=False)

    found = in_server(env, scene)
    retrained = found.structured_content["details"]["retrained"]
    assert (retrained["reused"], retrained["in_time"]) == (["quiet@2"], False)
    assert set(retrained["losses"]) == {"quiet@1", "quiet@2"}
    assert "quiet@2: with the parameters and weights that tuning had chosen, without a new search" in text_of(found)


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


def worked(tmp_path, monkeypatch, workflows: str, scene=None, *, paths: tuple[Path, ...] = (), **arguments):
    """A job as a worker with these workflows ended it, and what a scene of a client finds then.

    Args:
        paths: where Python looks first.
    """
    env = environment(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (*paths, Path(__file__).parent.parent))))

    async def run():
        server = build_server(settings.load(env))
        (await server.app.queue())._arguments = ("--workflows", workflows)
        async with Client(server) as client:
            await told(client, "import_data", name="table", text=TABLE, target="y")
            await told(client, "train_model", model="made", dataset="table@1", **arguments)
            for _ in range(20):
                job = (await told(client, "get_job", job="made", wait=50.0)).structured_content
                if job["state"] not in WAITING:
                    break
            return job, None if scene is None else await scene(client, server)

    return asyncio.run(run())


def after_a_kill(tmp_path, monkeypatch, workflows: str, **arguments) -> tuple[str, dict[int, str]]:
    """How a training ends whose worker is killed between its commit and the record of that, and its versions."""

    async def versions(_, server):
        async with (await server.app.storage()).database.reading() as tx:
            found = (await models.list_page(tx, name="made")).items
        return {one.version: one.digest for one in found}

    name = f"acceptance.killed_training:{workflows}"
    job, found = worked(tmp_path, monkeypatch, name, versions, **arguments)
    return job["state"], found


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


def is_the_same(again: dict, quiet: dict) -> bool:
    """Whether two jobs made the same versions, by the same way."""
    kept = ("winner", "members", "loss", "candidates", "curve", "trials", "ended_by")
    digests = [[one["digest"] for one in job["versions"]] for job in (again, quiet)]
    ways = [{name: job["account"][name] for name in kept} for job in (again, quiet)]
    return digests[0] == digests[1] and ways[0] == ways[1]


@pytest.mark.fault
def test_a_worker_killed_between_batches_goes_on_from_the_trials_that_it_had(tmp_path, monkeypatch, quiet):
    job, _ = worked(tmp_path, monkeypatch, "acceptance.killed_tuning:WORKFLOWS", trials=6)
    assert job["state"] == "succeeded"
    assert is_the_same(job["result"], quiet)


@pytest.mark.fault
def test_the_control_that_keeps_trials_in_memory_fails_the_same_check(tmp_path, monkeypatch, quiet):
    job, _ = worked(tmp_path, monkeypatch, "acceptance.killed_tuning:FORGETFUL", trials=6)
    assert job["state"] == "succeeded"
    assert not is_the_same(job["result"], quiet), "a check that can't fail shows nothing"
    names = [one["name"] for one in job["result"]["account"]["candidates"]]
    assert "linear by default" not in names, "the batch that was lost"


def test_lightgbm_is_registered_verified_and_predicts_as_a_winner(tmp_path, monkeypatch):
    if not is_usable():
        pytest.skip("LightGBM isn't installed here")

    async def scene(client, _):
        verdict = (await told(client, "verify_model", model="made@2")).structured_content["verdict"]
        rows = [{"x": 16, "z": 3}, {"x": 0, "z": 3}, {"x": None, "z": 3}]
        answered = (await told(client, "predict", model="made@2", rows=rows)).structured_content
        facts = json.loads((await client.read_resource("lineage://made@2")).contents[0].text)
        return verdict, answered["predictions"], facts["models"]["made@2"]["algorithm"]

    job, (verdict, predictions, algorithm) = worked(
        tmp_path, monkeypatch, "acceptance.light_training:WORKFLOWS", scene, trials=3
    )
    account = job["result"]["account"]
    assert account["winner"] == "lightgbm"
    assert {one["algorithm"] for one in account["members"]} == {"lightgbm"}
    assert (verdict, algorithm) == ("passed", "tuned: lightgbm")
    assert [one["value"] for one in predictions[:2]] == ["1", "0"]
    assert all(0.0 < one["probability"] < 1.0 for one in predictions)


@pytest.mark.parametrize("failure", ["OSError('libgomp.so.1: cannot open shared object file')", "ImportError('no')"])
def test_lightgbm_that_doesnt_load_is_left_out_and_the_answer_says_so(tmp_path, monkeypatch, failure):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "lightgbm.py").write_text(f"raise {failure}\n")

    async def said(client, _):
        return text_of(await told(client, "get_job", job="made"))

    ours = "mcp_server.workflows.registry:WORKFLOWS"
    job, words = worked(tmp_path, monkeypatch, ours, said, paths=(broken,), trials=3)
    account = job["result"]["account"]
    assert {one["algorithm"] for one in account["tried"]} == {"linear", "splines", "boosting", "extra_trees"}
    assert account["absent"] == ["lightgbm"]
    assert "LightGBM took no part" in words
    assert [one["verification"] for one in job["result"]["versions"]] == ["passed", "passed"]


@pytest.mark.fault
def test_a_killed_worker_ends_with_the_digest_of_an_undisturbed_one(env, quiet):
    workers = WorkerKills(env, seed=5, longest=3.0)

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
        assert is_the_same(again, quiet)
