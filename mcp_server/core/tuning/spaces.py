"""Which parameters are tried: for each algorithm the ranges, and the defaults that are always tried first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mcp_server.core.training.balance import BALANCES
from mcp_server.core.training.estimators import MAX_NODES, Algorithm
from mcp_server.core.training.parameters import BoostingParameters, ExtraTreesParameters
from mcp_server.core.training.prepare import CATEGORIES
from mcp_server.core.training.splines import PRODUCTS

_MOST_ITERATIONS = 600
_MOST_TREES = 3_000  # of all classes together


def space(
    algorithm: Algorithm, rows: int, *, imbalanced: bool = False, rankable: bool = False
) -> dict[str, BaseDistribution]:
    """The ranges of an algorithm's parameters.

    Args:
        rows: that are learned from in a fold; a leaf may hold a tenth of them at most.
        imbalanced: whether a class is rare, so that balancing the classes is worth trials.
        rankable: whether there are categories that trees could order by the outcome.
    """
    ranges = _own_space(algorithm, max(30, min(200, rows // 10)))
    if imbalanced:
        ranges["balance"] = CategoricalDistribution(BALANCES)
    if rankable and algorithm not in ("linear", "splines"):
        ranges["categories"] = CategoricalDistribution(CATEGORIES)
    return ranges


def _own_space(algorithm: Algorithm, largest: int) -> dict[str, BaseDistribution]:
    if algorithm == "linear":
        return {"penalty": FloatDistribution(1e-3, 1e3, log=True)}
    if algorithm == "splines":
        return {"penalty": FloatDistribution(0.1, 3e3, log=True), "products": CategoricalDistribution(PRODUCTS)}
    if algorithm == "extra_trees":
        return {
            "minimum_leaf": IntDistribution(1, largest, log=True),
            "max_features": FloatDistribution(0.1, 1.0),
        }
    return {
        "learning_rate": FloatDistribution(0.02, 0.2, log=True),
        "leaves": IntDistribution(4, 63, log=True),
        "l2": FloatDistribution(1e-3, 30.0, log=True),
        "minimum_leaf": IntDistribution(2, largest, log=True),
        "max_features": FloatDistribution(0.2, 1.0),
    }


def defaults(algorithm: Algorithm, ranges: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """What the algorithm is told without tuning, in the names of its space."""
    besides = {"balance": BALANCES[0], "categories": CATEGORIES[0]}
    return {**_own_defaults(algorithm), **{name: told for name, told in besides.items() if name in ranges}}


def first_trials(algorithm: Algorithm, ranges: Mapping[str, BaseDistribution]) -> list[dict[str, Any]]:
    """What is tried before anything is drawn: the defaults, then what does well where they don't.

    That is boosting of the smallest trees, which add columns up rather than combine them, and of small ones that are
    held short; extra trees that look at more features, with more rows in a leaf; a linear model held shorter;
    splines with products, held shorter still; categories by the outcome.
    """
    other: dict[str, Any]
    if algorithm == "linear":
        other = {"penalty": 30.0}
    elif algorithm == "splines":
        other = {"penalty": 100.0, "products": PRODUCTS[-1]}
    elif algorithm == "extra_trees":
        other = {"minimum_leaf": 5, "max_features": 0.8}
    else:
        other = {"learning_rate": 0.08, "leaves": 4, "l2": 1.0, "minimum_leaf": 10, "max_features": 0.6}
    besides = {"balance": BALANCES[0], "categories": CATEGORIES[-1]}
    others = [other]
    if algorithm in ("boosting", "lightgbm"):
        others.append({"learning_rate": 0.06, "leaves": 6, "l2": 5.0, "minimum_leaf": 10, "max_features": 0.5})
    told = {name: value for name, value in besides.items() if name in ranges}
    return [defaults(algorithm, ranges), *({**one, **told} for one in others)]


def _own_defaults(algorithm: Algorithm) -> dict[str, Any]:
    if algorithm == "linear":
        return {"penalty": 1.0}
    if algorithm == "splines":
        return {"penalty": 10.0, "products": PRODUCTS[0]}
    if algorithm == "extra_trees":
        extra = ExtraTreesParameters()
        return {"minimum_leaf": extra.minimum_leaf, "max_features": extra.max_features}
    boosting = BoostingParameters()
    return {
        "learning_rate": boosting.learning_rate,
        "leaves": boosting.leaves,
        "l2": boosting.l2,
        "minimum_leaf": boosting.minimum_leaf,
        "max_features": boosting.max_features,
    }


def most_iterations(parameters: dict[str, Any], outputs: int) -> int:
    """At most so many iterations of boosting, of one tree for each output: the serving form stays small."""
    nodes = MAX_NODES // (2 * int(parameters["leaves"]) * outputs)
    return max(20, min(_MOST_ITERATIONS, _MOST_TREES // outputs, nodes))
