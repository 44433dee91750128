"""A person's model answers as before once it's adopted: every estimator, every form of file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lars,
    Lasso,
    LassoCV,
    LassoLars,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    OrthogonalMatchingPursuit,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from core.adoption.owned import WAYS, a_mixed_table, adopt, columns_of, table
from mcp_server.core.adoption.parity import adopted_parity, require_adopted_parity
from mcp_server.core.explain import Explainer
from mcp_server.core.predictor.batch import compile_batch

SMALL: dict[str, Any] = {"n_estimators": 5, "random_state": 0}
QUICK: dict[str, Any] = {"max_iter": 8, "random_state": 0}

CLASSIFIERS: list[Any] = [
    make_pipeline(StandardScaler(), LogisticRegression()),
    make_pipeline(MinMaxScaler(), LogisticRegression()),
    make_pipeline(RobustScaler(), LogisticRegressionCV(Cs=2, cv=2, max_iter=500)),
    make_pipeline(MaxAbsScaler(), GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2)),
    DecisionTreeClassifier(random_state=0),
    ExtraTreeClassifier(random_state=0),
    RandomForestClassifier(**SMALL),
    make_pipeline(StandardScaler(), RandomForestClassifier(**SMALL)),
    ExtraTreesClassifier(**SMALL),
    GradientBoostingClassifier(**SMALL),
    make_pipeline(StandardScaler(), GradientBoostingClassifier(**SMALL, init="zero")),
    HistGradientBoostingClassifier(**QUICK),
    make_pipeline(RobustScaler(), HistGradientBoostingClassifier(**QUICK)),
]
REGRESSORS: list[Any] = [
    *(LinearRegression(), Ridge(), RidgeCV(), Lasso(), LassoCV(cv=2), ElasticNet(), ElasticNetCV(cv=2), Lars()),
    *(LassoLars(), HuberRegressor(max_iter=500), BayesianRidge(), ARDRegression(), OrthogonalMatchingPursuit()),
    *(QuantileRegressor(), TheilSenRegressor(random_state=0), LinearSVR(), SGDRegressor(random_state=0)),
    make_pipeline("passthrough", StandardScaler(with_mean=False), MinMaxScaler((-1, 1)), Ridge()),
    DecisionTreeRegressor(random_state=0),
    ExtraTreeRegressor(random_state=0),
    RandomForestRegressor(**SMALL),
    make_pipeline(MinMaxScaler(), ExtraTreesRegressor(**SMALL)),
    GradientBoostingRegressor(**SMALL),
    GradientBoostingRegressor(**SMALL, loss="huber"),
    HistGradientBoostingRegressor(**QUICK),
    HistGradientBoostingRegressor(**QUICK, loss="absolute_error"),
]


def named(model: Any) -> str:
    return " ".join(type(step).__name__ for _, step in model.steps) if hasattr(model, "steps") else type(model).__name__


def is_answered_alike(ways: Sequence[str], model: Any, frame: Any, contract: Any, matrix: Any, *, columns: Any = None):
    """Adopt a model in several ways; the one form must answer as the model did before, and pass its gate."""
    form, adopted, target, notes = adopt(WAYS[ways[0]](model), frame, contract, columns)
    for way in ways[1:]:
        assert adopt(WAYS[way](model), frame, contract, columns)[0] == form, way
    found = compile_batch(form).answer(frame)
    rows = adopted.answers(frame)
    assert rows.any()
    if target.classes is None:
        theirs, ours = model.predict(matrix[rows]), found.values[rows]
    else:
        theirs, ours = model.predict_proba(matrix[rows]), found.probabilities[rows]
        assert list(target.classes) == [str(one) for one in model.classes_]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    gate = adopted_parity(form, adopted, frame, rng=np.random.default_rng(0))
    require_adopted_parity(gate)
    return form, adopted, gate, notes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", ["wine", "breast_cancer"])
@pytest.mark.parametrize("model", CLASSIFIERS, ids=named)
def test_classifiers_answer_as_before(model: Any, data: str) -> None:
    frame, contract, matrix, target = table(data)
    model.fit(matrix, target)
    *_, gate, _ = is_answered_alike(("skops", "pickle 5", "joblib"), model, frame, contract, matrix)
    assert gate.vectors > 0 or "Logistic" in named(model) or "Grid" in named(model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", REGRESSORS, ids=named)
def test_regressions_answer_as_before(model: Any) -> None:
    frame, contract, matrix, target = table("diabetes")
    model.fit(matrix, target)
    is_answered_alike(("pickle 4", "skops"), model, frame, contract, matrix)


def test_every_protocol_and_every_form_of_file_gives_the_same() -> None:
    """Arrays that go by columns too, as joblib keeps them."""
    frame, contract, matrix, target = table("wine")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(matrix, target)
    model.steps[1][1].coef_ = np.asfortranarray(model.steps[1][1].coef_)
    is_answered_alike(tuple(WAYS), model, frame, contract, matrix)


def mixed_columns(numbers: Any, texts: Any) -> ColumnTransformer:
    """Two numbers with holes, two texts, one with holes; the count passes."""
    return ColumnTransformer([("n", numbers, [0, 1]), ("t", texts, [3, 4])], remainder="passthrough")


FILLED = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
MIXED: dict[str, Any] = {
    "ignored": make_pipeline(
        mixed_columns(FILLED, OneHotEncoder(handle_unknown="ignore")), LogisticRegression(max_iter=500)
    ),
    "dropped": make_pipeline(
        mixed_columns(FILLED, OneHotEncoder(drop="first", sparse_output=False)),
        StandardScaler(),
        LogisticRegression(max_iter=500),
    ),
    "filled": make_pipeline(
        mixed_columns(
            FILLED, make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
        ),
        LogisticRegression(max_iter=500),
    ),
    "scaled, then filled": make_pipeline(
        mixed_columns(make_pipeline(StandardScaler(), SimpleImputer()), OneHotEncoder(drop="if_binary")),
        LogisticRegression(max_iter=500),
    ),
    "coded": make_pipeline(
        mixed_columns(
            "passthrough",
            make_pipeline(
                SimpleImputer(strategy="constant", fill_value="town 3"),
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            ),
        ),
        RandomForestClassifier(**SMALL),
    ),
    "coded with holes": make_pipeline(
        mixed_columns(MinMaxScaler(), OrdinalEncoder()), HistGradientBoostingClassifier(**QUICK)
    ),
    "coded, unknown beside holes": make_pipeline(
        mixed_columns("passthrough", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
        HistGradientBoostingClassifier(**QUICK),
    ),
    "marks in trees": make_pipeline(
        mixed_columns(FILLED, OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        GradientBoostingClassifier(**SMALL),
    ),
    "frozen": make_pipeline(
        mixed_columns(FILLED, FrozenEstimator(OneHotEncoder(handle_unknown="ignore"))), LogisticRegression(max_iter=500)
    ),
    "an identity": make_pipeline(
        FunctionTransformer(), mixed_columns(FILLED, OneHotEncoder()), LogisticRegression(max_iter=500)
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", MIXED)
def test_numbers_and_texts_with_holes_are_encoded_as_before(kind: str) -> None:
    frame, contract, matrix, target = a_mixed_table()
    model = MIXED[kind]
    if kind == "frozen":
        model.steps[0][1].transformers[1][1].estimator.fit(matrix[:, [3, 4]])
    model.fit(matrix, target)
    form, adopted, gate, _ = is_answered_alike(("pickle 3", "skops"), model, frame, contract, matrix)
    assert gate.adversarial > 20
    unknown = frame.head(1).with_columns(town=pl.lit("Atlantis"))
    refuses = kind in ("dropped", "scaled, then filled", "coded with holes", "an identity")
    assert adopted.answers(unknown).all() != refuses
    assert compile_batch(form).answer(unknown).flags.keys() >= {("town", "unseen_category")}


def test_columns_go_by_the_names_that_a_file_has() -> None:
    """However the data orders them; a column transformer's names become positions."""
    frame, contract, matrix, target = table("diabetes")
    names = columns_of(frame)
    columns = ColumnTransformer([("n", StandardScaler(), slice(2, 5)), ("m", "passthrough", [0, 9])], remainder="drop")
    model = make_pipeline(columns, Ridge()).fit(matrix, target)
    before = model.predict(matrix)
    # As it would have been kept had it been fitted on a table with names.
    columns.feature_names_in_ = np.array(names, dtype=object)
    columns.transformers_ = [
        ("n", columns.transformers_[0][1], slice("bmi", "s1")),
        ("m", "passthrough", ["age", "s6"]),
        ("left out", "drop", ["sex"]),
    ]
    mixed = frame.select([*reversed(names), "target"])
    form, adopted, _, _ = adopt(WAYS["joblib"](model), mixed, contract)
    require_adopted_parity(adopted_parity(form, adopted, mixed, rng=np.random.default_rng(0)))
    assert adopted.columns == tuple(names)
    np.testing.assert_allclose(compile_batch(form).answer(mixed).values, before, rtol=1e-9)


