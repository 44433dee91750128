"""A plan as data: the steps, their fields, and refusals that say what a step takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NoReturn, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from mcp_server.core.labels import closest, label
from mcp_server.errors import CourtsideError, PlanRefused, from_code

MOST_STEPS = 50
MOST_BYTES = 64 * 1024
RUNBOOK = "runbook://plan-refused has every step with an example."

Name = Annotated[str, Field(min_length=1, max_length=256)]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Names = Annotated[list[Name], Field(min_length=1, max_length=10_000)]
Share = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Row = Annotated[int, Field(ge=1, le=1_000_000_000)]
Test = Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)] | Text
"""Which rows judge, as train_model's `test`: a condition, a date, or a share."""


class Step(BaseModel):
    """One step. The docstrings of its kinds are shown to whoever asks what a plan may say."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_by_alias=True, hide_input_in_errors=True
    )

    example: ClassVar[dict[str, Any]]


class Filter(Step):
    """Keep the rows where a condition holds; where it's missing, they go."""

    example = {"do": "filter", "where": "season >= 1985 and not is_missing(points)"}

    do: Literal["filter"]
    where: Text


class Derive(Step):
    """Add columns by expressions over the others; what is computed from known_after columns is known_after too."""

    example = {"do": "derive", "columns": {"elo_diff": "home_elo - away_elo"}}

    do: Literal["derive"]
    columns: Annotated[dict[Name, Text], Field(min_length=1, max_length=50)]


class DropColumns(Step):
    """Leave columns out. The target stays."""

    example = {"do": "drop_columns", "columns": ["notes"]}

    do: Literal["drop_columns"]
    columns: Names


class DropRows(Step):
    """Leave out rows by number (from 1, or spans [first, last], as validate_data shows), or all that a rule flags."""

    example = {"do": "drop_rows", "rule": "duplicates.rows"}

    do: Literal["drop_rows"]
    rows: Annotated[list[Row | Annotated[list[Row], Field(min_length=2, max_length=2)]], Field(min_length=1)] | None = (
        None
    )
    rule: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, "rows", "rule")
        return self


class Join(Step):
    """Add columns of another data set by equal keys, at most one row each; `as_of`: the latest earlier row by time.

    What is known only after its own event stays known_after, unless `features` names it (as_of only).
    """

    example = {"do": "join", "with": "injuries@1", "on": ["team"], "as_of": True, "prefix": "last_"}

    do: Literal["join"]
    other: Annotated[str, Field(alias="with", pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$", max_length=74)]
    on: (
        Annotated[list[Name], Field(min_length=1, max_length=10)]
        | Annotated[dict[Name, Name], Field(min_length=1, max_length=10)]
    )
    columns: Names | None = None
    prefix: Annotated[str, Field(max_length=64)] = ""
    how: Literal["left", "inner"] = "left"
    as_of: bool = False
    same_time: bool = False
    within: Annotated[float, Field(gt=0.0, le=1e6, allow_inf_nan=False)] | None = None
    features: list[Name] = Field(default_factory=list, max_length=1_000)

    @model_validator(mode="after")
    def _timely(self) -> Self:
        if not self.as_of and (self.same_time or self.within is not None or self.features):
            raise ValueError("same_time, within and features belong to as_of")
        if self.same_time and self.features:
            raise ValueError("features need strictly earlier rows, so same_time must be false")
        return self


class Impute(Step):
    """Fill missing values with the median, mean, mode, or a constant `value`, measured on all rows or on those `where`.

    `mark` adds a true/false column that says where a value was missing.
    """

    example = {"do": "impute", "columns": ["height"], "by": "median", "where": "season < 2011"}

    do: Literal["impute"]
    columns: Names
    by: Literal["median", "mean", "mode", "constant"] = "median"
    value: bool | int | Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=500)] | None = (
        None
    )
    where: Text | None = None
    mark: bool = False

    @model_validator(mode="after")
    def _constant(self) -> Self:
        if (self.by == "constant") != (self.value is not None):
            raise ValueError("value belongs to by constant, and by constant needs it")
        if self.value is not None and self.where is not None:
            raise ValueError("a constant isn't measured, so where has no use")
        return self


class Sample(Step):
    """Keep `rows` or a `share`: random, stratified by `strata`, weighted by `weight`, reservoir, or by time.

    By time it's the first, the last or random ones (`take`) of all, or `per` period.
    """

    example = {"do": "sample", "by": "stratified", "strata": ["team"], "share": 0.1}

    do: Literal["sample"]
    by: Literal["random", "stratified", "weighted", "reservoir", "time"] = "random"
    rows: Count | None = None
    share: Share | None = None
    strata: Annotated[list[Name], Field(min_length=1, max_length=10)] | None = None
    weight: Name | None = None
    per: Literal["day", "week", "month", "quarter", "year", "value"] | None = None
    take: Literal["first", "last", "random"] | None = None

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        _exactly_one(self, "rows", "share")
        for name, by in (("strata", "stratified"), ("weight", "weighted")):
            if (getattr(self, name) is not None) != (self.by == by):
                raise ValueError(f"{name} belongs to by {by}, and by {by} needs it")
        if self.by != "time" and (self.per is not None or self.take is not None):
            raise ValueError("per and take belong to by time")
        return self


