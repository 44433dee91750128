"""How well answers tell the rows that a model learned from, and how often chance alone looks like that; prints tables.

python -m performance.membership_rates            from tests/; our algorithms on four tables and two of chance
python -m performance.membership_rates --chance   warnings where nothing tells, by the number of rows
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import polars as pl
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from core.training.tables import a_contract, a_mixed_table, from_scikit_learn
from mcp_server.core.contract import Contract
from mcp_server.core.training.learn import learn
from mcp_server.core.training.split import plan_split, split_rng
from mcp_server.core.training.target import describe_target
from mcp_server.core.verification.membership import BLOCK, WARN, check_membership, estimate_membership

ALGORITHMS: tuple[Any, ...] = ("linear", "boosting", "extra_trees")
SIMULATIONS = 4_000
SIZES = ((50, 50), (200, 50), (400, 100), (2_000, 500), (2_000, 2_000))


def of_chance(rows: int = 2_000, *, logistic: bool) -> tuple[pl.DataFrame, Contract]:
    """A target that no column says anything of, or one that follows a logistic model."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(rows, 5))
    happened = matrix[:, 0] + rng.logistic(size=rows) > 0 if logistic else rng.random(rows) < 0.5
    frame = pl.DataFrame({f"x{at}": matrix[:, at] for at in range(5)})
    frame = frame.with_columns(target=pl.Series(happened).cast(pl.Int64))
    return frame, a_contract(frame, {"target": "target"})


def ours() -> None:
    tables = {name: from_scikit_learn(name) for name in ("breast_cancer", "digits", "diabetes")}
    tables["mixed"] = a_mixed_table()
    tables["labels at random"] = of_chance(logistic=False)
    tables["a logistic truth"] = of_chance(logistic=True)
    print("| table | " + " | ".join(ALGORITHMS) + " |")
    for name, (frame, contract) in tables.items():
        target = describe_target(frame, contract)
        split = plan_split(frame, contract, target, rng=split_rng(0))
        cells = []
        for algorithm in ALGORITHMS:
            rng = np.random.default_rng(1)
            form = learn(frame, contract, target, split, algorithm=algorithm, rng=rng).form
            learned, held_out = frame[split.seen.tolist()], frame[split.test.tolist()]
            found = check_membership(form, contract, learned, held_out, always=True)
            cells.append(f"{found.detail.partition(' area of ')[2].partition(';')[0]}) {found.state}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def others() -> None:
    """scikit-learn's own, 10 % of the labels flipped."""
    matrix, labels = make_classification(4_000, 20, n_informative=8, flip_y=0.1, random_state=0)
    parts = train_test_split(matrix, labels, test_size=0.5, random_state=0)
    models = {
        "random forest": RandomForestClassifier(random_state=0),
        "random forest, leaves of 10": RandomForestClassifier(min_samples_leaf=10, random_state=0),
        "histogram boosting": HistGradientBoostingClassifier(random_state=0),
        "logistic regression": LogisticRegression(max_iter=1_000),
    }
    for name, model in models.items():
        model.fit(parts[0], parts[2])
        learned, held_out = (
            -np.log(np.maximum(model.predict_proba(rows)[np.arange(len(rows)), outcomes], 1e-15))
            for rows, outcomes in ((parts[0], parts[2]), (parts[1], parts[3]))
        )
        found = estimate_membership(learned, held_out)
        print(f"| {name} | {found.area:.2f} ({found.low:.2f} to {found.high:.2f}) | {found.caught:.1%} |", flush=True)


def chance() -> None:
    rng = np.random.default_rng(0)
    for learned, held_out in SIZES:
        found = [
            estimate_membership(rng.exponential(size=learned), rng.exponential(size=held_out))
            for _ in range(SIMULATIONS)
        ]
        warned = np.mean([one.area >= WARN and one.low > 0.5 for one in found])
        failed = np.mean([one.area >= BLOCK and one.low > 0.5 for one in found])
        held = np.mean([one.low <= 0.5 <= one.high for one in found])
        print(f"| {learned} and {held_out} | {warned:.2%} | {failed:.2%} | {held:.1%} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--chance", action="store_true")
    if parser.parse_args().chance:
        chance()
    else:
        ours()
        others()
