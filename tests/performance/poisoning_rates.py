"""How well screening finds poisoned rows and how often it fails clean tables; prints tables, asserts nothing.

    python -m performance.poisoning_rates                 attacks on public tables, 5 seeds, with clean controls
    python -m performance.poisoning_rates --share 0.01    the same on 1 % of the rows
    python -m performance.poisoning_rates --numbers       wrong numbers in simulated targets
    python -m performance.poisoning_rates --outliers      the label-free ranking on the six ADBench tables
    python -m performance.poisoning_rates --false-alarms  verdicts on simulated clean tables; `--tables` of each kind
    python -m performance.poisoning_rates --far-rows      the same of far rows only, which is quick

Run it from `tests/`. The attacks are in `core/screening/attacks.py`, the clean tables in `core/screening/clean.py`.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import binomtest
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
    plant_extreme_trigger,
    plant_trigger,
    plant_usual_trigger,
    push_out,
    wrong_numbers,
)
from core.screening.clean import MAKERS
from mcp_server.core.quality.report import MAX_ANOMALOUS
from mcp_server.core.screening import RowScreening, screen_rows
from mcp_server.core.screening.groups import of_another_kind
from mcp_server.core.screening.outliers import outlyingness
from mcp_server.core.screening.table import FeatureTable, standardised
from mcp_server.core.screening.verdict import Screening, screen_table

ATTACKS: tuple[tuple[str, str, Attack, tuple[str, ...]], ...] = (
    ("flipped labels", "label_noise", flip_labels, SEPARABLE),
    ("pushed out", "outliers", push_out, TABLES),
    ("flood", "duplicates_flood", flood, TABLES),
    ("trigger", "trigger", plant_trigger, CONTINUOUS),
    ("usual values", "trigger", plant_usual_trigger, ("digits",)),
    ("greatest value", "trigger", plant_extreme_trigger, ("breast_cancer", "nba")),
)
NUMBERS = ("number, exact", "number, good", "number, heavy", "prices", "curved", "wavering")
ROWS, ROWS_SHARES = (40, 60, 120, 200, 400, 1000), (0.1, 0.2, 0.25, 0.2, 0.15, 0.1)


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


def attacks(seeds: int, share: float, only: str) -> None:
    tables = {name: clean_table(name) for name in TABLES if only in name}
    print(f"{share:.1%} of the rows attacked, mean of {seeds} seeds: precision, recall, AUC, verdicts", flush=True)
    for title, method, attack, names in ATTACKS:
        for name in (name for name in names if name in tables):
            results, verdicts = [], Counter[str]()
            for seed in range(seeds):
                table = attack(tables[name], np.random.default_rng(seed), share)
                found = screened(table, seed)
                results.append(quality(table, found, method))
                verdicts[found.verdict] += 1
            told = "  ".join(f"{value:.3f}" for value in np.mean(results, axis=0))
            print(f"  {title:17} {name:14} {told}  {dict(verdicts)}", flush=True)
    print("clean: share of the rows flagged by all methods together, verdicts", flush=True)
    for name in tables:
        controls = [screened(tables[name], seed) for seed in range(seeds)]
        flagged = np.mean([flagged_share(found) for found in controls])
        print(f"  {name:14} {flagged:.4f}  {dict(Counter(found.verdict for found in controls))}", flush=True)
        for item in (item for item in controls[0].evidence if item.unreliable):
            print(f"    {item.method}: {item.reason} {item.statistic:.2f}")


def wrong_targets(seeds: int, share: float) -> None:
    print(
        f"{share:.1%} of the numbers of a target wrong, {seeds} tables of 400 rows: precision, recall, AUC", flush=True
    )
    for kind in NUMBERS:
        for exchanged in (False, True):
            results = []
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                table, rows = wrong_numbers(MAKERS[kind](rng, 400), rng, share, exchanged=exchanged)
                found = screen_table(table, rng=np.random.default_rng([1, seed]))
                results.append(quality(Attacked(table.numbers, rows, rows), found, "label_noise"))
            told = "  ".join(f"{value:.3f}" for value in np.mean(results, axis=0))
            print(f"  {kind:16} {'of other rows' if exchanged else '3 to 6 spreads off':18}  {told}", flush=True)


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


def fails_by_far_rows(table: FeatureTable, far: RowScreening) -> bool:
    """Whether validation fails a table for values far from the bulk of their column."""
    counted = far.anomalous & ~of_another_kind(table.numbers, far)
    return bool(counted.mean() > MAX_ANOMALOUS)


@dataclass
class Alarms:
    """What simulated clean tables got.

    Args:
        verdicts: how many tables got each.
        rules: how many got more than a mention from each rule.
        shares: of the rows flagged, of each table.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    shares: list[float] = field(default_factory=list)

    def add(self, kind: str, seed: int, *, only_far_rows: bool = False) -> None:
        """Screen one clean table of a kind; every fifth has another draw as its baseline."""
        rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
        rows = int(rng.choice(ROWS, p=ROWS_SHARES))
        both = MAKERS[kind](rng, 2 * rows)
        table, other = both.take(np.arange(rows)), both.take(np.arange(rows, 2 * rows))
        far = screen_rows(table.numbers)
        failed = ["far_rows fails"] if fails_by_far_rows(table, far) else []
        if only_far_rows:
            self.verdicts["fail" if failed else "warn" if far.share else "info"] += 1
            self.rules.update(failed)
            self.shares.append(far.share)
            return
        found = screen_table(table, baseline=other if seed % 5 == 0 else None, rng=rng)
        self.rules.update(item.method for item in found.evidence if item.grade != "info")
        failed += [f"{item.method} fails" for item in found.evidence if item.grade == "fail"]
        self.rules.update(failed)
        self.verdicts["fail" if failed else found.verdict] += 1
        self.shares.append(flagged_share(found) + far.share)

    def __str__(self) -> str:
        return f"{dict(self.verdicts)}  {np.mean(self.shares):.4f}  {dict(self.rules)}"