def test_a_logistic_regression_by_gradient_descent_and_one_of_texts_for_classes() -> None:
    frame, contract, matrix, _ = a_mixed_table()
    numbers = np.nan_to_num(matrix[:, :3].astype(float))
    whole = frame.with_columns(pl.col("size").fill_null(0.0), pl.col("age").fill_null(0.0))
    target = frame["target"].to_numpy()
    model = make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)).fit(numbers, target)
    form, *_ = is_answered_alike(("pickle 2",), model, whole, contract, numbers, columns=["size", "age", "count"])
    assert form["classes"] == ["no", "yes"]


def test_a_missing_value_that_the_model_refuses_is_answered_with_the_median_and_said() -> None:
    frame, contract, matrix, target = table("diabetes")
    model = LinearRegression().fit(matrix, target)
    form, adopted, _, notes = is_answered_alike(("skops",), model, frame, contract, matrix)
    hole = frame.head(1).with_columns(bmi=pl.lit(None, dtype=pl.Float64))
    assert not adopted.answers(hole).any()
    filled = frame.head(1).with_columns(bmi=pl.lit(frame["bmi"].median()))
    assert compile_batch(form).answer(hole).values == compile_batch(form).answer(filled).values
    assert ("bmi", "missing") in compile_batch(form).answer(hole).flags
    assert len(notes) == 1
    assert "refuse" in notes[0]


