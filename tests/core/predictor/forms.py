"""Serving forms for tests, built by hand and at random."""

from __future__ import annotations

from typing import Any

import numpy as np


def an_input(
    name: str, kind: str = "number", low: float | None = 0.0, high: float | None = 100.0, **rest: Any
) -> dict[str, Any]:
    numeric = kind in ("number", "integer", "boolean")
    base = {
        "name": name,
        "kind": kind,
        "minimum": low if numeric else None,
        "maximum": high if numeric else None,
        "p01": low if numeric else None,
        "p99": high if numeric else None,
        "median": (low + high) / 2 if numeric and low is not None and high is not None else None,
        "missing_rate": 0.0,
        "unit": None,
        "allowed": None,
    }
    return base | rest


def number(column: str, fill: float | None = None) -> dict[str, Any]:
    return {"column": column, "as": "number", "fill": fill}


def hinges(
    column: str, low: float, high: float, *knots: float, center: float | None = None, scale: float = 10.0
) -> dict[str, Any]:
    middle = (low + high) / 2 if center is None else center
    told = {"low": low, "high": high, "center": middle, "scale": scale, "knots": list(knots)}
    return {"column": column, "as": "hinges", **told}


def product(first: int, second: int) -> dict[str, Any]:
    return {"as": "product", "first": first, "second": second}


def leaf(value: float) -> list[dict[str, Any]]:
    return [{"v": value}]


def stump(feature: int, threshold: float, low: float, high: float, *, missing_left: int = 1) -> list[dict[str, Any]]:
    return [{"f": feature, "t": threshold, "l": 1, "r": 2, "m": missing_left}, {"v": low}, {"v": high}]


def a_form(**changes: Any) -> dict[str, Any]:
    """A binary model of one stump on `height`: log-odds -1 up to 50, else 1."""
    form: dict[str, Any] = {
        "format": "courtside.model/1",
        "task": "binary",
        "target": "win",
        "classes": ["no", "yes"],
        "derived": [],
        "inputs": [an_input("height")],
        "encoder": [number("height")],
        "estimator": {"kind": "trees", "base": [0.0], "trees": [stump(0, 50.0, -1.0, 1.0)]},
        "calibration": {"kind": "none"},
        "interval": None,
    }
    return form | changes


def a_linear_form(**changes: Any) -> dict[str, Any]:
    """A regression: 2 + 3 * height, median 50."""
    form = a_form(
        task="regression",
        classes=None,
        encoder=[number("height", 50.0)],
        estimator={"kind": "linear", "coefficients": [[3.0]], "intercepts": [2.0]},
    )
    return form | changes


def grown(rng: np.random.Generator, width: int, depth: int) -> list[dict[str, Any]]:
    """A random tree, children after their parents."""
    nodes: list[dict[str, Any]] = []

    def add(left: int) -> int:
        at = len(nodes)
        nodes.append({})
        if left == 0 or (left < depth and rng.random() < 0.2):
            nodes[at] = {"v": float(rng.normal())}
            return at
        low = add(left - 1)
        high = add(left - 1)
        nodes[at] = {
            "f": int(rng.integers(width)),
            "t": float(rng.normal() * 40),
            "l": low,
            "r": high,
            "m": int(rng.integers(2)),
        }
        return at

    add(depth)
    return nodes


def averaged(rng: np.random.Generator, width: int, task: str) -> dict[str, Any]:
    """A random estimator whose leaves are averaged."""
    trees = [grown(rng, width, 4) for _ in range(12)]
    leaves = rng.dirichlet([1.0] * 3, 20) if task == "multiclass" else rng.random((20, 1))
    for node in (node for tree in trees for node in tree if "v" in node):
        node["v"] = int(rng.integers(20))
    return {"kind": "averaged", "trees": trees, "leaves": leaves.tolist(), "floor": 0.04}


