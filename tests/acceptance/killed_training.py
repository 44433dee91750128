"""Training whose worker is killed once, right after its versions are committed and before that step is noted as done.

`WORKFLOWS` is our own otherwise. `FORGETFUL` is the control: it adds versions without looking whether the job did.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from sqlalchemy import false

from mcp_server.jobs.steps import JobRun
from mcp_server.storage import Storage, models
from mcp_server.workflows.registry import WORKFLOWS as OURS
from mcp_server.workflows.training_job import TrainingJob

register, add = TrainingJob._register, models.versions.add


async def killed_once(self: TrainingJob, given: dict[str, Any]) -> dict[str, Any]:
    found = await register(self, given)
    flag = self.run.scratch / "killed"
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return found


async def forgetful(run: JobRun, storage: Storage) -> dict[str, Any]:
    async def added(tx: Any, table: Any, record: Any, fields: Any, _same: Any) -> Any:
        return await add(tx, table, record, fields, false())

    models.versions.add = added
    return await OURS["train"](run, storage)


TrainingJob._register = killed_once  # type: ignore[method-assign]
WORKFLOWS = {**OURS}
FORGETFUL = {**OURS, "train": forgetful}
