"""The serving form: a model as data, checked whole before anything is built from it.

A form is a JSON object (`format` is `courtside.model/1`). Its pieces:

- `inputs`: the columns that the model reads, with what training saw of each; a derived one has its
  expression in `derived` and is computed from the others where a row doesn't give it.
- `encoder`: how columns become the estimator's vector, in order.
- `estimator`: `linear` (one row of coefficients for each output) or `trees` (tree `j` adds to output
  `j % len(base)`; a binary model has one output, the log-odds of the second class).
- `calibration`: from outputs to probabilities. Platt: `expit(a * output + b)`; temperature: `softmax(outputs / t)`.
- `interval`: the half width around a regression's value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mcp_server.core.contract import Derived
from mcp_server.core.expressions import Expression, parse
from mcp_server.core.labels import label
from mcp_server.errors import CorruptArtefact, DataRejected

FORMAT = "courtside.model/1"
MAX_INPUTS = 2_000
MAX_WIDTH = 20_000
MAX_VALUES = 1_000
MAX_LOOKED_UP = 10_000
MAX_CLASSES = 100

Task = Literal["binary", "multiclass", "regression"]
Kind = Literal["integer", "number", "boolean", "category", "date", "datetime"]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Value = Annotated[str, Field(max_length=500)]

NUMERIC = frozenset({"integer", "number", "boolean"})
CALENDAR = frozenset({"year", "month", "weekday"})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Input(_Part):
    """What training saw of a column: the range and quantiles are of its training rows, in the column's unit."""

    name: Name
    kind: Kind
    minimum: float | None
    maximum: float | None
    p01: float | None
    p99: float | None
    median: float | None
    missing_rate: Annotated[float, Field(ge=0.0, le=1.0)]
    unit: Annotated[str, Field(max_length=100)] | None
    allowed: Annotated[list[Value], Field(max_length=MAX_VALUES)] | None


class NumberEncoding(_Part):
    """The number itself (true is 1.0); a missing one becomes `fill`, or NaN where that is null."""

    column: Name
    as_: Literal["number"] = Field(alias="as")
    fill: float | None

    @property
    def width(self) -> int:
        return 1


class OneHotEncoding(_Part):
    """A 1.0 for each of `values`, then one for any other; a missing value is all zeros."""

    column: Name
    as_: Literal["onehot"] = Field(alias="as")
    values: Annotated[list[Value], Field(max_length=MAX_VALUES)]

    @property
    def width(self) -> int:
        return len(self.values) + 1


class OrdinalEncoding(_Part):
    """The position of the value in `values`; NaN for one that isn't there, or is missing."""

    column: Name
    as_: Literal["ordinal"] = Field(alias="as")
    values: Annotated[list[Value], Field(max_length=MAX_VALUES)]

    @property
    def width(self) -> int:
        return 1


class CalendarEncoding(_Part):
    """The year, month (1 to 12) or weekday (1 Monday to 7 Sunday) of a date."""

    column: Name
    as_: Literal["year", "month", "weekday"] = Field(alias="as")
    fill: float | None

    @property
    def width(self) -> int:
        return 1


class LookupEncoding(_Part):
    """The number that belongs to a value in a table, such as a rate; `other` for a value that isn't listed."""

    column: Name
    as_: Literal["lookup"] = Field(alias="as")
    values: Annotated[list[Value], Field(max_length=MAX_LOOKED_UP)]
    numbers: Annotated[list[float], Field(max_length=MAX_LOOKED_UP)]
    other: float
    missing: float

    @property
    def width(self) -> int:
        return 1


class HashEncoding(_Part):
    """The sign of a value whose hash falls on this place of `places`; 0.0 for all others and a missing one."""

    column: Name
    as_: Literal["hash"] = Field(alias="as")
    place: Annotated[int, Field(ge=0)]
    places: Annotated[int, Field(ge=1, le=MAX_WIDTH)]

    @property
    def width(self) -> int:
        return 1


Encoding = Annotated[
    NumberEncoding | OneHotEncoding | OrdinalEncoding | CalendarEncoding | LookupEncoding | HashEncoding,
    Field(discriminator="as_"),
]


class Linear(_Part):
    kind: Literal["linear"]
    coefficients: Annotated[list[list[float]], Field(min_length=1, max_length=MAX_CLASSES)]
    intercepts: Annotated[list[float], Field(min_length=1, max_length=MAX_CLASSES)]


class Trees(_Part):
    kind: Literal["trees"]
    base: Annotated[list[float], Field(min_length=1, max_length=MAX_CLASSES)]
    trees: list[Any]  # checked node by node where they are built


class Platt(_Part):
    kind: Literal["platt"]
    a: float
    b: float


class Temperature(_Part):
    kind: Literal["temperature"]
    t: Annotated[float, Field(gt=0.0)]


class Uncalibrated(_Part):
    kind: Literal["none"]


class Interval(_Part):
    kind: Literal["split_conformal"]
    half_width: Annotated[float, Field(ge=0.0)]
    level: Annotated[float, Field(gt=0.0, lt=1.0)]


