"""How well errors in single cells are found: planted errors, clean cells that are flagged, and how long it takes.

Run from `tests/`: `python -m performance.cell_error_rates`, with `--held-out` or `--times`.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict

import numpy as np
import polars as pl

from core.quality.planted_cells import Score, claims, plant, score
from core.quality.planted_tables import HELD_OUT, TABLES
from core.quality.tables import sklearn_table
from mcp_server.core.contract import Contract
from mcp_server.core.ingest import shape_table
from mcp_server.core.quality import validate

DATASETS = ("iris", "wine", "breast_cancer", "digits", "diabetes")


def measured(makers: dict, seeds: range) -> dict[str, dict[str, Score]]:
    """By table, the scores by kind, added up over the seeds."""
    result = {}
    for name, make in makers.items():
        scores: defaultdict[str, Score] = defaultdict(Score)
        for seed in seeds:
            planted = plant(make, seed)
            frame, contract = planted.table()
            report = validate(frame, contract, rng=np.random.default_rng(seed))
            for kind, part in score(planted, report.findings).items():
                scores[kind].add(part)
        result[name] = dict(scores)
    return result


def told(title: str, by_table: dict[str, dict[str, Score]]) -> None:
    kinds: defaultdict[str, Score] = defaultdict(Score)
    print(f"\n{title}\n\n| | cells | precision | recall | F1 |\n|---|---|---|---|---|")
    for table, scores in by_table.items():
        for kind, part in scores.items():
            kinds[kind].add(part)
        line(table, scores["all"])
    whole = kinds.pop("all")
    for kind, part in sorted(kinds.items()):
        line(f"kind: {kind}", part)
    line("**all**", whole)


def line(name: str, part: Score) -> None:
    print(f"| {name} | {part.found + part.missed:,} | {part.precision:.3f} | {part.recall:.3f} | {part.f1:.3f} |")


def clean_shares() -> None:
    tables = {name: sklearn_table(name) for name in DATASETS}
    for name, make in {**TABLES, **HELD_OUT}.items():
        tables[f"{name}, nothing planted"] = make(np.random.default_rng(100)).table()
    print("\n| clean table | cells | flagged |\n|---|---|---|")
    for name, (frame, contract) in tables.items():
        report = validate(frame, contract, rng=np.random.default_rng(0))
        flagged = {(row, column) for _, row, columns in claims(report.findings) for column in columns}
        print(f"| {name} | {frame.height * frame.width:,} | {len(flagged) / (frame.height * frame.width):.3%} |")


def times() -> None:
    print("\n| table, 5 % of one column missing | seconds | of the processor | peak memory |\n|---|---|---|---|")
    for rows, columns in ((65_000, 10), (1_000_000, 20)):
        frame, contract = mixed(rows, columns)
        started, worked = time.perf_counter(), time.process_time()
        validate(frame, contract, rng=np.random.default_rng(0))
        took = f"{time.perf_counter() - started:.1f} | {time.process_time() - worked:.1f}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"| {rows:,} × {columns} | {took} | {peak:,} MB |")


def mixed(rows: int, columns: int) -> tuple[pl.DataFrame, Contract]:
    """Related numbers, categories, counts, codes and skewed numbers in turn, and a target."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=rows)
    made: dict[str, np.ndarray] = {}
    for at in range(columns - 1):
        made[f"c{at}"] = (
            lambda: (shared + rng.normal(size=rows)).round(3),
            lambda: rng.choice(["alpha", "bravo", "charlie", "delta", "echo"], rows),
            lambda: rng.integers(0, 1_000, rows),
            lambda: np.char.add("ID-", rng.integers(0, 10**7, rows).astype(str)),
            lambda: rng.lognormal(2, 0.5, rows).round(2),
        )[at % 5]()
    frame = pl.DataFrame({**made, "y": rng.integers(0, 2, rows)})
    missing = pl.Series(rng.random(rows) < 0.05)
    return shape_table(frame.with_columns(c2=pl.when(~missing).then(pl.col("c2"))), target="y")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--held-out", action="store_true", help="the tables and seeds that no rule was written on")
    parser.add_argument("--times", action="store_true", help="how long a check takes, and nothing else")
    given = parser.parse_args()
    if given.times:
        times()
        raise SystemExit
    told("Seen while the rules were written", measured(TABLES, range(given.seeds)))
    if given.held_out:
        told("Held out: other seeds of these tables", measured(TABLES, range(100, 100 + given.seeds)))
        told("Held out: other tables", measured(HELD_OUT, range(100, 100 + given.seeds)))
    clean_shares()
