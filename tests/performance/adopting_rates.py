"""How near adopted models answer, how long adopting takes, and how large it gets.

`python -m performance.adopting_rates`, in `tests/`.
"""

from __future__ import annotations

import pickle
import time
import warnings
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from core.adoption.owned import adopt, table
from core.adoption.test_adopted_models import CLASSIFIERS, REGRESSORS
from core.training.tables import a_contract
from mcp_server.core.adoption.parity import adopted_parity
from mcp_server.core.canonical import canonical_bytes

ROWS, COLUMNS = 5_000, 20


def gap(model: Any, frame: pl.DataFrame, contract: Any, matrix: Any) -> tuple[float, float]:
    """The largest difference on the table from the model before it was written, and that of the gate."""
    from mcp_server.core.predictor.batch import compile_batch

    form, adopted, _, _ = adopt(pickle.dumps(model), frame, contract)
    found = compile_batch(form).answer(frame)
    theirs = model.predict(matrix) if found.probabilities is None else model.predict_proba(matrix)
    ours = found.values if found.probabilities is None else found.probabilities
    away = float((np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))).max())
    return away, adopted_parity(form, adopted, frame, rng=np.random.default_rng(0)).largest


def main() -> None:
    warnings.simplefilter("ignore")
    for what, models, names in (
        ("classifiers", CLASSIFIERS, ("wine", "breast_cancer")),
        ("regressions", REGRESSORS, ("diabetes",)),
    ):
        gaps = []
        for name in names:
            frame, contract, matrix, target = table(name)
            gaps += [gap(model.fit(matrix, target), frame, contract, matrix) for model in models]
        before, gate = (max(one[at] for one in gaps) for at in (0, 1))
        print(f"{what}: {len(gaps)} adopted, largest difference {before:.1e} before writing, {gate:.1e} at the gate")
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(ROWS, COLUMNS))
    target = (matrix[:, 0] + matrix[:, 1] * matrix[:, 2] + rng.normal(size=ROWS) > 0).astype(int)
    frame = pl.DataFrame({f"c{at}": matrix[:, at] for at in range(COLUMNS)}).with_columns(target=pl.Series(target))
    contract = a_contract(frame, {"target": "target"})
    for label, model in (
        ("logistic regression", make_pipeline(StandardScaler(), LogisticRegression())),
        ("scaled forest of 100", make_pipeline(StandardScaler(), RandomForestClassifier(100, random_state=0))),
        ("gradient boosting of 100", GradientBoostingClassifier(random_state=0)),
        ("histogram boosting of 100", HistGradientBoostingClassifier(random_state=0)),
    ):
        content = pickle.dumps(model.fit(matrix, target))
        start = time.process_time()
        form, adopted, _, _ = adopt(content, frame, contract)
        converted = time.process_time()
        found = adopted_parity(form, adopted, frame, rng=np.random.default_rng(0))
        checked = time.process_time()
        size = len(canonical_bytes(form)) / 1e6
        print(
            f"{label}: {len(content) / 1e6:.1f} MB to a form of {size:.1f} MB in {converted - start:.2f} s, "
            f"gate {checked - converted:.2f} s on {found.held_out + found.adversarial + found.vectors:,} rows, "
            f"difference {found.largest:.1e}"
        )


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
