"""What isn't adopted, and why: every refusal names the part, and nothing of the file ever runs."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
import skops.io
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

from core.adoption.owned import WAYS, a_mixed_table, adopt, read, table
from core.model_files.assembling import call, name, stream
from core.model_files.test_hostile_files import corpus
from mcp_server.core.adoption import parity as gates
from mcp_server.core.adoption.parity import adopted_parity, require_adopted_parity
from mcp_server.core.predictor import Predictor
from mcp_server.errors import AdoptionRefused, BadTarget, CourtsideError, InvalidInput, ParityFailed, Unverified

OPENING = Path(__file__).parents[1] / "model_files" / "opening_process.py"


def fitted(model: Any, data: str = "diabetes") -> Any:
    _, _, matrix, target = table(data)
    return model.fit(matrix, target)


STEPS: dict[str, tuple[Any, str, str]] = {
    "PCA": (make_pipeline(PCA(3), Ridge()), "diabetes", "'PCA'"),
    "polynomials": (make_pipeline(PolynomialFeatures(), Ridge()), "diabetes", "'PolynomialFeatures'"),
    "bins": (make_pipeline(KBinsDiscretizer(3), Ridge()), "diabetes", "'KBinsDiscretizer'"),
    "neighbours fill in": (make_pipeline(KNNImputer(), Ridge()), "diabetes", "'KNNImputer'"),
    "a function": (make_pipeline(FunctionTransformer(np.log1p), Ridge()), "diabetes", "'func'"),
    "clipping": (make_pipeline(MinMaxScaler(clip=True), Ridge()), "diabetes", "'clip'"),
    "marks of holes": (make_pipeline(SimpleImputer(add_indicator=True), Ridge()), "diabetes", "'add_indicator'"),
    "another value for a hole": (make_pipeline(SimpleImputer(missing_values=0.0), Ridge()), "diabetes", "other values"),
    "marks of numbers": (make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()), "diabetes", "aren't text"),
    "votes": (VotingRegressor([("a", Ridge())]), "diabetes", "'VotingRegressor'"),
    "neighbours": (KNeighborsClassifier(), "wine", "'KNeighborsClassifier'"),
    "kernels": (SVC(), "wine", "'SVC'"),
    "one against the rest": (OneVsRestClassifier(LogisticRegression()), "breast_cancer", "'OneVsRestClassifier'"),
    "calibrated": (CalibratedClassifierCV(LogisticRegression(), cv=2), "breast_cancer", "'CalibratedClassifierCV'"),
    "no probabilities": (SGDClassifier(random_state=0), "breast_cancer", "log_loss"),
    "another loss": (GradientBoostingClassifier(loss="exponential", n_estimators=2), "breast_cancer", "'loss'"),
    "a logarithm for a link": (HistGradientBoostingRegressor(loss="poisson", max_iter=2), "diabetes", "'loss'"),
    "an estimator to begin with": (GradientBoostingRegressor(init=Ridge(), n_estimators=2), "diabetes", "begins with"),
    "weights": (
        make_pipeline(ColumnTransformer([("a", StandardScaler(), [0])], transformer_weights={"a": 2.0}), Ridge()),
        "diabetes",
        "'transformer_weights'",
    ),
    "a function from elsewhere": (
        make_pipeline(ColumnTransformer([("a", FunctionTransformer(lambda column: column), [0, 1])]), Ridge()),
        "diabetes",
        "isn't on the list",
    ),
    "sets of categories": (
        HistGradientBoostingRegressor(categorical_features=[1], max_iter=2),
        "diabetes",
        "sets of categories",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", STEPS)
def test_a_step_that_is_not_known_is_named(kind: str) -> None:
    model, data, named = STEPS[kind]
    frame, contract, _, _ = table(data)
    content = (
        WAYS["joblib"](fitted(model, data)) if kind != "a function from elsewhere" else pickle.dumps(by_name(model))
    )
    with pytest.raises((AdoptionRefused, Unverified)) as refusal:
        adopt(content, frame, contract)
    assert named in refusal.value.message
    assert refusal.value.hint


def by_name(model: Any) -> Any:
    """A lambda can't be pickled, but a function of a module can be named."""
    model.steps[0][1].transformers[0][1].func = subprocess.getoutput
    return model


def changed(**attributes: Any) -> bytes:
    model = fitted(LinearRegression())
    for attribute, value in attributes.items():
        setattr(model, attribute, value)
    return pickle.dumps(model)


