"""Tools that run by themselves at certain times, for whom asked for it.

A server that is up looks twice a minute for what is due. Of several, one's run counts: what changes something runs
under an idempotency key made of the schedule and the time, and the time moves on once. What was missed runs once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from mcp_server.context import CallContext, Caller
from mcp_server.errors import CODES, Forbidden, InvalidInput, NotFound, QuotaExceeded
from mcp_server.workflows.app import App
from mcp_server.workflows.schedule_answers import Schedules

if TYPE_CHECKING:
    from mcp_server.storage import Storage
    from mcp_server.storage.records import Json, Schedule
    from mcp_server.storage.transaction import Transaction

MOST = 50
MOST_ARGUMENTS = 16_000
LONGEST_SAID = 200
LATE = timedelta(minutes=15)
FIRST_SECONDS, AGAIN_SECONDS = 20.0, 30.0

Schedulable = Literal[
    "import_data", "prepare_data", "validate_data", "train_model", "compare_models", "verify_model", "create_report"
]

MOST_ATTENDED = 3

PASSING = frozenset({"E_THROTTLED", "E_BUSY", "E_TRANSIENT", "E_IN_PROGRESS"})
"""Refusals that say nothing of the run itself."""

KEYED = frozenset({"import_data", "prepare_data", "train_model", "create_report"})
"""Of these, what takes an idempotency key; the others change nothing that twice would harm."""

log = logging.getLogger("mcp_server.scheduling")


@dataclass(frozen=True, slots=True)
class ScheduleRequest:
    """A schedule to keep.

    Args:
        arguments: of the tool.
    """

    name: str
    cron: str
    timezone: str
    tool: Schedulable
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Args:
        code: `ok`, or the error's.
        said: one line without text from data.
        job: that it began, where it did.
    """

    code: str
    said: str
    job: str | None = None


Run = Callable[[Caller, str, dict[str, Any]], Awaitable[Ended]]
"""Calls a tool for somebody, through the guard; a failure is an end too."""

Principal = Callable[[str], Caller | None]
"""Who a stored id is here and now, with today's scopes; None where this server doesn't know them."""


async def keep(app: App, call: CallContext, request: ScheduleRequest) -> Schedules:
    """Keep a schedule, in the place of one of that name.

    Raises:
        InvalidInput: the schedule can't be read or comes too often, or the tool doesn't take the arguments.
        Forbidden, NotFound: the caller may not call the tool, or it isn't offered here; or the name is another's.
        QuotaExceeded: too many schedules, or too long arguments.
    """
    import orjson

    from mcp_server.jobs import schedule
    from mcp_server.storage import schedules

    app.refuse_call(call.caller, request.tool, request.arguments)
    if "idempotency_key" in request.arguments:
        raise InvalidInput(
            "A schedule's arguments have no idempotency_key: each run has its own.", hint="Leave it out."
        )
    cron = schedule.check(request.cron, request.timezone, app.clock.now())
    if request.tool == "import_data" and "text" in request.arguments:
        raise InvalidInput(
            "A schedule keeps no table's text.", hint="Name a file, an address or a query, which is read at each run."
        )
    try:
        size = len(orjson.dumps(request.arguments))
    except TypeError:
        raise InvalidInput("The arguments hold a number beyond 64 bits.", hint="Use a smaller one.") from None
    if size > MOST_ARGUMENTS:
        raise QuotaExceeded(
            f"The arguments are longer than {MOST_ARGUMENTS // 1000} kB.", hint="Name stored data rather than send it."
        )
    storage = await app.storage()
    async with storage.database.transaction(call) as tx:
        await _refuse_others(tx, call.caller, request.name)
        if await schedules.count(tx, but=request.name) >= MOST:
            raise QuotaExceeded(f"There are {MOST} schedules.", hint="Remove one that isn't needed any more.")
        await schedules.put(
            tx,
            request.name,
            cron=cron,
            timezone=request.timezone,
            tool=request.tool,
            arguments=dict(request.arguments),
            created_by=call.caller.id,
            next_at=schedule.next_run(cron, request.timezone, tx.now),
        )
        answer = await _told(tx, call.caller, f"{request.name} is kept.")
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(f"schedule:{request.name}", tool=request.tool, cron=cron)
    return answer


