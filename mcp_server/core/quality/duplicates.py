"""Rows that are there twice, or nearly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from mcp_server.core.contract import Column, Contract
from mcp_server.core.quality.numbers import Bools
from mcp_server.core.quality.report import Finding, Fix, Severity, rows_of

_ABOVE_CHANCE = 3
_LEAST_COLUMNS = 4
_MARGIN = 12.0
_SEED = 0


def duplicate_findings(frame: pl.DataFrame, contract: Contract, rng: np.random.Generator) -> Iterator[Finding]:
    """Second and later copies of a row, rows that are nearly copies, and rows that share a key without being copies.

    Of the comparison are left out a key of one column, and whole numbers that count the rows: they name a row and say
    nothing of it. Where as many copies are expected by chance, from few columns with few values, copies are only
    mentioned, and nothing is proposed.

    Args:
        rng: shuffles the columns for that expectation.
    """
    numbering = [column.name for column in contract.columns if column.unique and _numbers_rows(frame, column, contract)]
    content = frame.drop(numbering) if len(numbering) < frame.width else frame
    copies = _later_copies(content)
    count = int(copies.sum())
    if count:
        chance = int(_later_copies(_shuffled(content, rng)).sum())
        severity: Severity = "warn" if count > _ABOVE_CHANCE * chance else "info"
        but = " but the one that numbers the rows" if content.width < frame.width else ""
        reason = f"Equal in every column{but} to an earlier row; the statistic is the number expected by chance."
        fix: Fix | None = "drop the row" if severity == "warn" else None
        yield Finding("duplicates.rows", severity, (), count, rows_of(copies), reason, float(chance), fix=fix)
    near = near_copies(content) & ~copies
    if near.any():
        reason = "Equal to an earlier row in all columns but one, or but for capitals and spaces, and not by chance."
        yield Finding(
            "duplicates.near",
            "warn",
            (),
            int(near.sum()),
            rows_of(near),
            reason,
            confidence=0.85,
            fix="drop the row",
        )
    if contract.key:
        keyed = frame.select(contract.key)
        again = _later_copies(keyed) & ~copies & ~_mask_any_null(keyed)
        if again.any():
            reason = "An earlier row has the same key and other content."
            yield Finding("duplicates.key", "fail", contract.key, int(again.sum()), rows_of(again), reason)


def _numbers_rows(frame: pl.DataFrame, column: Column, contract: Contract) -> bool:
    """Whether a column of distinct values names rows; a height or a name that happens to be distinct describes them."""
    if contract.key == (column.name,):
        return True
    return column.kind == "integer" and bool((frame.get_column(column.name).diff().drop_nulls().abs() == 1).all())


def near_copies(frame: pl.DataFrame) -> Bools:
    """Rows that differ from an earlier one in one column at most, where what they share names a row.

    Shared values name a row if so many rows with the columns' own frequencies would agree in them in fewer than one of
    4,000 tables; text counts as equal whatever its capitals and spaces.
    """
    found = np.zeros(frame.height, dtype=np.bool_)
    if frame.width < _LEAST_COLUMNS or frame.height < 2:
        return found
    hashes = [_hashed(series) for series in frame]
    # The sum of the columns' hashes without one of them is the hash of the others: no row is hashed again.
    total = np.add.reduce(hashes)
    candidates: list[tuple[int, Bools]] = []
    for at, own in enumerate(hashes):
        rest = pl.Series(total - own)
        again = ~rest.is_first_distinct().to_numpy()
        if again.any():
            candidates.append((at, again))
    if not candidates:
        return found
    rarity = [_rarity(own) for own in hashes]
    whole = np.add.reduce(rarity)
    needed = 2.0 * np.log2(frame.height) - 1.0 + _MARGIN
    for at, again in candidates:
        found |= again & (whole - rarity[at] >= needed)
    return found


def _hashed(series: pl.Series) -> npt.NDArray[np.uint64]:
    if series.dtype == pl.String:
        series = series.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    return series.hash(seed=_SEED).to_numpy()


def _rarity(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Bits that each row's value tells: the logarithm of how many times rarer it is than a value that all rows have."""
    counts = pl.DataFrame({"hash": hashes}).select(pl.len().over("hash")).to_series().to_numpy()
    return np.log2(hashes.size / counts)


def _later_copies(frame: pl.DataFrame) -> Bools:
    return (~frame.select(row=pl.struct(pl.all()).is_first_distinct()).to_series()).to_numpy()


def _mask_any_null(frame: pl.DataFrame) -> Bools:
    return frame.select(row=pl.any_horizontal(pl.all().is_null())).to_series().to_numpy()


def _shuffled(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame([series[rng.permutation(frame.height)] for series in frame])
