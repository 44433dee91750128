"""Runs and models go from and to a real MLflow server, in an environment of its own that TEST_MLFLOW names."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from mcp import Client
from sklearn.datasets import load_breast_cancer

from acceptance.processes import environment, free_port, text_of, told
from mcp_server import settings as configuration
from mcp_server.errors import Unverified
from mcp_server.server import build_server
from mcp_server.storage import runs
from mcp_server.workflows import mlflow_history, mlflow_models
from mcp_server.workflows.app import own_app

MLFLOW = os.environ.get("TEST_MLFLOW")
TABLE = "x,z,y\n" + "".join(f"{i % 17},{i % 5},{int((i % 17) + (i * 7919) % 13 > 12)}\n" for i in range(1_600))

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(MLFLOW is None, reason="TEST_MLFLOW names no mlflow command of an environment that has it"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server with the runs of `mlflow_client_process.py`, and the folder of what they would touch."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--serve-artifacts"]
    kept = ["--backend-store-uri", f"sqlite:///{folder}/m.db", "--artifacts-destination", str(folder / "artefacts")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [MLFLOW, "server", *arguments, *kept], stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until_healthy(url, process)
        client = Path(__file__).parent / "mlflow_client_process.py"
        python = Path(MLFLOW).parent / "python"
        done = subprocess.run([python, client, url, folder], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2_000:]
        yield url, folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until_healthy(url: str, process: subprocess.Popen[bytes], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"mlflow ended with {process.returncode}"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=1) as page:
                if page.status == 200:
                    return
        except OSError:
            time.sleep(0.3)
    raise AssertionError("mlflow didn't come up")


def theirs(url: str, experiment: str) -> list[dict]:
    """The runs of an experiment, as the server tells them."""

    def ask(path: str, body: dict | None = None) -> dict:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{url}/api/2.0/mlflow/{path}", content, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    id = ask(f"experiments/get-by-name?experiment_name={experiment}")["experiment"]["experiment_id"]
    return ask("runs/search", {"experiment_ids": [id], "max_results": 100}).get("runs", [])


def registered_as_theirs(url: str, folder: Path, name: str) -> None:
    """Check a registered version as somebody does who has MLflow's client alone."""
    script = "import sys, mlflow; mlflow.set_tracking_uri(sys.argv[1]); uri = f'models:/{sys.argv[2]}/1'; " + (
        "mlflow.artifacts.download_artifacts(uri, dst_path=sys.argv[3]); "
        "print(sorted(mlflow.models.get_model_info(uri).flavors)); "
        "print(mlflow.MlflowClient().get_model_version(sys.argv[2], '1').tags['courtside.digest'])"
    )
    folder.mkdir()
    arguments = [Path(MLFLOW).parent / "python", "-c", script, url, name, folder]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2_000:]
    flavors, digest = done.stdout.split("\n")[:2]
    manifest = (folder / "manifest.json").read_bytes()
    load_pem_public_key((folder / "key.pem").read_bytes()).verify((folder / "manifest.sig").read_bytes(), manifest)
    assert (flavors, digest) == ("['courtside']", json.loads(manifest)["digest"])
    for file in ("form.json", "estimator.skops"):
        content = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        assert json.loads(manifest)["files"][file] == f"sha256:{content}"


def test_runs_and_verified_models_come_and_a_hostile_one_is_refused_by_name(server, tmp_path):
    url, folder = server
    env = environment(tmp_path, mlflow_url=url)
    loaded = configuration.load(env)
    outcome = asyncio.run(mlflow_history.import_here(loaded, ["cancer study"]))
    assert (outcome.written, outcome.unfinished, outcome.refused) == (3, 120, 1)
    accepted = [line for line in outcome.told if line.startswith("data-only")]
    assert any("cancer/1 model.pkl (pickle" in line for line in accepted)
    assert any("cancer/2 model.skops (skops" in line for line in accepted)
    assert [line for line in outcome.told if "hostile/1" in line] == [
        "refused  hostile/1 model.pkl: unsafe (foreign_name)"
    ]
    assert not (folder / "marker").exists()
    again = asyncio.run(mlflow_history.import_here(loaded, []))
    assert (again.written, again.known) == (0, 3)

    async def kept():
        async with own_app(loaded) as app, (await app.storage()).database.reading() as tx:
            return {run.facts["source"]["name"]: run for run in (await runs.list_page(tx)).items}

    found = asyncio.run(kept())
    assert {name: run.status for name, run in found.items()} == {
        "honest": "succeeded",
        "hostile": "succeeded",
        "failed": "failed",
    }
    assert found["honest"].metrics["reported"]["log_loss"]["value"] == pytest.approx(0.1)
    assert found["honest"].parameters["mlflow"] == {"C": "0.5", "note": "two words"}
    assert {one["verdict"] for one in found["honest"].facts["registered"]} == {"data-only"}
    assert {one["verdict"] for one in found["hostile"].facts["registered"]} == {"unsafe"}


