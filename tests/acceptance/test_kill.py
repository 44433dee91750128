"""kill -9 in a loop: what was acknowledged is there, once; nothing is half there."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from acceptance.processes import environment
from acceptance.worker_kills import WorkerKills
from mcp_server import settings
from mcp_server.context import SystemClock
from mcp_server.storage import open_storage
from performance.wire_clients import request

KILLS = int(os.environ.get("KILLS", "25"))
KILLS_OF_A_JOB = 10
WAITING = ("queued", "running")
EARLY = str(Path(__file__).parent / "early_acknowledgement.py")
SERVER = ["-m", "mcp_server", "serve"]
TABLE = "x,z,y\n" + "".join(f"{i % 17},{i % 5},{int((i % 17) + (i * 7919) % 13 > 12)}\n" for i in range(600))


class Doomed:
    """A server that is killed while it answers."""

    def __init__(self, arguments: list[str], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.answers: list[dict] = []
        self._number = 0
        self._some = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, tool: str, arguments: dict) -> None:
        self._number += 1
        message = request(self._number, "tools/call", {"name": tool, "arguments": arguments}, "modern")
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return

    def until(self, answers: int, seconds: float = 60.0) -> None:
        with self._some:
            assert self._some.wait_for(lambda: len(self.answers) >= answers, seconds), "the server answers"

    def until_or_late(self, answers: int, seconds: float) -> None:
        with self._some:
            self._some.wait_for(lambda: len(self.answers) >= answers, seconds)

    def kill(self) -> list[dict]:
        """End it as a power cut would; the answers that came out before."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join(10)
        self.process.stdin.close()
        self.process.stdout.close()
        return self.answers

    def _read(self) -> None:
        for line in self.process.stdout:
            message = json.loads(line)
            if "result" in message:
                with self._some:
                    self.answers.append(message["result"])
                    self._some.notify_all()


def fast(data_dir: Path) -> dict[str, str]:
    return environment(data_dir, rate_per_second="100000", rate_burst="100000")


def look(env: dict[str, str], reading) -> object:
    """What storage holds, read by a process that wasn't there."""

    async def scene():
        loaded = settings.load(env)
        storage = await open_storage(database_url=loaded.database, data_dir=loaded.data_dir, clock=SystemClock())
        try:
            return await reading(storage)
        finally:
            await storage.close()

    return asyncio.run(scene())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, str]:
    """A data folder with a verified model y@1."""
    env = fast(tmp_path_factory.mktemp("kill"))
    server = Doomed(SERVER, env)
    server.send("import_data", {"name": "table", "text": TABLE, "target": "y"})
    server.until(1)
    server.send("train_model", {"model": "y", "dataset": "table@1", "algorithm": "linear"})
    server.until(2)
    server.send("get_job", {"job": "y", "wait": 50})
    server.until(3)
    assert server.kill()[2]["structuredContent"]["state"] == "succeeded"
    return env


def predictions_after_kills(env: dict[str, str], arguments: list[str], kills: int) -> tuple[list[str], list[str]]:
    """Kill servers while they predict.

    Returns:
        (acknowledged ids, stored ids).
    """
    chance, acknowledged = random.Random(7), []
    for _ in range(kills):
        server = Doomed(arguments, env)
        server.send("predict", {"model": "y@1", "rows": [{"x": 1, "z": 2}]})
        server.until(1)
        for n in range(chance.randrange(5, 60)):
            server.send("predict", {"model": "y@1", "rows": [{"x": n % 17, "z": 1}, {"x": 3, "z": n % 5}]})
        server.until(1 + chance.randrange(0, 5))
        for answer in server.kill():
            assert not answer.get("isError"), answer
            acknowledged += [one["id"] for one in answer["structuredContent"]["predictions"]]

    async def stored(storage):
        from mcp_server.storage import predictions

        ids, cursor = [], None
        async with storage.database.reading() as tx:
            while True:
                page = await predictions.list_page(tx, model="y", limit=100, cursor=cursor)
                ids += [one.id for one in page.items]
                cursor = page.next_cursor
                if cursor is None:
                    return ids

    return acknowledged, look(env, stored)


@pytest.mark.fault
def test_no_acknowledged_prediction_is_lost_or_doubled(trained):
    acknowledged, stored = predictions_after_kills(trained, SERVER, KILLS)
    assert len(acknowledged) > KILLS
    assert len(set(stored)) == len(stored)
    assert set(acknowledged) <= set(stored)


