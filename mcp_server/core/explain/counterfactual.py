"""The nearest change of a row found that gives another answer: few columns, within the contract, proven by predicting.

A search, not a proof that nothing is nearer: single columns over all values to try, then pairs and threes of those that
help most; what flips is brought as near to the row as it still flips, and written with as few digits as do.

Source: Wachter, Mittelstadt & Russell (2018), Harvard J. of Law & Technology 31(2), for the distance in units of the
median absolute deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract
from mcp_server.core.explain.movable import Movable
from mcp_server.core.expressions import parse
from mcp_server.core.expressions.polars_backend import compute
from mcp_server.core.predictor.batch import BatchPredictor, best_classes, calibrated
from mcp_server.core.predictor.row import Answer, Predictor

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Changed = dict[str, Any]

MOST_COLUMNS = 3
MOST_TOLD = 3
_COLUMNS_TOGETHER = 8
_VALUES_TOGETHER = 8
_NEARER = 0.8  # of the distance with one column less: what a further column must be worth
_STEPS = 33
_DIGITS = range(2, 16)
_OVERSHOOT = 1.02  # of the way to the value: what fewer digits may cost


@dataclass(frozen=True, slots=True)
class Change:
    """One column of a counterfactual, with its value before and after."""

    column: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """A changed row that gets another answer.

    Args:
        changes: one to three.
        distance: the sum of the columns' distances in robust units; see `Movable.scale`.
        answer: what the model says about the changed row.
    """

    changes: tuple[Change, ...]
    distance: float
    answer: Answer


class Search:
    """Looks for counterfactuals of one row.

    Args:
        predictor, batch: the same form, for rows and for tables.
        row: typed, by given input; None where missing.
        schema: given input to its polars type.
        columns: that may be changed.
        contract: its rules hold for a changed row, as far as the row has their columns and keeps them itself.
        move: of a regression, by how much its value should at least change, with the sign; None for classes.
    """

    def __init__(
        self,
        predictor: Predictor,
        batch: BatchPredictor,
        row: Mapping[str, Any],
        *,
        schema: Mapping[str, pl.DataType],
        columns: Sequence[Movable],
        contract: Contract,
        move: float | None,
    ) -> None:
        self._predictor = predictor
        self._batch = batch
        self._row = dict(row)
        self._schema = dict(schema)
        self._columns = {one.column: one for one in columns}
        self._move = move
        self._before = self._values(self._frame([{}]))[0][0]
        self._flags = {(flag.column, flag.kind) for flag in self._answer({}).flags}
        self._rules = [rule for rule in self._promised(contract) if self._keeps(rule, self._frame([{}])).all()]

    def find(self) -> list[Counterfactual]:
        """The nearest changes found, those of fewer columns first; empty where there is none within the contract."""
        found: list[Counterfactual] = []
        alone = self._tried([{name: value} for name, one in self._columns.items() for value in one.values])
        nearest = self._nearest([change for change, _, flips in alone if flips])
        seen: set[str] = set()
        for change in nearest:
            (name,) = change
            if name not in seen and len(seen) < MOST_TOLD - 1:
                seen.add(name)
                found += self._proven(self._closer(change))
        found.sort(key=lambda one: one.distance)
        useful = {
            name: _front([tried for tried in alone if name in tried[0]], self._distance) for name in self._columns
        }
        names = sorted(useful, key=lambda name: -max((score for _, score, _ in useful[name]), default=-np.inf))
        names = [name for name in names if useful[name]][:_COLUMNS_TOGETHER]
        for size in range(2, MOST_COLUMNS + 1):
            if size > 2 and found:
                break
            together = self._tried(list(_together(names, useful, size)))
            best = self._nearest([change for change, _, flips in together if flips])[:1]
            for counterfactual in self._proven(self._closer(best[0])) if best else []:
                if not found or counterfactual.distance < _NEARER * found[0].distance:
                    found.append(counterfactual)
        return found[:MOST_TOLD]

    def _tried(self, changes: list[Changed]) -> list[tuple[Changed, float, bool]]:
        """Each change that keeps the rules, with how near it is to another answer, and whether it gets one."""
        if not changes:
            return []
        frame = self._frame(changes)
        scores, flips = self._scores(frame)
        keeps = np.ones(len(changes), dtype=np.bool_)
        for rule in self._rules:
            keeps &= self._keeps(rule, frame)
        return [
            (change, float(score), bool(flip))
            for change, score, flip, kept in zip(changes, scores, flips, keeps, strict=True)
            if kept
        ]

    def _scores(self, frame: pl.DataFrame) -> tuple[FloatArray, BoolArray]:
        values, shares = self._values(frame)
        if shares is None:
            assert self._move is not None
            moved = (values - self._before) * np.sign(self._move) - abs(self._move)
            return moved, moved >= 0.0
        own = int(self._before)
        if self._batch.form.outputs == 1:
            beyond = shares[:, 1] - self._batch.form.threshold
            return (-beyond if own else beyond), values != own
        others = np.delete(shares, own, axis=1).max(axis=1)
        return others - shares[:, own], values != own

    def _values(self, frame: pl.DataFrame) -> tuple[FloatArray, FloatArray | None]:
        """As `BatchAnswers.values` and `probabilities`, without the flags, which would take most of the time."""
        outputs = self._batch.score(self._batch.encode(frame))
        if self._batch.form.classes is None:
            return outputs[:, 0], None
        shares = calibrated(outputs, self._batch.form.calibration)
        return best_classes(shares, self._batch.form).astype(np.float64), shares

    def _closer(self, change: Changed) -> Changed:
        """The change with each number as near to the row's own as it still flips, and with few digits."""
        change = dict(change)
        for name in list(change):
            column = self._columns[name]
            if column.low is None or column.high is None:
                continue
            own, after = float(self._row[name]), float(change[name])
            # A row outside the contract comes back as far as its edge at least.
            before = min(max(own, column.low), column.high)
            for _ in range(2):
                steps = np.linspace(before, after, _STEPS)
                steps = steps[steps != own]
                if column.kind == "integer":
                    steps = np.unique(np.round(steps)) if after > before else -np.unique(-np.round(steps))
                flipping = [step for step, flips in self._flipping(change, name, steps) if flips]
                if not flipping:
                    break
                place = int(np.flatnonzero(steps == flipping[0])[0])
                before, after = (before if place == 0 else float(steps[place - 1])), float(flipping[0])
            change[name] = self._few_digits(change, name, after)
        return change

    def _flipping(self, change: Changed, name: str, values: Iterable[float]) -> list[tuple[float, bool]]:
        tried = self._tried([{**change, name: self._typed(name, value)} for value in values])
        return [(float(one[name]), flips) for one, _, flips in tried]

    def _few_digits(self, change: Changed, name: str, value: float) -> Any:
        column = self._columns[name]
        if column.kind == "integer":
            return int(value)
        assert column.low is not None
        assert column.high is not None
        own = float(self._row[name])
        tried = []
        for digits in _DIGITS:
            unit = 10.0 ** (np.floor(np.log10(max(abs(value), column.scale))) - digits + 1)
            # Away from the row's own value, so that it isn't written back over the edge.
            written = float(f"{(np.ceil if value > own else np.floor)(value / unit) * unit:.15g}") + 0.0
            if abs(written - own) <= _OVERSHOOT * abs(value - own) and column.low <= written <= column.high:
                tried.append(written)
        return next((written for written, flips in self._flipping(change, name, tried) if flips), value)

    def _proven(self, change: Changed) -> list[Counterfactual]:
        """The counterfactual as the model answers it row by row; none where it isn't one then, or adds a flag."""
        answer = self._answer(change)
        if {(flag.column, flag.kind) for flag in answer.flags} - self._flags or not self._reached(answer):
            return []
        changes = tuple(Change(name, self._row[name], value) for name, value in sorted(change.items()))
        return [Counterfactual(changes, self._distance(change), answer)]

    def _reached(self, answer: Answer) -> bool:
        if isinstance(answer.value, str):
            classes = self._batch.form.classes or []
            return answer.value != classes[int(self._before)]
        assert self._move is not None
        moved = (answer.value - float(self._before)) * float(np.sign(self._move))
        return moved >= abs(self._move) * (1.0 - 1e-9)

    def _answer(self, change: Changed) -> Answer:
        return self._predictor.answer({**self._row, **change})

    def _nearest(self, changes: list[Changed]) -> list[Changed]:
        return sorted(changes, key=self._distance)

    def _distance(self, change: Changed) -> float:
        return sum(self._columns[name].distance(self._row[name], value) for name, value in change.items())

    def _typed(self, name: str, value: float) -> Any:
        return int(value) if self._columns[name].kind == "integer" else float(value)

    def _frame(self, changes: list[Changed]) -> pl.DataFrame:
        # A column that no change touches is written once.
        columns = []
        for name, dtype in self._schema.items():
            own = self._row.get(name)
            if any(name in change for change in changes):
                columns.append(pl.Series(name, [change.get(name, own) for change in changes], dtype=dtype))
            else:
                columns.append(pl.Series(name, [own], dtype=dtype).new_from_index(0, len(changes)))
        return pl.DataFrame(columns)

    def _promised(self, contract: Contract) -> Iterator[str]:
        known = {name for name, value in self._row.items() if value is not None}
        for rule in contract.rules:
            if rule.severity != "info" and parse(rule.expression).columns <= known:
                yield rule.expression

    def _keeps(self, rule: str, frame: pl.DataFrame) -> BoolArray:
        kept: BoolArray = compute(parse(rule), frame).fill_null(True).to_numpy()
        return kept


def _together(
    names: Sequence[str], useful: Mapping[str, Sequence[tuple[Changed, float, bool]]], size: int
) -> Iterator[Changed]:
    for chosen in combinations(names, size):
        for parts in product(*(useful[name] for name in chosen)):
            yield {name: value for change, _, _ in parts for name, value in change.items()}


def _front(
    tried: Sequence[tuple[Changed, float, bool]], distance: Callable[[Changed], float]
) -> list[tuple[Changed, float, bool]]:
    """The changes of one column that get nearer to another answer than each smaller one; a few of them."""
    front: list[tuple[Changed, float, bool]] = []
    for one in sorted(tried, key=lambda one: (distance(one[0]), -one[1])):
        if not front or one[1] > front[-1][1]:
            front.append(one)
    if not front:
        return []
    places = np.unique(np.linspace(0, len(front) - 1, _VALUES_TOGETHER).astype(np.int64))
    return [front[int(at)] for at in places]