def a_blend_form(rng: np.random.Generator, *, task: str = "binary") -> dict[str, Any]:
    """A linear estimator on the first eleven numbers of the vector, two kinds of trees on the eight after."""
    linear, trees = a_mixed_form(rng, task=task, linear=True), a_mixed_form(rng, task=task)
    members = [
        {"weight": 0.5, "start": 0, "width": 11, "estimator": linear["estimator"]},
        {"weight": 0.3, "start": 11, "width": 8, "estimator": trees["estimator"]},
        {"weight": 0.2, "start": 11, "width": 8, "estimator": averaged(rng, 8, task)},
    ]
    return trees | {
        "encoder": linear["encoder"] + trees["encoder"],
        "estimator": {"kind": "blend", "members": members},
    }


def a_spline_form(rng: np.random.Generator, *, task: str = "binary", before: int = 0) -> dict[str, Any]:
    """A linear estimator on fourteen numbers: hinges, a category, and products, as after `before` other numbers."""
    form = a_mixed_form(rng, task=task, linear=True)
    form["encoder"] = [
        hinges("home", -40.0, 45.0, -10.0, 12.5),
        hinges("away", -30.0, 30.0, 0.0, center=2.0),
        {"column": "team", "as": "onehot", "values": ["BOS", "CHI", "LAL"]},
        hinges("gap", -80.0, 80.0, scale=160.0),
        product(before, before + 5),
        product(before + 2, before + 7),
        product(before + 3, before + 9),
        product(before + 4, before + 4),
    ]
    outputs = 3 if task == "multiclass" else 1
    form["estimator"] = {
        "kind": "linear",
        "coefficients": (rng.normal(size=(outputs, 14)) / 5).tolist(),
        "intercepts": rng.normal(size=outputs).tolist(),
    }
    return form


def a_spline_blend_form(rng: np.random.Generator, *, task: str = "binary") -> dict[str, Any]:
    """Trees on the first eight numbers, splines on the fourteen after."""
    trees, splines = a_mixed_form(rng, task=task), a_spline_form(rng, task=task, before=8)
    members = [
        {"weight": 0.3, "start": 0, "width": 8, "estimator": trees["estimator"]},
        {"weight": 0.7, "start": 8, "width": 14, "estimator": splines["estimator"]},
    ]
    return trees | {
        "encoder": trees["encoder"] + splines["encoder"],
        "estimator": {"kind": "blend", "members": members},
    }


def a_mixed_form(rng: np.random.Generator, *, task: str = "binary", linear: bool = False) -> dict[str, Any]:
    """All kinds of inputs and encoders, a derived column that isn't given, a random estimator."""
    outputs = 3 if task == "multiclass" else 1
    fill = 1.0 if linear else None
    teams = ["BOS", "CHI", "LAL"]
    form = a_form(
        task=task,
        classes={"binary": ["0", "1"], "multiclass": ["a", "b", "c"], "regression": None}[task],
        derived=[{"name": "gap", "expression": "home - away"}, {"name": "double", "expression": "gap * 2"}],
        inputs=[
            an_input("home", low=-50.0, high=50.0),
            an_input("away", "integer", low=-40, high=40),
            an_input("neutral", "boolean", low=0.0, high=1.0),
            an_input("team", "category", allowed=teams),
            an_input("day", "date"),
            an_input("gap", low=-80.0, high=80.0),
        ],
        encoder=[
            number("home", fill),
            number("away", fill),
            number("neutral", fill),
            {"column": "team", "as": "onehot" if linear else "ordinal", "values": teams},
            {"column": "day", "as": "month", "fill": fill},
            {"column": "day", "as": "weekday", "fill": fill},
            number("gap", fill),
            number("double", fill),
        ],
        calibration={
            "binary": {"kind": "platt", "a": 0.8, "b": 0.1},
            "multiclass": {"kind": "temperature", "t": 1.7},
            "regression": {"kind": "none"},
        }[task],
        interval={"kind": "split_conformal", "half_width": 2.5, "level": 0.9} if task == "regression" else None,
    )
    width = 11 if linear else 8
    if linear:
        form["estimator"] = {
            "kind": "linear",
            "coefficients": (rng.normal(size=(outputs, width)) / 20).tolist(),
            "intercepts": rng.normal(size=outputs).tolist(),
        }
    else:
        trees = [grown(rng, width, 4) for _ in range(12 * outputs)]
        form["estimator"] = {"kind": "trees", "base": rng.normal(size=outputs).tolist(), "trees": trees}
    return form