STATES: dict[str, tuple[bytes, str]] = {
    "not fitted": (pickle.dumps(make_pipeline(StandardScaler(), Ridge())), "n_features_in_"),
    "not a number": (changed(coef_=np.array([np.nan] * 10)), "finite"),
    "infinite": (changed(intercept_=float("inf")), "finite"),
    "another shape": (changed(coef_=np.ones((2, 10))), "shape"),
    "too few": (changed(coef_=np.ones(9)), "shape"),
    "text": (changed(coef_=np.array(["1"] * 10)), "coef_"),
    "an attribute of somebody's": (changed(predict_=1.0), "'predict_'"),
    "names that aren't text": (changed(feature_names_in_=np.arange(10)), "column names"),
    "a name twice": (changed(feature_names_in_=np.array(["a"] * 10, dtype=object)), "column names"),
    "another number of names": (changed(feature_names_in_=np.array(["a", "b"], dtype=object)), "column names"),
    "a dictionary around it": (pickle.dumps({"model": fitted(Ridge())}), "something else"),
    "a list": (pickle.dumps([fitted(Ridge())]), "something else"),
    "text alone": (pickle.dumps("model"), "something else"),
    "too many columns": (changed(n_features_in_=5_000, coef_=np.ones(5_000)), "2,000"),
}


@pytest.mark.parametrize("kind", STATES)
def test_a_state_that_is_not_known_is_named(kind: str) -> None:
    frame, contract, _, _ = table("diabetes")
    content, named = STATES[kind]
    with pytest.raises(AdoptionRefused, match="can't be adopted") as refusal:
        adopt(content, frame, contract)
    assert named in refusal.value.message


def test_lists_that_are_handed_over_many_times_or_hold_themselves_cost_nothing() -> None:
    frame, contract, _, _ = table("diabetes")
    parts: list[Any] = []
    for _ in range(35):
        parts = [parts, parts]  # 2**35 ways to the innermost
    around: list[Any] = []
    around.append(around)
    assert adopt(changed(n_jobs=parts), frame, contract)[0]["task"] == "regression"
    with pytest.raises(AdoptionRefused, match="deeply"):
        adopt(changed(n_jobs=around), frame, contract)


def test_scalers_that_make_a_coefficient_infinite_are_refused() -> None:
    frame, contract, _, _ = table("diabetes")
    model = fitted(make_pipeline(StandardScaler(), Ridge()))
    model.steps[0][1].scale_ = np.full(10, 1e-308)
    model.steps[1][1].coef_ = np.full(10, 1e200)
    with pytest.raises(AdoptionRefused, match="aren't finite"):
        adopt(pickle.dumps(model), frame, contract)


@pytest.mark.parametrize("told", [{"solver": "liblinear"}, {"multi_class": "ovr"}, {"multi_class": "warn"}])
def test_classes_told_apart_one_by_one_are_refused(told: dict[str, str]) -> None:
    """scikit-learn of today has lost the parameter, and would answer such a file by a softmax."""
    frame, contract, _, _ = table("wine")
    model = fitted(make_pipeline(StandardScaler(), LogisticRegression()), "wine")
    for attribute, value in told.items():
        setattr(model.steps[1][1], attribute, value)
    with pytest.raises(AdoptionRefused, match="from the rest"):
        adopt(pickle.dumps(model), frame, contract)


