"""How well errors in single cells are found: planted errors, and clean cells that are flagged.

Run from `tests/`: `python -m performance.cell_error_rates`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np

from core.quality.planted_cells import Score, claims, plant, score
from core.quality.planted_tables import HELD_OUT, TABLES
from core.quality.tables import sklearn_table
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--held-out", action="store_true", help="the tables and seeds that no rule was written on")
    given = parser.parse_args()
    told("Seen while the rules were written", measured(TABLES, range(given.seeds)))
    if given.held_out:
        told("Held out: other seeds of these tables", measured(TABLES, range(100, 100 + given.seeds)))
        told("Held out: other tables", measured(HELD_OUT, range(100, 100 + given.seeds)))
    clean_shares()
