"""Job workflows for the tests: registered by name, as the worker wants them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from mcp_server.errors import CourtsideError, TrainingRefused, Transient
from mcp_server.jobs.steps import JobRun
from mcp_server.storage import Storage


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="ascii") as file:
        file.write(text)


async def in_steps(run: JobRun, storage: Storage) -> dict[str, Any]:
    """Steps that leave a mark each; the result holds every mark."""
    marks, names = str(run.scratch / "marks"), run.arguments["names"]
    for number, name in enumerate(names):
        await run.step(name, "mark", {"marks": marks, "name": name, "seconds": run.arguments["seconds"]})
        run.progress((number + 1) / (len(names) + 1), f"{name} is done")

    async def read(arguments: dict[str, Any]) -> dict[str, Any]:
        text = await asyncio.to_thread(Path(arguments["marks"]).read_text, encoding="ascii")
        return {"marks": text.splitlines()}

    return await run.step("read", read, {"marks": marks})


async def one_operation(run: JobRun, storage: Storage) -> dict[str, Any]:
    """Whatever operation the test names."""
    arguments = {**run.arguments["arguments"], "started": str(run.scratch / "started")}
    return await run.step("operate", run.arguments["operation"], arguments, share=(0.2, 0.6))


async def refused(run: JobRun, storage: Storage) -> dict[str, Any]:
    raise TrainingRefused("There are 3 rows.", hint="Import more.", details={"rows": 3})


async def broken(run: JobRun, storage: Storage) -> dict[str, Any]:
    raise RuntimeError("postgresql://user:hunter2@db")


async def passing_trouble(run: JobRun, storage: Storage) -> dict[str, Any]:
    """A step whose first two attempts meet trouble that passes."""
    tries = run.scratch / "tries"

    async def attempt(arguments: dict[str, Any]) -> dict[str, Any]:
        await asyncio.to_thread(append, tries, "x")
        if tries.stat().st_size < 3:
            raise Transient("The database is busy.", retry_after=0.01)
        return {"attempts": tries.stat().st_size}

    return await run.step("attempt", attempt)


async def recorded(run: JobRun, storage: Storage) -> dict[str, Any]:
    """Writes to storage in the name of whoever asked for the job."""

    async def write(arguments: dict[str, Any]) -> dict[str, Any]:
        async with storage.database.transaction(run.call) as tx:
            tx.about(f"job:{run.id}")
        return {}

    await run.step("write", write)
    return {"caller": run.caller, "kind": run.kind}


async def tidy(run: JobRun, storage: Storage) -> dict[str, Any]:
    """Puts its records in order when it is to end: here, a file that names the reason."""
    try:
        started = str(run.scratch / "started")
        return await run.step("operate", "compute_for", {"seconds": run.arguments["seconds"], "started": started})
    except CourtsideError as failed:
        code = failed.code

        async def note(arguments: dict[str, Any]) -> dict[str, Any]:
            await asyncio.to_thread(append, Path(arguments["notes"]), f"{code}\n")
            return {}

        await run.step("note", note, {"notes": run.arguments["notes"]})
        raise


async def stubborn(run: JobRun, storage: Storage) -> dict[str, Any]:
    """Waits for what never comes, outside of any step."""
    run.progress(0.1, "waiting")
    await asyncio.Event().wait()
    return {}


async def deadly(run: JobRun, storage: Storage) -> dict[str, Any]:
    """Takes its worker along."""

    async def kill(arguments: dict[str, Any]) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    return await run.step("kill", kill)


WORKFLOWS = {
    function.__name__: function
    for function in (in_steps, one_operation, refused, broken, passing_trouble, recorded, tidy, stubborn, deadly)
}
