"""Which attributes an adopted class may have: what answers are computed from, and what is known not to matter.

An attribute that is in neither list could change the answers in a way that nobody here knows, so it's refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.adoption.described import Object, named, refused, writer
from mcp_server.core.labels import label
from mcp_server.errors import AdoptionRefused

LARGEST_CLASS = 2.0**63

_ALWAYS = frozenset({"_sklearn_version", "n_features_in_", "feature_names_in_", "n_features_"}) | frozenset(
    {"_sklearn_output_config", "_metadata_request", "_doc_link_module", "_doc_link_template"}
)

# Attributes beyond the constructor's, of scikit-learn 1.0 to 1.9. Linear models are in `linear`.
_FITTED = """
StandardScaler: mean_ scale_ var_ n_samples_seen_
MinMaxScaler: scale_ min_ data_min_ data_max_ data_range_ n_samples_seen_ clip
MaxAbsScaler: scale_ max_abs_ n_samples_seen_ clip
RobustScaler: scale_ center_ unit_variance
SimpleImputer: statistics_ indicator_ _fit_dtype _fill_dtype verbose keep_empty_features
OneHotEncoder: categories_ drop_idx_ _drop_idx_after_grouping _infrequent_enabled _n_features_outs sparse
    sparse_output infrequent_categories_ _infrequent_indices _default_to_infrequent_mappings
OrdinalEncoder: categories_ _missing_indices _infrequent_enabled _infrequent_indices
    _default_to_infrequent_mappings infrequent_categories_
FunctionTransformer:
FrozenEstimator:
Pipeline:
ColumnTransformer: transformers_ _columns _transformer_to_input_indices _remainder sparse_output_ output_indices_
    _n_features _feature_names_in _name_to_fitted_passthrough _df_columns _has_str_cols force_int_remainder_cols
LogisticRegression: coef_ intercept_ classes_ n_iter_ multi_class l1_ratio penalty n_jobs
LogisticRegressionCV: coef_ intercept_ classes_ n_iter_ multi_class C_ Cs_ coefs_paths_ scores_ l1_ratio_ l1_ratios_
    penalty n_jobs
SGDClassifier: coef_ intercept_ classes_ n_iter_ t_ _expanded_class_weight _loss_function_ loss_function_ C
    standard_coef_ standard_intercept_ average_coef_ average_intercept_
DecisionTreeClassifier: tree_ classes_ n_classes_ n_outputs_ max_features_ min_impurity_split presort monotonic_cst
DecisionTreeRegressor: tree_ n_outputs_ n_classes_ max_features_ min_impurity_split presort class_weight monotonic_cst
ExtraTreeClassifier: tree_ classes_ n_classes_ n_outputs_ max_features_ min_impurity_split monotonic_cst
ExtraTreeRegressor: tree_ n_outputs_ n_classes_ max_features_ min_impurity_split class_weight monotonic_cst
RandomForestClassifier: estimators_ classes_ n_classes_ n_outputs_ estimator estimator_ estimator_params
    base_estimator base_estimator_ oob_score_ oob_decision_function_ _n_samples _n_samples_bootstrap _sample_weight
    min_impurity_split monotonic_cst
RandomForestRegressor: estimators_ n_outputs_ estimator estimator_ estimator_params base_estimator base_estimator_
    oob_score_ oob_prediction_ _n_samples _n_samples_bootstrap _sample_weight class_weight min_impurity_split
    monotonic_cst
GradientBoostingClassifier: estimators_ classes_ n_classes_ _n_classes n_estimators_ init_ _loss loss_ _rng alpha
    max_features_ n_trees_per_iteration_ train_score_ oob_improvement_ oob_scores_ oob_score_ min_impurity_split
GradientBoostingRegressor: estimators_ _n_classes n_estimators_ init_ _loss loss_ _rng max_features_
    n_trees_per_iteration_ train_score_ oob_improvement_ oob_scores_ oob_score_ min_impurity_split n_classes_
HistGradientBoostingClassifier: _predictors _baseline_prediction _bin_mapper _feature_subsample_rng
    _is_categorical_remapped _label_encoder _loss _n_features _preprocessor _random_seed _scorer _use_validation_data
    _in_fit classes_ do_early_stopping_ is_categorical_ n_trees_per_iteration_ train_score_ validation_score_
HistGradientBoostingRegressor: _predictors _baseline_prediction _bin_mapper _feature_subsample_rng
    _is_categorical_remapped _loss _n_features _preprocessor _random_seed _scorer _use_validation_data _in_fit
    do_early_stopping_ is_categorical_ n_trees_per_iteration_ train_score_ validation_score_
