"""Experiment history: the runs of a model, and one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from mcp_server.errors import NotFound
from mcp_server.guard.server import GuardedServer
from mcp_server.workflows.app import App
from mcp_server.workflows.reply import six_digits

if TYPE_CHECKING:
    from mcp_server.storage.records import Run

MOST_RUNS = 50


def register(server: GuardedServer) -> None:
    @server.resource("experiment://{model}/history", title="Experiment history", mime_type="application/json")
    async def history(model: str) -> str:
        """The runs of a model, newest first: parameters, data version, metrics with intervals."""
        from mcp_server.core.names import check_name
        from mcp_server.storage import runs

        storage = await server.app.storage()
        async with storage.database.reading() as tx:
            page = await runs.list_page(tx, model=check_name(model), limit=MOST_RUNS)
        if not page.items:
            raise NotFound("No model of that name was ever trained.", hint="search_models lists the models.")
        return _document(page.items, model=model, more=page.next_cursor is not None, exact=False)

    @server.resource("experiment://runs/{id}", title="Training run", mime_type="application/json")
    async def run(id: str) -> str:
        """One run: parameters, data version, metrics with intervals, status, and what tuning tried."""
        from mcp_server.storage import runs

        storage = await server.app.storage()
        async with storage.database.reading() as tx:
            return _document([await runs.get(tx, id)], figures=(*FIGURES, "chance", "account"))


async def run_ids(app: App, start: str) -> list[str]:
    """Ids of the newest runs that begin so."""
    from mcp_server.storage import runs

    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await runs.list_page(tx, limit=100)
    return [run.id for run in page.items if run.id.startswith(start)]


OURS = ("seed", "algorithm", "allow_leaks")
FIGURES = ("test", "train", "baseline", "rows", "calibration", "interval", "error")


def _document(runs: Sequence[Run], *, figures: Sequence[str] = FIGURES, exact: bool = True, **facts: Any) -> str:
    """Runs as JSON; what names columns stands under `untrusted`.

    Args:
        exact: whether figures keep all their digits; else six, as many runs are many figures.
    """
    rows = [_row(run, figures) for run in runs]
    return _json(
        {
            **facts,
            "runs": rows if exact else six_digits(rows),
            "untrusted": {run.id: {**_part(run.parameters, OURS, inside=False), **_split(run)} for run in runs},
        }
    )


def _row(run: Run, figures: Sequence[str]) -> dict[str, Any]:
    return {
        "id": run.id,
        "model": run.model,
        "dataset": run.dataset,
        "status": run.status,
        "parameters": _part(run.parameters, OURS),
        "metrics": _part(run.metrics, figures),
        "job": run.job_id,
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "ended_at": run.ended_at.isoformat(timespec="seconds") if run.ended_at else None,
    }


def _part(values: dict[str, Any], names: Sequence[str], *, inside: bool = True) -> dict[str, Any]:
    return {name: value for name, value in values.items() if (name in names) is inside}


def _split(run: Run) -> dict[str, Any]:
    return _part(run.metrics, ("split",))


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
