"""Errors planted in simulated games, with the answer key: what a check of the data should find, and what it can't."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.errors import InvalidInput

CONTRADICTIONS = "winners that contradict scores"
DUPLICATES = "duplicated games"
UNIT = "travel in metres"
FLIPS = "flipped results"
LEAK = "leaked column"

WINNER = "winner_home"
LEAKED = "spread_close"
"""Reads like the bookmakers' last line before the game, and is the final margin with a little noise."""

CATCHABLE = frozenset({CONTRADICTIONS, DUPLICATES, UNIT, LEAK})
"""A flipped result looks like an upset: both scores agree with the winner, and outcomes are noisy."""

MIN_ROWS = 200
_BLOCK = 0.03
_NOISE = 0.4

AnswerKey = dict[str, list[int] | str]


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of the games to plant each kind of error in, each in [0, 0.1]."""

    contradictions: float = 0.01
    duplicates: float = 0.01
    flips: float = 0.02


def plant_faults(
    frame: pl.DataFrame, rng: np.random.Generator, *, rates: Rates | None = None
) -> tuple[pl.DataFrame, AnswerKey]:
    """Plant errors in games that have none.

    Args:
        frame: at least 200 games with the columns of `games.COLUMNS`.
        rates: shares of games; by default 1 % contradictions, 1 % duplicates, 2 % flips.
    Returns:
        the games with two columns more, `winner_home` (0 or 1) and `spread_close`, and the answer key: for each kind of
        error the 1-based rows that have it, by rising row (of a duplicated game its second copy, which comes right
        after the first); for the leak the name of the column. No row has two errors but by chance: every kind has its
        own games.
    Raises:
        InvalidInput: there are too few games.
    """
    if frame.height < MIN_ROWS:
        raise InvalidInput(f"Faults are planted in at least {MIN_ROWS} games.", hint="Simulate more seasons.")
    rates = rates or Rates()
    block = _block(frame.height, rng)
    free = rng.permutation(np.setdiff1d(np.arange(frame.height), block))
    ends = np.cumsum([round(share * frame.height) for share in (rates.flips, rates.contradictions, rates.duplicates)])
    flipped, contradicting, doubled, _ = np.split(free, ends)
    faulty = _swap_scores(frame, _mask(frame.height, flipped))
    faulty = _add_winner(faulty, _mask(frame.height, contradicting))
    faulty = _add_leak(faulty, rng)
    faulty = faulty.with_columns(
        pl.when(pl.Series(_mask(frame.height, block))).then(pl.col("travel_km") * 1000).otherwise(pl.col("travel_km"))
    )
    # A copy comes right after its game, so rows move down by the copies before them.
    copies = np.sort(doubled)
    order = np.sort(np.concatenate([np.arange(frame.height), copies]), kind="stable")
    key: AnswerKey = {
        CONTRADICTIONS: _rows(contradicting, copies),
        DUPLICATES: (copies + np.arange(len(copies)) + 2).tolist(),
        UNIT: _rows(block, copies),
        FLIPS: _rows(flipped, copies),
        LEAK: LEAKED,
    }
    return faulty[order], key


def _block(height: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Neighbouring rows, as one careless delivery would have."""
    length = max(20, round(height * _BLOCK))
    start = int(rng.integers(height // 4, height - length))
    return np.arange(start, start + length, dtype=np.int64)


def _mask(height: int, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    mask = np.zeros(height, dtype=np.bool_)
    mask[rows] = True
    return mask


def _rows(places: NDArray[np.int64], copies: NDArray[np.int64]) -> list[int]:
    """1-based rows after the copies were put in."""
    places = np.sort(places)
    moved: list[int] = (places + np.searchsorted(copies, places) + 1).tolist()
    return moved


def _swap_scores(frame: pl.DataFrame, mask: NDArray[np.bool_]) -> pl.DataFrame:
    swapped = pl.Series(mask)
    return frame.with_columns(
        pl.when(swapped).then(pl.col("away_score")).otherwise(pl.col("home_score")).alias("home_score"),
        pl.when(swapped).then(pl.col("home_score")).otherwise(pl.col("away_score")).alias("away_score"),
    )


def _add_winner(frame: pl.DataFrame, mask: NDArray[np.bool_]) -> pl.DataFrame:
    won = pl.col("home_score") > pl.col("away_score")
    return frame.with_columns((won ^ pl.Series(mask)).cast(pl.Int64).alias(WINNER))


def _add_leak(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    margin = (frame.get_column("home_score") - frame.get_column("away_score")).to_numpy()
    return frame.with_columns(pl.Series(LEAKED, np.round(margin + rng.normal(0.0, _NOISE, len(margin)), 1)))
