"""What a contract promises about the table as a whole: rules across columns, groups, freshness and size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mcp_server.core.expressions import Kind, parse
from mcp_server.core.labels import closest, label
from mcp_server.errors import CourtsideError, DataRejected, from_code

MAX_RULES = 100
MAX_GROUPS = 20

RuleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
"""Short and plain, as it stands among our own words in findings."""


class Rule(BaseModel):
    """A condition that holds in every row.

    Args:
        expression: a condition in the safe language; a row where its value is missing keeps it, as in SQL's CHECK.
        severity: of the finding where it doesn't hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: RuleName
    expression: str = Field(min_length=1, max_length=500)
    severity: Literal["fail", "warn", "info"] = "fail"


class Freshness(BaseModel):
    """The newest value of the time column is recent.

    Args:
        days: how old it may be.
        against: `now`, the moment of the check; or `data`, the newest date or instant in any column, so that the same
            table always has the same verdict.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    days: float = Field(gt=0, le=1_000_000, allow_inf_nan=False)
    against: Literal["now", "data"] = "now"


class RowBounds(BaseModel):
    """How many rows the table has, at least and at most."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    minimum: int | None = Field(default=None, ge=0)
    maximum: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.minimum is None and self.maximum is None:
            raise ValueError("it bounds nothing")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("no number of rows is within the bounds")
        return self


def check_promises(
    kinds: Mapping[str, Kind],
    *,
    rules: Sequence[Rule],
    groups: Sequence[Sequence[str]],
    freshness: Freshness | None,
    time: str | None,
) -> None:
    """Whether what is promised about the table fits its columns.

    Args:
        kinds: column name to kind.
        groups: columns that together are unique.
        time: the time column.
    Raises:
        DataRejected: `E_CONTRACT`, or `E_EXPRESSION` where a rule's expression is refused.
    """
    if len({rule.name for rule in rules}) != len(rules):
        _contradiction("Two rules have the same name.", "Give each rule its own name.")
    for rule in rules:
        try:
            kind = parse(rule.expression).kind(kinds)
        except CourtsideError as refused:
            raise from_code(refused.code, f"The rule {rule.name}: {refused.message}", hint=refused.hint) from None
        if kind != "boolean":
            _contradiction(
                f"The rule {rule.name} isn't a condition.", "Write a comparison, such as home_score != away_score."
            )
    for group in groups:
        for name in group:
            if name not in kinds:
                near = closest(name, kinds) or "describe_data lists the names."
                _contradiction(f"A group of unique columns names {label(name)!r}, which isn't there.", near)
        if len(set(group)) != len(group):
            _contradiction("A group of unique columns names a column twice.", "Name each once.")
    if len({frozenset(group) for group in groups}) != len(groups):
        _contradiction("Two groups of unique columns are the same.", "Name each group once.")
    if freshness is not None and (time is None or kinds[time] not in ("date", "datetime")):
        _contradiction(
            "Freshness needs a time column of dates or instants.", "Give a column of dates the role time first."
        )


def _contradiction(message: str, hint: str) -> NoReturn:
    raise DataRejected("E_CONTRACT", message, hint=hint)