@pytest.mark.fault
def test_the_control_that_acknowledges_before_the_commit_fails_the_same_check(trained):
    acknowledged, stored = predictions_after_kills(trained, [EARLY], 5)
    assert not set(acknowledged) <= set(stored), "a check that can't fail shows nothing"


def imports_after_kills(
    env: dict[str, str], arguments: list[str], kills: int, longest: float
) -> tuple[set[str], dict[str, bytes], list[str]]:
    """Kill servers while they import.

    Args:
        longest: the kill comes up to so many seconds after the request; 0: as soon as it's answered.
    Returns:
        (acknowledged versions, stored versions with their bytes, the versions in the audit trail).
    """
    chance, acknowledged = random.Random(11), set()
    for n in range(kills):
        server = Doomed(arguments, env)
        server.send("search_models", {})
        server.until(1)
        server.send("import_data", import_arguments(n))
        if longest:
            server.until_or_late(2, chance.uniform(0.0, longest))
        else:
            server.until(2)
        acknowledged |= {one["structuredContent"]["dataset"] for one in server.kill()[1:]}

    async def whole(storage):
        from mcp_server.storage import audit, datasets

        found = {}
        async with storage.database.reading() as tx:
            for one in (await datasets.list_page(tx, limit=100)).items:
                record = await datasets.get(tx, one.name, one.version)
                found[f"{record.name}@{record.version}"] = await storage.artefacts.get(record.artefact)
            trail = [row.subject for row in (await audit.list_page(tx, limit=100)).items if row.tool == "import_data"]
        return found, trail

    return acknowledged, *look(env, whole)


def import_arguments(n: int) -> dict[str, str]:
    return {"name": f"d{n}", "text": f"a,b\n{n},2\n3,4\n", "idempotency_key": f"k{n}"}


@pytest.mark.fault
def test_a_killed_import_leaves_a_whole_version_or_none(tmp_path):
    env = fast(tmp_path)
    # From right after the request to well after the answer.
    acknowledged, found, trail = imports_after_kills(env, SERVER, KILLS, 1.6)
    assert acknowledged <= found.keys()
    assert all(content.startswith(b"PAR1") and content.endswith(b"PAR1") for content in found.values())
    assert sorted(trail) == sorted(found), "each version has its audit row and each row its version"

    # A repeated call finds what was committed, and does what was not.
    server = Doomed(SERVER, env)
    for n in range(KILLS):
        server.send("import_data", import_arguments(n))
        server.until(n + 1)
    assert {one["structuredContent"]["dataset"] for one in server.kill()} == {f"d{n}@1" for n in range(KILLS)}
    scratch = Path(env["COURTSIDE_DATA_DIR"]) / "scratch"
    assert not list(scratch.rglob("table.*")), "no leftover of a killed import stays"


@pytest.mark.fault
def test_the_control_that_acknowledges_an_import_before_the_commit_fails_the_same_check(tmp_path):
    acknowledged, found, _ = imports_after_kills(fast(tmp_path), [EARLY], 5, 0.0)
    assert len(acknowledged) == 5
    assert not acknowledged <= found.keys(), "a check that can't fail shows nothing"


@pytest.mark.fault
def test_a_killed_worker_still_ends_with_one_version_of_each_algorithm_and_the_same_digests(trained):
    workers, kills, jobs = WorkerKills(trained, seed=13, longest=2.5), 0, []
    server = Doomed(SERVER, trained)

    def state(job: str, wait: float) -> str:
        before = len(server.answers)
        server.send("get_job", {"job": job, "wait": wait})
        server.until(before + 1)
        return server.answers[-1]["structuredContent"]["state"]

    while kills < KILLS:
        before = len(server.answers)
        server.send("train_model", {"model": f"again{len(jobs)}", "dataset": "table@1"})
        server.until(before + 1)
        jobs.append(server.answers[-1]["structuredContent"]["job"])
        for _ in range(KILLS_OF_A_JOB):
            workers.kill()
            if state(jobs[-1], 0) not in WAITING:
                break
            kills += 1
        assert next(ended for _ in range(6) if (ended := state(jobs[-1], 50)) not in WAITING) == "succeeded"
    server.kill()

    async def versions(storage):
        from mcp_server.storage import models

        async with storage.database.reading() as tx:
            pages = [await models.list_page(tx, name=name) for name in ["y", *(f"again{n}" for n in range(len(jobs)))]]
            return [{one.version: one.digest for one in page.items} for page in pages]

    undisturbed, *found = look(trained, versions)
    assert [sorted(one) for one in found] == [[1, 2]] * len(jobs)
    assert [one[1] for one in found] == [undisturbed[1]] * len(jobs)
    assert len({one[2] for one in found}) == 1
