"""The file of gates: what must hold before a change may pass."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mcp_server.core.contract.fairness import RateLimits, RateName, check_limits
from mcp_server.core.stated_document import read_stated
from mcp_server.errors import InvalidInput

MOST_SUBJECTS = 100
_HINT = "docs/guides/gates.md has an example."

Name = Annotated[str, Field(min_length=1, max_length=128)]
Days = Annotated[float, Field(gt=0, le=36_500)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Bound(_Part):
    """Limits of one figure, each of them allowed itself.

    Args:
        by: `value` compares the estimate; `interval` asks for the whole 95 % interval within the limits.
    """

    min: float | None = None
    max: float | None = None
    by: Literal["value", "interval"] = "value"

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("no limit")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min above max")
        return self


class Latency(_Part):
    """Milliseconds that one row may take, at most."""

    p50: Annotated[float, Field(gt=0)] | None = None
    p99: Annotated[float, Field(gt=0)] | None = None


class FairnessGates(_Part):
    """How far a model's rates may differ between groups of rows.

    Args:
        groups: columns that make the groups; without them those that the data's contract states to be sensitive.
        limits: rate to its limits, beside those that the contract states.
        dataset: whose rows it's judged on; without one the rows of its own data that it wasn't trained on.
    """

    groups: Annotated[list[Name], Field(min_length=1, max_length=20)] | None = None
    limits: Annotated[dict[RateName, RateLimits], Field(max_length=20)] = {}
    dataset: Name | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_limits(self.limits)
        if self.groups is not None and not self.limits:
            raise ValueError("groups are named, and no limits that hold for them")
        return self


class VersionGates(_Part):
    """What any version of a model must keep.

    Args:
        metrics: on its test rows.
        gap: by how much a metric may be better on the rows learned from than on the test rows, in the metric's unit.
        max_age_days: since it was trained.
        fairness: what the contract of its data asks is asked in any case.
    """

    metrics: Annotated[dict[Name, Bound], Field(max_length=50)] = {}
    gap: Annotated[dict[Name, Annotated[float, Field(ge=0)]], Field(max_length=50)] = {}
    latency_ms: Latency | None = None
    max_age_days: Days | None = None
    fairness: FairnessGates | None = None


class ModelGates(VersionGates):
    """What a model version must keep; that its verification passes is asked in any case.

    Args:
        stage: also what the policy asks of a version for this stage.
    """

    model: Name
    stage: Literal["staging", "production"] | None = None


class DataGates(_Part):
    """What a data set version must keep.

    Args:
        allow: the gravest verdict of validate_data that passes.
        baseline: a trusted version that it is compared with.
        min_rows: at least.
        max_age_days: since it was imported.
    """

    dataset: Name
    allow: Literal["pass", "warn"] = "warn"
    baseline: Name | None = None
    min_rows: Annotated[int, Field(ge=1)] | None = None
    max_age_days: Days | None = None


class Gates(_Part):
    data: Annotated[list[DataGates], Field(max_length=MOST_SUBJECTS)] = []
    models: Annotated[list[ModelGates], Field(max_length=MOST_SUBJECTS)] = []


def read_gates(text: str) -> Gates:
    """Read a file of gates.

    Args:
        text: YAML, or JSON, which is YAML too.
    Raises:
        InvalidInput: it can't be read, names what isn't known, or states nothing.
    """
    gates = read_stated(text, Gates, called="gates", parts="data and models", hint=_HINT)
    if not gates.data and not gates.models:
        raise InvalidInput("The gates name neither data nor models, so nothing would be checked.", hint=_HINT)
    return gates