class Balance(Step):
    """Bring the classes of the target nearer: `under` leaves rows of large ones out, `over` copies rows of small ones.

    Afterwards no class is under `ratio` times the largest. Copies count as made up: they only ever teach.
    """

    example = {"do": "balance", "how": "over", "ratio": 0.5, "test": "season >= 2011"}

    do: Literal["balance"]
    how: Literal["under", "over"]
    ratio: Ratio = 1.0
    test: Test | None = None


class Augment(Step):
    """Add made-up rows: `smote` interpolates between neighbours of a small class up to `ratio` times the largest;
    `noise` copies a `share` of the rows with normal noise of `scale` standard deviations.

    They are marked, made from rows that teach only, and never judge, calibrate or tune.
    """

    example = {"do": "augment", "by": "smote", "ratio": 1.0, "neighbours": 5, "test": "season >= 2011"}

    do: Literal["augment"]
    by: Literal["smote", "noise"]
    ratio: Ratio | None = None
    neighbours: Annotated[int, Field(ge=1, le=50)] | None = None
    share: Annotated[float, Field(gt=0.0, le=10.0, allow_inf_nan=False)] | None = None
    scale: Annotated[float, Field(gt=0.0, le=10.0, allow_inf_nan=False)] | None = None
    test: Test | None = None

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        for by, names in (("smote", ("ratio", "neighbours")), ("noise", ("share", "scale"))):
            for name in names:
                if self.by != by and getattr(self, name) is not None:
                    raise ValueError(f"{name} belongs to by {by}")
        return self


class SelectFeatures(Step):
    """Keep the `keep` best features; the others become ignored. Judged on rows that training learns from alone.

    Give `test` and the seed that train_model will get, so that both leave the same rows unseen.
    """

    example = {"do": "select_features", "by": "stability", "keep": 10, "test": "season >= 2011"}

    do: Literal["select_features"]
    by: Literal["mutual_information", "permutation", "stability"] = "mutual_information"
    keep: Annotated[int, Field(ge=1, le=10_000)]
    resamples: Annotated[int, Field(ge=5, le=100)] = 20
    test: Test | None = None


class Embed(Step):
    """Turn a category or text into numbers: `hashing`, `target` (rates out of fold, or from earlier rows only where
    there is a time), or `text` (truncated SVD of character n-grams).

    What is fitted is fitted on rows that training learns from, and is stored with the version.
    """

    example = {"do": "embed", "column": "team", "by": "target", "test": "season >= 2011"}

    do: Literal["embed"]
    column: Name
    by: Literal["hashing", "target", "text"]
    width: Annotated[int, Field(ge=1, le=64)] | None = None
    prefix: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    smoothing: Annotated[float, Field(ge=0.0, le=1e6, allow_inf_nan=False)] | None = None
    test: Test | None = None

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        if self.by == "target" and self.width is not None:
            raise ValueError("width belongs to by hashing and by text")
        if self.by != "target" and (self.folds is not None or self.smoothing is not None):
            raise ValueError("folds and smoothing belong to by target")
        return self


class Restate(Step):
    """State what the contract promises: ranges, lists, patterns, units, roles, rules across columns, groups of unique
    columns, freshness, row bounds, limits on groups (fairness). A part is set by its value and removed by null. Or take
    a document of `pandera` (YAML) or `great_expectations` (JSON).
    """

    example = {
        "do": "contract",
        "change": {"columns": {"elo": {"minimum": 0}}, "rules": {"no_ties": {"expression": "home != away"}}},
    }

    do: Literal["contract"]
    change: dict[str, Any] | None = None
    pandera: str | None = None
    great_expectations: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, "change", "pandera", "great_expectations")
        return self


class Restore(Step):
    """Make this version, with its contract, the newest of its name again. It stands alone in its plan."""

    example = {"do": "restore"}

    do: Literal["restore"]


AnyStep = (
    Filter
    | Derive
    | DropColumns
    | DropRows
    | Join
    | Impute
    | Sample
    | Balance
    | Augment
    | SelectFeatures
    | Embed
    | Restate
    | Restore
)
STEPS: dict[str, type[Step]] = {get_args(kind.model_fields["do"].annotation)[0]: kind for kind in get_args(AnyStep)}
_STEP: TypeAdapter[AnyStep] = TypeAdapter(Annotated[AnyStep, Field(discriminator="do")])


