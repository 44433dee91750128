"""What a contract costs: inferring it from a million rows, holding them to it, and comparing wide contracts.

`python tests/performance/contract_rates.py`
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract, Rule, from_dict, to_dict
from mcp_server.core.contract.compatibility import breaks
from mcp_server.core.ingest import shape_table
from mcp_server.core.quality.promises import promise_findings

ROWS = 1_000_000
ROUNDS = 5


def table() -> pl.DataFrame:
    """20 columns: numbers, whole numbers, two kinds of codes, a category and a condition."""
    rng = np.random.default_rng(0)
    columns = {f"x{at}": rng.normal(size=ROWS) for at in range(8)}
    columns |= {f"n{at}": rng.integers(0, 1_000, ROWS) for at in range(8)}
    columns |= {
        "code": [f"NBA-{row:07d}" for row in range(ROWS)],
        "group": [f"w{row % 9_999} x" for row in range(ROWS)],
    }
    return pl.DataFrame(columns | {"team": rng.choice(["BOS", "NYK", "LAL"], ROWS), "won": rng.random(ROWS) > 0.5})


def median(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def with_pattern(contract: Contract, name: str, pattern: str | None) -> Contract:
    columns = tuple(
        column.model_copy(update={"pattern": pattern if column.name == name else None}) for column in contract.columns
    )
    return Contract(**{**dict(contract), "columns": columns})


def main() -> None:
    frame = table()
    home = "mcp_server.core.ingest.infer"
    print(f"{ROWS:,} rows x {frame.width} columns, medians of {ROUNDS}, seconds")
    print(f"contract inferred: {median(lambda: shape_table(frame)):.2f}")
    with mock.patch(f"{home}.confidence", return_value={}), mock.patch(f"{home}.code_pattern", return_value=None):
        print(f"  without patterns and confidence: {median(lambda: shape_table(frame)):.2f}")
    contract = shape_table(frame)[1]
    for name, pattern in (
        ("code", contract.column("code").pattern),
        ("code", r"[A-Z]{3}-\d{7}"),
        ("group", r"(?i)w\d+ x"),
    ):
        promised = with_pattern(contract, name, pattern)
        print(f"pattern {pattern} over {name}: {median(lambda p=promised: list(promise_findings(frame, p, None))):.2f}")
    rules = tuple(Rule(name=f"r{at}", expression=f"x{at % 8} + n{at % 8} > x{(at + 1) % 8} or won") for at in range(10))
    ruled = Contract(**{**dict(with_pattern(contract, "code", None)), "rules": rules})
    print(f"10 rules: {median(lambda: list(promise_findings(frame, ruled, None))):.2f}")
    rng = np.random.default_rng(0)
    wide = shape_table(pl.DataFrame({f"c{at}": rng.normal(size=50) for at in range(5_000)}))[1]
    stored = to_dict(wide)
    read, compared = median(lambda: from_dict(stored)), median(lambda: breaks(wide, wide))
    print(f"5,000 columns: read {read:.2f}, compared {compared:.2f}")


if __name__ == "__main__":
    main()
