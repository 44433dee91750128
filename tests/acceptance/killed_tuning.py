"""Tuning whose worker is killed once, right after its first batch of trials is noted as done.

`WORKFLOWS` is our own otherwise. `FORGETFUL` is the control: it notes that a batch is done, and keeps its trials in
memory alone.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from mcp_server.jobs.steps import JobRun, Steps
from mcp_server.storage import Storage
from mcp_server.workflows.registry import WORKFLOWS as OURS
from mcp_server.workflows.tuning import Tuning

batch = Tuning._batch
trials: dict[str, Any] = {}


async def killed_once(self: Tuning, *given: Any) -> None:
    await batch(self, *given)
    flag = self._run.scratch / "killed"
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Forgetful:
    """Steps of which those of tuning are kept without what they found."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    async def step(self, name: str, body: Any) -> Any:
        async def emptied() -> Any:
            outcome = await body()
            if name.startswith("tune_"):
                trials[name] = outcome["result"]["trials"]
                return {"result": {**outcome["result"], "trials": []}}
            return outcome

        outcome = await self._steps.step(name, emptied)
        if name not in trials:
            return outcome
        return {"result": {**outcome["result"], "trials": trials[name]}}


async def forgetful(run: JobRun, storage: Storage) -> dict[str, Any]:
    run._steps = Forgetful(run._steps)
    return await OURS["train"](run, storage)


Tuning._batch = killed_once  # type: ignore[method-assign]
WORKFLOWS = {**OURS}
FORGETFUL = {**OURS, "train": forgetful}