def read_plan(steps: Sequence[Mapping[str, Any]]) -> list[AnyStep]:
    """A plan from JSON.

    Raises:
        PlanRefused: naming the step (from 1) and the field; the hint says what a step takes.
    """
    if len(steps) > MOST_STEPS:
        raise PlanRefused(f"The plan has {len(steps)} steps; {MOST_STEPS} are allowed.", hint="Prepare in two goes.")
    if len(json.dumps(list(steps), default=str)) > MOST_BYTES:
        raise PlanRefused(
            "The plan is larger than 64 KiB.", hint="Name spans of rows, a rule or a condition instead of single rows."
        )
    plan = [_read(number, step) for number, step in enumerate(steps, start=1)]
    alone = next((number for number, step in enumerate(plan, start=1) if isinstance(step, Restore)), None)
    if alone is not None and len(plan) > 1:
        raise PlanRefused(
            f"Step {alone} (restore) stands alone in its plan.",
            hint="Restore the version first, then prepare the one that it gives.",
            details={"step": alone, "do": "restore"},
        )
    return plan


def to_json(plan: Sequence[AnyStep]) -> list[dict[str, Any]]:
    """A plan as JSON with every default written out, so that it says the same to a later version of this program."""
    return [step.model_dump(mode="json", by_alias=True, exclude_none=True) for step in plan]


def takes(do: str) -> str:
    """A step's fields in a few words; what may be left out has a question mark.

    >>> takes("sample")
    'by? rows? share? strata? weight? per? take?'
    """
    fields = [
        f"{field.alias or name}{'' if field.is_required() else '?'}"
        for name, field in STEPS[do].model_fields.items()
        if name != "do"
    ]
    return " ".join(fields)


def overview() -> str:
    """Every step with its fields, in one line."""
    return "; ".join(f"{do}: {takes(do)}" for do in STEPS)


def explained() -> list[str]:
    """What each step does, with an example."""
    return [
        f"{do}: {' '.join((kind.__doc__ or '').split())} Such as {json.dumps(kind.example)}"
        for do, kind in STEPS.items()
    ]


def at_step(number: int, do: str, refused: CourtsideError) -> CourtsideError:
    """What a step was refused with from below, with the step's number."""
    return from_code(
        refused.code,
        f"Step {number} ({do}): {refused.message}",
        hint=refused.hint,
        details={"step": number, "do": do, **refused.details},
    )


def _read(number: int, step: Mapping[str, Any]) -> AnyStep:
    do = step.get("do")
    if not isinstance(do, str) or do not in STEPS:
        near = closest(do, STEPS) if isinstance(do, str) else ""
        what = "has no field do that names what it does" if do is None else "names no step in its field do"
        raise PlanRefused(
            f"Step {number} {what}.{' ' + near if near else ''}",
            hint=f"The steps and their fields are {overview()}. {RUNBOOK}",
            details={"step": number},
        )
    known = [field.alias or name for name, field in STEPS[do].model_fields.items()]
    unknown = [name for name in step if name not in known]
    if unknown:
        near = closest(unknown[0], known)
        _refuse(number, do, f"{label(unknown[0])!r} is not a field of it.{' ' + near if near else ''}", unknown[0])
    try:
        return _STEP.validate_python(dict(step))
    except ValidationError as invalid:
        first = invalid.errors(include_input=False, include_url=False)[0]
        # The first part names the kind of step; a branch of a union has no place in the message.
        where = next((str(part) for part in first["loc"][1:] if part in known), None)
        _refuse(number, do, _what(where, first), where)


def _what(where: str | None, error: Any) -> str:
    if error["type"] == "missing":
        return f"it needs {where}."
    if error["type"] == "value_error":
        return f"{error['ctx']['error']}."
    if error["type"] == "string_pattern_mismatch":
        return f"{where or 'it'} isn't of the form that it takes."
    reason = str(error["msg"])[:1].lower() + str(error["msg"])[1:200]
    return f"{where or 'it'}: {reason}."


def _refuse(number: int, do: str, what: str, field: str | None) -> NoReturn:
    raise PlanRefused(
        f"Step {number} ({do}): {what}",
        hint=f"A step {do} takes {takes(do)}, such as {_example(do)}. {RUNBOOK}",
        details={"step": number, "do": do, **({"field": label(field)} if field else {})},
    )


def _example(do: str) -> str:
    return ", ".join(
        f"{name} {json.dumps(value).replace(chr(34), '')}" for name, value in STEPS[do].example.items() if name != "do"
    )


def _exactly_one(step: Step, *names: str) -> None:
    if sum(getattr(step, name) is not None for name in names) != 1:
        raise ValueError(f"it takes either {' or '.join(names)}")