def test_trees_go_the_same_way_at_their_very_thresholds() -> None:
    """The last bit counts: a scaler's rounding and single precision are part of the question."""
    frame, contract, matrix, target = table("breast_cancer")
    model = make_pipeline(StandardScaler(), RandomForestClassifier(**SMALL)).fit(matrix, target)
    form, adopted, gate, _ = is_answered_alike(("joblib",), model, frame, contract, matrix)
    assert gate.vectors > 100
    # Folded into one factor and asked in double precision, as a careless conversion would, some rows part.
    for tree in form["estimator"]["trees"]:
        for node in tree:
            if "t" in node:
                node["t"] = float(np.nextafter(np.float32(node["t"]), np.float32(np.inf)))
    assert adopted_parity(form, adopted, frame, rng=np.random.default_rng(0)).largest > 1e-3


def test_leaves_that_hold_weights_as_older_versions_kept_them_are_shares_here() -> None:
    """scikit-learn 1.3 divided when it was asked; 1.4 and later keep shares."""
    frame, contract, matrix, target = table("wine")
    model = RandomForestClassifier(**SMALL).fit(matrix, target)
    before = model.predict_proba(matrix)
    for part in model.estimators_:
        part.tree_.value[:] *= part.tree_.weighted_n_node_samples[:, None, None]
    assert not np.allclose(model.predict_proba(matrix), before)
    model.estimators_[0].n_classes_ = np.int64(3)
    form, adopted, _, _ = adopt(WAYS["joblib"](model), frame, contract)
    np.testing.assert_allclose(compile_batch(form).answer(frame).probabilities, before, rtol=1e-9, atol=1e-9)
    require_adopted_parity(adopted_parity(form, adopted, frame, rng=np.random.default_rng(0)))


@pytest.mark.parametrize("data", ["wine", "breast_cancer"])
def test_shares_of_nothing_stay_nothing_and_their_contributions_readable(data: str) -> None:
    """A forest says 0 and 1; log-odds of these would be infinite."""
    frame, contract, matrix, target = table(data)
    model = RandomForestClassifier(**SMALL).fit(matrix, target)
    form, *_ = adopt(WAYS["pickle 5"](model), frame, contract)
    batch = compile_batch(form)
    shares, theirs = batch.answer(frame).probabilities, model.predict_proba(matrix)
    assert (theirs == 0.0).sum() > 30
    np.testing.assert_allclose(shares, theirs, rtol=0, atol=1e-14)
    encoded = batch.encode(frame)
    found = Explainer(batch, encoded[:40]).explain(encoded[:20])
    assert found.largest_error < 1e-9
    assert np.abs(found.values).max() < 20.0
