"""Which rows a model learns from, which calibrate it and which judge it.

Later rows judge a model of earlier ones wherever the table has a time: a random split would let it learn from games
played after those it's asked about. Rows of the same moment stay together. A made-up row only ever teaches, and only
where every row that it was made from teaches too.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract
from mcp_server.core.expressions.polars_backend import compute
from mcp_server.core.labels import label
from mcp_server.core.training.judging import check_test, condition, cutoff, is_share
from mcp_server.core.training.target import Target, target_values
from mcp_server.errors import InvalidInput, TrainingRefused

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TEST_SHARE = 0.2
CALIBRATION_SHARE = 0.12
VALIDATION_SHARE = 0.1

MIN_TRAIN = 50
MIN_TEST = 20
MIN_CLASS_TRAIN = 8
MIN_CLASS_TEST = 3
MIN_GROUPS = 10
MIN_CALIBRATION = {"binary": 200, "multiclass": 200, "regression": 40}
_MOST_CALIBRATION = 0.2  # of the rows that could be learned from
_MIN_FOR_VALIDATION = 1_000

_UNUSED, _FIT, _VALIDATION, _CALIBRATION, _TEST = range(5)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A part for each row.

    Args:
        parts: shape (n,): 0 unused, 1 fit, 2 validation, 3 calibration, 4 test.
        how: what was done, for a person.
        by_time: whether later rows judge earlier ones.
    """

    parts: NDArray[np.uint8]
    how: str
    by_time: bool

    @property
    def seen(self) -> IntArray:
        """Indexes of the rows that the model was fitted, tuned or calibrated on, rising."""
        return np.flatnonzero((self.parts != _UNUSED) & (self.parts != _TEST))

    @property
    def fit(self) -> IntArray:
        """Indexes of the rows that the number of iterations is chosen without, rising."""
        return np.flatnonzero(self.parts == _FIT)

    @property
    def validation(self) -> IntArray:
        """Indexes of the rows that choose the number of iterations, rising; they are learned from afterwards."""
        return np.flatnonzero(self.parts == _VALIDATION)

    @property
    def train(self) -> IntArray:
        """Indexes of all rows that are learned from: fit and validation, rising."""
        return np.flatnonzero((self.parts == _FIT) | (self.parts == _VALIDATION))

    @property
    def calibration(self) -> IntArray:
        """Indexes of the rows that calibrate, rising; empty where there are too few rows."""
        return np.flatnonzero(self.parts == _CALIBRATION)

    @property
    def test(self) -> IntArray:
        """Indexes of the rows that judge, rising; nothing is fitted on them."""
        return np.flatnonzero(self.parts == _TEST)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, compressed: a part for each of a million rows is a few kilobytes where they're in order of time."""
        packed = base64.b64encode(zlib.compress(self.parts.tobytes(), 6)).decode()
        return {"rows": len(self.parts), "parts": packed, "how": self.how, "by_time": self.by_time}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Split:
        """A split from what `to_dict` gave, by the same process family: not for untrusted input."""
        parts = np.frombuffer(zlib.decompress(base64.b64decode(value["parts"])), dtype=np.uint8)
        return cls(parts, value["how"], value["by_time"])


