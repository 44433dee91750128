"""How often models that are as good are told apart, how often a difference of stated size is found, and what it costs.

Run from `tests/`: `python -m performance.comparison_rates`, with `--quick` for a tenth of the trials.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import Any

import numpy as np

from core.comparison.samples import MADE, games
from mcp_server.core.comparison import compare_all
from mcp_server.core.comparison.corrected_t import corrected_t
from mcp_server.core.comparison.slices import Group, slices
from mcp_server.core.comparison.spread import p_of_t
from mcp_server.core.metrics.forecasts import row_losses

TRIALS = 1_000
RESAMPLES = 500


def false_findings(task: Any, rows: int, models: int, trials: int) -> tuple[Counter[str], int]:
    """Fields of equally good models in which any pair is told apart, and by which metric, and of how many."""
    rng = np.random.default_rng([rows, models])
    wrong: Counter[str] = Counter()
    for _ in range(trials):
        target, *forecasts = MADE[task](rng, rows, models=models)
        found = compare_all(target, forecasts, task=task, rng=rng, resamples=RESAMPLES)
        wrong["deciding metric"] += any(pair.verdict != "no detectable difference" for pair in found.pairs)
        wrong["any other metric"] += any(
            one.found.verdict != "no detectable difference"
            for pair in found.pairs
            for one in pair.metrics
            if one is not pair.primary
        )
        for one in found.pairs[0].metrics:
            if one.found.p is not None:
                wrong[f"{one.found.metric}, uncorrected"] += one.found.p < 0.05
    return wrong, trials


def power(trials: int) -> float:
    """How often `rows_needed` rows show the difference that they were computed for."""
    rng = np.random.default_rng(1)

    def sample(rows: int) -> tuple[Any, Any, Any]:
        target, first, other = games(rng, rows, noise=0.3)
        return target, first, 1 / (1 + np.exp(-(np.log(other / (1 - other)) + 0.35 * rng.normal(size=rows))))

    target, *forecasts = sample(200_000)
    whole = compare_all(target, forecasts, task="binary", rng=rng).pairs[0].primary.found
    assert whole.rows_needed is not None
    found = 0
    for _ in range(trials):
        target, *forecasts = sample(whole.rows_needed)
        found += (
            compare_all(target, forecasts, task="binary", rng=rng, resamples=RESAMPLES).pairs[0].verdict == "better"
        )
    print(
        f"  {whole.rows_needed:,} rows for Δ log loss {whole.difference:.4f}: found {found / trials:.1%} of {trials:,}"
    )
    return found / trials


def groups(trials: int) -> float:
    """Tables of 24 groups without a difference in which any is told."""
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(trials):
        target, first, second = games(rng, 4_000)
        parted = [rng.integers(0, 12, 4_000), rng.integers(0, 12, 4_000)]
        grouped = [Group(str(at), str(value), which == value) for at, which in enumerate(parted) for value in range(12)]
        found = slices(target, first, second, grouped, task="binary")
        wrong += any(one.verdict != "no detectable difference" for one in found)
    return wrong / trials


def resampled(trials: int) -> tuple[float, float]:
    """Procedures that are as good, over 10 random parts of 400 rows: found by the corrected t, by the plain one."""
    rng = np.random.default_rng(3)
    corrected = plain = 0
    for _ in range(trials):
        gains = rng.normal(size=400)
        gains -= gains.mean() - rng.normal() / np.sqrt(400)
        runs = np.array([gains[rng.permutation(400)[:80]].mean() for _ in range(10)])
        corrected += corrected_t(runs, test_share=0.2).p < 0.05
        plain += p_of_t(float(runs.mean()), runs - runs.mean()) < 0.05
    return corrected / trials, plain / trials


def level_of_t(task: Any, rows: int, trials: int) -> float:
    """How often the paired t-test alone, below whose p the deciding one never lies, tells equally good models apart."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(trials):
        target, first, second = MADE[task](rng, rows)
        gaps = row_losses(target, second, task=task) - row_losses(target, first, task=task)
        wrong += p_of_t(float(gaps.mean()), gaps - gaps.mean()) < 0.05
    return wrong / trials


def cost() -> None:
    rng = np.random.default_rng(4)
    for rows, models in ((5_000, 2), (5_000, 8), (50_000, 2), (50_000, 8), (500_000, 2)):
        target, *forecasts = games(rng, rows, models=models)
        started = time.process_time()
        compare_all(target, forecasts, task="binary", rng=rng)
        print(f"  {rows:,} rows, {models} models: {time.process_time() - started:.1f} s of the processor")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    trials = TRIALS // 10 if parser.parse_args().quick else TRIALS
    for task, rows, models in (
        ("binary", 100, 2),
        ("binary", 1_000, 2),
        ("binary", 300, 5),
        ("multiclass", 300, 2),
        ("regression", 100, 2),
        ("regression", 300, 5),
    ):
        wrong, of = false_findings(task, rows, models, trials)
        print(f"{task}, {rows} rows, {models} models, {of} trials: told apart")
        for name, count in wrong.items():
            print(f"  {name}: {count / of:.1%}")
    for task in MADE:
        print(f"{task}, 100 rows, t alone, {20 * trials} trials: {level_of_t(task, 100, 20 * trials):.2%}")
    print("power")
    power(trials // 4)
    print(f"any of 24 groups without a difference: {groups(trials // 2):.1%}")
    print("resampled runs, corrected and plain: {:.1%}, {:.1%}".format(*resampled(trials)))
    print("cost")
    cost()


if __name__ == "__main__":
    main()
