"""The serving form: a model as data, checked whole before anything is built from it.

A form is a JSON object (`format` is `courtside.model/1`). Its pieces:

- `inputs`: the columns that the model reads, with what training saw of each; a derived one has its
  expression in `derived` and is computed from the others where a row doesn't give it.
- `encoder`: how columns become the estimator's vector, in order: each part adds numbers of one column, or the
  product of two numbers before it.
- `estimator`: `linear` (one row of coefficients for each output), `trees` (tree `j` adds to output
  `j % len(base)`; a binary model has one output, the log-odds of the second class), `averaged` (trees whose leaves
  are rows of shares or values, averaged) or `blend` (a weighted sum of the outputs of several, each on its slice of
  the vector, from `intercepts` on where there are any).
- `calibration`: from outputs to probabilities. Platt: `expit(a * output + b)`; isotonic: straight lines between
  points (log-odds, probability); temperature: `softmax(outputs / t)`; unsmoothed: the shares of averaged trees
  themselves, which may be 0.
- `interval`: the half width around a regression's value.
- `decision`: where the two kinds of error cost differently, from which probability on the second class is the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from mcp_server.core.contract import Derived
from mcp_server.core.expressions import Expression, parse
from mcp_server.core.labels import label
from mcp_server.core.predictor.encodings import (
    MAX_VALUES,
    MAX_WIDTH,
    CalendarEncoding,
    ColumnEncoding,
    Encoding,
    FormPart,
    LookupEncoding,
    Name,
    NumberEncoding,
    OrdinalEncoding,
    ProductEncoding,
    Value,
    fault,
    products,
)
from mcp_server.errors import CorruptArtefact, DataRejected

FORMAT = "courtside.model/1"
MAX_INPUTS = 2_000
MAX_CLASSES = 100
MAX_MEMBERS = 8

Task = Literal["binary", "multiclass", "regression"]
Kind = Literal["integer", "number", "boolean", "category", "date", "datetime"]


class Input(FormPart):
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


class Linear(FormPart):
    kind: Literal["linear"]
    coefficients: Annotated[list[list[float]], Field(min_length=1, max_length=MAX_CLASSES)]
    intercepts: Annotated[list[float], Field(min_length=1, max_length=MAX_CLASSES)]


class Trees(FormPart):
    kind: Literal["trees"]
    base: Annotated[list[float], Field(min_length=1, max_length=MAX_CLASSES)]
    trees: list[Any]  # checked node by node where they are built


class Averaged(FormPart):
    """Trees that are asked in single precision, unless `single` is false.

    A leaf's `v` is the index of its row in `leaves`. The rows that the trees reach are averaged. Of two classes a row
    holds the share of the second, of more the share of each, of a regression the value. Shares become log-odds, or
    logarithms, after `floor` is added to each.
    """

    kind: Literal["averaged"]
    trees: Annotated[list[Any], Field(min_length=1)]  # checked node by node where they are built
    leaves: Annotated[list[list[float]], Field(min_length=1)]
    floor: Annotated[float, Field(ge=0.0, le=1.0)]
    single: bool = True


class Member(FormPart):
    """One estimator of a blend, on `width` numbers of the vector from `start` on."""

    weight: Annotated[float, Field(gt=0.0, le=1_000.0)]
    start: Annotated[int, Field(ge=0)]
    width: Annotated[int, Field(ge=1)]
    estimator: Annotated[Linear | Trees | Averaged, Field(discriminator="kind")]


class Blend(FormPart):
    kind: Literal["blend"]
    members: Annotated[list[Member], Field(min_length=2, max_length=MAX_MEMBERS)]
    intercepts: Annotated[list[float], Field(min_length=1, max_length=MAX_CLASSES)] | None = None


Estimator = Linear | Trees | Averaged | Blend


class Platt(FormPart):
    kind: Literal["platt"]
    a: float
    b: float


class Temperature(FormPart):
    kind: Literal["temperature"]
    t: Annotated[float, Field(gt=0.0)]


class Isotonic(FormPart):
    """Probabilities `y` at log-odds `x`, straight lines between them and level beyond the ends."""

    kind: Literal["isotonic"]
    x: Annotated[list[float], Field(min_length=1, max_length=MAX_VALUES)]
    y: Annotated[list[Annotated[float, Field(gt=0.0, lt=1.0)]], Field(min_length=1, max_length=MAX_VALUES)]


class Unsmoothed(FormPart):
    """Shares as averaged trees have them: what `floor` added to each of them is taken away again."""

    kind: Literal["unsmoothed"]
    floor: Annotated[float, Field(gt=0.0, le=1.0)]

    def share(self, smoothed: float, classes: int) -> float:
        """The share of one class of several."""
        return min(1.0, max(0.0, smoothed * (1.0 + classes * self.floor) - self.floor))


class Uncalibrated(FormPart):
    kind: Literal["none"]


Calibration = Annotated[Platt | Isotonic | Temperature | Unsmoothed | Uncalibrated, Field(discriminator="kind")]


class Interval(FormPart):
    """`split_conformal` is of rows apart from training, `cross_conformal` of the folds that tuned the model."""

    kind: Literal["split_conformal", "cross_conformal"]
    half_width: Annotated[float, Field(ge=0.0)]
    level: Annotated[float, Field(gt=0.0, lt=1.0)]


class Decision(FormPart):
    """The costs of saying the second class wrongly, and of missing it."""

    false_positive: Annotated[float, Field(gt=0.0)]
    false_negative: Annotated[float, Field(gt=0.0)]

    @property
    def threshold(self) -> float:
        """The probability of the second class beyond which saying it costs less on average."""
        return self.false_positive / (self.false_positive + self.false_negative)


class Form(FormPart):
    format: Literal["courtside.model/1"]
    task: Task
    target: Name
    classes: Annotated[list[Value], Field(max_length=MAX_CLASSES)] | None
    derived: Annotated[list[Derived], Field(max_length=MAX_INPUTS)]
    inputs: Annotated[list[Input], Field(min_length=1, max_length=MAX_INPUTS)]
    encoder: Annotated[list[Encoding], Field(min_length=1, max_length=MAX_INPUTS)]
    estimator: Annotated[Linear | Trees | Averaged | Blend, Field(discriminator="kind")]
    calibration: Calibration
    interval: Interval | None
    decision: Decision | None = None

    @property
    def outputs(self) -> int:
        """How many numbers the estimator gives for a row: one for each class where there are more than two."""
        return len(self.classes) if self.task == "multiclass" and self.classes else 1

    @property
    def members(self) -> list[tuple[float, slice, Linear | Trees | Averaged]]:
        """What the outputs are weighted sums of: weight, part of the vector, estimator."""
        if not isinstance(self.estimator, Blend):
            return [(1.0, slice(0, self.width), self.estimator)]
        return [(one.weight, slice(one.start, one.start + one.width), one.estimator) for one in self.estimator.members]

    @property
    def width(self) -> int:
        """The length of the estimator's vector."""
        return sum(encoding.width for encoding in self.encoder)

    @property
    def single(self) -> list[ColumnEncoding]:
        """The encodings of single columns."""
        return [encoding for encoding in self.encoder if not isinstance(encoding, ProductEncoding)]

    @property
    def threshold(self) -> float:
        """The probability of the second of two classes beyond which it is the value."""
        return 0.5 if self.decision is None else self.decision.threshold


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
    fitting = {
        "binary": ("platt", "isotonic", "unsmoothed", "none"),
        "multiclass": ("temperature", "unsmoothed", "none"),
        "regression": ("none",),
    }
    if form.calibration.kind not in fitting[form.task]:
        raise malformed("calibration")
    if isinstance(form.calibration, Isotonic):
        x, y = form.calibration.x, form.calibration.y
        if len(x) != len(y) or any(low >= high for low, high in pairwise(x)) or sorted(y) != y:
            raise malformed("calibration")
    if form.interval is not None and form.task != "regression":
        raise malformed("interval")
    if form.decision is not None and form.task != "binary":
        raise malformed("decision")


