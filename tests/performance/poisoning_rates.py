"""How well screening finds poisoned rows and how often it fails clean tables; prints tables, asserts nothing.

    python -m performance.poisoning_rates                 attacks on public tables, 5 seeds, with clean controls
    python -m performance.poisoning_rates --outliers      the label-free ranking on the six ADBench tables
    python -m performance.poisoning_rates --false-alarms  verdicts on simulated clean tables; `--tables` of each kind

Run it from `tests/`. The attacks are in `core/screening/attacks.py`, the clean tables in `core/screening/clean.py`.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from sklearn.metrics import roc_auc_score

from core.screening.attacks import (
    ADBENCH,
    CONTINUOUS,
    SEPARABLE,
    TABLES,
    Attack,
    Attacked,
    adbench_table,
    clean_table,
    flip_labels,
    flood,
    plant_trigger,
    push_out,
)
from core.screening.clean import MAKERS
from mcp_server.core.screening.outliers import outlyingness
from mcp_server.core.screening.table import FeatureTable, standardised
from mcp_server.core.screening.verdict import Screening, screen_table

SHARE = 0.05
ATTACKS: dict[str, tuple[Attack, tuple[str, ...]]] = {
    "label_noise": (flip_labels, SEPARABLE),
    "outliers": (push_out, TABLES),
    "duplicates_flood": (flood, TABLES),
    "trigger": (plant_trigger, CONTINUOUS),
}


def screened(table: Attacked, seed: int) -> Screening:
    codes = np.empty((len(table.labels), 0), dtype=np.intp)
    # Not the attack's seed: the rows drawn would be the rows attacked.
    return screen_table(FeatureTable(table.features, codes, table.labels), rng=np.random.default_rng([1, seed]))


def quality(table: Attacked, found: Screening, method: str) -> tuple[float, float, float]:
    """Precision and recall of a method's flags and the area under the curve of its scores, on the rows looked at."""
    (evidence,) = (item for item in found.evidence if item.method == method)
    looked = ~np.isnan(evidence.scores)
    attacked, flagged = table.rows[looked], evidence.flagged[looked]
    hits = (attacked & flagged).sum()
    return (
        float(hits / max(1, flagged.sum())),
        float(hits / max(1, attacked.sum())),
        roc_auc_score(attacked, evidence.scores[looked]),
    )


def flagged_share(found: Screening) -> float:
    """The largest share of the rows that any rule looked at that it flags, summed over the rules."""
    return float(sum(item.flagged.sum() / max(1, item.looked_at) for item in found.evidence))


def attacks(seeds: int, only: str) -> None:
    tables = {name: clean_table(name) for name in TABLES if only in name}
    print(f"{SHARE:.0%} of the rows attacked, mean of {seeds} seeds: precision, recall, AUC, verdicts", flush=True)
    for method, (attack, names) in ATTACKS.items():
        for name in (name for name in names if name in tables):
            results, verdicts = [], Counter[str]()
            for seed in range(seeds):
                table = attack(tables[name], np.random.default_rng(seed), SHARE)
                found = screened(table, seed)
                results.append(quality(table, found, method))
                verdicts[found.verdict] += 1
            told = "  ".join(f"{value:.3f}" for value in np.mean(results, axis=0))
            print(f"  {method:17} {name:14} {told}  {dict(verdicts)}", flush=True)
    print("clean: share of the rows flagged by all methods together, verdicts", flush=True)
    for name in tables:
        controls = [screened(tables[name], seed) for seed in range(seeds)]
        share = np.mean([flagged_share(found) for found in controls])
        print(f"  {name:14} {share:.4f}  {dict(Counter(found.verdict for found in controls))}", flush=True)


def rankings(seeds: int) -> None:
    print(f"area under the ROC curve of the label-free ranking, mean of {seeds} seeds; the best single detector")
    means = []
    for name, best in ADBENCH.items():
        features, anomalous = adbench_table(name)
        areas = []
        for seed in range(seeds):
            found = outlyingness(standardised(features), np.random.default_rng(seed))
            areas.append(roc_auc_score(anomalous, found.rank) if found else np.nan)
        means.append(float(np.mean(areas)))
        print(f"  {name:16} {means[-1]:.3f}  {best:.3f}  {'within .03' if means[-1] >= best - 0.03 else ''}")
    print(f"  mean {np.mean(means):.3f}")


def false_alarms(tables: int) -> None:
    print(
        "clean tables: verdicts, mean share of the rows flagged; half have another draw as their baseline", flush=True
    )
    total: Counter[str] = Counter()
    for kind, make in MAKERS.items():
        verdicts, rules, shares = Counter[str](), Counter[str](), []
        for seed in range(tables):
            rng = np.random.default_rng([seed, len(kind), ord(kind[0])])
            rows = int(rng.choice([60, 120, 200]))
            both = make(rng, 2 * rows)
            table, other = both.take(np.arange(rows)), both.take(np.arange(rows, 2 * rows))
            found = screen_table(table, baseline=other if seed % 2 else None, rng=rng)
            verdicts[found.verdict] += 1
            rules.update(item.method for item in found.evidence if item.grade != "info")
            shares.append(flagged_share(found))
        total.update(verdicts)
        print(f"  {kind:15} {dict(verdicts)}  {np.mean(shares):.4f}  {dict(rules)}", flush=True)
    print(f"  all {dict(total)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="public tables whose name contains this")
    parser.add_argument("--tables", type=int, default=25)
    parser.add_argument("--outliers", action="store_true")
    parser.add_argument("--false-alarms", action="store_true")
    arguments = parser.parse_args()
    if arguments.outliers:
        rankings(arguments.seeds)
    elif arguments.false_alarms:
        false_alarms(arguments.tables)
    else:
        attacks(arguments.seeds, arguments.only)


if __name__ == "__main__":
    main()
