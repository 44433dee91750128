"""Whether tuning pays: train_model's winner against the best default, on rows that neither saw.

`python -m performance.training_quality [--seconds 120] [--seed 0] [--games FILE] [table ...]` from tests/. The
winner is made by the job's own steps, called one after the other in this process. The rivals learn from the same rows
with the same encodings, and the best of them is known in hindsight only: the one with the least loss on the judging
rows.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from threadpoolctl import threadpool_limits

from core.training import tables
from core.training.tables import a_contract, basketball, from_scikit_learn
from mcp_server.core.comparison import compare_predictions
from mcp_server.core.contract import Contract, to_dict
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.estimators import fit_linear
from mcp_server.core.training.prepare import prepare
from mcp_server.core.training.split import Split
from mcp_server.core.training.target import Target, target_values
from mcp_server.workflows import operations
from mcp_server.workflows.operations.fitting import planned
from mcp_server.workflows.tuning import CANDIDATES, EXTRA, TUNED, Tuning

TABLES: dict[str, Callable[[], tuple[pl.DataFrame, Contract]]] = {
    "breast_cancer": lambda: from_scikit_learn("breast_cancer"),
    "wine": lambda: from_scikit_learn("wine"),
    "digits": lambda: from_scikit_learn("digits"),
    "diabetes": lambda: from_scikit_learn("diabetes"),
    "nba": basketball,
    "mixed": lambda: a_gappy_table(),
}


class Steps:
    """A job's steps without a worker: each operation is called as it comes."""

    async def step(self, name: str, what: str, arguments: dict[str, Any], **_: Any) -> dict[str, Any]:
        found: dict[str, Any] = getattr(operations, what)(arguments, lambda fraction, message: None)
        return found


def a_gappy_table(rows: int = 12_000, seed: int = 4) -> tuple[pl.DataFrame, Contract]:
    """Numbers, counts and categories that work together, two classes of 30 and 70 %, 8 % of the cells missing."""
    rng = np.random.default_rng(seed)
    age, income = rng.normal(45, 14, rows), rng.lognormal(10, 0.6, rows)
    visits = rng.poisson(3, rows)
    region = rng.choice(["north", "south", "east", "west"], rows, p=[0.4, 0.3, 0.2, 0.1])
    product = rng.choice([f"p{number:02d}" for number in range(30)], rows)
    appeal = dict(zip(sorted(set(product)), rng.normal(0, 0.8, 30), strict=True))
    noise = rng.normal(size=(rows, 3))
    odds = (
        -1.6
        + 0.9 * np.tanh((age - 45) / 10) * np.where(region == "north", 1.0, -0.6)
        + 0.7 * (np.log(income) - 10)
        + 0.25 * (visits - 3) * (income > 22_000)
        + np.array([appeal[name] for name in product])
        + 0.5 * noise[:, 0]
    )
    frame = pl.DataFrame(
        {
            "age": age,
            "income": income,
            "visits": visits,
            "region": region,
            "product": product,
            "mood": noise[:, 0],
            "other": noise[:, 1],
            "spare": noise[:, 2],
            "bought": (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int64),
        }
    )
    holes = [
        pl.when(pl.Series(rng.random(rows) < 0.08)).then(None).otherwise(pl.col(name)).alias(name)
        for name in frame.columns[:-1]
    ]
    frame = frame.with_columns(holes)
    return frame, a_contract(frame, {"bought": "target"})


def rivals(task: str) -> dict[str, Any]:
    """The defaults of scikit-learn, and boosting as it is without tuning here; LightGBM's where it's installed."""
    regression = task == "regression"
    boosting = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    extra = ExtraTreesRegressor if regression else ExtraTreesClassifier
    found = {
        "extra trees 300": extra(n_estimators=300, random_state=0),
        "boosting, scikit-learn's": boosting(random_state=0),
        "boosting .05/200/15": boosting(
            learning_rate=0.05, max_iter=200, max_leaf_nodes=15, l2_regularization=1.0, max_features=0.5, random_state=0
        ),
    }
    try:
        import lightgbm
    except ImportError:
        return found
    kind = lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier
    return {**found, "LightGBM": kind(random_state=0, verbose=-1, n_jobs=1)}


