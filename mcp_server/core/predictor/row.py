"""One row to one answer in plain Python: what the server runs for a request.

Nothing here imports numpy; `batch` evaluates the same form over a table and agrees to 1e-12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from math import exp, isfinite, nan
from typing import Any

from mcp_server.core.predictor import flags as flagging
from mcp_server.core.predictor.encodings import (
    NUMERIC,
    CalendarEncoding,
    ColumnEncoding,
    Encoding,
    HashEncoding,
    HingesEncoding,
    LookupEncoding,
    NumberEncoding,
    OneHotEncoding,
    OrdinalEncoding,
    ProductEncoding,
)
from mcp_server.core.predictor.flags import Flag
from mcp_server.core.predictor.form import (
    Form,
    Input,
    Isotonic,
    Platt,
    Temperature,
    Unsmoothed,
    derivations,
    read_form,
)
from mcp_server.core.predictor.hashing import hashed
from mcp_server.core.predictor.reading import refuse_empty, refuse_names, typed_value
from mcp_server.core.predictor.scoring import between, scorer
from mcp_server.errors import InvalidInput

_CALENDAR: dict[str, Callable[[date], int]] = {
    "year": lambda day: day.year,
    "month": lambda day: day.month,
    "weekday": lambda day: day.isoweekday(),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says about one row, and whether to trust it.

    Args:
        value: the most probable class, or the one that the form's costs ask for, or the number.
        probability: calibrated, of `value`; None for a regression.
        probabilities: of each class, summing to 1; None for a regression.
        interval: (low, high) at the form's level; None for classes, or where the model has none.
        flags: what is odd about the row; empty for an ordinary one.
    """

    value: str | float
    probability: float | None
    probabilities: dict[str, float] | None
    interval: tuple[float, float] | None
    flags: tuple[Flag, ...]


@dataclass(frozen=True, slots=True)
class _Column:
    """An input with what is needed for it on every row."""

    name: str
    kind: str
    numeric: bool
    minimum: float
    maximum: float
    known: frozenset[str] | None
    missing: str