def plan_split(
    frame: pl.DataFrame,
    contract: Contract,
    target: Target,
    *,
    test: str | float | None = None,
    train: str | None = None,
    calibration: str | None = None,
    calibrated_on_folds: bool = False,
    rng: np.random.Generator,
) -> Split:
    """Give each row its part.

    Args:
        frame: the table of the contract, shape (n, columns).
        test: a condition such as `season >= 2011`; a date from which on rows judge; a share such as 0.2; or None
            for a fifth. A share is the last one in time where the contract has a time column, else drawn in whole
            groups where a key column names several rows, else drawn by class.
        train: a condition on the rows to learn and calibrate from; without it all that don't judge.
        calibration: a condition on those of them that calibrate; without it their last eighth in time, or drawn.
        calibrated_on_folds: keep no rows apart to calibrate on or to stop boosting at: folds of those that are learned
            from do both.
    Returns:
        the split; rows without a target, and in a split by time those without a time, are unused.
    Raises:
        TrainingRefused: too few rows or classes for a part; the message says what is needed.
        InvalidInput, DataRejected: a condition names no column of the table or isn't in the expression language.
    """
    if isinstance(test, str) and is_share(test):
        test = float(test)
    values = target_values(frame, contract, target)
    moments = row_moments(frame, contract)
    groups = None if moments is not None else row_groups(frame, contract)
    synthetic = synthetic_rows(frame, contract)
    labelled = ~np.isnan(values) & ~synthetic
    parts = np.full(frame.height, _UNUSED, dtype=np.uint8)
    notes: list[str] = []

    usable = labelled.copy()
    if moments is not None and not isinstance(test, str):
        usable &= moments >= 0
        notes += _left_out(int((labelled & ~usable).sum()), "without a time")
    order = _Order(values, moments, groups, target)
    judging, said = _test_rows(frame, contract, test, usable, order, rng)
    notes.append(said)
    parts[judging] = _TEST

    learning = labelled & ~judging
    allowed = ~np.isnan(values)
    if isinstance(test, str):
        # A condition that is missing for a row says neither "test" nor "not test".
        allowed &= ~_unknown(frame, contract, test)
    if train is not None:
        allowed &= _condition(frame, contract, train)
        notes.append(f"Learned from: rows where {train}.")
    if moments is not None:
        allowed &= moments >= 0
    learning &= allowed
    parts[learning] = _FIT

    if calibration is not None:
        chosen = learning & _condition(frame, contract, calibration)
        parts[chosen] = _CALIBRATION
        notes.append(f"Calibrated on rows where {calibration}.")
    else:
        wanted = 0 if calibrated_on_folds else _calibration_size(int(learning.sum()), target.task)
        if wanted:
            parts[_tail(learning, wanted, order, rng)] = _CALIBRATION
    fitted = parts == _FIT
    if int(fitted.sum()) >= _MIN_FOR_VALIDATION and not calibrated_on_folds:
        wanted = round(VALIDATION_SHARE * int(fitted.sum()))
        parts[_tail(fitted, wanted, order, rng)] = _VALIDATION
    if synthetic.any():
        taught = synthetic & allowed & made_from(frame, contract, parts == _FIT)
        parts[taught] = _FIT
        others = int(synthetic.sum() - taught.sum())
        notes.append(f"{int(taught.sum()):,} made-up rows are learned from, {others:,} left out.")

    split = Split(parts, " ".join([*notes, _summary(parts, calibrated_on_folds)]), moments is not None)
    _require_enough(split, values, target)
    return split


def split_rng(seed: int) -> np.random.Generator:
    """What a split draws with: preparing and training with one seed leave the same rows unseen."""
    return np.random.default_rng([seed, 0])


def synthetic_rows(frame: pl.DataFrame, contract: Contract) -> BoolArray:
    """Which rows are made up, shape (n,): nothing may be judged, calibrated or tuned on them."""
    if contract.synthetic is None:
        return np.zeros(frame.height, dtype=bool)
    return frame.get_column(contract.synthetic.flag).fill_null(False).to_numpy().copy()


def made_from(frame: pl.DataFrame, contract: Contract, rows: BoolArray) -> BoolArray:
    """Which rows were made from nothing but some rows, shape (n,); the contract says where made-up rows are."""
    assert contract.synthetic is not None
    made = np.ones(frame.height, dtype=bool)
    for name in contract.synthetic.sources:
        # A number outside the table names no row that teaches.
        source = frame.get_column(name).fill_null(0).to_numpy() - 1
        there = (source >= 0) & (source < frame.height)
        made &= there & rows[np.where(there, source, 0)]
    return made