def _check_columns(form: Form) -> None:
    kinds = {column.name: column.kind for column in form.inputs}
    if len(kinds) != len(form.inputs):
        raise malformed("inputs")
    if len({derived.name for derived in form.derived}) != len(form.derived):
        raise malformed("derived")
    if form.width > MAX_WIDTH:
        raise malformed("encoder")
    place = fault(form.encoder, kinds | {derived.name: kinds.get(derived.name, "number") for derived in form.derived})
    if place is not None:
        raise malformed(f"encoder.{place}")


def _check_estimator(form: Form) -> None:
    estimator = form.estimator
    if not isinstance(estimator, Blend):
        _check_part(form, estimator, form.encoder, "estimator")
        return
    if estimator.intercepts is not None and len(estimator.intercepts) != form.outputs:
        raise malformed("estimator.intercepts")
    for index, member in enumerate(estimator.members):
        place = f"estimator.members.{index}"
        inside = range(member.start, member.start + member.width)
        for at, product in products(form.encoder).items():
            if at in inside and not (product.first in inside and product.second in inside):
                raise malformed(place)
        _check_part(form, member.estimator, _slice(form.encoder, member, place), place)


def _slice(encoder: Sequence[Encoding], member: Member, place: str) -> list[Encoding]:
    """The encodings that make up a member's part of the vector: whole ones only."""
    taken, at = [], 0
    for encoding in encoder:
        if member.start <= at and at + encoding.width <= member.start + member.width:
            taken.append(encoding)
        at += encoding.width
    if sum(encoding.width for encoding in taken) != member.width:
        raise malformed(place)
    return taken


def _check_part(form: Form, estimator: Linear | Trees | Averaged, encoder: Sequence[Encoding], place: str) -> None:
    if not isinstance(estimator, Linear) and any(isinstance(encoding, ProductEncoding) for encoding in encoder):
        raise malformed(place)  # trees multiply by themselves, and are explained column by column
    if isinstance(estimator, Trees):
        if len(estimator.base) != form.outputs:
            raise malformed(f"{place}.base")
        return
    if isinstance(estimator, Averaged):
        if any(len(row) != form.outputs for row in estimator.leaves):
            raise malformed(f"{place}.leaves")
        if form.classes is not None and not (
            estimator.floor > 0.0 and all(0.0 <= share <= 1.0 for row in estimator.leaves for share in row)
        ):
            raise malformed(f"{place}.leaves")
        return
    if len(estimator.coefficients) != form.outputs or len(estimator.intercepts) != form.outputs:
        raise malformed(f"{place}.intercepts")
    if any(len(row) != sum(encoding.width for encoding in encoder) for row in estimator.coefficients):
        raise malformed(f"{place}.coefficients")
    for index, encoding in enumerate(encoder):
        # A linear sum has no branch for a missing value: NaN would swallow the whole of it.
        if isinstance(encoding, OrdinalEncoding) or (
            (isinstance(encoding, NumberEncoding | CalendarEncoding) and encoding.fill is None)
            or (isinstance(encoding, LookupEncoding) and None in (encoding.other, encoding.missing))
        ):
            raise malformed(f"encoder.{index}")
