"""Columns that a preparation embedded, computed by the model itself when it predicts.

In the table they are numbers beside the column that they were made of; in the serving form they're looked up, or
hashed, from that column, so that a row is asked about as it comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract
from mcp_server.core.contract.lineage import MARK
from mcp_server.core.expressions import parse
from mcp_server.core.predictor.encodings import (
    MAX_LOOKED_UP,
    HashEncoding,
    LookupEncoding,
    NumberEncoding,
    ProductEncoding,
)
from mcp_server.core.predictor.form import Form, read_form
from mcp_server.core.predictor.tables import TableEncoder
from mcp_server.core.training.prepare import described_input

IntArray = NDArray[np.int64]

_NEAR = 1e-9
_LONGEST = 500


def carry_embeddings(
    form: Mapping[str, Any],
    frame: pl.DataFrame,
    contract: Contract,
    embeddings: Sequence[Mapping[str, Any]],
    *,
    learned: IntArray,
    unseen: IntArray,
) -> tuple[dict[str, Any], list[str]]:
    """Put what embedded columns were made of in their place.

    Args:
        form: the serving form of a model that learned from the embedded columns.
        frame: the table of the contract.
        embeddings: what steps `embed` fitted: columns, by, and what the kind has.
        learned, unseen: indexes of the rows that were learned from, which describe the input; and of others, on which
            what is computed must be what the table holds: rates of the rows that teach are out of fold there.
    Returns:
        the form, and the columns that predicting goes on to need as they are: embedded by text (its tables would be
        larger than the model), made of what isn't a category or text or isn't in the table, or changed or derived from
        since; and marks of what a preparation filled, as the table no longer has what they were made of.
    """
    typed = read_form(form)
    needed = _marks(typed, contract)
    lookups: dict[str, LookupEncoding | HashEncoding] = {}
    for name, source, embedding in _embedded(typed, contract, embeddings):
        given = source in _given(frame, contract)
        encoding = _encoding(name, source, embedding) if given and embedding is not None else None
        if encoding is not None and _holds(encoding, frame, contract, name, unseen):
            lookups[name] = encoding
        else:
            needed.append(name)
    if not lookups:
        return dict(form), needed
    encoder = [part if isinstance(part, ProductEncoding) else lookups.get(part.column, part) for part in typed.encoder]
    inputs = [part for part in typed.inputs if part.name not in lookups]
    there = {part.name for part in inputs}
    for source in dict.fromkeys(part.column for part in lookups.values()):
        if source not in there:
            series = frame.get_column(source)[learned.tolist()]
            inputs.append(described_input(source, "category", contract.column(source).unit, series))
    changed = dict(form) | {
        "encoder": [part.model_dump(by_alias=True) for part in encoder],
        "inputs": [part.model_dump(by_alias=True) for part in inputs],
    }
    read_form(changed)
    return changed, needed


def _marks(form: Form, contract: Contract) -> list[str]:
    """The columns that the model reads and that say where a step `impute` filled another."""
    made = contract.ingredients
    return [
        part.name
        for part in form.inputs
        if part.name.endswith(MARK) and made.get(part.name) == frozenset({part.name.removesuffix(MARK)})
    ]


def _embedded(
    form: Form, contract: Contract, embeddings: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str, Mapping[str, Any] | None]]:
    """The embedded columns that the model reads: name, source, and what was fitted.

    None in the place of that where more than the number itself is read, as where something is derived from it.
    """
    derived = {name for part in form.derived for name in (part.name, *parse(part.expression).columns)}
    for part in form.inputs:
        made_of = contract.ingredients.get(part.name, frozenset())
        plain = all(isinstance(one, NumberEncoding) for one in form.single if one.column == part.name)
        embedding = next((one for one in embeddings if part.name in one["columns"]), None)
        if len(made_of) == 1 and embedding is not None:
            yield part.name, next(iter(made_of)), embedding if plain and part.name not in derived else None


def _given(frame: pl.DataFrame, contract: Contract) -> frozenset[str]:
    """The columns that a row can give as text."""
    named = {column.name for column in contract.columns if column.kind in ("category", "text")}
    return frozenset(named - contract.expressions.keys()) & frozenset(frame.columns)


def _encoding(name: str, source: str, embedding: Mapping[str, Any]) -> LookupEncoding | HashEncoding | None:
    at = list(embedding["columns"]).index(name)
    if embedding["by"] == "hashing":
        told: dict[str, Any] = {"as": "hash", "column": source, "place": at, "places": embedding["width"]}
        return HashEncoding.model_validate(told)
    values = embedding.get("values", {})
    if embedding["by"] != "target" or "other" not in embedding or len(values) > MAX_LOOKED_UP:
        return None
    if any(len(value) > _LONGEST for value in values):
        return None
    told = {
        "as": "lookup",
        "column": source,
        "values": list(values),
        "numbers": [numbers[at] for numbers in values.values()],
        "other": embedding["other"][at],
        "missing": embedding["missing"][at],
    }
    return LookupEncoding.model_validate(told)


def _holds(
    encoding: LookupEncoding | HashEncoding, frame: pl.DataFrame, contract: Contract, name: str, rows: IntArray
) -> bool:
    """Whether the encoding gives what the table holds."""
    source = encoding.column
    part = frame[rows.tolist()]
    spec = described_input(source, "category", contract.column(source).unit, part.get_column(source))
    encoder = TableEncoder([], [spec], [encoding])
    found = encoder.encode(encoder.columns(part))[:, 0]
    stored = part.get_column(name).cast(pl.Float64).fill_null(np.nan).to_numpy()
    return bool((np.abs(found - stored) <= _NEAR).all())
