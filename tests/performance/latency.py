"""What the guard and a prediction cost: interleaved, medians, ratios from one run.

python tests/performance/latency.py echo      guarded echo beside the bare SDK's, both transports, both eras
python tests/performance/latency.py predict   predict alone, and at 16 connections beside the guarded echo
python tests/performance/latency.py start     cold start to tools/list, and memory then
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from performance.wire_clients import ERAS, Http, Stdio, python

ECHO = str(Path(__file__).parent / "echo_server.py")
ROUNDS, CALLS = 7, 150
CONNECTIONS, LOAD_SECONDS = 16, 4.0


def main() -> None:
    {"echo": echo, "predict": predict, "start": start, "commits": commits}[sys.argv[1]]()


def quantile(samples: list[float], share: float) -> float:
    return sorted(samples)[min(len(samples) - 1, int(share * len(samples)))] * 1_000


@contextlib.contextmanager
def listening(command: list[str], env: dict[str, str] | None = None) -> Iterator[int]:
    """A server on a free port; `{port}` in the command stands for it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [part.replace("{port}", str(port)) for part in command]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    try:
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def echo() -> None:
    print("| transport | era | bare p50 / p99 ms | guarded p50 / p99 ms | p50 difference ms |\n|---|---|---|---|---|")
    for era in ERAS:
        with Stdio(python(ECHO, "bare", "stdio"), era) as bare, Stdio(python(ECHO, "guarded", "stdio"), era) as ours:
            row("stdio", era, bare, ours)
    with listening(python(ECHO, "bare", "{port}")) as one, listening(python(ECHO, "guarded", "{port}")) as two:
        for era in ERAS:
            with Http(one, era) as bare, Http(two, era) as ours:
                row("http", era, bare, ours)


def row(transport: str, era: str, bare: Stdio | Http, ours: Stdio | Http) -> None:
    pairs: list[tuple[float, float]] = []
    samples: tuple[list[float], list[float]] = ([], [])
    for client in (bare, ours):
        for _ in range(50):
            client.call("echo", {"text": "hi"})
    for _ in range(ROUNDS):
        medians = []
        for client, into in zip((bare, ours), samples, strict=True):
            taken = [client.call("echo", {"text": "hi"}) for _ in range(CALLS)]
            into += taken
            medians.append(statistics.median(taken))
        pairs.append((medians[0], medians[1]))
    difference = statistics.median(two - one for one, two in pairs) * 1_000
    shown = [f"{quantile(part, 0.5):.2f} / {quantile(part, 0.99):.2f}" for part in samples]
    print(f"| {transport} | {era} | {shown[0]} | {shown[1]} | {difference:+.2f} |", flush=True)


def start() -> None:
    """Wall time from process start to the answer of tools/list, and the process's memory then."""
    results: dict[str, list[tuple[float, float]]] = {"bare": [], "courtside": []}
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "COURTSIDE_DATA_DIR": folder}
        commands = {"bare": python(ECHO, "bare", "stdio"), "courtside": python("-m", "mcp_server", "serve")}
        for turn in range(9):
            for name, command in commands.items():
                with Stdio(command, "modern", env) as client:
                    client.ask("tools/list", {})
                    seconds = time.perf_counter() - client.started
                    if turn:
                        results[name].append((seconds, resident(client.process.pid)))
    medians = {name: [statistics.median(part) for part in zip(*taken, strict=True)] for name, taken in results.items()}
    for name, (seconds, mib) in medians.items():
        print(f"| {name} | {seconds:.2f} s | {mib:.0f} MB |")
    ratio = statistics.median(
        ours[0] / bare[0] for ours, bare in zip(results["courtside"], results["bare"], strict=True)
    )
    print(f"cold start ratio (median of pairs): {ratio:.2f}")


def resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1_000
    raise RuntimeError("no VmRSS")


def predict() -> None:
    with tempfile.TemporaryDirectory() as folder:
        env = {
            **os.environ,
            "COURTSIDE_DATA_DIR": folder,
            "COURTSIDE_PROFILE": "test",
            "COURTSIDE_RATE_PER_SECOND": "100000",
            "COURTSIDE_RATE_BURST": "100000",
            "COURTSIDE_WORKER_IDLE_SECONDS": "5",
        }
        prepare(env)
        served = python("-m", "mcp_server", "serve", "--http", "127.0.0.1:{port}", "--insecure-loopback")
        with listening(served, env) as ours, listening(python(ECHO, "guarded", "{port}")) as echoes:
            alone(ours, echoes)
            loaded(ours, echoes)


ROW = {"x": 3, "z": 2, "u": 1.5, "v": "b"}