def test_a_model_that_is_registered_there_becomes_a_version_and_a_hostile_one_doesnt(server, tmp_path):
    url, folder = server
    env = environment(tmp_path, mlflow_url=url)
    loaded = configuration.load(env)
    bunch = load_breast_cancer()
    names = [f"c{index}" for index in range(bunch.data.shape[1])]
    rows = [
        ",".join(map(repr, [*row, label]))
        for row, label in zip(bunch.data.tolist(), bunch.target.tolist(), strict=True)
    ]

    async def scene() -> None:
        async with Client(build_server(loaded)) as client:
            text = "\n".join([",".join([*names, "benign"]), *rows])
            await told(client, "import_data", name="cancer", text=text, target="benign")

    asyncio.run(scene())
    for version, named in (("cancer/1", "pickled"), ("cancer/2", "skops")):
        wanted = mlflow_models.Wanted(version, "cancer@1", model=named, columns=names)
        made = asyncio.run(mlflow_history.adopt_here(loaded, wanted))
        assert (made.model, made.verification) == (f"{named}@1", "passed")
        assert made.facts["difference"] < 1e-9
    with pytest.raises(Unverified):
        asyncio.run(mlflow_history.adopt_here(loaded, mlflow_models.Wanted("hostile/1", "cancer@1")))
    assert not (folder / "marker").exists()


def test_new_runs_are_copied_old_ones_exported_and_none_twice(server, tmp_path):
    url, _ = server
    env = environment(tmp_path, mlflow_url=url, rate_per_second="1000", rate_burst="1000")
    loaded = configuration.load(env)

    async def scene() -> str:
        async with Client(build_server(loaded)) as client:
            await told(client, "import_data", name="table", text=TABLE, target="y")
            await told(client, "train_model", model="new", dataset="table@1", algorithm="boosting")
            job = await told(client, "get_job", job="new", wait=50.0)
            assert job.structured_content["state"] == "succeeded", text_of(job)
            found = await told(client, "search_models", runs=True, query="model=new")
            (run,) = found.structured_content["runs"]
        async with own_app(loaded) as app:
            storage = await app.storage()
            async with storage.database.transaction() as tx:
                trained = await runs.get(tx, run["run"])
                # As one is that ended before a server was named.
                facts = {name: part for name, part in trained.facts.items() if name != "mlflow"}
                await runs.add(tx, replace(trained, id="r_old", model="old", facts=facts))
        return trained.id

    new = asyncio.run(scene())

    async def copied() -> dict | None:
        async with own_app(loaded) as app, (await app.storage()).database.reading() as tx:
            return (await runs.get(tx, new)).facts.get("mlflow")

    deadline = time.monotonic() + 60
    while (state := asyncio.run(copied())) is None and time.monotonic() < deadline:
        time.sleep(0.3)
    assert state is not None
    assert state["state"] == "written"
    for written in ((1, 1, 1, 0), (0, 2, 0, 1)):  # the copy was noted
        outcome = asyncio.run(mlflow_history.export_here(loaded, None))
        assert (outcome.written, outcome.known, outcome.versions, outcome.versions_known) == written
        assert outcome.told == []
    registered_as_theirs(url, tmp_path / "theirs", "courtside.new")
    for model, id in (("old", "r_old"), ("new", new)):
        (run,) = theirs(url, f"courtside/{model}")
        tags = {one["key"]: one["value"] for one in run["data"]["tags"]}
        assert tags["courtside.run"] == id
        assert tags.get("courtside.models") == ("new@1" if model == "new" else None)
        metrics = {one["key"] for one in run["data"]["metrics"]}
        assert {"log_loss", "log_loss.low", "log_loss.high", "train.log_loss", "curve.validation"} <= metrics
        parameters = {one["key"]: one["value"] for one in run["data"]["params"]}
        assert parameters["dataset"] == "table@1"
        assert "environment.numpy" in parameters
    outcome = asyncio.run(mlflow_history.import_here(loaded, ["courtside/new"]))
    assert (outcome.written, outcome.known, outcome.told) == (0, 1, [])
