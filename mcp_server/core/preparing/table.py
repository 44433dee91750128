"""A table with its contract on the way through a plan: what a step may do to it, with roles and lineage kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import (
    Column,
    Contract,
    Derived,
    Made,
    Overrides,
    Part,
    Role,
    Synthetic,
    apply_overrides,
)
from mcp_server.core.contract.keeping import keep_promises, keep_table_promises
from mcp_server.core.contract.lineage import in_order, tainted
from mcp_server.core.expressions import Expression, parse
from mcp_server.core.expressions.polars_backend import compute
from mcp_server.core.ingest.infer import DTYPES, infer_columns, kind_of_dtype
from mcp_server.core.labels import closest, label
from mcp_server.core.preparing.plan import AnyStep
from mcp_server.core.training.split import split_rng, synthetic_rows
from mcp_server.errors import PlanRefused

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

FLAG = "made_up"
SOURCES = ("made_from", "made_with")
MOST_FILTER = 500
LONGEST_NAME = 256


@dataclass(frozen=True, slots=True, eq=False)
class DataTable:
    """A frame and a contract that fits it, but for ranges and the like, which `settled` measures at the end.

    Args:
        frame: shape (n, columns), the contract's columns in its order.
    """

    frame: pl.DataFrame
    contract: Contract

    @property
    def rows(self) -> int:
        return self.frame.height

    def column(self, name: str) -> Column:
        """The contract's column. Raises PlanRefused with what was probably meant."""
        for column in self.contract.columns:
            if column.name == name:
                return column
        raise PlanRefused(
            f"There is no column {label(name)!r} at this step.",
            hint=closest(name, self.frame.columns) or "describe_data lists the columns; a dry run shows each step.",
        )

    def synthetic(self) -> BoolArray:
        """Which rows are made up, shape (n,)."""
        return synthetic_rows(self.frame, self.contract)

    def condition(self, text: str) -> BoolArray:
        """Where a condition holds, shape (n,); missing counts as not.

        Raises:
            PlanRefused, DataRejected: it isn't a condition over the columns.
        """
        expression = parse(text)
        self._known(expression)
        kinds = {column.name: column.kind for column in self.contract.columns}
        if expression.kind(kinds) != "boolean":
            raise PlanRefused(
                "It isn't a condition: true or false for each row.", hint="Write a comparison, such as season >= 1985."
            )
        return compute(expression, self.frame).fill_null(False).to_numpy()

    def take(self, rows: IntArray) -> DataTable:
        """Some rows, in the order given; made-up rows whose sources go, go with them.

        Args:
            rows: indexes, each at most once.
        """
        marks = self.contract.synthetic
        if marks is None:
            return DataTable(self.frame[rows], self.contract)
        made = self.synthetic()
        sources = [self.frame.get_column(name).fill_null(0).to_numpy() - 1 for name in marks.sources]
        kept = np.zeros(self.rows, dtype=bool)
        kept[rows[~made[rows]]] = True
        whole = np.logical_and.reduce([kept[np.where(made, source, 0)] for source in sources])
        rows = rows[~made[rows] | whole[rows]]
        place = np.zeros(self.rows, dtype=np.int64)
        place[rows] = np.arange(1, len(rows) + 1)
        moved = [
            pl.Series(name, np.where(made, place[np.where(made, source, 0)], 0)).replace(0, None)
            for name, source in zip(marks.sources, sources, strict=True)
        ]
        return DataTable(self.frame.with_columns(moved)[rows], self.contract)

    def put(
        self,
        values: Sequence[pl.Series],
        *,
        of: Mapping[str, frozenset[str]],
        roles: Mapping[str, Role] | None = None,
        personal: Iterable[str] = (),
        units: Mapping[str, str | None] | None = None,
    ) -> DataTable:
        """Add columns at the end, or replace the values of columns that are there.

        Derived columns that are computed from a replaced one are computed anew; a replaced derived column is no longer
        derived. A column that is computed from one known only after the event is known only after it too.

        Args:
            values: with names; types of `DTYPES`.
            of: for each, what it was made of; the target must not be among it where only rates of it were used.
            roles: of new columns; feature otherwise.
        Raises:
            PlanRefused: a name is too long.
        """
        new = {series.name: series for series in values if series.name not in self.frame.columns}
        replaced = {series.name: series for series in values if series.name in self.frame.columns}
        if any(len(name) > LONGEST_NAME for name in new):
            raise PlanRefused(
                f"A new column's name would have more than {LONGEST_NAME} characters.", hint="Give a shorter prefix."
            )
        marked, stated, unit = set(personal), roles or {}, units or {}
        columns = [
            _detached(column, self.contract) if column.name in replaced else column for column in self.contract.columns
        ]
        columns += [
            Column(
                name=name,
                kind=kind_of_dtype(series.dtype),
                role=stated.get(name, "feature"),
                nullable=True,
                personal=name in marked,
                unit=unit.get(name),
            )
            for name, series in new.items()
        ]
        expressions = self.contract.expressions
        made = dict(self.contract.ingredients)
        for name in (*new, *replaced):
            before = (parse(expressions[name]).columns if name in expressions else made.get(name)) or frozenset()
            sources = (frozenset(of.get(name, ())) | before) - {name}
            if sources:
                made[name] = sources
        frame = self.frame.with_columns(list(replaced.values())).hstack(list(new.values()))
        kept = tuple(derived for derived in self.contract.derived if derived.name not in replaced)
        contract = self._with(columns, kept, made, altered=frozenset(replaced))
        return DataTable(_recomputed(frame, contract, frozenset(replaced)), contract)

    def derive(self, expressions: Mapping[str, str]) -> DataTable:
        """Add columns that expressions compute, each after those that it's computed from."""
        taken = next((name for name in expressions if name in self.frame.columns), None)
        if taken is not None:
            raise PlanRefused(
                f"There is a column {label(taken)!r} already.", hint="Give the derived column a name of its own."
            )
        table = self
        for name in in_order(expressions):
            expression = parse(expressions[name])
            table._known(expression)
            kind = expression.kind({column.name: column.kind for column in table.contract.columns})
            series = compute(expression, table.frame).cast(DTYPES[kind]).alias(name)
            personal = any(table.column(source).personal for source in expression.columns)
            column = Column(name=name, kind=kind, nullable=True, source="derived", personal=personal)
            derived = (*table.contract.derived, Derived(name=name, expression=expressions[name]))
            contract = table._with([*table.contract.columns, column], derived, table.contract.ingredients)
            table = DataTable(table.frame.hstack([series]), contract)
        return table

    def without(self, names: Iterable[str]) -> DataTable:
        """Without some columns; what was derived from them stays, as plain columns that remember their sources."""
        gone = set(names)
        marks = set(self.contract.synthetic.columns) if self.contract.synthetic else set()
        if gone & marks:
            raise PlanRefused(
                "These columns mark the made-up rows, so they stay.",
                hint="Keep the real rows with a filter if the made-up ones should go.",
            )
        columns, derived, made = [], [], dict(self.contract.ingredients)
        expressions = self.contract.expressions
        for column in self.contract.columns:
            if column.name in gone:
                continue
            reads = parse(expressions[column.name]).columns if column.name in expressions else frozenset()
            if reads & gone:
                made[column.name] = _through(reads, gone, expressions, self.contract.ingredients)
                columns.append(_detached(column, self.contract))
            else:
                derived += [one for one in self.contract.derived if one.name == column.name]
                columns.append(column)
        order = {one.name: at for at, one in enumerate(self.contract.derived)}
        derived.sort(key=lambda one: order[one.name])
        contract = self._with(columns, tuple(derived), made, altered=frozenset(gone))
        return DataTable(pl.DataFrame([series for series in self.frame if series.name not in gone]), contract)

    def with_roles(self, roles: Mapping[str, Role]) -> DataTable:
        """With other roles for some columns; what follows from them follows."""
        return DataTable(self.frame, apply_overrides(self.contract, Overrides(roles=dict(roles))))

    def with_filter(self, text: str) -> DataTable:
        """The contract says that a condition holds for every row, where there is room to say it."""
        before = self.contract.row_filter
        both = text if before is None else f"({before}) and ({text})"
        if len(both) > MOST_FILTER:
            return self
        return DataTable(self.frame, self.contract.model_copy(update={"row_filter": both}))

    def add_rows(self, frame: pl.DataFrame, sources: tuple[IntArray, IntArray]) -> DataTable:
        """Add made-up rows at the end, marked, with the numbers of the rows that they were made from.

        Args:
            frame: the columns of this table but the marks; derived ones are computed anew.
            sources: two arrays of indexes, each of shape (rows of frame,); the same twice for one source.
        """
        table = self if self.contract.synthetic is not None else self._with_marks()
        marks = table.contract.synthetic
        assert marks is not None
        added = frame.with_columns(
            pl.lit(True).alias(marks.flag),
            *(pl.Series(name, rows + 1) for name, rows in zip(marks.sources, sources, strict=True)),
        )
        added = pl.DataFrame([added.get_column(name) for name in table.frame.columns])
        derived = {name for name in table.contract.expressions if name != table.contract.target}
        added = _recomputed(added.cast(table.frame.schema), table.contract, only=frozenset(derived))
        return DataTable(pl.concat([table.frame, added]), table.contract)

    def settled(self, before: Contract) -> DataTable:
        """The contract measured anew: ranges, allowed values, patterns, missing values, kinds of new text columns.

        What a person stated stays as it is.

        Args:
            before: of the version that the plan began with: what was text or a category there, stays it.
        """
        seen = {column.name: column for column in infer_columns(self.frame, list(self.contract.expressions))}
        kinds = {column.name: column.kind for column in before.columns}
        columns = []
        for column in self.contract.columns:
            fresh = seen[column.name]
            same = kinds.get(column.name)
            kind = same if same in ("text", "category") and fresh.kind in ("text", "category") else fresh.kind
            personal = column.personal or (column.name not in kinds and fresh.personal)
            measured = {part: getattr(fresh, part) for part in ("nullable", "minimum", "maximum", "unique")}
            measured |= {
                "allowed": fresh.allowed if kind == "category" else None,
                "pattern": None if personal else fresh.pattern,
            }
            sure = {part: share for part, share in fresh.inferred.items() if measured.get(part, kind) is not None}
            columns.append(column.model_copy(update={**measured, "kind": kind, "personal": personal, "inferred": sure}))
        contract = self._with(columns, self.contract.derived, self.contract.ingredients)
        return DataTable(self.frame, keep_promises(self.contract, contract))

    def _with(
        self,
        columns: Sequence[Column],
        derived: Sequence[Derived],
        made: Mapping[str, frozenset[str]],
        *,
        altered: frozenset[str] = frozenset(),
    ) -> Contract:
        """A contract with roles settled: what is computed from something known only after the event, is too."""
        names = {column.name for column in columns}
        known = {name: sources for name, sources in made.items() if name in names}
        condition = self.contract.row_filter
        if condition is not None and parse(condition).columns & altered:
            condition = None  # it was true of values that are no longer these
        hidden = {column.name for column in columns if column.role in ("known_after", "target")}
        expressions = {one.name: one.expression for one in derived}
        late = tainted(hidden, expressions, known)
        settled = [
            column.model_copy(update={"role": "known_after"})
            if column.role == "feature" and column.name in late
            else column
            for column in columns
        ]
        contract = Contract(
            columns=tuple(settled),
            derived=tuple(derived),
            row_filter=condition,
            made=tuple(Made(name=name, columns=tuple(sorted(sources))) for name, sources in sorted(known.items())),
            synthetic=self.contract.synthetic,
        )
        return keep_table_promises(self.contract, contract)

    def _with_marks(self) -> DataTable:
        names = [self._free(name) for name in (FLAG, *SOURCES)]
        marks = Synthetic(flag=names[0], sources=tuple(names[1:]))
        frame = self.frame.with_columns(
            pl.lit(False).alias(marks.flag), *(pl.lit(None, dtype=pl.Int64).alias(name) for name in marks.sources)
        )
        columns = [
            *self.contract.columns,
            Column(name=marks.flag, kind="boolean", role="ignored"),
            *(Column(name=name, kind="integer", role="ignored", nullable=True) for name in marks.sources),
        ]
        return DataTable(
            frame,
            Contract(**{**dict(self.contract), "columns": tuple(columns), "synthetic": marks}),
        )

    def _free(self, name: str) -> str:
        number, free = 1, name
        while free in self.frame.columns:
            number += 1
            free = f"{name}_{number}"
        return free

    def _known(self, expression: Expression) -> None:
        for name in sorted(expression.columns):
            self.column(name)


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may use besides its table.

    Args:
        rng: the step's own stream.
        seed: of the plan: what splits draw with, as training does.
        checking_seed: what validate_data draws with for the plan's input, so that a rule flags the same rows here.
        others: reference to the table of another version, for joins.
        most_rows: no step may make more.
    """

    rng: np.random.Generator
    seed: int
    checking_seed: int = 0
    others: Mapping[str, DataTable] = field(default_factory=dict)
    most_rows: int = 10_000_000

    def split_rng(self) -> np.random.Generator:
        return split_rng(self.seed)


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """What a step did.

    Args:
        said: one sentence of ours, without names or values from the data.
        fitted: what was measured and used, as JSON; stored with the version.
        shown: the part of it that an answer can hold; names and values from the data.
    """

    table: DataTable
    said: str
    fitted: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)


def columns_said(number: int) -> str:
    """A number of columns for a sentence.

    >>> columns_said(1), columns_said(2)
    ('1 column', '2 columns')
    """
    return f"{number} column{'' if number == 1 else 's'}"


Apply = Callable[[AnyStep, DataTable, Context], Done]


def _detached(column: Column, contract: Contract) -> Column:
    """A column that no expression computes any more, with nothing said of its values but what a person stated."""
    said: dict[Part, Any] = {"minimum": None, "maximum": None, "allowed": None, "pattern": None}
    said |= {"unique": False, "nullable": True}
    open_again: dict[str, Any] = {part: value for part, value in said.items() if not contract.states(column, part)}
    return column.model_copy(update={"source": "file", **open_again})


def _through(
    reads: frozenset[str], gone: set[str], expressions: Mapping[str, str], made: Mapping[str, frozenset[str]]
) -> frozenset[str]:
    """The columns that are read, and in place of computed ones that go also what these were computed from."""
    found = set(reads)
    reached = [name for name in reads if name in gone]
    while reached:
        name = reached.pop()
        sources = parse(expressions[name]).columns if name in expressions else made.get(name, frozenset())
        fresh = sources - found
        found |= fresh
        reached += [source for source in fresh if source in gone]
    return frozenset(found)


def _recomputed(
    frame: pl.DataFrame, contract: Contract, replaced: frozenset[str] = frozenset(), only: frozenset[str] | None = None
) -> pl.DataFrame:
    """The derived columns that are computed from replaced ones, or those of `only`, computed anew."""
    expressions = contract.expressions
    wanted = tainted(replaced, expressions) if only is None else only
    for name in in_order(expressions):
        if name in wanted:
            expression = parse(expressions[name])
            values = compute(expression, frame).cast(DTYPES[contract.column(name).kind]).alias(name)
            frame = frame.with_columns(values)
    return frame