async def remove(app: App, call: CallContext, name: str) -> Schedules:
    """Forget a schedule; a job that it began goes on.

    Raises:
        NotFound: there's none of that name.
    """
    from mcp_server.storage import schedules

    storage = await app.storage()
    async with storage.database.transaction(call) as tx:
        await _refuse_others(tx, call.caller, name)
        if not await schedules.remove(tx, name):
            raise NotFound("There is no schedule of that name.", hint="schedule_job without arguments lists them.")
        answer = await _told(tx, call.caller, f"{name} is removed.")
        tx.answer(answer.model_dump(mode="json", exclude_none=True))
        tx.about(f"schedule:{name}")
    return answer


async def _refuse_others(tx: Transaction, caller: Caller, name: str) -> None:
    """A schedule is its keeper's: another may put one in its place, or remove it, with the scope admin alone."""
    from mcp_server.storage import schedules

    keeper = await schedules.owner(tx, name)
    if keeper is not None and keeper != caller.id and "admin" not in caller.scopes:
        raise Forbidden("A schedule of that name is somebody else's.", hint="Take another name, or ask who has admin.")


async def listed(app: App, call: CallContext) -> Schedules:
    """Every schedule, the next to run first; the arguments of others' are shown to who has the scope admin."""
    storage = await app.storage()
    async with storage.database.reading() as tx:
        return await _told(tx, call.caller, None)


async def run_due(app: App, principal: Principal, run: Run) -> int:
    """Run what is due, one after the other.

    Args:
        principal: who may be served here; the schedules of others are left to a server that knows them.
    Returns:
        how many runs were recorded.
    """
    from mcp_server.jobs import schedule
    from mcp_server.storage import schedules

    storage = await app.storage()
    async with storage.database.reading() as tx:
        due = await schedules.all_of(tx, due=app.clock.now())
    recorded = 0
    for one in due:
        if (caller := principal(one.created_by)) is None:
            continue
        # One that can't be run now holds up no other; the next look tries it again.
        recorded += await schedule.outlived(f"schedule {one.name}", _run(app, storage, one, caller, run))
    return recorded


async def keep_running(
    app: App, principal: Principal, run: Run, *, first: float = FIRST_SECONDS, again: float = AGAIN_SECONDS
) -> None:
    """Run what is due for as long as this process lives; a failure is logged, and the next look tries again.

    Args:
        first, again: seconds before the first look and between two.
    """
    from mcp_server.jobs import schedule

    await asyncio.sleep(first)
    while True:
        await schedule.outlived("schedules", run_due(app, principal, run))
        await asyncio.sleep(again)


async def attention(app: App) -> list[dict[str, str]]:
    """Schedules whose latest run failed, or that nobody runs, each with its runbook; of many the first and how many."""
    from mcp_server.storage import schedules

    storage = await app.storage()
    async with storage.database.reading() as tx:
        kept = [(one, await _recent(tx, one)) for one in await schedules.all_of(tx)]
    now = app.clock.now()
    found = []
    for one, recent in kept:
        code = recent[-1]["code"] if recent else "ok"
        if code in CODES:
            what = f"Schedule {one.name} ({one.tool}) ended with {code}."
            found.append({"what": what, "runbook": f"runbook://{CODES[code].runbook}"})
        late = now - one.next_at > LATE
        if late or [past["code"] for past in recent[-2:]] == ["skipped", "skipped"]:
            what = (
                "was to run at " + _moment(one.next_at) + ", and no server has run it" if late else "is skipped again"
            )
            found.append({"what": f"Schedule {one.name} {what}.", "runbook": "runbook://schedule-late"})
    if len(found) > MOST_ATTENDED:
        more = f"{len(found) - MOST_ATTENDED} more of schedules: schedule_job without arguments shows them."
        found = [*found[:MOST_ATTENDED], {"what": more, "runbook": "runbook://schedule-late"}]
    return found


