"""The retention job: what is older than it may be goes in bounded pieces, each a transaction with its audit row.

A piece that was removed stays removed when the worker is killed; the job goes on with the next. What the job removed in
all is counted from the audit rows, which are written with the pieces, so that a kill between the two can't be.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mcp_server.jobs.steps import JobRun
from mcp_server.storage import Storage, audit, idempotency, removal, retention

PAGE = 1_000


async def retain(run: JobRun, storage: Storage) -> dict[str, Any]:
    """Remove what the arguments say: `before`, from a kind of record to a moment; then expired answers, loose files."""
    before: dict[str, str] = run.arguments["before"]
    limit: int = run.arguments.get("batch", retention.BATCH)
    kinds = [kind for kind in retention.KINDS if kind in before]

    async def remove(what: dict[str, Any]) -> dict[str, Any]:
        kind, moment = what["kind"], datetime.fromisoformat(what["before"])
        async with storage.database.reading() as tx:
            if not await retention.has_old(tx, kind, moment):
                return {"removed": 0}
        async with storage.database.transaction(run.call) as tx:
            removed = await retention.remove(tx, kind, moment, limit=limit)
            tx.about(f"retention:{kind}", removed={kind: removed}, before=what["before"])
        return {"removed": removed}

    async def forget(_: dict[str, Any]) -> dict[str, Any]:
        async with storage.database.reading() as tx:
            if not await retention.count_answers(tx):
                return {}
        async with storage.database.transaction(run.call) as tx:
            tx.about("retention:answers", removed={"answers": await idempotency.forget_expired(tx)})
        return {}

    async def sweep(_: dict[str, Any]) -> dict[str, Any]:
        sizes = await storage.artefacts.listed()
        files = await removal.finish(storage.database, storage.artefacts)
        files += await removal.collect(storage.database, storage.artefacts)
        left = await storage.artefacts.listed()
        if files:
            freed = sum(size for digest, size in sizes.items() if digest not in left)
            async with storage.database.transaction(run.call) as tx:
                tx.about("retention:files", removed={"files": files, "bytes": freed})
        return {}

    for place, kind in enumerate(kinds):
        piece = 0
        while True:
            run.progress(place / (len(kinds) + 2), f"Removing {kind}, piece {piece + 1}")
            done = await run.step(f"{kind} {piece}", remove, {"kind": kind, "before": before[kind]})
            if done["removed"] < limit:
                break
            piece += 1
    run.progress(len(kinds) / (len(kinds) + 2), "Removing expired answers")
    await run.step("answers", forget)
    run.progress((len(kinds) + 1) / (len(kinds) + 2), "Removing files that nothing refers to")
    await run.step("files", sweep)

    async def count(_: dict[str, Any]) -> dict[str, Any]:
        return await _removed(storage, run.id)

    counts = dict.fromkeys([*kinds, "answers", "files", "bytes"], 0) | await run.step("count", count)
    return {"removed": counts, "before": before, "next": "health_report shows the disk as it is now."}


async def _removed(storage: Storage, job: str) -> dict[str, int]:
    """What the audit rows of a job say was removed, together."""
    counts: dict[str, int] = {}
    cursor = None
    async with storage.database.reading() as tx:
        while True:
            page = await audit.list_page(tx, request_id=job, cursor=cursor, limit=PAGE)
            for row in page.items:
                for kind, removed in row.details.get("removed", {}).items():
                    counts[kind] = counts.get(kind, 0) + removed
            cursor = page.next_cursor
            if cursor is None:
                return counts
