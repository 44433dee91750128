"""Models: train, compare, verify, find."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_server.context import CallContext
from mcp_server.guard.spec import ADDS, ADDS_ONCE, READ_ONLY
from mcp_server.tools.params import Column, Cursor, DatasetRef, Expression, Limit, ModelRef, NewName
from mcp_server.tools.toolset import Toolset
from mcp_server.workflows import comparing, searching, training, verifying
from mcp_server.workflows.app import App
from mcp_server.workflows.model_answers import Compared, JobReport, Models, Verified

toolset = Toolset("models")

NO_COSTS: dict[str, float] = {}


@toolset.tool(title="Train model", scope="train", hints=ADDS, keyed=True)
async def train_model(
    app: App,
    call: CallContext,
    model: NewName,
    dataset: DatasetRef,
    target: Column | None = None,
    features: Annotated[list[Column] | None, Field(min_length=1, max_length=10_000)] = None,
    test: Annotated[Expression | None, Field(description='"season >= 2011"; else the latest or a random 20 %')] = None,
    algorithm: Literal["both", "linear", "boosting", "extra_trees", "auto"] = "both",
    seconds: Annotated[int, Field(ge=0, le=86_400, description="to tune")] = 0,
    trials: Annotated[int, Field(ge=0, le=500, description="to tune; reproducible")] = 0,
    costs: Annotated[dict[str, float], Field(description="false_positive, false_negative")] = NO_COSTS,
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0,
    allow_leaks: bool = False,
) -> JobReport:
    """Train a linear baseline and gradient boosting as a job; each becomes a calibrated, tested, verified version.

    With seconds or trials: tunes these and extra trees, takes the best or a blend. Splits by time where there is one.
    Refuses leaks. Next: get_job until done, then compare_models or predict.
    """
    request = training.TrainingRequest(
        model=model,
        dataset=dataset,
        target=target,
        features=features,
        test=test,
        algorithm=algorithm,
        seconds=seconds or None,
        trials=trials or None,
        costs=costs or None,
        seed=seed,
        allow_leaks=allow_leaks,
    )
    return await training.start(app, call, request)


@toolset.tool(title="Compare models", scope="read", hints=READ_ONLY, seconds=120.0)
async def compare_models(
    app: App,
    call: CallContext,
    first: ModelRef,
    second: ModelRef | None = None,
    column: Annotated[Column | None, Field(description="forecasts in the data")] = None,
    dataset: DatasetRef | None = None,
    picture: bool = True,
) -> Compared:
    """Compare two versions, or a version and a column of forecasts, on the same unseen rows by paired bootstrap.

    Answers better, worse or no detectable difference, with 95 % intervals for each metric. Default rows: the test rows
    of both. Next: verify_model, then predict with the one you choose.
    """
    return await comparing.compare(app, call, first, second, column, dataset, picture)


@toolset.tool(title="Verify model", scope="train", hints=ADDS_ONCE, seconds=120.0)
async def verify_model(app: App, call: CallContext, model: ModelRef) -> Verified:
    """Check a model version: digests, signature, allow-list, load in a child, golden rows, parity. Fails closed.

    Use before relying on a model or after an alarm; a version that fails can't predict. Next: predict, or train again.
    """
    return await verifying.verify(app, call, model)


@toolset.tool(title="Search models", scope="read", hints=READ_ONLY)
async def search_models(
    app: App,
    query: Annotated[str | None, Field(max_length=128)] = None,
    limit: Limit = 20,
    cursor: Cursor | None = None,
) -> Models:
    """List model versions by name, newest first, with data set, metrics and verification.

    Use to find the name@version that other tools take. Next: predict, compare_models.
    """
    return await searching.search(app, query, limit, cursor)