async def _run(app: App, storage: Storage, one: Schedule, caller: Caller, run: Run) -> bool:
    from mcp_server.storage import schedules

    async with storage.database.reading() as tx:
        if not await schedules.stands(tx, one):
            return False  # changed, removed or run by somebody else since it was looked up
    ended = await _ended(app, storage, one, caller, run)
    if ended.code in PASSING:
        log.info("schedule %s waits: %s", one.name, ended.code)
        return False  # its time stays, and so does its key: the next look tries again
    now = app.clock.now()
    kept: Json = {"due": one.next_at.isoformat(), "at": now.isoformat(timespec="seconds"), "code": ended.code}
    kept |= {"said": ended.said[:LONGEST_SAID], **({"job": ended.job} if ended.job else {})}
    async with storage.database.transaction() as tx:
        return await schedules.ran(tx, one, next_at=_following(one, max(now, one.next_at)), ended=kept)


def _following(one: Schedule, after: datetime) -> datetime:
    """When a schedule runs next; one whose row was changed by hand is told of once a day."""
    from mcp_server.jobs import schedule

    try:
        return schedule.next_run(one.cron, one.timezone, after)
    except (InvalidInput, LookupError, ValueError, OSError):
        return after + timedelta(days=1)


async def _ended(app: App, storage: Storage, one: Schedule, caller: Caller, run: Run) -> Ended:
    from mcp_server.storage import jobs, schedules

    if not schedules.genuine(storage.keys, one) or one.tool not in Schedulable.__args__:  # type: ignore[attr-defined]
        return Ended("E_CORRUPT", "The schedule isn't what was asked for: its record was changed. Keep it anew.")
    if (before := next((past["job"] for past in reversed(one.recent) if past.get("job")), None)) is not None:
        async with storage.database.reading() as tx:
            try:
                going = not (await jobs.get(tx, before)).ended
            except NotFound:
                going = False
        if going:
            await (await app.queue()).ensure_worker()  # a restart may have left it without one
            return Ended("skipped", f"Job {before} of an earlier run hasn't ended.", before)
    arguments = dict(one.arguments)
    try:
        app.refuse_call(caller, one.tool, arguments)
    except InvalidInput as wrong:  # of an older version of the tool
        return Ended(wrong.code, wrong.message)
    # Whatever else: another server may offer the tool, or know more of the caller. It stays due.
    if one.tool in KEYED:
        # The same for every server that runs this time of this schedule, and for no other run.
        arguments["idempotency_key"] = f"{one.name}:{one.created_at:%Y%m%d%H%M%S%f}:{one.next_at:%Y%m%d%H%M}"
    return await run(caller, one.tool, arguments)


async def _recent(tx: Transaction, one: Schedule) -> list[Json]:
    """How the latest runs ended; what began a job ended as that did."""
    from mcp_server.storage import jobs

    recent = one.recent[-3:]
    if recent and recent[-1]["code"] == "ok" and recent[-1].get("job"):
        try:
            job = await jobs.get(tx, recent[-1]["job"])
        except NotFound:
            return recent
        if job.state in ("failed", "cancelled"):
            code = str((job.error or {}).get("code", "E_JOB")) if job.state == "failed" else "cancelled"
            recent = [*recent[:-1], {**recent[-1], "code": code, "said": f"Job {job.id} {job.state}."}]
        elif job.state == "succeeded":
            recent = [*recent[:-1], {**recent[-1], "said": f"Job {job.id} succeeded."}]
    return recent


async def _told(tx: Transaction, caller: Caller, changed: str | None) -> Schedules:
    from mcp_server.storage import schedules

    kept = await schedules.all_of(tx)
    own = {one.name: one.arguments for one in kept if one.created_by == caller.id or "admin" in caller.scopes}
    return Schedules(
        schedules=[
            {
                "name": one.name,
                "cron": one.cron,
                "timezone": one.timezone,
                "tool": one.tool,
                "by": one.created_by,
                "next": _moment(one.next_at),
                "recent": await _recent(tx, one),
            }
            for one in kept
        ],
        changed=changed,
        next="Schedules run while a server is up; what was missed runs once. schedule_job alone shows how runs ended."
        if kept
        else None,
        untrusted={"arguments": own} if own else None,
    )


def _moment(at: Any) -> str:
    return str(at.isoformat(timespec="minutes"))
