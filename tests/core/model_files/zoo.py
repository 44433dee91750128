"""Ordinary scikit-learn models of every common estimator, fitted on small tables.

Older versions of the library import this file too: see `writing_process`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from sklearn import preprocessing
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import DBSCAN, AgglomerativeClustering, BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import NMF, PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectFromModel, SelectKBest, f_classif
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, StratifiedKFold
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import (
    KernelDensity,
    KNeighborsClassifier,
    KNeighborsRegressor,
    LocalOutlierFactor,
    NearestNeighbors,
    RadiusNeighborsRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    LabelEncoder,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

ROWS = 90


@functools.cache
def models() -> dict[str, Any]:
    """Name to fitted model."""
    rng = np.random.default_rng(7)
    table = rng.normal(size=(ROWS, 5))
    score = table[:, 0] * 2 - table[:, 1] + rng.normal(scale=0.3, size=ROWS)
    three = np.digitize(score, [-1, 1])
    two = (score > 0).astype(int)
    names = np.array(["away", "draw", "home"])[three]
    counts = np.abs(table * 3).astype(int)
    holes = table.copy()
    holes[::7, 2] = np.nan
    mixed = np.empty((ROWS, 3), dtype=object)
    mixed[:, 0] = np.array(["u", "v", "w"])[np.arange(ROWS) % 3]
    mixed[:, 1], mixed[:, 2] = table[:, 0], table[:, 1]
    texts = ["the cat sat", "dogs bark loud", "a cat and a dog"] * (ROWS // 3)

    small = {"random_state": 0, "n_estimators": 3}
    quick = {"random_state": 0, "max_iter": 30}
    linear = LogisticRegression(max_iter=300)
    columns = ColumnTransformer(
        [
            ("kinds", OneHotEncoder(handle_unknown="ignore"), [0]),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), [1, 2]),
        ]
    )
    ordinals = ColumnTransformer([("o", OrdinalEncoder(), slice(0, 1))], remainder="passthrough")
    two_of_them = [("a", LogisticRegression()), ("b", GaussianNB())]
    two_regressors = [("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=3))]
    kernel = ConstantKernel() * RBF() + WhiteKernel()
    classifiers = [
        linear, LogisticRegressionCV(Cs=3, cv=3, max_iter=300), SGDClassifier(random_state=0), RidgeClassifier(),
        Perceptron(), LinearSVC(), SVC(), NuSVC(nu=0.2), KNeighborsClassifier(),
        KNeighborsClassifier(algorithm="ball_tree", metric="manhattan", weights="distance"), GaussianNB(),
        BernoulliNB(),
        DecisionTreeClassifier(), ExtraTreeClassifier(), RandomForestClassifier(**small), ExtraTreesClassifier(**small),
        GradientBoostingClassifier(**small), HistGradientBoostingClassifier(**quick), AdaBoostClassifier(**small),
        BaggingClassifier(**small), BaggingClassifier(KNeighborsClassifier(), **small),
        VotingClassifier(two_of_them, voting="soft"), StackingClassifier(two_of_them, cv=3),
        MLPClassifier(hidden_layer_sizes=(5,), **quick),
        LinearDiscriminantAnalysis(), QuadraticDiscriminantAnalysis(reg_param=0.1), DummyClassifier(),
        CalibratedClassifierCV(GaussianNB(), cv=3), CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=3),
        OneVsRestClassifier(linear), OneVsOneClassifier(linear), GridSearchCV(linear, {"C": [0.1, 1.0]}, cv=3),
        GridSearchCV(
            make_pipeline(StandardScaler(), SVC()),
            {"svc__C": [0.1, 1.0], "svc__kernel": ["rbf", "linear"]},
            scoring="accuracy",
            cv=StratifiedKFold(3),
        ),
        RandomizedSearchCV(linear, {"C": np.logspace(-2, 1, 9)}, n_iter=3, cv=3, random_state=0),
        *(make_pipeline(scaler, linear) for scaler in (
            StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler(), PowerTransformer(), PolynomialFeatures(),
            QuantileTransformer(n_quantiles=20), KBinsDiscretizer(n_bins=3), SplineTransformer(), PCA(3),
            SelectKBest(f_classif, k=2), SelectFromModel(ExtraTreesClassifier(**small)),
            FeatureUnion([("p", PCA(2)), ("k", SelectKBest(f_classif, k=2))]),
        )),
    ]  # fmt: skip
    regressors = [
        LinearRegression(), Ridge(), RidgeCV(), Lasso(), ElasticNet(), SGDRegressor(random_state=0), HuberRegressor(),
        BayesianRidge(), SVR(), LinearSVR(), KNeighborsRegressor(algorithm="kd_tree"), DecisionTreeRegressor(),
        RandomForestRegressor(**small), ExtraTreesRegressor(**small), GradientBoostingRegressor(**small),
        HistGradientBoostingRegressor(**quick), AdaBoostRegressor(**small), BaggingRegressor(**small),
        VotingRegressor(two_regressors), StackingRegressor(two_regressors, cv=3), GaussianProcessRegressor(kernel),
        MLPRegressor(hidden_layer_sizes=(5,), **quick),
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        HistGradientBoostingRegressor(loss="quantile", quantile=0.3, **quick),
        GradientBoostingRegressor(loss="huber", **small),
        GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, scoring=["r2", "neg_mean_squared_error"], refit="r2", cv=3),
        ElasticNetCV(cv=3), LassoCV(cv=3), KernelRidge(), PLSRegression(), DummyRegressor(), TweedieRegressor(),
        RadiusNeighborsRegressor(9.0, algorithm="ball_tree"),
        *(KNeighborsRegressor(algorithm="kd_tree", metric=metric) for metric in ("chebyshev", "manhattan")),
        *(GradientBoostingRegressor(loss=loss, **small) for loss in ("absolute_error", "quantile")),
        HistGradientBoostingRegressor(loss="absolute_error", **quick),
    ]  # fmt: skip
    without_answers = [
        KMeans(3, random_state=0), MiniBatchKMeans(3, random_state=0), DBSCAN(), PCA(), TruncatedSVD(2),
        GaussianMixture(2, random_state=0), IsolationForest(**small), OneClassSVM(), LocalOutlierFactor(novelty=True),
        KernelDensity(), NearestNeighbors(algorithm="ball_tree"), AgglomerativeClustering(3),
        BisectingKMeans(3, random_state=0),
    ]  # fmt: skip
    found = {
        **{_named(model, "classifier"): model.fit(table, three) for model in classifiers},
        **{_named(model, "regressor"): model.fit(table, score) for model in regressors},
        **{_named(model, "alone"): model.fit(table) for model in without_answers},
        "text classes": RandomForestClassifier(class_weight="balanced", **small).fit(table, names),
        "own random state": RandomForestClassifier(3, random_state=np.random.RandomState(3)).fit(table, two),
        "boosting of two": GradientBoostingClassifier(**small).fit(table, two),
        "boosting of two, exponential": GradientBoostingClassifier(loss="exponential", **small).fit(table, two),
        "processes": GaussianProcessClassifier().fit(table, three),
        "boosting of counts": HistGradientBoostingRegressor(loss="poisson", **quick).fit(table, counts[:, 0]),
        "gamma": GammaRegressor().fit(table, np.exp(score / 5)),
        "boosting with gaps": HistGradientBoostingClassifier(early_stopping=True, **quick).fit(holes, two),
        "boosting with kinds": HistGradientBoostingClassifier(categorical_features=[0], **quick).fit(counts, names),
        "counts": MultinomialNB().fit(counts, three),
        "complement": ComplementNB().fit(counts, three),
        "categories": CategoricalNB().fit(counts, three),
        "poisson": PoissonRegressor().fit(table, np.exp(score / 5)),
        "factors": NMF(2, max_iter=500).fit(counts),
        "isotonic": IsotonicRegression(out_of_bounds="clip").fit(table[:, 0], score),
        "labels": LabelEncoder().fit(names),
        "many outputs": MultiOutputRegressor(Ridge()).fit(table, np.c_[score, score]),
        "imputer": make_pipeline(SimpleImputer(add_indicator=True), linear).fit(holes, three),
        "neighbours imputer": make_pipeline(KNNImputer(), linear).fit(holes, three),
        "logarithm": make_pipeline(FunctionTransformer(np.log1p), linear).fit(counts, three),
        "columns": make_pipeline(columns, LogisticRegression(max_iter=300)).fit(mixed, three),
        "columns and trees": make_pipeline(ordinals, HistGradientBoostingClassifier(**quick)).fit(mixed, names),
        "words": make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, three),
        "counted words": make_pipeline(CountVectorizer(stop_words="english"), TfidfTransformer(), MultinomialNB()).fit(
            texts, three
        ),
    }
    if hasattr(preprocessing, "TargetEncoder"):  # since 1.3
        encoder = ColumnTransformer([("t", preprocessing.TargetEncoder(cv=3), [0])])
        found["target encoder"] = make_pipeline(encoder, LogisticRegression()).fit(mixed, two)
    return found | {"in a dictionary": {"model": linear, "columns": ["a", "b"], "limit": 0.4}}


_NAMES: dict[str, int] = {}


def _named(model: Any, kind: str) -> str:
    steps = [type(step).__name__ for _, step in getattr(model, "steps", [])]
    name = " ".join([kind, *(steps or [type(model).__name__])])
    _NAMES[name] = _NAMES.get(name, 0) + 1
    return name if _NAMES[name] == 1 else f"{name} {_NAMES[name]}"
