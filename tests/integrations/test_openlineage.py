"""What is written for OpenLineage is what its specification 2-0-2 asks for, and never in the way."""

import asyncio
import json
import stat
import uuid
from datetime import UTC, datetime

import pytest
from mcp import Client

from acceptance.processes import environment, refused, text_of, told
from mcp_server import settings
from mcp_server.integrations.openlineage import append, dataset, run_event
from mcp_server.server import build_server

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TABLE = "x,z,y\n" + "\n".join(f"{i % 17},{i % 5},{int((i % 17) + (i * 7919) % 13 > 12)}" for i in range(400)) + "\n"


def is_event(event: dict) -> bool:
    """What the specification requires of a run event."""
    uuid.UUID(event["run"]["runId"])
    datetime.fromisoformat(event["eventTime"])
    return (
        event["eventType"] in ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
        and event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
        and event["producer"].startswith("urn:courtside:")
        and set(event["job"]) >= {"namespace", "name"}
        and all({"namespace", "name"} <= set(part) for part in event["inputs"] + event["outputs"])
    )


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openlineage")
    file = folder / "events.jsonl"
    env = environment(folder, openlineage_file=str(file), rate_per_second="1000", rate_burst="1000")

    async def run():
        async with Client(build_server(settings.load(env))) as client:
            await told(client, "import_data", name="games", text=TABLE, target="y")
            await refused(client, "import_data", name="games", text="a\n1,2\n")
            await told(client, "train_model", model="m", dataset="games@1", algorithm="linear")
            job = await told(client, "get_job", job="m", wait=50.0)
            assert job.structured_content["state"] == "succeeded", text_of(job)
            await told(client, "train_model", model="n", dataset="games@1", features=["x"], test="x > 1000")
            await told(client, "get_job", job="n", wait=50.0)

    asyncio.run(run())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_line_is_a_run_event(events):
    assert events
    assert all(is_event(event) for event in events)


def test_imports_and_trainings_are_runs_from_start_to_end(events):
    by_job = {}
    for event in events:
        by_job.setdefault(event["job"]["name"], []).append(event)
    assert {name: [one["eventType"] for one in found] for name, found in by_job.items()} == {
        "import games": ["START", "COMPLETE"],
        "train m": ["START", "COMPLETE"],
        "train n": ["START", "FAIL"],
    }
    assert all(len({one["run"]["runId"] for one in found}) == 1 for found in by_job.values())


def test_what_an_import_made_is_what_a_training_reads(events):
    made = next(event["outputs"][0] for event in events if event["outputs"] and event["job"]["name"] == "import games")
    read = next(event["inputs"][0] for event in events if event["job"]["name"] == "train m")
    assert (made["namespace"], made["name"]) == (read["namespace"], read["name"]) == ("courtside", "games@1")
    assert made["outputFacets"]["outputStatistics"]["rowCount"] == 400
    assert made["facets"]["version"]["datasetVersion"].startswith("sha256:")


def test_the_same_id_is_the_same_run_and_another_is_another():
    first, again, other = (run_event("START", at=AT, run=id, job="train m") for id in ("j1", "j1", "j2"))
    assert first == again
    assert first["run"] != other["run"]
    assert is_event(run_event("COMPLETE", at=AT, run="j1", job="x", outputs=[dataset("games@1", rows=3)]))


def test_a_file_that_cant_be_written_stops_nothing(tmp_path):
    append(tmp_path / "no such folder" / "events.jsonl", [run_event("START", at=AT, run="j", job="x")])
    assert list(tmp_path.iterdir()) == []
