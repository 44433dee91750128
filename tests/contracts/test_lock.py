"""The locks: complete, hashed, in step with pyproject.toml, above the floors, and naming no host."""

from __future__ import annotations

import re
import tomllib
import warnings
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from contracts.repository import ROOT

LOCKS = ("runtime", "dev", "build", "audit")
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = (("linux", "posix", "Linux"), ("darwin", "posix", "Darwin"), ("win32", "nt", "Windows"))
MOST_DIRECT, MOST_IN_ALL = 29, 80


@dataclass(frozen=True)
class Floor:
    """The oldest version of a package that may be locked, and why."""

    package: str
    version: str
    reason: str
    checked: date


CHECKED = date(2026, 11, 23)
FLOORS = (
    Floor("mcp", "2.2.0", "CVE-2026-116685 a redirect leaks headers; CVE-2026-116686 fetches a $ref", CHECKED),
    Floor("starlette", "1.3.1", "CVE-2026-54283 a form exhausts memory; CVE-2026-48710", CHECKED),
    Floor("python-multipart", "0.0.32", "a malformed form exhausts the CPU", CHECKED),
    Floor("uvicorn", "0.54", "the version that our header and body time-outs were tried with", CHECKED),
    Floor("h11", "0.16", "a malformed chunk smuggles a request", CHECKED),
    Floor("skops", "0.16", "loading ran code that the audit hadn't shown", CHECKED),
    Floor("cryptography", "50", "carries the OpenSSL that has its fixes", CHECKED),
    Floor("pysqlite3", "0.6.1", "SQLite 3.53: 3.7.0 to 3.51.2 corrupt a WAL file with several connections", CHECKED),
)


@dataclass(frozen=True)
class Pin:
    name: str
    version: Version
    requirement: Requirement
    hashes: tuple[str, ...]


def pins(lock: str) -> list[Pin]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    found = []
    for entry in re.split(r"\n(?=\S)", text.strip()):
        line, *rest = entry.replace("\\\n", "\n").splitlines()
        requirement = Requirement(line.strip())
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", f"{lock}: {requirement} isn't pinned"
        hashes = tuple(part.strip().removeprefix("--hash=sha256:") for part in rest if part.strip())
        found.append(Pin(canonicalize_name(requirement.name), Version(specifier.version), requirement, hashes))
    return found


def project() -> dict[str, list[Requirement]]:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = document["dependency-groups"]

    def group(name: str) -> list[str]:
        return [
            item
            for part in groups[name]
            for item in ([part] if isinstance(part, str) else group(part["include-group"]))
        ]

    runtime = document["project"]["dependencies"]
    wanted = {
        "runtime": runtime,
        "dev": [*runtime, *group("dev")],
        "build": group("build"),
        "audit": group("audit"),
    }
    return {lock: [Requirement(text) for text in texts] for lock, texts in wanted.items()}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_the_hashes_of_its_files(lock: str) -> None:
    for pin in pins(lock):
        assert pin.hashes, pin.name
        assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in pin.hashes), pin.name


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_path_or_index(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index|--find-|@ |file:|^#", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS, ids=[name for name, _, _ in PLATFORMS])
def test_each_platform_gets_one_version_of_everything_that_is_asked_for(
    lock: str, python: str, platform: tuple[str, str, str]
) -> None:
    machine = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform[0],
        "os_name": platform[1],
        "platform_system": platform[2],
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    chosen: dict[str, Version] = {}
    for pin in pins(lock):
        if pin.requirement.marker is None or pin.requirement.marker.evaluate(machine):
            assert pin.name not in chosen, f"{pin.name} twice"
            chosen[pin.name] = pin.version
    for asked in project()[lock]:
        if asked.marker is None or asked.marker.evaluate(machine):
            name = canonicalize_name(asked.name)
            assert name in chosen, f"{name} isn't locked: make lock"
            assert asked.specifier.contains(chosen[name]), f"{name} {chosen[name]} isn't {asked.specifier}: make lock"


def test_what_a_package_asks_for_with_an_extra_is_locked_with_it() -> None:
    # The pip of Python 3.11.7 takes `coverage[toml]` for another package than `coverage`, unpinned: the lock fails the
    # day its next release comes.
    locked = {pin.name: pin.requirement.extras for lock in ("runtime", "dev") for pin in pins(lock)}
    for name in locked:
        with suppress(PackageNotFoundError):  # for another platform
            for asked in map(Requirement, requires(name) or ()):
                if asked.extras and (asked.marker is None or asked.marker.evaluate({"extra": ""})):
                    assert asked.extras <= locked[canonicalize_name(asked.name)], f"{name} asks for {asked}: make lock"


@pytest.mark.parametrize("lock", ["runtime", "build"])
def test_what_people_run_is_what_was_tested(lock: str) -> None:
    tested = {(pin.name, pin.version) for pin in pins("dev")}
    assert {(pin.name, pin.version) for pin in pins(lock)} <= tested


@pytest.mark.parametrize("floor", FLOORS, ids=[floor.package for floor in FLOORS])
def test_nothing_is_locked_below_its_security_floor(floor: Floor) -> None:
    versions = {lock: pin.version for lock in LOCKS for pin in pins(lock) if pin.name == floor.package}
    assert "runtime" in versions, f"{floor.package} isn't used any more: remove its floor"
    assert min(versions.values()) >= Version(floor.version), floor.reason
    if datetime.now(UTC).date() - floor.checked > timedelta(days=90):
        warnings.warn(f"the floor of {floor.package} was last checked on {floor.checked}", stacklevel=1)


def test_the_tree_of_dependencies_stays_small() -> None:
    assert len(project()["runtime"]) <= MOST_DIRECT
    assert len({pin.name for pin in pins("runtime")}) <= MOST_IN_ALL
