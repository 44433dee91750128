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
from mcp_server.workflows.comparison_answers import Compared
from mcp_server.workflows.model_answers import JobReport, Models, Verified

toolset = Toolset("models")


@toolset.tool(title="Train model", scope="train", hints=ADDS, keyed=True)
async def train_model(
    app: App,
    call: CallContext,
    model: NewName,
    dataset: DatasetRef,
    target: Column | None = None,
    features: Annotated[list[Column] | None, Field(min_length=1, max_length=10_000)] = None,
    test: Annotated[Expression | None, Field(description='"season >= 2011"; else the latest or a random 20 %')] = None,
    algorithm: Literal["both", "linear", "boosting"] = "both",
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0,
    allow_leaks: bool = False,
) -> JobReport:
    """Train a linear baseline and gradient boosting as a job; each becomes a calibrated, tested, verified version.

    Splits by time where there is a time column. Refuses features that leak the target. Next: get_job until done, then
    compare_models or predict.
    """
    request = training.TrainingRequest(
        model=model,
        dataset=dataset,
        target=target,
        features=features,
        test=test,
        algorithm=algorithm,
        seed=seed,
        allow_leaks=allow_leaks,
    )
    return await training.start(app, call, request)


@toolset.tool(title="Compare models", scope="read", hints=READ_ONLY, seconds=120.0)
async def compare_models(
    app: App,
    call: CallContext,
    models: Annotated[list[ModelRef], Field(min_length=1, max_length=8)],
    column: Annotated[Column | None, Field(description="forecasts")] = None,
    predictions: Annotated[DatasetRef | None, Field(description="by key")] = None,
    datasets: Annotated[list[DatasetRef], Field(max_length=12)] | None = None,
    margin: Annotated[float | None, Field(gt=0)] = None,
    retrain: Annotated[int, Field(ge=3, le=20)] | None = None,
    picture: bool = True,
) -> Compared:
    """Compare 2-8 versions or forecasts on the same unseen rows: better, worse or no detectable difference.

    margin: too small to matter; retrain: on random parts. Next: verify_model, predict.
    """
    request = comparing.ComparisonRequest(
        models=models,
        column=column,
        predictions=predictions,
        datasets=datasets,
        margin=margin,
        retrain=retrain,
        picture=picture,
    )
    return await comparing.compare(app, call, request)


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
