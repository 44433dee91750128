"""How often intervals from a rolling origin hold the rows that come after, and how wide they are; prints a table.

python -m performance.interval_rates [--seeds 60]   from tests/; simulated series that drift or don't, linear models
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from statistics import fmean

import numpy as np

from core.training.tables import a_drifting_table
from mcp_server.core.metrics import binomial_band
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.learn import learn_chosen
from mcp_server.core.training.split import plan_split
from mcp_server.core.training.target import describe_target, target_values
from mcp_server.core.tuning.choose import choose
from mcp_server.core.tuning.folds import plan_folds
from mcp_server.core.tuning.search import run_batch
from mcp_server.core.tuning.trials import FoldedTable

LAWS = {
    "nothing drifts": {"moving": 0.0, "noisier": 0.0},
    "slope, level and noise": {},
    "twice as much": {"moving": 2.0, "noisier": 2.0},
    "noise alone, by 60 %": {"moving": 0.0, "noisier": 4.0},
    "noise falls, by 45 %": {"moving": 0.0, "noisier": -3.0},
}
# How errors on the folds count: all alike; later ones more; and divided by what they had grown to as well.
WAYS: dict[str, dict[str, float | None]] = {"alike": {"weight": 1.0, "at": None}, "faded": {"at": None}, "grown": {}}


def judge(seed: int, rows: int, law: dict[str, float]) -> tuple[int, dict[str, tuple[int, float]]]:
    """How many rows judged, and of each way how many of them the interval held and its half width."""
    frame, contract = a_drifting_table(seed, rows, **law)
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=np.random.default_rng(0))
    folds = plan_folds(frame, contract, target, split, rng=np.random.default_rng(1))
    found: dict[str, tuple[int, float]] = {}
    errors = None
    for way, changed in WAYS.items():
        planned = [replace(fold, **changed) for fold in folds]
        table = FoldedTable(frame, contract, target, planned, features=None, allow_leaks=False)
        choice = choose(table, {"linear": run_batch(table, "linear", [], size=1, seed=0)}, seed=0)
        if errors is None:
            learned = learn_chosen(
                frame,
                contract,
                target,
                split,
                members=choice.members,
                calibration=choice.calibration,
                half_width=choice.half_width,
                rng=np.random.default_rng(2),
            )
            test = compile_batch(learned.form).answer(frame[split.test.tolist()]).forecast
            errors = np.abs(target_values(frame, contract, target)[split.test] - test)
        assert choice.half_width is not None
        found[way] = int((errors <= choice.half_width).sum()), choice.half_width
    return len(split.test), found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=60)
    seeds = parser.parse_args().seeds
    print("| what drifts | rows | judged | band of .9 |", " | ".join(f"{way}: held, width" for way in WAYS), "|")
    for name, law in LAWS.items():
        for rows in (400, 1_500):
            runs = [judge(seed, rows, law) for seed in range(seeds)]
            judged = sum(count for count, _ in runs)
            low, high = binomial_band(judged, 0.9)
            cells = []
            for way in WAYS:
                held = sum(found[way][0] for _, found in runs) / judged
                width = fmean(found[way][1] / found["faded"][1] for _, found in runs)
                cells.append(f"{held:.3f}, {width:.2f}")
            print(
                f"| {name} | {rows:,} | {judged:,} | {low / judged:.3f} to {high / judged:.3f} |",
                " | ".join(cells),
                "|",
                flush=True,
            )


if __name__ == "__main__":
    main()