class Predictor:
    """A compiled serving form. Immutable; safe to share between tasks and threads.

    `required` are the columns to send, `optional` the derived ones, computed where they aren't sent.
    """

    def __init__(self, form: Form) -> None:
        self.form = form
        derived = derivations(form.derived, form.inputs)
        computed = {name for name, _ in derived}
        self.required: tuple[str, ...] = tuple(column.name for column in form.inputs if column.name not in computed)
        self.optional: tuple[str, ...] = tuple(name for name, _ in derived)
        self._known = frozenset(self.required) | computed
        described = {column.name: _describe(form, column) for column in form.inputs}
        self._given = [described[name] for name in self.required]
        self._derived = [(name, expression, described.get(name)) for name, expression in derived]
        self._inputs = {column.name: column for column in form.inputs}
        self._encoders = [_encoder(encoding) for encoding in form.encoder]
        self._score = scorer(form)

    def answer(self, row: Mapping[str, object]) -> Answer:
        """Answer for one row.

        Args:
            row: column to value; null or absent where unknown. Dates as ISO text or date objects.
        Returns:
            the answer; what is odd about the row is flagged, not repaired.
        Raises:
            InvalidInput: an unknown column, a wrong type, a number that isn't finite, no value at all, or values
                so large that the model has no finite answer.
        """
        found: list[Flag] = []
        values = self._read(row, found)
        vector, has_missing = self._encode(values)
        return self._conclude(self._score(vector, has_missing), tuple(found))

    def encode(self, row: Mapping[str, object]) -> list[float]:
        """The estimator's vector for a row; NaN where a tree sees a missing value. Raises as `answer` does."""
        return self._encode(self._read(row, []))[0]

    def answer_vector(self, vector: list[float]) -> Answer:
        """The answer for an encoded vector of `form.width` numbers, without flags: what the parity gate compares."""
        has_missing = any(value != value for value in vector)
        return self._conclude(self._score(vector, has_missing), ())

    def _read(self, row: Mapping[str, object], found: list[Flag]) -> dict[str, Any]:
        if not row.keys() <= self._known:
            raise refuse_names(row, self.required, self._known)
        values: dict[str, Any] = {}
        empty = True
        for column in self._given:
            name = column.name
            value = row.get(name)
            if value is None:
                values[name] = None
                found.append(flagging.missing(name, column.missing))
                continue
            empty = False
            # The usual case at once (inf - inf isn't 0); typed_value has the rest, and the reasons of a refusal.
            if not (column.kind == "number" and type(value) is float and value - value == 0.0):
                value = typed_value(name, column.kind, value)
            values[name] = value
            if column.numeric:
                if not column.minimum <= value <= column.maximum:  # type: ignore[operator]
                    self._flag_number(column, float(value), found, unit=True)  # type: ignore[arg-type]
            elif column.known is not None and value not in column.known:
                found.append(flagging.unseen_category(name, str(value)))
        for name, expression, described in self._derived:
            value = row.get(name)
            if value is not None:
                empty = False
                value = typed_value(name, described.kind if described else "number", value)
            else:
                value = _finite(expression.evaluate(values))
            values[name] = value
            if described is not None:
                if value is None:
                    found.append(flagging.missing(name, described.missing))
                elif not described.minimum <= value <= described.maximum:  # type: ignore[operator]
                    self._flag_number(described, float(value), found, unit=False)  # type: ignore[arg-type]
        if empty:
            raise refuse_empty(self.required)
        return values

    def _flag_number(self, column: _Column, value: float, found: list[Flag], *, unit: bool) -> None:
        spec = self._inputs[column.name]
        found.append(flagging.out_of_range(column.name, value, column.minimum, column.maximum, spec.unit))
        if unit and spec.kind != "boolean":
            suspicion = flagging.suspected_unit(
                column.name, value, p01=spec.p01, p99=spec.p99, median=spec.median, unit=spec.unit
            )
            if suspicion is not None:
                found.append(suspicion)

    def _encode(self, values: dict[str, Any]) -> tuple[list[float], bool]:
        vector: list[float] = []
        has_missing = False
        for style, column, fill, positions, width in self._encoders:
            if style == "product":
                vector.append(vector[positions["first"]] * vector[positions["second"]])
                continue
            value = values[column]
            if style == "number":
                number = fill if value is None else float(value)
            elif style == "onehot":
                block = [0.0] * width
                if value is not None:
                    block[positions.get(value, width - 1)] = 1.0
                vector += block
                continue
            elif style == "hinges":
                held = fill if value is None else min(max(float(value), positions["low"]), positions["high"])
                vector.append((held - fill) / positions["scale"])
                vector += [max(0.0, held - knot) / positions["scale"] for knot in positions["knots"]]
                continue
            elif style == "ordinal":
                number = positions.get(value, nan)
            elif style == "lookup":
                number = fill if value is None else positions.get(value, positions[None])
            elif style == "hash":
                place, sign = (None, fill) if value is None else hashed(value, positions["places"])
                number = sign if place == positions["place"] else fill
            else:
                number = fill if value is None else float(_CALENDAR[style](value))
            if number != number:
                has_missing = True
            vector.append(number)
        return vector, has_missing

    def _conclude(self, outputs: list[float], found: tuple[Flag, ...]) -> Answer:
        for output in outputs:
            if output - output != 0.0:
                raise InvalidInput(
                    "The values are so large that the model has no finite answer.",
                    hint="Check the units of the row; its columns' usual ranges are in the model's card.",
                )
        form = self.form
        classes = form.classes
        calibration = form.calibration
        if classes is None:
            value = outputs[0]
            band = form.interval
            interval = None if band is None else (value - band.half_width, value + band.half_width)
            return Answer(value, None, None, interval, found)
        if len(classes) == 2:
            odds = outputs[0]
            if isinstance(calibration, Platt):
                odds = calibration.a * odds + calibration.b
            second = between(calibration.x, calibration.y, odds) if isinstance(calibration, Isotonic) else expit(odds)
            if isinstance(calibration, Unsmoothed):
                second = calibration.share(second, 2)
            first = 1.0 - second
            probabilities = {classes[0]: first, classes[1]: second}
            if second > form.threshold:
                return Answer(classes[1], second, probabilities, None, found)
            return Answer(classes[0], first, probabilities, None, found)
        if isinstance(calibration, Temperature):
            outputs = [output / calibration.t for output in outputs]
        shares = softmax(outputs)
        if isinstance(calibration, Unsmoothed):
            shares = [calibration.share(share, len(shares)) for share in shares]
        best = max(range(len(shares)), key=shares.__getitem__)
        return Answer(classes[best], shares[best], dict(zip(classes, shares, strict=True)), None, found)


