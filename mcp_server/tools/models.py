"""Models: train, compare, verify, explain, find."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_server.context import CallContext
from mcp_server.guard.spec import ADDS, BRINGS_IN_ONCE, CHECKS, READ_ONLY
from mcp_server.tools.params import Cell, Column, Cursor, DatasetRef, Expression, Limit, ModelRef, NewName
from mcp_server.tools.toolset import Toolset
from mcp_server.workflows import adopting, comparing, experiments, explaining, searching, training, verifying
from mcp_server.workflows.app import App
from mcp_server.workflows.comparison_answers import Compared
from mcp_server.workflows.explanation_answers import Explained
from mcp_server.workflows.model_answers import JobReport, Models, Registered, Verified

toolset = Toolset("models")


@toolset.tool(title="Train model", scope="train", hints=ADDS, keyed=True)
async def train_model(
    app: App,
    call: CallContext,
    model: NewName,
    dataset: DatasetRef,
    target: Column | None = None,
    features: Annotated[list[Column] | None, Field(min_length=1, max_length=10_000)] = None,
    test: Annotated[Expression | None, Field(description='"season >= 2011"; else the latest or random 20 %')] = None,
    algorithm: Literal["both", "linear", "boosting", "extra_trees", "auto"] = "both",
    seconds: Annotated[int | None, Field(ge=0, le=86_400)] = None,
    trials: Annotated[int | None, Field(ge=0, le=500, description="reproducible")] = None,
    costs: Annotated[dict[str, float] | None, Field(description="false_positive, false_negative")] = None,
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0,
    allow_leaks: bool = False,
) -> JobReport:
    """Train a linear baseline and gradient boosting as a job; each becomes a calibrated, tested, verified version.

    With seconds or trials: tunes these and extra trees, takes the best or a blend. Refuses leaks. Next: get_job until
    done, then compare_models or predict.
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
    models: Annotated[list[ModelRef], Field(min_length=1, max_length=8)],
    column: Annotated[Column | None, Field(description="forecasts")] = None,
    predictions: Annotated[DatasetRef | None, Field(description="by key")] = None,
    datasets: Annotated[list[DatasetRef], Field(max_length=12)] | None = None,
    margin: Annotated[float | None, Field(gt=0)] = None,
    retrain: Annotated[int, Field(ge=3, le=20)] | None = None,
    picture: bool = True,
) -> Compared:
    """Compare 2-8 versions or forecasts on the same unseen rows: better, worse or no detectable difference.

    margin: too small to matter; retrain: on parts of the data. Next: verify_model, predict.
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


@toolset.tool(title="Verify model", scope="train", hints=CHECKS, seconds=120.0)
async def verify_model(app: App, call: CallContext, model: Annotated[str, Field(max_length=2_048)]) -> Verified:
    """Check a version (files, signature, answers), or say what a foreign model file is and whether it's data alone.

    A file (path, https) is never loaded. Next: predict, or train again.
    """
    return await verifying.verify(app, call, model)


@toolset.tool(title="Register model", scope="train", hints=BRINGS_IN_ONCE, seconds=300.0)
async def register_model(
    app: App,
    call: CallContext,
    model: NewName,
    file: Annotated[str, Field(max_length=2_048)],
    dataset: DatasetRef,
    target: Column | None = None,
    columns: Annotated[list[Column] | None, Field(max_length=2_000, description="in its order")] = None,
    test: Annotated[Expression | None, Field(description="rows not trained on")] = None,
) -> Registered:
    """Adopt a scikit-learn file (skops, joblib, pickle) as a version; audited, never unpickled.

    dataset: like its training data. Next: predict, compare_models.
    """
    request = adopting.AdoptionRequest(
        model=model, file=file, dataset=dataset, target=target, columns=columns, test=test
    )
    return await adopting.adopt(app, call, request)


@toolset.tool(title="Explain model", scope="read", hints=READ_ONLY, seconds=120.0)
async def explain_model(
    app: App,
    call: CallContext,
    model: ModelRef,
    rows: Annotated[list[dict[str, Cell]] | None, Field(min_length=1, max_length=20)] = None,
    dataset: DatasetRef | None = None,
    fixed: Annotated[list[Column] | None, Field(max_length=100, description="not to change")] = None,
    move: Annotated[float | None, Field(description="of a number, by how much")] = None,
    groups: Annotated[list[Column] | None, Field(max_length=3, description="[]: the sensitive ones")] = None,
    limits: Annotated[dict[str, float] | None, Field(max_length=10, description='{"selection_rate": 0.8}')] = None,
    picture: bool = True,
) -> Explained:
    """Say which columns matter on unseen rows; of `rows`, what moved each answer and the nearest change that flips it.

    With `groups` (columns): rates and gaps between groups with intervals, proxies, conflicts, and gates by `limits`.
    Use before relying on a model. Next: predict with the changed row.
    """
    request = explaining.ExplainingRequest(
        model=model,
        rows=rows,
        dataset=dataset,
        fixed=fixed or [],
        move=move,
        groups=groups,
        limits=limits or {},
        picture=picture,
    )
    return await explaining.explain(app, call, request)


@toolset.tool(title="Search models", scope="read", hints=READ_ONLY)
async def search_models(
    app: App,
    query: Annotated[str | None, Field(max_length=256)] = None,
    limit: Limit = 20,
    cursor: Cursor | None = None,
    runs: bool = False,
) -> Models:
    """Find name@version by name, stage:production, owner:, tag:a=b, prediction id; or runs by "model=m sort=rmse".

    Next: predict.
    """
    if runs:
        return await experiments.search(app, query, limit, cursor)
    return await searching.search(app, query, limit, cursor)
