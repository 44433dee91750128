"""Import of a million rows by twenty columns beside `polars.read_csv`, and held to what was stated about the version
before (a range of each number, a list, a rule, a group of unique columns): seconds, processor seconds and peak memory,
interleaved.

python tests/performance/import_rates.py [ROWS [ROUNDS]]
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5


def main() -> None:
    rows, rounds = (int(given) for given in (*sys.argv[1:3], *(1_000_000, ROUNDS)[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        # Not here: a process begins with the peak of the one that started it.
        subprocess.run([sys.executable, __file__, "--write", str(table), str(rows)], check=True)
        print(f"{rows:,} rows × 20 columns, {table.stat().st_size / 1e6:.0f} MB")
        taken: dict[str, list[tuple[float, ...]]] = {"polars": [], "import": [], "held": []}
        for _ in range(rounds):
            for name, into in taken.items():
                command = [sys.executable, __file__, "--one", name, str(table)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                into.append(tuple(map(float, done.stdout.split())))
    for name, samples in taken.items():
        seconds, busy, megabytes = (statistics.median(part) for part in zip(*samples, strict=True))
        print(f"| {name} | {seconds:.2f} s | {busy:.2f} s | {megabytes:.0f} MB |")
    pairs = zip(taken["import"], taken["polars"], strict=True)
    print(f"ratio of seconds, median of pairs: {statistics.median(ours[0] / theirs[0] for ours, theirs in pairs):.1f}")


def write(table: Path, rows: int) -> None:
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    columns: dict[str, object] = {f"n{i}": rng.normal(100, 20, rows).round(4) for i in range(10)}
    columns |= {f"i{i}": rng.integers(0, 100_000, rows) for i in range(6)}
    columns |= {f"c{i}": rng.choice(["red", "green", "blue", "violet"], rows) for i in range(3)}
    columns["y"] = rng.integers(0, 2, rows)
    pl.DataFrame(columns).write_csv(table)


def stated() -> dict[str, object]:
    """A contract that the table keeps."""
    seen = {"kind": 0.9, "nullable": 0.9}
    number = {"kind": "number", "minimum": -200.0, "maximum": 400.0, "inferred": seen}
    columns = [
        *({"name": f"n{i}"} | number for i in range(10)),
        *({"name": f"i{i}", "kind": "integer", "minimum": 0.0, "inferred": seen} for i in range(6)),
        {"name": "c0", "kind": "category", "allowed": ["blue", "green", "red", "violet"], "inferred": seen},
    ]
    rules = [{"name": "possible", "expression": "n0 + n1 < 1000"}]
    return {
        "contract": {"columns": columns, "rules": rules, "unique_together": [["n0", "n1", "n2", "i0"]]},
        "imported": True,
    }


def one(name: str, table: str) -> None:
    """Read it once in this process: parse, contract, profile and Parquet for ours; the frame for polars."""
    started = time.perf_counter()
    if name == "polars":
        import polars as pl

        pl.read_csv(table)
    else:
        from mcp_server.workflows.operations import parse_table

        arguments = {
            "before": stated() if name == "held" else None,
            "files": [{"path": table, "name": "table.csv"}],
            "scratch": str(Path(table).parent),
            "out": table + ".parquet",
            "extends": None,
            "options": {},
            "target": "y",
            "time": None,
            "roles": {},
            "derived": {},
            "row_filter": None,
            "max_bytes": 1 << 30,
            "max_rows": 5_000_000,
            "max_columns": 10_000,
            "max_cells": 200_000_000,
        }
        parse_table(arguments, lambda share, what: None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
    print(time.perf_counter() - started, time.process_time(), peak)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:4])
    elif sys.argv[1:2] == ["--write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
