"""Preparing a million rows by twenty columns, a plan a process: seconds, seconds of the processor, peak memory.

python tests/performance/preparing_rates.py [ROWS] [PART OF A PLAN'S NAME]
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
PLANS = {
    "nothing but reading, contract, profile and writing": [{"do": "filter", "where": "n0 > -1000"}],
    "filter, stratified sample of a tenth, text to 8 columns": [
        {"do": "filter", "where": "n0 > 90"},
        {"do": "sample", "by": "stratified", "strata": ["c0"], "share": 0.1},
        {"do": "embed", "column": "words", "by": "text", "test": 0.2},
    ],
    "text to 8 columns, all rows": [{"do": "embed", "column": "words", "by": "text", "test": 0.2}],
    "target rates of a category, out of fold": [{"do": "embed", "column": "c1", "by": "target", "test": 0.2}],
    "as-of join to 100,000 rows": [{"do": "join", "with": "other", "on": ["c0"], "as_of": True, "prefix": "last_"}],
    "smote to a half": [{"do": "augment", "by": "smote", "ratio": 0.5, "test": 0.2}],
    "select by mutual information": [{"do": "select_features", "keep": 5, "test": 0.2}],
    "select by stability": [{"do": "select_features", "by": "stability", "keep": 5, "test": 0.2}],
    "select by permutation": [{"do": "select_features", "by": "permutation", "keep": 5, "test": 0.2}],
}


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        arguments = stored(Path(folder), rows)
        size = Path(arguments["path"]).stat().st_size
        print(f"{rows:,} rows × 20 columns, {size / 1e6:.0f} MB of Parquet")
        wanted = sys.argv[2] if len(sys.argv) > 2 else ""
        for name, steps in PLANS.items():
            if wanted not in name:
                continue
            samples = []
            for _ in range(ROUNDS):
                call = json.dumps({**arguments, "steps": steps})
                command = [sys.executable, __file__, "--one", call]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                samples.append([float(part) for part in done.stdout.split()])
            taken, busy, peak = (statistics.median(part) for part in zip(*samples, strict=True))
            print(f"| {name} | {taken:.1f} s | {busy:.1f} s | {peak:.0f} MB |", flush=True)


def stored(folder: Path, rows: int) -> dict:
    """The arguments of prepare_table but the steps."""
    import numpy as np
    import polars as pl

    from mcp_server.core.contract import to_dict
    from mcp_server.core.ingest import shape_table, write_parquet

    rng = np.random.default_rng(0)

    def table(name: str, count: int, further: dict) -> dict:
        day = np.datetime64("2000-01-01") + rng.integers(0, 9_000, count)
        columns = {"c0": rng.choice([f"team {at}" for at in range(30)], count), "day": day, **further}
        frame, contract = shape_table(pl.DataFrame(columns), target="y" if "y" in columns else None, time="day", key=[])
        with (folder / f"{name}.parquet").open("wb") as target:
            write_parquet(frame, target)
        return {"path": str(folder / f"{name}.parquet"), "contract": to_dict(contract)}

    words = np.array([f"{a}{b}{at}" for at in range(50) for a in ("north", "east", "old") for b in ("ton", "ville")])
    further: dict = {f"n{at}": rng.normal(100, 20, rows) for at in range(9)}
    further |= {f"i{at}": rng.integers(0, 100_000, rows) for at in range(6)}
    further |= {"c1": rng.choice([f"place {at}" for at in range(150)], rows)}
    further |= {"words": np.char.add(rng.choice(words, rows), rng.choice(words, rows))}
    further |= {"y": rng.random(rows) < 0.2}
    main = table("main", rows, further)
    other = table("other", rows // 10, {"injured": rng.integers(0, 5, rows // 10)})
    limits = {"max_rows": 10 * rows, "max_columns": 1_000, "max_cells": 1_000 * rows}
    out = {"out": str(folder / "out.parquet"), "fitted_out": str(folder / "fitted.json")}
    return {**main, "others": {"other": other}, "seed": 0, "checking_seed": 0, **limits, **out}


def one(call: str) -> None:
    from mcp_server.workflows.operations import prepare_table

    started = time.perf_counter()
    prepare_table(json.loads(call), lambda _share, _what: None)
    print(time.perf_counter() - started, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    one(sys.argv[2]) if sys.argv[1:2] == ["--one"] else main()