def compile_form(form: Mapping[str, Any]) -> Predictor:
    """Check a serving form and make it ready to answer.

    Args:
        form: the decoded JSON object of a model version.
    Raises:
        CorruptArtefact: the form is malformed; the message says where.
    """
    return Predictor(read_form(form))


def expit(value: float) -> float:
    """The logistic function; in [0, 1] for any finite value, without overflow."""
    if value >= 0.0:
        return 1.0 / (1.0 + exp(-value))
    small = exp(value)
    return small / (1.0 + small)


def softmax(values: list[float]) -> list[float]:
    """Shares proportional to the exponentials, summing to 1; at least one value, all finite."""
    largest = max(values)
    powers = [exp(value - largest) for value in values]
    total = 0.0
    for power in powers:
        total += power
    return [power / total for power in powers]


def _describe(form: Form, spec: Input) -> _Column:
    numeric = spec.kind in NUMERIC
    encodings = [encoding for encoding in form.single if encoding.column == spec.name]
    known: frozenset[str] | None = None
    if spec.kind == "category":
        listed = [
            encoding.values
            for encoding in encodings
            if isinstance(encoding, OneHotEncoding | OrdinalEncoding | LookupEncoding)
        ]
        known = frozenset(spec.allowed) if spec.allowed is not None else frozenset(listed[0]) if listed else None
    return _Column(
        name=spec.name,
        kind=spec.kind,
        numeric=numeric,
        minimum=spec.minimum if numeric and spec.minimum is not None else -float("inf"),
        maximum=spec.maximum if numeric and spec.maximum is not None else float("inf"),
        known=known,
        missing=_treatment(encodings),
    )


def _treatment(encodings: list[ColumnEncoding]) -> str:
    if not encodings:
        return "what is derived from it is missing too"
    told: dict[str, None] = {}
    for encoding in encodings:
        if isinstance(encoding, OneHotEncoding):
            told["the model counts it as none of the values it knows"] = None
        elif isinstance(encoding, LookupEncoding | HashEncoding):
            told["the model takes what its preparation made of a missing value"] = None
        elif isinstance(encoding, HingesEncoding):
            told[f"the model takes {encoding.center:.6g} for it"] = None
        elif not isinstance(encoding, NumberEncoding | CalendarEncoding) or encoding.fill is None:
            told["the trees take the branch for missing values"] = None
        elif encoding.as_ == encodings[0].as_:  # of a date's parts the first stands for all
            told[f"the model takes {encoding.fill:.6g} for it"] = None
    return "; ".join(told)


def _encoder(encoding: Encoding) -> tuple[str, str, float, dict[str | None, Any], int]:
    if isinstance(encoding, NumberEncoding | CalendarEncoding):
        return encoding.as_, encoding.column, nan if encoding.fill is None else encoding.fill, {}, 1
    if isinstance(encoding, LookupEncoding):
        numbers: dict[str | None, Any] = {None: nan if encoding.other is None else encoding.other}
        numbers.update(zip(encoding.values, encoding.numbers, strict=True))
        return "lookup", encoding.column, nan if encoding.missing is None else encoding.missing, numbers, 1
    if isinstance(encoding, HashEncoding):
        return "hash", encoding.column, 0.0, {"place": encoding.place, "places": encoding.places}, 1
    if isinstance(encoding, HingesEncoding):
        told: dict[str | None, Any] = {name: getattr(encoding, name) for name in ("low", "high", "scale", "knots")}
        return "hinges", encoding.column, encoding.center, told, encoding.width
    if isinstance(encoding, ProductEncoding):
        return "product", "", nan, {"first": encoding.first, "second": encoding.second}, 1
    if isinstance(encoding, OneHotEncoding):
        return "onehot", encoding.column, nan, {value: at for at, value in enumerate(encoding.values)}, encoding.width
    return "ordinal", encoding.column, nan, {value: float(at) for at, value in enumerate(encoding.values)}, 1


def _finite(value: object) -> bool | int | float | None:
    """A derived value that isn't a finite number counts as missing."""
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None  # a boolean is an int here
    return value if isinstance(value, float) and isfinite(value) else None