def _test_rows(
    frame: pl.DataFrame,
    contract: Contract,
    test: str | float | None,
    usable: BoolArray,
    order: _Order,
    rng: np.random.Generator,
) -> tuple[BoolArray, str]:
    if isinstance(test, str):
        check_test(contract, test)
        start = cutoff(test)
        if start is None or contract.time is None:
            return usable & _condition(frame, contract, test), f"Judged on rows where {test}."
        late = frame.get_column(contract.time).cast(pl.Datetime("us")) >= start
        return usable & late.fill_null(False).to_numpy(), f"Judged on rows from {test} on."
    share = TEST_SHARE if test is None else float(test)
    if not 0.0 < share < 1.0:
        raise InvalidInput(
            "The share of test rows must be between 0 and 1.",
            hint="State a share such as 0.2, a date, or a condition such as season >= 2011.",
        )
    chosen = _tail(usable, max(1, round(share * int(usable.sum()))), order, rng)
    if order.moments is None:
        drawn = ", drawn by class" if order.target.classes is not None else ""
        if order.groups is not None:
            drawn = ", in whole groups of the same key"
        return chosen, f"Judged on a random {100 * share:.0f} % of the rows{drawn}."
    if not chosen.any():
        raise TrainingRefused(
            "The rows have too few different times to keep the latest for judging.",
            hint="State the test rows, as a condition or a date.",
        )
    return chosen, f"Judged on the last {100 * int(chosen.sum()) / int(usable.sum()):.0f} % of the rows in time."


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """What decides which rows belong together: shape (n,) each."""

    values: NDArray[np.float64]
    moments: IntArray | None
    groups: IntArray | None
    target: Target


def _tail(among: BoolArray, wanted: int, order: _Order, rng: np.random.Generator) -> BoolArray:
    """About `wanted` rows of `among`: the latest, whole moments only; or whole groups; or drawn by class.

    Empty where whole moments would take under half or over twice as many as wanted.
    """
    chosen = np.zeros(len(among), dtype=bool)
    rows = np.flatnonzero(among)
    if order.moments is not None:
        moments = order.moments[rows]
        distinct, counts = np.unique(moments, return_counts=True)
        sizes = np.cumsum(counts[::-1])  # of the last 1, 2, ... moments
        best = int(np.argmin(np.abs(sizes - wanted))) if len(sizes) else 0
        if len(sizes) > best + 1 and wanted / 2 <= sizes[best] <= 2 * wanted:
            chosen[rows] = moments >= distinct[len(distinct) - 1 - best]
        return chosen
    if order.groups is not None:
        groups = order.groups[rows]
        distinct, counts = np.unique(groups, return_counts=True)
        drawn = rng.permutation(len(distinct))
        sizes = np.cumsum(counts[drawn])
        taken = drawn[: 1 + int(np.argmin(np.abs(sizes - wanted)))]
        chosen[rows] = np.isin(groups, distinct[taken])
        return chosen
    if order.target.classes is None:
        chosen[rng.permutation(rows)[:wanted]] = True
        return chosen
    for index in range(len(order.target.classes)):
        members = rng.permutation(rows[order.values[rows] == index])
        chosen[members[: round(wanted * len(members) / len(rows))]] = True
    return chosen


def _calibration_size(rows: int, task: str) -> int:
    wanted = max(MIN_CALIBRATION[task], round(CALIBRATION_SHARE * rows))
    return wanted if wanted <= _MOST_CALIBRATION * rows else 0


