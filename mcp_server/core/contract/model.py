"""A data set's contract: plain data that the server, the computing processes and the stored versions share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from mcp_server.core.contract.fairness import RateLimits, RateName, check_limits
from mcp_server.core.contract.lineage import deciding, in_order, tainted
from mcp_server.core.contract.pattern import MAX_LENGTH, compiled
from mcp_server.core.contract.rules import MAX_GROUPS, MAX_RULES, Freshness, RowBounds, Rule, check_promises
from mcp_server.core.expressions import Kind, parse
from mcp_server.core.labels import closest, label, reads_as_pattern
from mcp_server.errors import DataRejected, InvalidInput

Role = Literal["feature", "target", "time", "key", "known_after", "ignored"]
"""What a column is for. `known_after`: known only after the event that is predicted, so never a feature."""

Part = Literal["kind", "nullable", "minimum", "maximum", "allowed", "pattern", "unique"]
"""What can be inferred about a column."""

MAX_ALLOWED = 200

Finite = Annotated[float, Field(allow_inf_nan=False)]


def _sequence(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Column(BaseModel):
    """One column.

    Args:
        name: as in the file's header.
        nullable: whether values may be missing.
        unit: free text such as `points`, or None.
        minimum, maximum: the range seen, in the column's unit; for numbers only.
        allowed: the values seen, sorted; for categories only, None where they're too many or too long to list.
        pattern: what the whole of each value looks like, in RE2's syntax; for texts and categories only.
        unique: whether no value occurs twice and none is missing.
        inferred: the parts that were seen and not stated, each with the estimated chance that the next row keeps it.
        source: `derived` where an expression computes it.
        personal: whether it looks like data about a person: never shown, hashed in logs, without range and values here.
        sensitive: whether a person stated that a model must be looked at group by group of its values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=256)
    kind: Kind
    role: Role = "feature"
    nullable: bool = False
    unit: str | None = Field(default=None, max_length=64)
    minimum: Finite | None = None
    maximum: Finite | None = None
    allowed: Annotated[tuple[str, ...], BeforeValidator(_sequence), Field(max_length=MAX_ALLOWED)] | None = None
    pattern: str | None = Field(default=None, min_length=1, max_length=MAX_LENGTH)
    unique: bool = False
    inferred: dict[Part, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    source: Literal["file", "derived"] = "file"
    personal: bool = False
    sensitive: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ranged = self.minimum is not None or self.maximum is not None
        if ranged and self.kind not in {"integer", "number"}:
            raise ValueError("only a number has a range")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("the range is empty")
        if self.allowed is not None and self.kind != "category":
            raise ValueError("only a category has allowed values")
        if self.allowed is not None and list(self.allowed) != sorted(set(self.allowed)):
            raise ValueError("the allowed values aren't sorted or not distinct")
        if self.pattern is not None:
            if self.kind not in {"category", "text"}:
                raise ValueError("only text has a pattern")
            compiled(self.pattern)
        return self


class Derived(BaseModel):
    """A column that an expression computes, such as `home_win` by `home_score > away_score`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=256)
    expression: str = Field(min_length=1, max_length=500)


class Made(BaseModel):
    """A column that was computed in a way that no expression says, or from columns that are gone since.

    Args:
        columns: what it was made of; they needn't be in the table any more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=256)
    columns: Annotated[tuple[str, ...], BeforeValidator(_sequence), Field(min_length=1)]


class Synthetic(BaseModel):
    """Where it stands which rows were made up, and from which rows.

    Args:
        flag: a true/false column: whether the row is made up.
        sources: columns of whole numbers: the rows (from 1) that it was made from; missing in real rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    flag: str = Field(min_length=1, max_length=256)
    sources: Annotated[tuple[str, ...], BeforeValidator(_sequence), Field(min_length=1, max_length=2)]

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.flag, *self.sources)


Group = Annotated[tuple[str, ...], BeforeValidator(_sequence), Field(min_length=2, max_length=20)]


class Contract(BaseModel):
    """What holds for every row of a data set version.

    Args:
        columns: at least one, in the table's order; names are distinct.
        derived: the columns that expressions compute.
        row_filter: the condition that kept the rows, or None.
        made: the columns that a preparation computed otherwise.
        synthetic: where made-up rows are marked; None where every row is real.
        rules: conditions across columns that hold in every row.
        unique_together: groups of columns whose values together occur once; a row with one of them missing is left out.
        freshness: how old the newest value of the time column may be.
        row_bounds: how many rows there are.
        fairness: how far models may differ between the groups of the sensitive columns, by rate.
    Raises:
        DataRejected: `E_CONTRACT`: two targets, a derived column without its expression, a mark of made-up rows that
            isn't there or isn't ignored, a rule that doesn't fit the columns, a pattern that isn't one, limits
            on groups without a sensitive column, or a feature
            that gives the target away by its definition. `E_EXPRESSION`: an expression isn't in the language, or goes
            in a circle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    columns: Annotated[tuple[Column, ...], BeforeValidator(_sequence), Field(min_length=1)]
    derived: Annotated[tuple[Derived, ...], BeforeValidator(_sequence)] = ()
    row_filter: str | None = Field(default=None, max_length=500)
    made: Annotated[tuple[Made, ...], BeforeValidator(_sequence)] = ()
    synthetic: Synthetic | None = None
    rules: Annotated[tuple[Rule, ...], BeforeValidator(_sequence), Field(max_length=MAX_RULES)] = ()
    unique_together: Annotated[tuple[Group, ...], BeforeValidator(_sequence), Field(max_length=MAX_GROUPS)] = ()
    freshness: Freshness | None = None
    row_bounds: RowBounds | None = None
    fairness: dict[RateName, RateLimits] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [column.name for column in self.columns]
        if any(map(reads_as_pattern, names)):
            _contradiction("A column is named by a pattern: * alone, or something between ^ and $.", "Rename it.")
        if len(set(names)) != len(names):
            _contradiction("Two columns have the same name.", "Give each column its own name.")
        for role in ("target", "time"):
            if len(self._named(role)) > 1:
                _contradiction(f"Two columns have the role {role}.", f"Choose one {role}.")
        computed = {column.name for column in self.columns if column.source == "derived"}
        if computed != set(self.expressions) or len(self.expressions) != len(self.derived):
            _contradiction("A derived column and its expression don't belong together.", "Import the data again.")
        in_order(self.expressions)
        if not all(parse(expression).columns <= set(names) for expression in self.expressions.values()):
            _contradiction("An expression reads a column that isn't there.", "Import the data again.")
        marks = () if self.synthetic is None else self.synthetic.columns
        if not {column.name for column in self.columns if column.role == "ignored"}.issuperset(marks):
            _contradiction(
                "A column that marks made-up rows is missing or isn't ignored.", "Leave these columns as they are."
            )
        hidden = self.not_before_the_event
        for column in self.features:
            if column.name in hidden:
                _contradiction(
                    f"The feature {label(column.name)!r} is known only after the event, or decides the target.",
                    "Give it the role known_after.",
                )
        check_promises(
            self.kinds,
            rules=self.rules,
            groups=self.unique_together,
            freshness=self.freshness,
            time=self.time,
        )
        check_limits(self.fairness)
        if self.fairness and not self.sensitive:
            _contradiction("Limits on groups need a column that makes them.", "State a column to be sensitive.")
        return self

    def _named(self, role: str) -> list[str]:
        return [column.name for column in self.columns if column.role == role]

    @property
    def expressions(self) -> dict[str, str]:
        """Derived name to expression."""
        return {derived.name: derived.expression for derived in self.derived}

    @property
    def ingredients(self) -> dict[str, frozenset[str]]:
        """Made column to what it was made of."""
        return {made.name: frozenset(made.columns) for made in self.made}

    @property
    def kinds(self) -> dict[str, Kind]:
        """Column name to kind."""
        return {column.name: column.kind for column in self.columns}

    @property
    def target(self) -> str | None:
        return next(iter(self._named("target")), None)

    @property
    def time(self) -> str | None:
        return next(iter(self._named("time")), None)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that together name a row; empty where none do."""
        return tuple(self._named("key"))

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns with the role `feature`, in order."""
        return tuple(column for column in self.columns if column.role == "feature")

    @property
    def sensitive(self) -> tuple[str, ...]:
        """The columns by whose groups models are compared."""
        return tuple(column.name for column in self.columns if column.sensitive)

    @property
    def not_before_the_event(self) -> frozenset[str]:
        """Never features: the target and its sources, `known_after`, and what is computed from those."""
        after = set(self._named("known_after")) | set(self._named("target"))
        if self.target is not None:
            after |= deciding(self.target, self.expressions, self.ingredients)
        return frozenset(after) | tainted(after, self.expressions, self.ingredients)

    def states(self, column: Column, part: Part) -> bool:
        """Whether a person stated a part of a column, so that it's a promise and not a description of what was seen.

        A contract without any confidence was made before there was one, and counts as inferred throughout.
        """
        return part not in column.inferred and any(other.inferred for other in self.columns)

    def promised(self, column: Column) -> tuple[Part, ...]:
        """The parts of a column that a person stated and that a value could break."""
        narrowing: dict[Part, bool] = {
            "minimum": column.minimum is not None,
            "maximum": column.maximum is not None,
            "allowed": column.allowed is not None,
            "pattern": column.pattern is not None,
            "nullable": not column.nullable,
            "unique": column.unique,
        }
        return tuple(part for part, narrows in narrowing.items() if narrows and self.states(column, part))

    def column(self, name: str) -> Column:
        """The column with a name.

        Raises:
            InvalidInput: there is none; the hint says what was probably meant.
        """
        for column in self.columns:
            if column.name == name:
                return column
        names = [column.name for column in self.columns]
        raise InvalidInput(
            f"There is no column {label(name)!r}.", hint=closest(name, names) or "describe_data lists the names."
        )


def _contradiction(message: str, hint: str) -> None:
    raise DataRejected("E_CONTRACT", message, hint=hint)


def to_dict(contract: Contract) -> dict[str, Any]:
    """A contract as JSON; `from_dict` gives an equal contract back."""
    value = contract.model_dump(mode="json")
    # Absent where there is nothing to say: a version's digest is over this, and stays what it was.
    _drop_empty(value, _LATER)
    for column in value["columns"]:
        _drop_empty(column, _LATER_OF_COLUMN)
    return value


_LATER = ("made", "synthetic", "rules", "unique_together", "freshness", "row_bounds", "fairness")
_LATER_OF_COLUMN = ("pattern", "inferred", "sensitive")


def _drop_empty(value: dict[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if not value[name]:
            del value[name]


def from_dict(value: Mapping[str, Any]) -> Contract:
    """A contract from JSON.

    Raises:
        DataRejected: `E_CONTRACT`: not a contract, or one that contradicts itself.
    """
    try:
        return Contract.model_validate(value)
    except ValidationError as invalid:
        first = invalid.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(label(str(part)) if isinstance(part, int) else repr(label(part)) for part in first["loc"])
        raise DataRejected(
            "E_CONTRACT", f"The contract isn't well formed at {where or 'its top'}.", hint="Import the data again."
        ) from None
