"""What works here, and how to mend what doesn't; each check by itself, none trusting another."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mcp_server import __version__
from mcp_server.errors import CourtsideError
from mcp_server.settings import MIB, Settings, load
from mcp_server.workflows.app import App, own_app

LOW_DISK_MIB = 1_024
CHILD_SECONDS = 60.0
PARTS = {
    "memory": "bounded in memory",
    "cpu": "bounded in time",
    "network": "without network",
    "files": "confined to its files",
    "orphans": "ends with the server",
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line of the report.

    Args:
        fix: what to do about a warning or a failure; empty otherwise.
    """

    name: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


async def diagnose() -> list[Diagnosis]:
    """Diagnosis the machine, the settings, and every part that a call needs."""
    checks = [_python(), _sqlite()]
    try:
        settings = load()
    except CourtsideError as wrong:
        return [*checks, Diagnosis("Settings", "fail", wrong.message, wrong.hint)]
    checks.append(Diagnosis("Settings", "ok", f"profile {settings.profile.value}, courtside {__version__}"))
    checks += [_folder(settings), *_allowed(settings), _http(settings)]
    if settings.policy_file is not None:
        checks.append(await _guarded("Policy", lambda: _policy(settings)))
    async with own_app(settings) as app:
        checks.append(await _guarded("Storage", lambda: _storage(app)))
        checks.append(await _guarded("Computing", lambda: _compute(app)))
        checks.append(await _guarded("Worker", lambda: _worker(app)))
    checks.append(_clients())
    return checks


async def _guarded(name: str, check: Callable[[], Awaitable[Diagnosis]]) -> Diagnosis:
    try:
        return await check()
    except CourtsideError as failed:
        return Diagnosis(name, "fail", failed.message, failed.hint or "See the log.")


def _python() -> Diagnosis:
    bits = 64 if sys.maxsize > 2**32 else 32
    detail = f"{platform.python_version()}, {bits}-bit"
    if sys.version_info < (3, 11) or bits == 32:
        return Diagnosis("Python", "fail", detail, "install a 64-bit Python 3.11 or newer")
    return Diagnosis("Python", "ok", detail)


async def _policy(settings: Settings) -> Diagnosis:
    from mcp_server.workflows import policy as policies

    found = await policies.stated(settings)
    guarded = [] if found is None else sorted(found.stages)
    return Diagnosis("Policy", "ok", f"guards {' and '.join(guarded)}")


def _sqlite() -> Diagnosis:
    from mcp_server.storage import sqlite_library

    try:
        sqlite_library.install()
    except CourtsideError as wrong:
        return Diagnosis("SQLite", "fail", wrong.message, wrong.hint)
    import sqlite3

    return Diagnosis("SQLite", "ok", f"{sqlite3.sqlite_version}, without the WAL bug of 3.7.0 to 3.51.2")


def _folder(settings: Settings) -> Diagnosis:
    folder = settings.data_dir
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free // MIB
    detail = f"{folder}, {free:,} MiB free"
    if not os.access(there, os.W_OK):
        return Diagnosis(
            "Data folder", "fail", f"{folder} can't be written", "set COURTSIDE_DATA_DIR to a folder of yours"
        )
    if os.name == "posix" and folder.exists() and folder.stat().st_mode & 0o077:
        return Diagnosis("Data folder", "warn", f"{folder} is open to other users", f"chmod 700 {folder}")
    if free < LOW_DISK_MIB:
        return Diagnosis("Data folder", "warn", detail, "free some space")
    return Diagnosis("Data folder", "ok", detail)


def _allowed(settings: Settings) -> list[Diagnosis]:
    checks = []
    for folder in settings.allowed_dirs:
        if folder.is_dir():
            checks.append(Diagnosis("Import folder", "ok", str(folder)))
        else:
            checks.append(Diagnosis("Import folder", "warn", f"{folder} doesn't exist", f"mkdir -p {folder}"))
    return checks


def _http(settings: Settings) -> Diagnosis:
    if settings.api_keys is None:
        return Diagnosis("HTTP access", "ok", "no key is set: HTTP is refused, stdio is the local user")
    if "*" in settings.allowed_hosts or "*" in settings.allowed_origins:
        return Diagnosis(
            "HTTP access", "warn", "every host or origin is allowed", "name them in COURTSIDE_ALLOWED_HOSTS"
        )
    return Diagnosis("HTTP access", "ok", "keys are set")


async def _storage(app: App) -> Diagnosis:
    from mcp_server.storage import datasets, models

    storage = await app.storage()
    async with storage.database.reading() as tx:
        counted = f"{await datasets.count(tx)} data sets, {await models.count(tx)} model versions"
    await storage.artefacts.probe()
    kind = "PostgreSQL" if app.settings.database.startswith("postgres") else "SQLite"
    return Diagnosis("Storage", "ok", f"{kind}, {counted}")


async def _compute(app: App) -> Diagnosis:
    child = await app.compute()
    await child.run("ping", {}, timeout=CHILD_SECONDS, fresh=True)
    held = child.isolation(fresh=True)
    missing = [words for part, words in PARTS.items() if not held.get(part)]
    if missing:
        detail = f"untrusted files are read in a process of their own, but not {', not '.join(missing)}"
        return Diagnosis("Computing", "warn", detail, "this system doesn't offer it; import only files that you trust")
    return Diagnosis("Computing", "ok", f"a process of its own: {', '.join(PARTS.values())}")


async def _worker(app: App) -> Diagnosis:
    from mcp_server.storage import jobs

    holder = await (await app.queue()).worker()
    storage = await app.storage()
    async with storage.database.reading() as tx:
        counts = await jobs.count_by_state(tx)
    waiting = counts.get("queued", 0) + counts.get("running", 0)
    if holder is None and waiting:
        return Diagnosis("Worker", "warn", f"{waiting} jobs wait and no worker runs", "courtside worker")
    return Diagnosis("Worker", "ok", f"{'running' if holder else 'starts with the first job'}; {waiting} jobs wait")


def _clients() -> Diagnosis:
    from mcp_server.workflows.installing import configured

    found = configured()
    if not found:
        return Diagnosis("MCP clients", "warn", "none is configured", "courtside install claude-desktop")
    return Diagnosis("MCP clients", "ok", ", ".join(found))


def report(checks: list[Diagnosis]) -> dict[str, Any]:
    """The checks with their counts, for machines."""
    counts = {state: sum(check.state == state for check in checks) for state in ("ok", "warn", "fail")}
    return {"checks": [check.as_dict() for check in checks], **counts}