class Form(_Part):
    format: Literal["courtside.model/1"]
    task: Task
    target: Name
    classes: Annotated[list[Value], Field(max_length=MAX_CLASSES)] | None
    derived: Annotated[list[Derived], Field(max_length=MAX_INPUTS)]
    inputs: Annotated[list[Input], Field(min_length=1, max_length=MAX_INPUTS)]
    encoder: Annotated[list[Encoding], Field(min_length=1, max_length=MAX_INPUTS)]
    estimator: Annotated[Linear | Trees, Field(discriminator="kind")]
    calibration: Annotated[Platt | Temperature | Uncalibrated, Field(discriminator="kind")]
    interval: Interval | None

    @property
    def outputs(self) -> int:
        """How many numbers the estimator gives for a row: one for each class where there are more than two."""
        return len(self.classes) if self.task == "multiclass" and self.classes else 1

    @property
    def width(self) -> int:
        """The length of the estimator's vector."""
        return sum(encoding.width for encoding in self.encoder)


def read_form(form: Mapping[str, Any]) -> Form:
    """Check a serving form.

    Args:
        form: the decoded JSON object.
    Returns:
        the same, typed. The nodes of trees are checked by `trees.grow`.
    Raises:
        CorruptArtefact: the form has a missing, unknown, ill-typed, non-finite or contradictory part.
    """
    try:
        typed = Form.model_validate(dict(form))
    except ValidationError as error:
        raise malformed(_place(error.errors(include_input=False, include_url=False)[0]["loc"])) from None
    _check_task(typed)
    _check_columns(typed)
    _check_estimator(typed)
    return typed


def derivations(derived: Sequence[Derived], inputs: Sequence[Input]) -> list[tuple[str, Expression]]:
    """The derived columns with their parsed expressions, in an order in which each can be computed.

    Raises:
        CorruptArtefact: an expression can't be parsed, or reads what isn't an input or an earlier derived column.
    """
    given = {column.name for column in inputs} - {column.name for column in derived}
    parsed: list[tuple[str, Expression]] = []
    for index, column in enumerate(derived):
        try:
            expression = parse(column.expression)
        except DataRejected:
            raise malformed(f"derived.{index}.expression") from None
        if not expression.columns <= given:
            raise malformed(f"derived.{index}.expression")
        given.add(column.name)
        parsed.append((column.name, expression))
    return parsed


def malformed(place: str) -> CorruptArtefact:
    """The refusal of a form, with the place of the fault."""
    return CorruptArtefact(
        f"The serving form is malformed at {place}.",
        hint="Call verify_model for this version, and train it again if the check fails.",
        details={"place": place},
    )


def _place(location: Sequence[object]) -> str:
    parts = [label(str(part), 40) for part in location[:6]]
    return ".".join(parts) or "its root"


def _check_task(form: Form) -> None:
    count = len(form.classes) if form.classes is not None else 0
    expected = {"binary": count == 2, "multiclass": count > 2, "regression": form.classes is None}
    if not expected[form.task] or (form.classes is not None and len(set(form.classes)) != count):
        raise malformed("classes")
    fitting = {"binary": ("platt", "none"), "multiclass": ("temperature", "none"), "regression": ("none",)}
    if form.calibration.kind not in fitting[form.task]:
        raise malformed("calibration")
    if form.interval is not None and form.task != "regression":
        raise malformed("interval")


def _check_columns(form: Form) -> None:
    kinds = {column.name: column.kind for column in form.inputs}
    if len(kinds) != len(form.inputs):
        raise malformed("inputs")
    if len({derived.name for derived in form.derived}) != len(form.derived):
        raise malformed("derived")
    if form.width > MAX_WIDTH:
        raise malformed("encoder")
    known = kinds.keys() | {derived.name for derived in form.derived}
    for index, encoding in enumerate(form.encoder):
        if encoding.column not in known or not _fits(encoding.as_, kinds.get(encoding.column, "number")):
            raise malformed(f"encoder.{index}")
        if isinstance(encoding, OneHotEncoding | OrdinalEncoding | LookupEncoding) and len(set(encoding.values)) != len(
            encoding.values
        ):
            raise malformed(f"encoder.{index}.values")
        if isinstance(encoding, LookupEncoding) and len(encoding.numbers) != len(encoding.values):
            raise malformed(f"encoder.{index}.numbers")
        if isinstance(encoding, HashEncoding) and encoding.place >= encoding.places:
            raise malformed(f"encoder.{index}.place")


def _fits(encoding: str, kind: str) -> bool:
    if encoding == "number":
        return kind in NUMERIC
    if encoding in CALENDAR:
        return kind in ("date", "datetime")
    return kind == "category"


def _check_estimator(form: Form) -> None:
    estimator = form.estimator
    if isinstance(estimator, Trees):
        if len(estimator.base) != form.outputs:
            raise malformed("estimator.base")
        return
    if len(estimator.coefficients) != form.outputs or len(estimator.intercepts) != form.outputs:
        raise malformed("estimator.intercepts")
    if any(len(row) != form.width for row in estimator.coefficients):
        raise malformed("estimator.coefficients")
    for index, encoding in enumerate(form.encoder):
        # A linear sum has no branch for a missing value: NaN would swallow the whole of it.
        if isinstance(encoding, OrdinalEncoding) or (
            isinstance(encoding, NumberEncoding | CalendarEncoding) and encoding.fill is None
        ):
            raise malformed(f"encoder.{index}")