def row_groups(frame: pl.DataFrame, contract: Contract) -> IntArray | None:
    """The group of each row, shape (n,): rows of one patient or customer, which must not stand on both sides.

    Returns:
        by the key column that names several rows each; by the one with the most values where several do. None where
        no key column repeats, or there are under ten groups. A row without a key is a group of its own.
    """
    found: tuple[int, IntArray] | None = None
    for name in contract.key:
        series = frame.get_column(name)
        ranks = series.rank("dense").cast(pl.Int64).fill_null(0).to_numpy().copy()
        known = ranks > 0
        distinct = int(ranks.max(initial=0))
        if not MIN_GROUPS <= distinct < int(known.sum()):
            continue
        ranks[~known] = distinct + 1 + np.arange(int((~known).sum()))
        if found is None or distinct > found[0]:
            found = distinct, ranks
    return None if found is None else found[1]


def row_moments(frame: pl.DataFrame, contract: Contract) -> IntArray | None:
    """Microseconds since 1 January of the year 1 for each row, -1 where missing; None without a time column."""
    if contract.time is None:
        return None
    series = frame.get_column(contract.time)
    if series.dtype.is_numeric():  # a season or a year orders as well as a date
        return (series.rank("dense").cast(pl.Int64) - 1).fill_null(-1).to_numpy()
    stamps = series.cast(pl.Datetime("us")).to_physical()
    origin = (datetime(1970, 1, 1) - datetime(1, 1, 1)).days * 86_400_000_000  # noqa: DTZ001 - a difference of two
    return (stamps + origin).fill_null(-1).to_numpy()


def _condition(frame: pl.DataFrame, contract: Contract, text: str) -> BoolArray:
    return _verdicts(frame, contract, text).fill_null(False).to_numpy()


def _unknown(frame: pl.DataFrame, contract: Contract, text: str) -> BoolArray:
    if cutoff(text) is not None and contract.time is not None:  # a date, which has been compared with the time
        return frame.get_column(contract.time).is_null().to_numpy()
    return _verdicts(frame, contract, text).is_null().to_numpy()


def _verdicts(frame: pl.DataFrame, contract: Contract, text: str) -> pl.Series:
    return compute(condition(contract, text), frame)


def _left_out(rows: int, why: str) -> list[str]:
    return [f"{rows:,} rows {why} are left out."] if rows else []


def _summary(parts: NDArray[np.uint8], calibrated_on_folds: bool) -> str:
    learned = int(((parts == _FIT) | (parts == _VALIDATION)).sum())
    calibrated, judged = int((parts == _CALIBRATION).sum()), int((parts == _TEST).sum())
    middle = f", {calibrated:,} calibrate" if calibrated else ", none calibrate (too few rows)"
    if calibrated_on_folds:
        middle = ", which also tune and calibrate, in folds"
    return f"{learned:,} rows to learn from{middle}, {judged:,} judge."


def _require_enough(split: Split, values: NDArray[np.float64], target: Target) -> None:
    train, test = split.train, split.test
    details = {"train": len(train), "calibration": len(split.calibration), "test": len(test)}
    if len(train) < MIN_TRAIN or len(test) < MIN_TEST:
        raise TrainingRefused(
            f"There are {len(train)} rows to learn from and {len(test)} to judge on; at least {MIN_TRAIN} and "
            f"{MIN_TEST} are needed, all with a target.",
            hint="Import more rows, or state other test rows.",
            details=details,
        )
    if target.classes is None:
        return
    learned = np.bincount(values[train].astype(np.int64), minlength=len(target.classes))
    judged = np.bincount(values[test].astype(np.int64), minlength=len(target.classes))
    for index, name in enumerate(target.classes):
        if learned[index] < MIN_CLASS_TRAIN:
            raise TrainingRefused(
                f"The class {label(name)!r} has {learned[index]} rows to learn from; {MIN_CLASS_TRAIN} are needed.",
                hint="Import more rows of it, filter the class out, or state other test rows.",
                details=details,
            )
    if int((judged >= MIN_CLASS_TEST).sum()) < 2:
        raise TrainingRefused(
            f"The {len(test)} test rows have fewer than two classes with {MIN_CLASS_TEST} rows each.",
            hint="State test rows on which more than one outcome happened.",
            details=details,
        )
