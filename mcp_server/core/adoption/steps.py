"""Steps before an estimator: scalers, imputers, encoders, each with what it was fitted to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from mcp_server.core.adoption.described import Object
from mcp_server.core.adoption.state import FITTED, State


def _standard(of: Object) -> Any:
    state = State(of, StandardScaler, FITTED[of.name])
    width = state.width()
    made = StandardScaler(with_mean=state.flag("with_mean", True), with_std=state.flag("with_std", True))
    made.mean_ = state.numbers("mean_", (width,)) if made.with_mean else None
    made.scale_ = _scale(state, width) if made.with_std else None
    made.var_ = None if made.scale_ is None else made.scale_**2
    made.n_features_in_, made.n_samples_seen_ = width, 1
    return made


def _scale(state: State, width: int) -> NDArray[Any]:
    scale = state.numbers("scale_", (width,))
    if not (scale > 0.0).all():
        raise state.refused("has a scale that isn't above 0")
    return scale


def _min_max(of: Object) -> Any:
    state = State(of, MinMaxScaler, FITTED[of.name])
    width = state.width()
    state.demand("clip", None, False)
    made = MinMaxScaler()
    made.scale_, made.min_, made.n_features_in_ = _scale(state, width), state.numbers("min_", (width,)), width
    made.n_samples_seen_ = 1
    return made


def _max_abs(of: Object) -> Any:
    state = State(of, MaxAbsScaler, FITTED[of.name])
    state.demand("clip", None, False)
    made = MaxAbsScaler()
    made.n_features_in_ = state.width()
    made.scale_ = made.max_abs_ = _scale(state, made.n_features_in_)
    made.n_samples_seen_ = 1
    return made


def _robust(of: Object) -> Any:
    state = State(of, RobustScaler, FITTED[of.name])
    width = state.width()
    made = RobustScaler(
        with_centering=state.flag("with_centering", True), with_scaling=state.flag("with_scaling", True)
    )
    made.center_ = state.numbers("center_", (width,)) if made.with_centering else None
    made.scale_ = _scale(state, width) if made.with_scaling else None
    made.n_features_in_ = width
    return made


def _imputer(of: Object) -> Any:
    state = State(of, SimpleImputer, FITTED[of.name])
    width = state.width()
    strategy = state.demand("strategy", "mean", "median", "most_frequent", "constant")
    state.demand("add_indicator", None, False)
    missing = state.get("missing_values", float("nan"))
    if not (isinstance(missing, float) and missing != missing):
        raise state.refused("fills in other values than missing ones")
    values = state.get("statistics_")
    made = SimpleImputer(strategy=strategy)
    if isinstance(values, np.ndarray) and values.dtype.kind in "OU":
        if values.shape != (width,):
            raise state.refused("has no usable 'statistics_': it may not be fitted")
        listed = values.tolist()
        if all(isinstance(one, str) for one in listed):
            values = np.array(listed, dtype=object)
        elif all(isinstance(one, int | float) and np.isfinite(one) for one in listed):
            values = np.array(listed, dtype=np.float64)
        else:
            raise state.refused("fills in text and numbers, or a column without any value")
    else:
        values = state.numbers("statistics_", (width,)).astype(np.float64)
    made.statistics_, made.indicator_, made.n_features_in_ = values, None, width
    made._fit_dtype = made._fill_dtype = values.dtype
    return made


def _onehot(of: Object) -> Any:
    state = State(of, OneHotEncoder, FITTED[of.name])
    categories = _categories(state)
    _no_infrequent(state)
    unknown = state.demand("handle_unknown", None, "error", "ignore", "infrequent_if_exist", "warn") or "error"
    made = OneHotEncoder(
        categories=categories, handle_unknown="error" if unknown == "error" else "ignore", sparse_output=False
    )
    made.fit(np.array([[values[0] for values in categories]], dtype=object))
    dropped = state.get("drop_idx_")
    if dropped is not None:
        listed = dropped.tolist() if isinstance(dropped, np.ndarray) else None
        if not isinstance(listed, list) or len(listed) != len(categories):
            raise state.refused("drops categories in a way that isn't known here")
        for at, values in zip(listed, categories, strict=True):
            if at is not None and not (type(at) is int and 0 <= at < len(values)):
                raise state.refused("drops categories in a way that isn't known here")
        made.drop = "first"
        made.drop_idx_ = made._drop_idx_after_grouping = np.array(listed, dtype=object)
        made._n_features_outs = made._compute_n_features_outs()
    return made


def _no_infrequent(state: State) -> None:
    state.demand("min_frequency", None)
    state.demand("max_categories", None)


def _categories(state: State) -> list[NDArray[Any]]:
    """Texts for each column; a missing value may be the last."""
    listed = state.get("categories_")
    width = state.width()
    if not isinstance(listed, list) or len(listed) != width:
        raise state.refused("has no usable 'categories_': it may not be fitted")
    found = []
    for values in listed:
        cells = values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else []
        *others, last = cells or [None]
        missing = last is None or (isinstance(last, float) and last != last)
        texts = others if missing else cells
        if not texts or not all(isinstance(one, str) for one in texts) or len(set(texts)) != len(texts):
            raise state.refused("tells categories apart that aren't text: only text columns are")
        found.append(np.array(cells, dtype=object))
    return found


def _ordinal(of: Object) -> Any:
    state = State(of, OrdinalEncoder, FITTED[of.name])
    categories = _categories(state)
    _no_infrequent(state)
    unknown = state.demand("handle_unknown", None, "error", "use_encoded_value") or "error"
    codes: dict[str, float] = {}
    for name in ("unknown_value", "encoded_missing_value"):
        value = state.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) != float("inf"):
            # scikit-learn demands a whole number, or NaN.
            codes[name] = int(value) if value == value and value == int(value) else float(value)
        elif value is not None:
            raise state.refused(f"has no usable {name!r}")
    made = OrdinalEncoder(
        categories=categories,
        handle_unknown=unknown,
        unknown_value=codes.get("unknown_value") if unknown == "use_encoded_value" else None,
        encoded_missing_value=codes.get("encoded_missing_value", float("nan")),
    )
    try:
        return made.fit(np.array([[values[0] for values in categories]], dtype=object))
    except (ValueError, TypeError):
        raise state.refused("has codes that contradict each other") from None


def _identity(of: Object) -> Any:
    state = State(of, FunctionTransformer, FITTED[of.name])
    state.demand("func", None)
    state.demand("inverse_func", None)
    return "passthrough"


TRANSFORMERS: dict[str, Callable[[Object], Any]] = {
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "SimpleImputer": _imputer,
    "OneHotEncoder": _onehot,
    "OrdinalEncoder": _ordinal,
    "FunctionTransformer": _identity,
}
