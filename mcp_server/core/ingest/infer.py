"""What a typed table shows about itself: kinds, ranges, allowed values, what names a row, what orders rows in time."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import polars as pl

from mcp_server.core.contract import Column, Kind, Part
from mcp_server.core.ingest.codes import code_pattern
from mcp_server.core.ingest.parts import Parts, in_parts
from mcp_server.core.personal.find import looks_personal
from mcp_server.errors import InvalidInput

MAX_CATEGORIES = 200
DTYPES: dict[Kind, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "category": pl.String(),
    "text": pl.String(),
    "date": pl.Date(),
    "datetime": pl.Datetime("us", "UTC"),
}
"""How each kind of column is held in memory and in Parquet."""

_KINDS: dict[pl.DataType, Kind] = {dtype: kind for kind, dtype in DTYPES.items() if kind != "category"}
_HEAD = 10_000
# Together the contract has to stay small enough to be stored and sent.
_ALLOWED_LENGTH = 8_000
_ALLOWED_TOTAL = 1_000_000
_TIME_NAME = re.compile(r"(?:^|[^a-z])(?:date|day|time|timestamp|datetime|when)(?:$|[^a-z])", re.IGNORECASE)
_KEY_NAME = re.compile(
    r"(?:^|[^a-z])(?:id|key|uuid|guid|no|nr|number|index|code)$|(?<=[a-z])(?:Id|ID|Key)$", re.IGNORECASE
)


def kind_of_dtype(dtype: pl.DataType) -> Kind:
    """The kind of a column in memory; `text` for String, whatever its values.

    Raises:
        InvalidInput: a type that tables of ours don't have.
    """
    if dtype not in _KINDS:
        raise InvalidInput("A column has a type that isn't supported.", hint="Use numbers, text, true/false or dates.")
    return _KINDS[dtype]


def infer_columns(frame: pl.DataFrame | Parts, derived: Sequence[str] = ()) -> tuple[Column, ...]:
    """One column of the contract for each column of the table; time and key have their roles.

    Args:
        frame: in memory or in parts; at least one row; the types of `DTYPES`.
        derived: the names of those that an expression computed.
    """
    budget = _ALLOWED_TOTAL
    columns: list[Column] = []
    parts = in_parts(frame)
    for values in parts.series():
        column = _infer(values, derived=values.name in derived)
        length = sum(map(len, column.allowed or ()))
        if length > min(budget, _ALLOWED_LENGTH):
            unlisted = {part: sure for part, sure in column.inferred.items() if part != "allowed"}
            column = column.model_copy(update={"allowed": None, "inferred": unlisted})
        else:
            budget -= length
        columns.append(column)
    time = _time_column(columns)
    key = _key_column(columns, parts, time)
    return tuple(
        column.model_copy(update={"role": "time" if column.name == time else "key"})
        if column.name in {time, key}
        else column
        for column in columns
    )


def _infer(named: pl.Series, *, derived: bool) -> Column:
    # A name such as ^a.*$ would be a pattern to many of a column's own methods.
    values = named.alias("values")
    kind = kind_of_dtype(values.dtype)
    personal = looks_personal(named)
    low = high = None
    if kind in {"integer", "number"} and not personal and values.null_count() < values.len():
        low, high = (float(bound) for bound in (values.min(), values.max()))  # type: ignore[arg-type]
    allowed = None
    if kind == "text":
        allowed = categories(values)
        kind = "text" if allowed is None else "category"
    column = Column(
        name=named.name,
        kind=kind,
        nullable=values.null_count() > 0,
        minimum=low,
        maximum=high,
        allowed=None if personal else allowed,
        # A shape of personal values can tell some of them.
        pattern=code_pattern(values) if kind in {"category", "text"} and not personal else None,
        unique=kind not in {"number", "boolean"} and all_unique(values),
        source="derived" if derived else "file",
        personal=personal,
    )
    return column.model_copy(update={"inferred": confidence(column, values)})


def confidence(column: Column, values: pl.Series) -> dict[Part, float]:
    """For each part that was inferred, the estimated chance that one more row keeps it; at most 0.9999.

    After n rows without an exception the next is none with a chance of (n + 1) / (n + 2); a new value isn't below the
    least of n others with n / (n + 1), nor above the largest; and it's one of those listed with
    1 - (values seen once) / n.

    Source:
        Laplace's rule of succession; exchangeable ranks; Good (1953), Biometrika 40, for values not seen yet.
    """
    rows, known = values.len(), values.len() - values.null_count()
    kept = (rows + 1) / (rows + 2)
    sure: dict[Part, float] = {"kind": (known + 1) / (known + 2), "nullable": 1.0 if column.nullable else kept}
    if column.minimum is not None:
        sure["minimum"] = sure["maximum"] = known / (known + 1)
    if column.allowed is not None:
        once = int((values.drop_nulls().alias("value").value_counts(name="count")["count"] == 1).sum())
        sure["allowed"] = min(1 - once / known, (known + 1) / (known + 2))
    if column.pattern is not None:
        # Of a long column those at its head: a pattern is no less sure than they make it.
        different = known if column.unique else values.head(_HEAD).drop_nulls().n_unique()
        sure["pattern"] = (different + 1) / (different + 2)
    if column.unique:
        sure["unique"] = kept
    # Rounded down, so that nothing inferred is told as certain.
    return {part: min(math.floor(10_000 * share) / 10_000, 0.9999) for part, share in sure.items()}


def categories(values: pl.Series) -> tuple[str, ...] | None:
    """The distinct texts, sorted, where they are fewer than 200 and than half the rows; otherwise None."""
    bound = min(MAX_CATEGORIES, values.len() / 2)
    if values.head(_HEAD).drop_nulls().n_unique() >= bound:
        return None
    distinct = values.drop_nulls().unique()
    return tuple(sorted(distinct.to_list())) if 0 < distinct.len() < bound else None


def all_unique(values: pl.Series) -> bool:
    """Whether no value occurs twice and none is missing."""
    if values.null_count():
        return False
    head = values.head(_HEAD)
    return head.n_unique() == head.len() and (head.len() == values.len() or values.n_unique() == values.len())


def _time_column(columns: list[Column]) -> str | None:
    timely = [column.name for column in columns if column.kind in {"date", "datetime"} and not column.personal]
    if len(timely) == 1:
        return timely[0]
    return next((name for name in timely if _TIME_NAME.search(name)), None)


def _key_column(columns: list[Column], parts: Parts, time: str | None) -> str | None:
    """The one column that names rows: text, or whole numbers that are called an id or count the rows."""
    unique = [column for column in columns if column.unique and column.source == "file" and column.name != time]
    named = [column.name for column in unique if _KEY_NAME.search(column.name)]
    if len(named) == 1:
        return named[0]
    texts = [column.name for column in unique if column.kind in {"text", "category"}]
    whole = [column.name for column in unique if column.kind == "integer"]
    counters = [name for name in whole if _counts(parts.column(parts.columns.index(name)).alias("values"))]
    candidates = named or [*texts, *counters]
    return candidates[0] if len(candidates) == 1 and parts.height > 1 else None


def _counts(values: pl.Series) -> bool:
    """Whether whole numbers run 0, 1, 2.. or 1, 2, 3.. down the rows."""
    return values[0] in {0, 1} and bool((values.diff().drop_nulls() == 1).all())
