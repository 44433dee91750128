"""Data: bring it in, look at it, check it, prepare it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mcp_server.context import CallContext
from mcp_server.guard.spec import ADDS_ONCE, BRINGS_IN, READ_ONLY
from mcp_server.tools.params import Column, DatasetRef, Expression, NewName
from mcp_server.tools.toolset import Toolset
from mcp_server.workflows import describing, importing, validating
from mcp_server.workflows.app import App
from mcp_server.workflows.data_answers import Described, Imported, Prepared, Validated

toolset = Toolset("data")

Role = Literal["feature", "known_after", "ignored", "time", "key", "target"]


def _parameters_are_texts(options: object) -> object:
    """Say so before every form that an option may have is told as an error of its own."""
    parameters = options.get("parameters", []) if isinstance(options, dict) else []
    if isinstance(parameters, list) and not all(isinstance(one, str) for one in parameters):
        raise ValueError('parameters are texts: write numbers as in ["2011"]')
    return options


def _no_groups(roles: object) -> object:
    """Say where groups are stated, which isn't by a role."""
    if isinstance(roles, dict) and any(role in ("sensitive", "protected", "group") for role in roles.values()):
        raise ValueError(
            "what models are compared by is no role: import, then prepare_data with the step "
            '{"do": "contract", "change": {"columns": {"COLUMN": {"sensitive": true}}}}'
        )
    return roles


@toolset.tool(title="Import data", scope="data", hints=BRINGS_IN, seconds=300.0, keyed=True)
async def import_data(
    app: App,
    call: CallContext,
    name: NewName,
    path: Annotated[str | None, Field(max_length=4096, description="file, folder, *.csv, https URL, sql:NAME")] = None,
    query: Annotated[str | None, Field(max_length=10_000, description="SELECT for sql:NAME")] = None,
    text: Annotated[str | None, Field(max_length=4_194_304)] = None,
    mode: Literal["full", "append", "upsert"] = "full",
    since: Annotated[Column | None, Field(description="rows beyond its maximum")] = None,
    target: Column | None = None,
    time: Column | None = None,
    roles: Annotated[dict[str, Role] | None, BeforeValidator(_no_groups)] = None,
    derived: Annotated[dict[str, Expression] | None, Field(max_length=50, description='{"win": "home > away"}')] = None,
    filter: Annotated[Expression | None, Field(description='"season >= 1985"')] = None,
    options: Annotated[
        dict[str, str | list[str]] | None,
        BeforeValidator(_parameters_are_texts),
        Field(description="delimiter, encoding, decimal, date_order, missing, short_rows, parameters"),
    ] = None,
) -> Imported:
    """Store CSV, JSON or Parquet from files, a URL, a query or text as an immutable version.

    Set `target`; columns it is computed from become known_after. `append` and `upsert` extend the
    newest. Next: validate_data.
    """
    request = importing.ImportRequest(
        name=name,
        path=path,
        query=query,
        text=text,
        mode=mode,
        since=since,
        target=target,
        time=time,
        roles=roles or {},
        derived=derived or {},
        row_filter=filter,
        options=options or {},
    )
    return await importing.import_data(app, call, request)


@toolset.tool(title="Describe data", scope="read", hints=READ_ONLY, seconds=120.0)
async def describe_data(
    app: App, call: CallContext, dataset: DatasetRef | None = None, against: DatasetRef | None = None
) -> Described:
    """Show a version: columns, kinds, roles, ranges, gaps; or what differs `against` another.

    No `dataset`: list all. Use before training or when rows are flagged. Next: validate_data.
    """
    return await describing.describe(app, dataset, against, call=call)


@toolset.tool(title="Validate data", scope="read", hints=READ_ONLY, seconds=120.0)
async def validate_data(
    app: App,
    call: CallContext,
    dataset: DatasetRef,
    baseline: DatasetRef | None = None,
    suite: Annotated[str | None, Field(max_length=524_288)] = None,
) -> Validated:
    """Check a version: contract, gaps, duplicates, cell errors, leaks, contradictions, poisoned rows.

    Use before training. `suite` (JSON or path) is run by Great Expectations. Answers pass, warn or fail with rows and
    reasons. Next: mend the source, or train_model.
    """
    return await validating.validate(app, call, dataset, baseline, suite)


@toolset.tool(title="Prepare data", scope="data", hints=ADDS_ONCE, seconds=120.0, keyed=True)
async def prepare_data(
    app: App,
    call: CallContext,
    dataset: DatasetRef,
    steps: Annotated[list[dict[str, Any]], Field(description='{"do": "filter", "where": "x > 1"}')],
    name: NewName | None = None,
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0,
    dry_run: bool = False,
) -> Prepared:
    """Make a new version by steps: filter, derive, drop_columns, drop_rows, join, impute, sample, balance, augment,
    select_features, embed, contract, restore.

    Use before training. `dry_run` shows what each would do; with no steps explains all. Next: validate_data.
    """
    from mcp_server.workflows import preparing  # the kinds of step cost start-up time that no tools/list needs

    request = preparing.PreparingRequest(dataset=dataset, steps=steps, name=name, seed=seed, dry_run=dry_run)
    return await preparing.prepare(app, call, request)
