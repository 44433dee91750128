"""What an explanation costs, how well it adds up, and how often a nearest change is found; prints a table.

    python -m performance.explaining_rates [PART OF A TABLE'S NAME]    from tests/; the two estimators on six tables
    python -m performance.explaining_rates --coverage                  how often a shuffled column of noise holds 0

Seconds are of one core's processor time. Columns of more than 12 are too many for the definition to be checked.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import polars as pl

from core.explain.brute_force import shapley
from core.predictor.forms import a_linear_form, an_input, number
from core.training.tables import NBA, a_mixed_table, basketball, from_scikit_learn
from mcp_server.core.contract import Contract
from mcp_server.core.explain import (
    Explainer,
    Search,
    background_size,
    given_inputs,
    movable_columns,
    permutation_importance,
    schema_of,
    typed_row,
)
from mcp_server.core.explain.attribution import players_of
from mcp_server.core.predictor import compile_form
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.learn import learn
from mcp_server.core.training.split import plan_split, split_rng
from mcp_server.core.training.target import describe_target, target_values

ROWS = 20
FEW = 10
MOST_BY_DEFINITION = 12
TABLES = {
    "breast_cancer": lambda: from_scikit_learn("breast_cancer"),
    "wine (3 classes)": lambda: from_scikit_learn("wine"),
    "digits (10 classes)": lambda: from_scikit_learn("digits"),
    "diabetes (numbers)": lambda: from_scikit_learn("diabetes"),
    "mixed, a tenth missing": lambda: a_mixed_table(4_000),
    **({"NBA games": basketball} if NBA.is_file() else {}),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", nargs="?", default="")
    parser.add_argument("--coverage", action="store_true")
    asked = parser.parse_args()
    if asked.coverage:
        coverage()
        return
    print("| table, model | trees | ms a row | largest error | from the definition | shuffling, s | change found, ms |")
    print("|---|---|---|---|---|---|---|")
    for name, make in TABLES.items():
        if asked.part not in name:
            continue
        frame, contract = make()
        for algorithm in ("linear", "boosting"):
            measured(f"{name}, {algorithm}", frame, contract, algorithm)


def measured(name: str, frame: pl.DataFrame, contract: Contract, algorithm: str) -> None:
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, rng=split_rng(0))
    learned = learn(frame, contract, target, split, algorithm=algorithm, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    batch, predictor = compile_batch(learned.form), compile_form(learned.form)
    form = batch.form
    test = frame[split.test.tolist()]
    rng = np.random.default_rng(1)
    ordinary = frame[rng.permutation(frame.height)[:2_000].tolist()]
    background = batch.encode(ordinary.head(background_size(form)))
    matrix = batch.encode(test.head(ROWS))
    explainer = Explainer(batch, background)
    started = time.process_time()
    found = explainer.explain(matrix)
    per_row = (time.process_time() - started) / len(matrix)

    columns, players = players_of(form)
    apart = "–"
    if len(columns) <= MOST_BY_DEFINITION:
        few = Explainer(batch, background[:FEW]).explain(matrix[:3])
        wanted = [shapley(batch.score, row, background[:FEW], players) for row in matrix[:3]]
        apart = f"{max(float(np.abs(one - other).max()) for one, other in zip(few.values, wanted, strict=True)):.0e}"

    started = time.process_time()
    judged = target_values(test, contract, target)
    rows = test.head(2_000)
    permutation_importance(batch, rows, judged[:2_000], columns=given_inputs(form)[:60], rng=rng)
    shuffling = time.process_time() - started

    reached, spent = 0, 0.0
    for row in test.select(given_inputs(form)).head(ROWS).to_dicts():
        plain = typed_row(form, {key: value for key, value in row.items() if value is not None})
        started = time.process_time()
        movable, _ = movable_columns(form, contract, ordinary, plain, fixed=())
        schema = {key: kind for key, kind in schema_of(form).items() if key in plain}
        move = None if form.classes else float(np.std(judged)) / 2
        search = Search(predictor, batch, plain, schema=schema, columns=movable, contract=contract, move=move)
        reached += bool(search.find())
        spent += time.process_time() - started
    trees = len(getattr(form.estimator, "trees", []))
    print(
        f"| {name} | {trees or '–'} | {per_row * 1e3:.1f} | {found.largest_error:.0e} | {apart} | {shuffling:.1f} "
        f"| {reached} of {min(ROWS, len(judged))}, {spent / ROWS * 1e3:.0f} |",
        flush=True,
    )


def coverage(samples: int = 1_000) -> None:
    """A line that leans on noise by .3, 200 rows: on new rows shuffling the noise costs nothing on average."""
    names = ["c0", "c1"]
    predictor = compile_batch(
        a_linear_form(
            inputs=[an_input(name, low=-10.0, high=10.0) for name in names],
            encoder=[number(name, 0.0) for name in names],
            estimator={"kind": "linear", "coefficients": [[1.0, 0.3]], "intercepts": [0.0]},
        )
    )
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(samples):
        frame = pl.DataFrame({name: rng.normal(size=200) for name in names})
        target = frame["c0"].to_numpy() + rng.normal(size=200)
        (one,) = permutation_importance(predictor, frame, target, columns=["c1"], rng=rng)
        covered += one.low is not None and one.high is not None and one.low <= 0.0 <= one.high
    print(f"{covered} of {samples} intervals of a column of noise hold 0")


if __name__ == "__main__":
    main()
