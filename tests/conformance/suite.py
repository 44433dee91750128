"""Run the official conformance suite against the real server and judge it: `make conformance`.

The suite's exit code isn't enough: with no server at all it calls a scenario passed whose checks never ran. Here a
scored scenario must have run, must have at least one check that succeeded and none that didn't.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
SUITE = MODULES / "@modelcontextprotocol" / "conformance"
REVISIONS = ("2025-11-25", "2026-07-28")
NEEDED_NODE = 22
START_SECONDS = 90.0  # a loaded machine imports slowly
SUITE_SECONDS = 300.0


class Unavailable(Exception):
    """Node, npm or the suite isn't there; the message is a sentence for a person."""


@dataclass(frozen=True)
class Verdict:
    """What one scenario showed: how many checks ended in each status."""

    scenario: str
    scored: bool
    checks: Mapping[str, int]

    @property
    def passed(self) -> bool:
        told = {status for status, count in self.checks.items() if count and status != "INFO"}
        return told == {"SUCCESS"}


def judge(checks: Mapping[str, Iterable[Mapping[str, Any]]], scored: Sequence[str]) -> list[Verdict]:
    """One verdict for each scenario that is scored or ran.

    Args:
        checks: the suite's checks of each scenario that ran.
        scored: the scenarios that a revision requires.
    """
    names = [*scored, *sorted(set(checks) - set(scored))]
    return [
        Verdict(name, name in scored, Counter(str(check["status"]) for check in checks.get(name, ()))) for name in names
    ]


def read_checks(results: Path) -> dict[str, list[dict[str, Any]]]:
    """The checks in a results folder, by scenario; each has a folder `server-<scenario>-<time>`."""
    found = {}
    for file in sorted(results.glob("*/checks.json")):
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", file.parent.name).removeprefix("server-")
        found[scenario] = json.loads(file.read_text(encoding="utf-8"))
    return found


def scored_scenarios(revision: str) -> list[str]:
    """The scenarios that conforming to a revision requires, as the suite's frozen list has them."""
    requirements = yaml.safe_load((SUITE / "requirements" / f"{revision}.yaml").read_text(encoding="utf-8"))
    return list(requirements["server"])


def install() -> None:
    """Bring `node_modules` in step with the lock; nothing in it may run scripts while it is installed."""
    lock, made = HERE / "package-lock.json", MODULES / ".package-lock.json"
    if made.exists() and made.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm isn't on the PATH: install Node.js.")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if subprocess.run(command, cwd=HERE, check=False).returncode:
        raise Unavailable("npm ci failed: see its message above.")


def node() -> str:
    """A Node that is new enough: the locked one where there is one for this platform, else the system's."""
    for found in MODULES.glob("node-*/bin/node*"):  # npm installs only the one that fits
        return str(found)
    system = shutil.which("node")
    if system is None:
        raise Unavailable("node isn't on the PATH.")
    version = subprocess.run([system, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < NEEDED_NODE:
        raise Unavailable(f"The suite needs Node {NEEDED_NODE}; this is {version}.")
    return system


@contextmanager
def serving(folder: Path, *, flags: Sequence[str] = ("--conformance",)) -> Iterator[str]:
    """The installed server on a free loopback port, as its address, while the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The suite calls much faster than a person: the throttle has tests of its own.
    ours = {"DATA_DIR": str(folder), "PROFILE": "test", "RATE_PER_SECOND": "10000", "RATE_BURST": "10000"}
    environment = {**os.environ, **{"COURTSIDE_" + name: value for name, value in ours.items()}}
    command = [
        sys.executable,
        "-m",
        "mcp_server",
        "serve",
        "--http",
        f"127.0.0.1:{port}",
        "--insecure-loopback",
        *flags,
    ]
    log = folder / "server.log"
    with log.open("wb") as stderr:
        server = subprocess.Popen(
            [*command, *flags], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stderr=stderr
        )
    try:
        _wait_until_ready(server, f"http://127.0.0.1:{port}/readyz", log)
        yield f"http://127.0.0.1:{port}/mcp"
        if server.poll() is not None:
            raise RuntimeError(f"The server ended by itself with code {server.returncode}:\n{_tail(log)}")
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_ready(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"The server isn't ready at {address}:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-4000:]


def run(revision: str, url: str, results: Path) -> list[Verdict]:
    """Run one revision's scenarios; the suite's own account is kept beside its results."""
    command = [node(), str(SUITE / "dist" / "index.js"), "server", "--url", url]
    command += ["--requirements", revision, "-o", str(results)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, timeout=SUITE_SECONDS, check=False)
    results.mkdir(parents=True, exist_ok=True)
    (results / "suite.log").write_bytes(done.stdout + done.stderr)
    return judge(read_checks(results), scored_scenarios(revision))


def report(revision: str, verdicts: Sequence[Verdict], results: Path) -> str:
    """The table of one revision: its sums, and every scored scenario that isn't fully passed with its reasons."""
    scored = [verdict for verdict in verdicts if verdict.scored]
    others = [verdict for verdict in verdicts if not verdict.scored]
    checks = sum(verdict.checks.get("SUCCESS", 0) for verdict in scored)
    lines = [
        f"{revision}: {sum(v.passed for v in scored)} of {len(scored)} scored scenarios, {checks} checks; "
        f"not scored: {sum(v.passed for v in others)} of {len(others)}"
    ]
    told = read_checks(results)
    for verdict in verdicts:
        if verdict.passed:
            continue
        counts = ", ".join(f"{count} {status.lower()}" for status, count in sorted(verdict.checks.items()))
        lines.append(
            f"  {'FAILED' if verdict.scored else 'not scored':<11} {verdict.scenario}: {counts or 'did not run'}"
        )
        if verdict.scored:
            lines += [
                f"    {check['id']}: {check.get('errorMessage', check['status'])}"
                for check in told.get(verdict.scenario, ())
                if check["status"] not in ("SUCCESS", "INFO")
            ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a server that already runs, instead of the installed one")
    parser.add_argument("--revision", choices=REVISIONS, action="append", help="only this one")
    arguments = parser.parse_args(argv)
    try:
        install()
        node()
    except Unavailable as missing:
        required = os.environ.get("COURTSIDE_REQUIRE_SERVICES") == "1"
        print(f"conformance {'is required here' if required else 'skipped'}: {missing}", file=sys.stderr)
        return int(required)
    verdicts: list[Verdict] = []
    results = HERE / "results"
    shutil.rmtree(results, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix="courtside-conformance-") as folder,
        nullcontext(arguments.url) if arguments.url else serving(Path(folder)) as url,
    ):
        for revision in arguments.revision or REVISIONS:
            verdicts += (found := run(revision, url, results / revision))
            print(report(revision, found, results / revision), flush=True)
    failed = sum(verdict.scored and not verdict.passed for verdict in verdicts)
    print(f"{sum(verdict.scored for verdict in verdicts) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