def forecasts_of_rivals(frame: pl.DataFrame, contract: Contract, target: Target, split: Split) -> dict[str, Any]:
    """Each rival's forecasts of the judging rows."""
    values = target_values(frame, contract, target)[split.train]

    def matrices(style: Any) -> tuple[np.ndarray, np.ndarray]:
        encoder = prepare(frame, contract, None, rows=split.train, style=style).table_encoder()
        matrix = encoder.encode(encoder.columns(frame))
        return matrix[split.train], matrix[split.test]

    def told(estimator: Any, matrix: np.ndarray) -> np.ndarray:
        if target.task == "regression":
            return np.asarray(estimator.predict(matrix))
        shares = estimator.predict_proba(matrix)
        return shares[:, 1] if target.task == "binary" else shares

    learned, judged = matrices("linear")
    found = {"linear": told(fit_linear(learned, values, task=target.task).estimator, judged)}
    learned, judged = matrices("trees")
    for name, estimator in rivals(target.task).items():
        with threadpool_limits(limits=1):
            estimator.fit(learned, values if target.task == "regression" else values.astype(int))
            found[name] = told(estimator, judged)
    return found


def winner(path: Path, contract: Contract, folder: Path, seconds: int, seed: int) -> tuple[dict[str, Any], Any]:
    """What the job's steps make within the budget: the account, and the serving form."""
    told = {
        "path": str(path),
        "contract": to_dict(contract),
        "plan": str(folder / "plan.json"),
        "features": None,
        "target": None,
        "test": None,
        "allow_leaks": False,
        "seed": seed,
        "tuned": True,
    }
    plan = operations.plan_training({**told, "out": told["plan"]}, lambda fraction, message: None)
    candidates = (*CANDIDATES, EXTRA) if plan["light"] else CANDIDATES
    tuning = Tuning(Steps(), candidates, seconds=seconds, trials=None)  # type: ignore[arg-type]
    chosen = asyncio.run(tuning.chosen(told, share=(0.0, 1.0)))
    made = {**told, "algorithm": TUNED, "chosen": chosen, "embeddings": [], "out": str(folder / TUNED)}
    operations.train_algorithm(made, lambda fraction, message: None)
    return chosen["account"], orjson.loads((folder / TUNED / "form.json").read_bytes())["form"]


def judge(name: str, seconds: int, seed: int) -> str:
    """A row of the table in docs/benchmarks.md."""
    frame, contract = TABLES[name]()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        frame.write_parquet(folder / "table.parquet")
        account, form = winner(folder / "table.parquet", contract, folder, seconds, seed)
        took = time.monotonic() - began
        told = {"path": str(folder / "table.parquet"), "plan": str(folder / "plan.json")}
        frame, contract, target, split = planned(told)
    judged = target_values(frame, contract, target)[split.test]
    ours = compile_batch(form).answer(frame[split.test.tolist()]).forecast
    compared = {
        rival: compare_predictions(judged, ours, theirs, task=target.task, rng=np.random.default_rng(0))
        for rival, theirs in forecasts_of_rivals(frame, contract, target, split).items()
    }
    losses = {rival: found.primary.second for rival, found in compared.items()}
    rival = min(losses, key=losses.__getitem__)
    first = compared[rival].primary
    second = next(one for one in compared[rival].differences if one.metric in ("accuracy", "r2"))
    gap = f"{first.difference:+.4f} [{first.low:+.4f}, {first.high:+.4f}]"
    beaten = sum(found.verdict == "better" for found in compared.values())
    members = " + ".join(f"{one['weight']:.2f} {one['algorithm']}" for one in account["members"])
    members = f"{account['winner']}: {members}" if len(account["members"]) > 1 else members
    return (
        f"| {name} | {len(judged):,} | {members} | {account['trials']} / {took:.0f} | {first.first:.4f} | "
        f"{first.second:.4f} ({rival}) | {gap} {first.verdict} | "
        f"{second.first:.3f} / {second.second:.3f} | {beaten} of {len(compared)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--games", type=Path, help="the NBA games, where they aren't beside the repository")
    options = parser.parse_args()
    if options.games is not None:
        tables.NBA = options.games
    print("| table | judged | winner | trials / s | loss | best default | difference | accuracy or R2 | better than |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.tables or TABLES:
        print(judge(name, options.seconds, options.seed), flush=True)


if __name__ == "__main__":
    main()