DummyClassifier: class_prior_ classes_ n_classes_ n_outputs_ sparse_output_ _strategy
DummyRegressor: constant_ n_outputs_
"""


def names(text: str) -> frozenset[str]:
    """The words of a list."""
    return frozenset(text.split())


def _listed(text: str) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    current: set[str] = set()
    for word in text.split():
        if word.endswith(":"):
            current = found.setdefault(word[:-1], set())
        else:
            current.add(word)
    return {name: frozenset(words) for name, words in found.items()}


FITTED = _listed(_FITTED)
FITTED["ExtraTreesClassifier"] = FITTED["RandomForestClassifier"]
FITTED["ExtraTreesRegressor"] = FITTED["RandomForestRegressor"]


class State:
    """The attributes of one described object, read with their expected forms.

    Args:
        of: the object.
        kind: scikit-learn's class that stands for it; the parameters of its constructor are known.
        fitted: further names that it may have.
    Raises:
        AdoptionRefused: it has an attribute that is in neither.
    """

    def __init__(self, of: Object, kind: type[Any], fitted: frozenset[str]) -> None:
        self.of = of
        self._attributes: Mapping[str, Any] = of.attributes
        parameters = inspect.signature(kind.__init__).parameters
        unknown = sorted(set(of.attributes) - set(parameters) - fitted - _ALWAYS)
        if unknown:
            raise self.refused(f"has the attribute {label(unknown[0], 60)!r}, which isn't known here")

    def refused(self, why: str) -> AdoptionRefused:
        version = writer(self.of)
        written = "" if version is None else f" (written by scikit-learn {version})"
        return refused(f"{named(self.of)} {why}{written}.")

    def get(self, name: str, default: Any = None) -> Any:
        return self._attributes.get(name, default)

    def demand(self, name: str, *allowed: Any) -> Any:
        """The value of a parameter that the answers depend on; absent is None.

        Raises:
            AdoptionRefused: it's another than those that are allowed.
        """
        value = self._attributes.get(name)
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise self.refused(f"was made with another {name!r} than can be adopted")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self._attributes.get(name, default)
        if not isinstance(value, bool):
            raise self.refused(f"has no usable {name!r}")
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        value = self._attributes.get(name, default)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0].item()
        if type(value) is not int or not 0 <= value < 10_000_000:
            raise self.refused(f"has no usable {name!r}")
        return value

    def numbers(self, name: str, *shapes: tuple[int, ...]) -> NDArray[Any]:
        """An array of finite numbers, of one of some shapes.

        Raises:
            AdoptionRefused: it isn't there, has another shape, or isn't finite.
        """
        value = self._attributes.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = np.asarray(float(value))
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
            raise self.refused(f"has no usable {name!r}: it may not be fitted")
        if not np.isfinite(value).all():
            raise self.refused(f"has a number in {name!r} that isn't finite")
        if value.shape not in shapes:
            raise self.refused(f"has {name!r} of another shape than it takes columns")
        made: NDArray[Any] = value.astype(value.dtype.newbyteorder("="))
        return made

    def classes(self) -> NDArray[Any]:
        value = self._attributes.get("classes_")
        if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in "biufUO":
            raise self.refused("has no classes that can be named: several targets aren't adopted")
        if value.dtype.kind == "O" and not all(isinstance(one, str | int | bool) for one in value.tolist()):
            raise self.refused("has classes of a kind that can't be named")
        if any(isinstance(one, int | float) and not abs(one) < LARGEST_CLASS for one in value.tolist()):
            raise self.refused("has a class that is no number to name")
        if not 2 <= len(value) <= 100 or len(set(value.tolist())) != len(value):
            raise self.refused("has fewer than two classes, more than 100, or one twice")
        return value

    def width(self) -> int:
        """How many columns it takes."""
        width = self.whole("n_features_in_", self._attributes.get("n_features_"))
        if width < 1:
            raise self.refused("takes no columns")
        return width

    def names(self) -> list[str] | None:
        """The columns that it was fitted on, where it knows their names."""
        value = self._attributes.get("feature_names_in_")
        if value is None:
            return None
        listed = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else None
        if listed is None or not all(isinstance(one, str) for one in listed) or len(set(listed)) != len(listed):
            raise self.refused("has column names that aren't texts, or one twice")
        found: list[str] = listed
        return found