def false_alarms(tables: int, first: int, only: str, *, only_far_rows: bool) -> None:
    began = time.monotonic()
    kinds = {kind: Alarms() for kind in MAKERS if only in kind}
    print(f"clean tables of {len(kinds)} kinds: tables, failed, 95 % interval, warned, minutes", flush=True)
    for seed in range(first, first + tables):
        for kind, alarms in kinds.items():
            alarms.add(kind, seed, only_far_rows=only_far_rows)
        verdicts = sum((alarms.verdicts for alarms in kinds.values()), Counter())
        low, high = binomtest(verdicts["fail"], verdicts.total()).proportion_ci(0.95)
        share = verdicts["fail"] / verdicts.total()
        minutes = (time.monotonic() - began) / 60
        print(
            f"  {verdicts.total():5} {verdicts['fail']:3}  {share:.2%}  {low:.2%} to {high:.2%}  {verdicts['warn']:3}  "
            f"{minutes:.0f}",
            flush=True,
        )
    print("by kind: verdicts, mean share of the rows flagged, rules that warned or failed")
    for kind, alarms in kinds.items():
        print(f"  {kind:16} {alarms}")
    print(f"  all              {np.mean([share for alarms in kinds.values() for share in alarms.shares]):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="tables, or kinds of them, whose name contains this")
    parser.add_argument("--share", type=float, default=0.05, help="of the rows that are attacked")
    parser.add_argument("--tables", type=int, default=15)
    parser.add_argument("--first", type=int, default=0, help="the first seed of the clean tables")
    parser.add_argument("--numbers", action="store_true")
    parser.add_argument("--outliers", action="store_true")
    parser.add_argument("--false-alarms", action="store_true")
    parser.add_argument("--far-rows", action="store_true", help="false alarms of far rows only, which is quick")
    arguments = parser.parse_args()
    if arguments.outliers:
        rankings(arguments.seeds)
    elif arguments.false_alarms or arguments.far_rows:
        false_alarms(arguments.tables, arguments.first, arguments.only, only_far_rows=arguments.far_rows)
    elif arguments.numbers:
        wrong_targets(arguments.seeds, arguments.share)
    else:
        attacks(arguments.seeds, arguments.share, arguments.only)


if __name__ == "__main__":
    main()