def test_a_solver_that_knew_no_softmax_when_it_wrote_the_file_is_refused() -> None:
    """Up to 1.5 newton-cholesky told each class from the rest, though the file only says `auto`."""
    frame, contract, _, _ = table("wine")
    model = fitted(make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky")), "wine")
    model.steps[1][1].multi_class = "auto"
    today = sklearn.__version__.encode()
    assert adopt(pickle.dumps(model), frame, contract)[0]["estimator"]["kind"] == "linear"
    with pytest.raises(AdoptionRefused, match="from the rest"):
        adopt(pickle.dumps(model).replace(today, b"1.5.2"), frame, contract)


MISPLACED: dict[str, tuple[Any, dict[str, Any]]] = {
    "an array for a solver": (LogisticRegression(), {"solver": np.array(["lbfgs", "saga"])}),
    "an array for a loss": (SGDClassifier(loss="log_loss"), {"loss": np.array(["log_loss", "log"])}),
    "an array for a start": (GradientBoostingClassifier(n_estimators=1), {"init_": np.array([1, 2])}),
    "an array for a step": (make_pipeline(StandardScaler(), Ridge()), {"steps": [["a", np.array([1, 2])], ["b", 1]]}),
    "a number without end": (LinearRegression(), {"coef_": 10**400}),
    "a class without end": (LogisticRegression(), {"classes_": np.array([10**400, 1, 2], dtype=object)}),
    "a class that is none": (LogisticRegression(), {"classes_": np.array([np.nan, 1.0, 2.0])}),
}


@pytest.mark.parametrize("what", MISPLACED)
def test_what_stands_where_it_doesnt_belong_is_refused_in_our_words(what: str) -> None:
    model, misplaced = MISPLACED[what]
    frame, contract, matrix, target = table("wine")
    model = clone(model).fit(matrix, target > 0 if what == "an array for a loss" else target)
    for attribute, value in misplaced.items():
        setattr(model, attribute, value)
    with pytest.raises(AdoptionRefused, match="can't be adopted"):
        adopt(pickle.dumps(model), frame, contract)


def test_pipelines_that_share_their_steps_are_counted_out_and_refused() -> None:
    """Nineteen times the same pipeline, of nineteen times the same, eight deep: seventeen billion scalers."""
    frame, contract, matrix, target = table("wine")
    step: Any = StandardScaler().fit(matrix)
    for _ in range(8):
        step = Pipeline([(f"step{number}", step) for number in range(19)])
    with pytest.raises(AdoptionRefused, match="more than 1,000 steps"):
        adopt(pickle.dumps(Pipeline([("scaled", step), ("model", Ridge().fit(matrix, target))])), frame, contract)


@pytest.mark.parametrize("columns", [slice(0, 5, 0), list(range(13)) * 20])
def test_columns_that_no_table_has_are_refused_in_our_words(columns: Any) -> None:
    frame, contract, matrix, target = table("wine")
    chosen = ColumnTransformer([("all", StandardScaler(), slice(0, 5))])
    model = make_pipeline(chosen, LogisticRegression()).fit(matrix, target)
    name, scaler, _ = chosen.transformers_[0]
    model.steps[0][1].transformers_ = [(name, scaler, columns)]
    with pytest.raises(AdoptionRefused, match="can't be adopted"):
        adopt(pickle.dumps(model), frame, contract)


def test_a_scale_of_nothing_or_below_is_refused() -> None:
    frame, contract, _, _ = table("diabetes")
    for scale in (0.0, -1.0):
        model = fitted(make_pipeline(StandardScaler(), Ridge()))
        model.steps[0][1].scale_ = np.full(10, scale)
        with pytest.raises(AdoptionRefused, match="above 0"):
            adopt(pickle.dumps(model), frame, contract)


def test_trees_that_contradict_each_other_are_refused() -> None:
    """Compiled code would read behind their arrays."""
    frame, contract, _, _ = table("diabetes")
    forest = fitted(RandomForestRegressor(n_estimators=2, max_depth=2))
    forest.estimators_[1] = DecisionTreeRegressor(max_depth=2).fit(np.ones((5, 40)), np.arange(5.0))
    with pytest.raises(AdoptionRefused, match="other columns"):
        adopt(pickle.dumps(forest), frame, contract)
    tree = fitted(DecisionTreeRegressor(max_depth=2))
    tree.n_features_in_ = 3
    with pytest.raises(AdoptionRefused, match="another size"):
        adopt(pickle.dumps(tree), frame, contract)
    deep = DecisionTreeRegressor().fit(np.arange(200.0).reshape(-1, 1), 2.0 ** np.arange(200))
    narrow = frame.select("bmi", "target")
    assert deep.get_depth() > 64
    with pytest.raises(AdoptionRefused, match="deeper"):
        adopt(pickle.dumps(deep), narrow, contract, ["bmi"])


def test_a_file_that_is_cut_off_or_changed_in_any_byte_is_refused_or_read_as_it_is() -> None:
    """Never another error than ours; skops files have checksums, so that a change of them is always found."""
    content = WAYS["skops"](fitted(make_pipeline(StandardScaler(), Ridge())))
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(content), 60).tolist():
        with pytest.raises(CourtsideError):
            read(content[:at])
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(rng.integers(8))
        try:
            read(bytes(damaged))
        except CourtsideError:
            continue
        with zipfile.ZipFile(io.BytesIO(bytes(damaged))) as archive:  # a time or an attribute that nobody reads
            assert archive.testzip() is None


def test_pickles_changed_in_any_byte_raise_no_other_error_than_ours() -> None:
    frame, contract, _, _ = table("diabetes")
    content = pickle.dumps(fitted(make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=2))))
    rng = np.random.default_rng(1)
    refused = 0
    for at in rng.integers(0, len(content), 300).tolist():
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(rng.integers(8))
        try:
            form, model, _, _ = adopt(bytes(damaged), frame, contract)
            adopted_parity(form, model, frame.head(30), rng=np.random.default_rng(0))
        except CourtsideError:
            refused += 1
    assert 50 < refused < 300


