"""From a data set version to a training job; the job itself is `training_job`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mcp_server.context import CallContext
from mcp_server.core.labels import label
from mcp_server.core.names import check_name, check_own_name
from mcp_server.errors import BadTarget, Conflict, InvalidInput, LeakFound, QuotaExceeded
from mcp_server.workflows import following
from mcp_server.workflows.app import App
from mcp_server.workflows.describing import find
from mcp_server.workflows.model_answers import JobReport

if TYPE_CHECKING:
    from mcp_server.core.contract import Contract
    from mcp_server.storage.records import JobState
    from mcp_server.storage.transaction import Transaction

# A handle within 2 s in any case; the result itself where it comes first.
WAIT_SECONDS = 1.5
MOST_OWN = 10
FEWEST_TRIALS = 3
TUNING_SHARE = 0.8
"""Of a job's time: choosing, fitting, judging and verifying come after the trials."""
MOST_WAITING = 100


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What train_model was asked."""

    model: str
    dataset: str
    target: str | None = None
    features: list[str] | None = None
    test: str | None = None
    algorithm: str = "both"
    seconds: int | None = None
    trials: int | None = None
    costs: dict[str, float] | None = None
    seed: int = 0
    allow_leaks: bool = False


async def start(app: App, call: CallContext, request: TrainingRequest) -> JobReport:
    """Check what can be checked at once, put the job into the queue, and wait a moment for its end.

    Raises:
        NotFound: the data set version doesn't exist.
        InvalidInput: a feature or a name in test isn't a column, costs aren't those of the two errors or the target
            doesn't have two classes, trials are under three, or seconds are more than a job has.
        DataRejected: test isn't an expression over the columns.
        BadTarget: no target is stated anywhere.
        LeakFound: a feature is known only after the event, and leaks aren't allowed.
        Conflict: the model's name has versions with another target.
    """
    from mcp_server.core.contract import from_dict
    from mcp_server.core.training.judging import check_test
    from mcp_server.jobs.versions import RUNTIME_VERSION
    from mcp_server.storage import jobs
    from mcp_server.storage.ids import new_id

    check_name(request.model)
    _check_costs(request.costs)
    _check_budget(request, TUNING_SHARE * app.settings.job_seconds)
    record = await find(app, request.dataset)
    contract = from_dict(record.contract)
    target = _target(contract, request)
    _check_features(contract, request, target)
    if request.test is not None:
        check_test(contract, request.test)
    if request.costs is not None:
        _check_classes(contract, record.profile, target)
    storage = await app.storage()
    arguments = {**asdict(request), "dataset": f"{record.name}@{record.version}", "target": target}
    async with storage.database.transaction(call) as tx:
        await _check_room(tx, call)
        await check_model_name(tx, request.model, target)
        job = await jobs.enqueue(
            tx,
            id=new_id("j", tx.now),
            kind="train",
            arguments=arguments,
            caller=call.caller.id,
            runtime_version=RUNTIME_VERSION,
        )
        tx.answer(following.answer(job).model_dump(mode="json", exclude_none=True))
        tx.about(f"job:{job.id}")
    queue = await app.queue()
    await queue.ensure_worker()
    return following.answer(await queue.wait(job.id, WAIT_SECONDS, progress=call.report))


async def _check_room(tx: Transaction, call: CallContext) -> None:
    from mcp_server.storage import jobs

    waiting: list[JobState] = ["queued", "running"]
    own = await jobs.list_page(tx, caller=call.caller.id, states=waiting, limit=MOST_OWN)
    every = await jobs.list_page(tx, states=waiting, limit=MOST_WAITING)
    if len(own.items) >= MOST_OWN or len(every.items) >= MOST_WAITING:
        raise QuotaExceeded(
            f"{len(own.items)} jobs of this caller and {len(every.items)} in all are waiting or running; "
            f"{MOST_OWN} and {MOST_WAITING} may be.",
            hint="Wait for some to end (get_job), or cancel_job those that aren't wanted.",
        )


async def check_model_name(tx: Transaction, model: str, target: str) -> None:
    """Versions of one name forecast one thing: whoever predicts with the newest must not get another answer.

    Raises:
        Conflict: the name is of a model with another target.
        DataRejected: `E_NAME`; it can't be a name, or not of a model of ours.
    """
    from mcp_server.storage import models

    check_own_name(model)
    page = await models.list_page(tx, name=model, limit=1)
    if page.items and page.items[0].target != target:
        raise Conflict(
            f"{model}@{page.items[0].version} forecasts {label(page.items[0].target)!r}, not {label(target)!r}.",
            hint="Give a model of another target a name of its own.",
        )


def _check_budget(request: TrainingRequest, most: float) -> None:
    if request.trials is not None and request.trials < FEWEST_TRIALS:
        raise InvalidInput(
            f"{request.trials} trials are too few to try every algorithm's defaults.",
            hint=f"State at least {FEWEST_TRIALS}, or leave trials out.",
        )
    if request.seconds is not None and request.seconds > most:
        raise InvalidInput(
            f"Of the time that a job may take, {most:g} seconds may go into tuning.",
            hint=f"State at most {most:g} seconds, or raise COURTSIDE_JOB_SECONDS.",
        )


def _check_costs(costs: dict[str, float] | None) -> None:
    if costs is None:
        return
    if set(costs) != {"false_positive", "false_negative"} or min(costs.values()) <= 0.0:
        raise InvalidInput(
            "The costs aren't those of the two errors.",
            hint="State both, false_positive and false_negative, each above 0.",
        )


def _check_classes(contract: Contract, profile: dict[str, Any], target: str) -> None:
    """Refuse costs of two errors where the target is known not to have two classes; a wide table may not say."""
    position = [column.name for column in contract.columns].index(target) + 1
    counts = [one["distinct"] for one in profile["listed"] if one["position"] == position]
    if counts and counts[0] != 2:
        raise InvalidInput(
            "Costs of the two errors were stated, but the target doesn't have two classes.",
            hint="Leave costs out, or train on a target with two classes.",
        )


def _target(contract: Contract, request: TrainingRequest) -> str:
    target = request.target or contract.target
    if target is None:
        raise BadTarget(
            "Neither the call nor the data set's contract says what to predict.",
            hint="Give target, or import the data with one.",
        )
    return contract.column(target).name


def _check_features(contract: Contract, request: TrainingRequest, target: str) -> None:
    after = contract.not_before_the_event
    for name in request.features or ():
        column = contract.column(name)
        if name == target:
            raise InvalidInput("The target itself is among the features.", hint="Leave it out of features.")
        if name in after and not request.allow_leaks:
            raise LeakFound(
                f"{column.name[:64]!r} is known only after the event, so a model can't have it when it predicts.",
                hint="Leave it out of features.",
                details={"column": column.name[:64]},
            )
