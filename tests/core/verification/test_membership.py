"""Whether answers tell the rows that a model learned from: by hand, by law, and on models that do and don't."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from core.training.tables import a_contract, from_scikit_learn
from mcp_server.core.contract import Contract
from mcp_server.core.training.learn import learn
from mcp_server.core.training.split import Split, plan_split, split_rng
from mcp_server.core.training.target import describe_target
from mcp_server.core.verification.membership import check_membership, estimate_membership
from mcp_server.errors import BadSample

LOSSES = st.lists(st.floats(0, 100), min_size=2, max_size=30).map(np.array)


@given(LOSSES)
def test_losses_that_are_alike_tell_nothing(losses: np.ndarray) -> None:
    assert estimate_membership(losses, losses).area == pytest.approx(0.5)


@given(LOSSES, LOSSES)
def test_the_area_is_that_of_the_rank_test_and_inside_its_interval(learned: np.ndarray, held_out: np.ndarray) -> None:
    found = estimate_membership(learned, held_out)
    expected = mannwhitneyu(-learned, -held_out).statistic / (len(learned) * len(held_out))
    assert found.area == pytest.approx(expected)
    assert 0.0 <= found.low <= found.area <= found.high <= 1.0


def test_the_interval_holds_the_true_area_about_as_often_as_it_says() -> None:
    """Two normal samples half a standard deviation apart: the area is Phi(.5 / sqrt 2) = .638."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        found = estimate_membership(rng.normal(0.0, 1.0, 120), rng.normal(0.5, 1.0, 80))
        held += found.low <= 0.6382 <= found.high
    assert 367 <= held <= 394  # binomial 99.9 % about .95


def test_the_yield_at_few_false_alarms_counts_rows_below_almost_all_others() -> None:
    held_out = np.arange(1.0, 1001.0)
    learned = np.concatenate([np.full(300, 0.5), np.full(700, 500.0)])
    assert estimate_membership(learned, held_out).caught == pytest.approx(0.3)
    assert estimate_membership(learned, held_out[:499]).caught is None


@pytest.mark.parametrize("losses", [np.array([1.0]), np.array([1.0, np.inf]), np.array([])])
def test_what_is_too_few_or_not_finite_is_refused(losses: np.ndarray) -> None:
    with pytest.raises(BadSample):
        estimate_membership(losses, np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (RandomForestClassifier(random_state=0), 0.77),
        (RandomForestClassifier(min_samples_leaf=10, random_state=0), 0.57),
        (HistGradientBoostingClassifier(random_state=0), 0.63),
        (LogisticRegression(max_iter=1_000), 0.51),
    ],
    ids=["forest", "forest with leaves of 10", "boosting", "logistic"],
)
def test_known_models_are_told_as_well_as_others_measured(model: Any, expected: float) -> None:
    matrix, labels = make_classification(4_000, 20, n_informative=8, flip_y=0.1, random_state=0)
    with threadpool_limits(1):  # threads wait for each other on a busy machine
        model.fit(matrix[:2_000], labels[:2_000])
    shares = np.maximum(model.predict_proba(matrix)[np.arange(4_000), labels], 1e-15)
    found = estimate_membership(-np.log(shares[:2_000]), -np.log(shares[2_000:]))
    assert found.area == pytest.approx(expected, abs=0.03)


def made(happened: str, rows: int = 500) -> tuple[pl.DataFrame, Contract, Split]:
    """A table whose target follows one column by chance, or nothing at all."""
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(rows, 4))
    chance = matrix[:, 0] + rng.logistic(size=rows) > 0 if happened == "by chance" else rng.random(rows) < 0.5
    frame = pl.DataFrame({f"x{at}": matrix[:, at] for at in range(4)})
    frame = frame.with_columns(y=pl.Series(chance).cast(pl.Int64))
    contract = a_contract(frame, {"y": "target"})
    return frame, contract, plan_split(frame, contract, describe_target(frame, contract), rng=split_rng(0))


def form_of(table: tuple[pl.DataFrame, Contract, Split], algorithm: str) -> dict[str, Any]:
    frame, contract, split = table
    rng = np.random.default_rng(1)
    told: Any = algorithm
    return learn(frame, contract, describe_target(frame, contract), split, algorithm=told, rng=rng).form


def personal(contract: Contract) -> Contract:
    """The same, with a column that is about people."""
    columns = [column.model_copy(update={"personal": column.name == "x3"}) for column in contract.columns]
    return contract.model_copy(update={"columns": tuple(columns)})


def parts(table: tuple[pl.DataFrame, Contract, Split]) -> tuple[pl.DataFrame, pl.DataFrame]:
    frame, _, split = table
    return frame[split.seen.tolist()], frame[split.test.tolist()]


def test_a_model_that_learns_nothing_by_heart_passes() -> None:
    table = made("by chance")
    found = check_membership(form_of(table, "linear"), personal(table[1]), *parts(table), always=True)
    assert found.state == "passed"
    assert 0.4 < float(found.detail.split("area of ")[1][:4]) < 0.56


def test_a_model_that_learns_labels_of_chance_by_heart_fails_where_rows_are_about_people() -> None:
    table = made("at random")
    form = form_of(table, "extra_trees")
    found = check_membership(form, personal(table[1]), *parts(table))
    assert found.state == "failed"
    assert float(found.detail.split("area of ")[1][:4]) > 0.85
    assert check_membership(form, table[1], *parts(table)).state == "barred"
    assert check_membership(form, table[1], *parts(table), always=True).state == "failed"
    # The control: on rows that it never saw, nothing tells one half from the other.
    _, held_out = parts(table)
    half = held_out.height // 2
    assert check_membership(form, personal(table[1]), held_out[:half], held_out[half:]).state == "passed"


@pytest.mark.parametrize("name", ["diabetes", "digits"])
def test_numbers_and_several_classes_are_judged_by_their_own_loss(name: str) -> None:
    frame, contract = from_scikit_learn(name)
    split = plan_split(frame, contract, describe_target(frame, contract), rng=split_rng(0))
    table = frame, contract, split
    found = check_membership(form_of(table, "linear"), contract, *parts(table), always=True)
    assert found.state == "passed"
    # The control: rows with the outcomes of others are told by their loss.
    learned, held_out = parts(table)
    shuffled = learned.with_columns(pl.Series("target", np.roll(learned["target"].to_numpy(), 1)))
    apart = check_membership(form_of(table, "linear"), contract, held_out, shuffled, always=True)
    assert apart.state in ("warned", "failed")


def test_too_few_rows_are_not_judged() -> None:
    table = made("by chance")
    learned, held_out = parts(table)
    found = check_membership(form_of(table, "linear"), table[1], learned, held_out[:49])
    assert found.state == "not_done"
    assert "50 rows" in found.detail
