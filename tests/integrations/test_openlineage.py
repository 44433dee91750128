"""What is written for OpenLineage is what its specification 2-0-2 asks for, and never in the way."""

import asyncio
import json
import stat
import uuid
from datetime import UTC, datetime

import pytest
from mcp import Client

from acceptance.processes import environment, refused, text_of, told
from mcp_server import settings, telemetry
from mcp_server.errors import BadConfiguration
from mcp_server.integrations.openlineage import MOST_WAITING, RETRIES, Sink, append, dataset, run_event
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


class Collector:
    """A collector that answers with the statuses that it's given, then with 201, and keeps what it took."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.taken: list[tuple[str, dict[str, str], dict]] = []
        self.tries = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.tries += 1
                status = self.statuses.pop(0) if self.statuses else 201
                if status == 201:
                    self.taken.append((first, headers, body))
                writer.write(f"HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".encode())
        except asyncio.IncompleteReadError:
            writer.close()


EVENTS = [run_event("START", at=AT, run="j", job="x"), run_event("COMPLETE", at=AT, run="j", job="x")]


async def sent(collector: Collector, events: list[dict], **how) -> list[float]:
    """Have a sink send events to a collector; returns the waits between its attempts."""
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    async with await asyncio.start_server(collector.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        sink = Sink(file=None, url=f"http://127.0.0.1:{port}/api/v1/lineage", sleep=wait, **how)
        await sink.tell(events)
        await sink.close(600.0)
    return waits


def test_events_are_posted_in_order_with_the_key():
    collector = Collector()
    asyncio.run(sent(collector, EVENTS, key="s3cret"))
    assert [body for _, _, body in collector.taken] == EVENTS
    first, headers, _ = collector.taken[0]
    assert first.startswith("POST /api/v1/lineage ")
    assert (headers["authorization"], headers["content-type"]) == ("Bearer s3cret", "application/json")


def test_what_may_pass_is_tried_again_with_growing_waits_and_nothing_is_lost():
    before = telemetry._process.dropped_events
    collector = Collector(503, 429, 500)
    waits = asyncio.run(sent(collector, EVENTS))
    assert [body for _, _, body in collector.taken] == EVENTS
    assert all(least <= wait <= 1.1 * least for wait, least in zip(waits, (0.5, 1.0, 2.0), strict=True))
    assert telemetry._process.dropped_events == before


@pytest.mark.parametrize("status", [400, 401, 404, 302, 307])
def test_what_wont_pass_is_dropped_counted_and_holds_up_nothing(status):
    before = telemetry._process.dropped_events
    collector = Collector(status)
    assert asyncio.run(sent(collector, EVENTS)) == []
    assert [body for _, _, body in collector.taken] == EVENTS[1:]
    assert (collector.tries, telemetry._process.dropped_events - before) == (2, 1)
    assert b"courtside_lineage_events_dropped_total" in telemetry.render()


def test_a_collector_that_never_comes_back_costs_its_events_only():
    before = telemetry._process.dropped_events
    collector = Collector(*[503] * 20)
    waits = asyncio.run(sent(collector, EVENTS))
    assert len(waits) == 2 * RETRIES
    assert telemetry._process.dropped_events - before == 2


def test_an_address_that_only_the_client_can_judge_costs_its_events_only():
    async def run():
        sink = Sink(file=None, url="http://127.0.0.1:99999/")
        await sink.tell(EVENTS)
        await sink.close(600.0)

    before = telemetry._process.dropped_events
    asyncio.run(run())
    assert telemetry._process.dropped_events - before == 2


def test_only_so_many_events_wait():
    before = telemetry._process.dropped_events
    collector = Collector()
    asyncio.run(sent(collector, EVENTS[:1] * (MOST_WAITING + 3)))
    assert len(collector.taken) == MOST_WAITING
    assert telemetry._process.dropped_events - before == 3


def test_an_import_is_stored_whatever_the_collector_does(tmp_path):
    """A collector that takes connections and never answers: the call doesn't wait for it, nor does the end."""

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def run():
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            env = environment(tmp_path, openlineage_url=f"http://127.0.0.1:{port}/", openlineage_key="s3cret")
            async with Client(build_server(settings.load(env))) as client:
                return await told(client, "import_data", name="games", text=TABLE, target="y")

    before = telemetry._process.dropped_events
    assert asyncio.run(run()).structured_content["dataset"] == "games@1"
    assert telemetry._process.dropped_events - before == 2


@pytest.mark.parametrize("url", ["ftp://a/", "http://", "http://user:word@a/", "http://a/?key=1", "http://a b/"])
def test_an_address_that_no_collector_has_is_refused_at_start(url):
    with pytest.raises(BadConfiguration):
        settings.load({"COURTSIDE_OPENLINEAGE_URL": url})


def test_in_production_a_key_never_goes_unencrypted():
    env = {"COURTSIDE_PROFILE": "production", "COURTSIDE_OPENLINEAGE_KEY": "k", "COURTSIDE_ALLOWED_DIRS": "/srv/data"}
    with pytest.raises(BadConfiguration, match="OPENLINEAGE_URL must be https"):
        settings.load(env | {"COURTSIDE_OPENLINEAGE_URL": "http://lineage.example.org/"})
    settings.load(env | {"COURTSIDE_OPENLINEAGE_URL": "https://lineage.example.org/"})


def test_a_file_that_cant_be_written_stops_nothing(tmp_path):
    append(tmp_path / "no such folder" / "events.jsonl", [run_event("START", at=AT, run="j", job="x")])
    assert list(tmp_path.iterdir()) == []