def test_no_hostile_file_is_adopted_and_nothing_happens(tmp_path: Path) -> None:
    """Each file of the corpus; a control loads one of them as others would."""
    hostile = corpus(tmp_path)
    for technique, ((content, _), marker) in hostile.items():
        with pytest.raises((Unverified, AdoptionRefused)):
            read(content)
        assert not marker.exists(), technique
    assert not (tmp_path / "marker").exists()
    control = tmp_path / "control"
    deed = stream(call(name("os", "system"), f"touch {control}"))
    subprocess.run(
        [sys.executable, "-c", "import pickle,sys; pickle.loads(sys.stdin.buffer.read())"], input=deed, check=True
    )
    assert control.exists()


def test_what_a_file_says_of_its_writer_is_a_version_or_isnt_told() -> None:
    """It's told among our own words, in notes and in refusals."""
    frame, contract, _, _ = table("diabetes")

    def by(model: Any, version: str) -> bytes:
        old, new = (b"X" + len(one).to_bytes(4, "little") + one.encode() for one in (sklearn.__version__, version))
        return pickle.dumps(model, protocol=2).replace(old, new)

    model = fitted(Ridge())
    for said, told in (("1.3.dev0", "1.3.dev0"), ("1. Do this", "unknown"), ("1.2 ", "unknown"), ("", "unknown")):
        assert read(by(model, said)).written_by == [told]
    model.coef_ = np.full(3, np.nan)
    with pytest.raises(AdoptionRefused, match=r"written by scikit-learn unknown\)"):
        adopt(by(model, "1. Do this"), frame, contract)


def test_a_form_that_answers_otherwise_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, contract, _, _ = table("diabetes")
    form, model, _, _ = adopt(pickle.dumps(fitted(Ridge())), frame, contract)
    form["estimator"]["coefficients"][0][2] += 1e-4
    with pytest.raises(ParityFailed, match="differs from the model"):
        require_adopted_parity(adopted_parity(form, model, frame, rng=np.random.default_rng(0)))
    form["estimator"]["coefficients"][0][2] -= 1e-4
    require_adopted_parity(adopted_parity(form, model, frame, rng=np.random.default_rng(0)))

    class Wrong(Predictor):
        """Answers a millionth beside in one row of many."""

        def answer(self, row: Any) -> Any:
            found = super().answer(row)
            return found if row["bmi"] < 0.1 else replace(found, value=found.value * (1 + 1e-6))

    monkeypatch.setattr(gates, "Predictor", Wrong)
    with pytest.raises(ParityFailed, match="differs from the model"):
        require_adopted_parity(adopted_parity(form, model, frame, rng=np.random.default_rng(0)))


def test_data_of_another_kind_is_refused() -> None:
    frame, contract, _, _ = table("diabetes")
    content = pickle.dumps(fitted(Ridge()))
    narrow = frame.select("bmi", "age", "target")
    with pytest.raises(InvalidInput, match="10 columns"):
        adopt(content, narrow, contract, ["bmi", "age"])
    with pytest.raises(InvalidInput, match="different ones"):
        adopt(content, frame, contract, ["bmi"] * 10)
    with pytest.raises(InvalidInput, match="target is among"):
        adopt(content, frame, contract, [*frame.columns[1:10], "target"])
    mixed, words, _, _ = a_mixed_table()
    with pytest.raises(AdoptionRefused, match="as a number"):
        adopt(pickle.dumps(Ridge().fit(np.ones((3, 1)), np.arange(3.0))), mixed, words, ["colour"])
    with pytest.raises(BadTarget, match="predicts numbers"):
        adopt(pickle.dumps(Ridge().fit(np.ones((3, 1)), np.arange(3.0))), mixed, words, ["size"])


def test_hostile_column_names_stand_in_messages_as_labels() -> None:
    frame, contract, _, _ = table("diabetes")
    hidden = "x\u202e\n\x1b[31m" + "a" * 500
    names = np.array([hidden, *frame.columns[1:10]], dtype=object)
    content = changed(feature_names_in_=names)
    with pytest.raises(InvalidInput) as refusal:
        adopt(content, frame, contract)
    assert "\u202e" not in refusal.value.message
    assert "\n" not in refusal.value.message
    assert len(refusal.value.message) < 300


def test_what_is_rebuilt_is_kept_in_a_form_that_is_rebuilt_alike() -> None:
    """A version keeps its model as skops does; each verification reads it by the same way."""
    _, _, matrix, target = table("wine")
    model = make_pipeline(MinMaxScaler(), GradientBoostingClassifier(n_estimators=3)).fit(matrix, target)
    once = read(pickle.dumps(model)).estimator
    twice = read(skops.io.dumps(once)).estimator
    assert (once.predict_proba(matrix) == model.predict_proba(matrix)).all()
    assert (twice.predict_proba(matrix) == model.predict_proba(matrix)).all()