def prepare(env: dict[str, str]) -> None:
    """A verified boosting model on a small table."""
    lines = [
        f"{i % 17},{i % 5},{(i * 37 % 100) / 10},{'abc'[i % 3]},{int(i % 17 + (i * 7919) % 13 > 12)}"
        for i in range(2_000)
    ]
    table = "\n".join(["x,z,u,v,y", *lines])
    with Stdio(python("-m", "mcp_server", "serve"), "modern", env) as client:
        client.call("import_data", {"name": "table", "text": table, "target": "y"})
        client.call("train_model", {"model": "y", "dataset": "table@1", "algorithm": "boosting"})
        client.call("get_job", {"job": "y", "wait": 50})


CALLED = ("guarded echo", "predict of one row", "one commit", "guarded echo that commits")


def alone(ours: int, echoes: int) -> None:
    """Echo, predict and a commit: in turns of many calls, as `echo` measures, and in turns of one.

    In turns of one each call starts on caches that two other processes have used since the last.
    """
    with Http(ours, "modern") as predicting, Http(echoes, "modern") as echoing, committing() as commit:
        calls: tuple[Callable[[], float], ...] = (
            lambda: echoing.call("echo", {"text": "hi"}),
            lambda: predicting.call("predict", {"model": "y@1", "rows": [ROW]}),
            commit,
            lambda: echoing.call("echo_stored", {"text": "hi"}),
        )
        for call in calls:
            for _ in range(50):
                call()
        for at_once in (CALLS, 1):
            taken: tuple[list[float], ...] = ([], [], [], [])
            for _ in range(ROUNDS * CALLS // at_once):
                for call, into in zip(calls, taken, strict=True):
                    into += [call() for _ in range(at_once)]
            said = ", ".join(
                f"{name} p50 {quantile(one, 0.5):.2f} ms p99 {quantile(one, 0.99):.2f}"
                for name, one in zip(CALLED, taken, strict=True)
            )
            echoed, predicted, committed, stored = (quantile(one, 0.5) for one in taken)
            print(f"turns of {at_once}: {said}")
            print(f"turns of {at_once}: predict - echo - commit {predicted - echoed - committed:+.2f} ms")
            print(f"turns of {at_once}: predict - echo that commits {predicted - stored:+.2f} ms")


@contextlib.contextmanager
def committing() -> Iterator[Callable[[], float]]:
    """One awaited append to the same log writer, in a process of its own as predict's is; seconds."""
    process = subprocess.Popen(
        python(__file__, "commits"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def commit() -> float:
        process.stdin.write("\n")
        return float(process.stdout.readline())

    try:
        yield commit
    finally:
        process.stdin.close()
        process.wait(20)


def commits() -> None:
    """Commit once for each line of standard input and say how many seconds it took."""
    import asyncio

    from mcp_server.context import SystemClock
    from mcp_server.storage import open_storage
    from performance.echo_server import prediction_record

    async def scene() -> None:
        clock = SystemClock()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            storage = await open_storage(database_url=f"sqlite:///{path / 'c.db'}", data_dir=path, clock=clock)
            while await asyncio.to_thread(sys.stdin.readline):
                record = prediction_record(clock.now())
                started = time.perf_counter()
                await storage.predictions.append([record])
                print(time.perf_counter() - started, flush=True)
            await storage.close()

    asyncio.run(scene())


def loaded(ours: int, echoes: int) -> None:
    ratios, rates = [], {"echo": [], "predict": []}
    for _ in range(3):
        for name, port, tool, arguments in (
            ("echo", echoes, "echo", {"text": "hi"}),
            ("predict", ours, "predict", {"model": "y@1", "rows": [ROW]}),
        ):
            rates[name].append(rate(port, tool, arguments))
        ratios.append(rates["predict"][-1] / rates["echo"][-1])
    print(
        f"{CONNECTIONS} connections: echo {statistics.median(rates['echo']):.0f}/s, "
        f"predict {statistics.median(rates['predict']):.0f}/s, ratio {statistics.median(ratios):.2f}"
    )


def rate(port: int, tool: str, arguments: dict[str, object]) -> float:
    """Calls a second over several connections from a client process of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        f"from performance.latency import drive\nprint(drive({port}, {tool!r}, {arguments!r}))"
    )
    done = subprocess.run(python("-c", code), capture_output=True, text=True, check=True)
    return float(done.stdout)


def drive(port: int, tool: str, arguments: dict[str, object]) -> float:
    counts, stop = [0] * CONNECTIONS, time.perf_counter() + LOAD_SECONDS

    def run(place: int) -> None:
        with Http(port, "modern") as client:
            while time.perf_counter() < stop:
                client.call(tool, arguments)
                counts[place] += 1

    threads = [threading.Thread(target=run, args=(place,)) for place in range(CONNECTIONS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
