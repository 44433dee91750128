"""One specification of every chart and form, with made-up figures."""

from __future__ import annotations

import itertools
from typing import Any

from mcp_server.charts.contributions import Bar, Contribution, bars, leader, waterfall
from mcp_server.charts.forest import ForestRow, forest
from mcp_server.charts.history import RunPoint, history
from mcp_server.charts.learning import LossCurve, learning
from mcp_server.charts.lineage import Node, lineage
from mcp_server.charts.reliability import Curve, CurvePoint, reliability
from mcp_server.charts.theme import Form, Spec
from mcp_server.charts.trend import Series, finding, trend
from mcp_server.core.comparison import Verdict

HOSTILE = (
    "<script>alert(1)</script>",
    '"><image href="file:///etc/passwd"/>',
    "&lt;b&gt; & 'quoted'",
    "datum.value + 1",
    "{{ expr }} ${signal}",
    "__proto__",
    "constructor",
    "toString",
    "var(--bad)",
    '" fill="var(--bad)',
    "https://example.com/a.csv",
    "\x1b[31mred\x07",
    "\u202egnol\u2066",
    "\ud800 lone",
    "line\nbreak\ttab",
    "x" * 500,
    "",
    " ",
)


def row(label: str = "ROC AUC", *, difference: float = 0.02, verdict: Verdict = "better", **other: Any) -> ForestRow:
    around = {"low": difference - 0.01, "high": difference + 0.01}
    return ForestRow(
        **{
            "label": label,
            "reference": 0.7,
            "candidate": 0.72,
            "difference": difference,
            "verdict": verdict,
            **around,
            **other,
        }
    )


def rows() -> list[ForestRow]:
    return [
        row("ROC AUC", difference=0.028, verdict="better"),
        row("Brier score", difference=0.002, verdict="no detectable difference"),
        row("Calibration (ECE)", difference=-0.058, verdict="worse"),
        row("Worst-group recall", difference=-0.01, verdict="no detectable difference", low=None, high=None),
    ]


def a_forest(given: list[ForestRow] | None = None, *, form: Form = "wide", **other: Any) -> Spec:
    words = {"title": "Ranks better, worse calibrated", "subtitle": "Paired bootstrap · ±0.01 “no practical change”"}
    names = {"reference": "games@1", "candidate": "games@2"}
    return forest(given or rows(), form=form, **{**words, **names, "practical": 0.01, **other})


def curve(name: str = "games@1", *, bend: float = 1.0) -> Curve:
    points = tuple(
        CurvePoint(predicted=p, observed=p**bend, low=max(0.0, p**bend - 0.04), high=min(1.0, p**bend + 0.04), rows=200)
        for p in (0.05, 0.25, 0.5, 0.75, 0.95)
    )
    return Curve(name=name, error=0.031 * bend, points=points, counts=(900, 2100, 400, 350, 1))


def a_reliability(curves: list[Curve] | None = None, *, form: Form = "wide", **other: Any) -> Spec:
    words = {"title": "Predicts too much at every level", "subtitle": "Reliability, 95 % Wilson bands"}
    return reliability(curves or [curve(), curve("games@2", bend=1.4)], form=form, **{**words, **other})


def a_history(runs: list[RunPoint] | None = None, *, form: Form = "wide", **other: Any) -> Spec:
    values = [0.61, 0.64, None, 0.63, 0.66, None, 0.65]
    runs = runs or [RunPoint(i, v) for i, v in enumerate(values, 1)]
    words = {"title": "Best run #5: AUC 0.6600", "subtitle": "7 runs, 2 failed", "metric": "Validation AUC"}
    settings = {"higher_is_better": True, "baseline": ("production", 0.645)}
    return history(runs, form=form, **{**words, **settings, **other})


def a_trend(series: list[Series] | None = None, *, form: Form = "wide", **other: Any) -> Spec:
    given = {
        "contradictions.dependency": (12, 40, 38, 4),
        "missing.disguised": (31, 28, 5, 5),
        "numbers.text": (9, 8, 8, 0),
    }
    series = [Series(*one) for one in given.items()] if series is None else series
    versions = [1, 2, 2, 3]
    title = finding(given, versions)
    words = {"title": title, "subtitle": "orders · 4 validations, 2 failed", "metric": "Rows concerned"}
    return trend(series, form=form, **{**words, "versions": versions, **other})


def a_learning(curves: list[LossCurve] | None = None, *, form: Form = "wide", **other: Any) -> Spec:
    falling = tuple(0.55 + 0.14 / (1 + step) for step in range(0, 100, 4))
    given = [
        LossCurve("1 games, boosting", "iterations", tuple(range(0, 100, 4)), falling),
        LossCurve("2 games, tuned linear", "rows", (800, 1600, 3200), (0.62, 0.6, 0.54)),
        LossCurve("3 games, tuned boosting", "rows", (800, 1600, 3200), (0.63, 0.61, 0.59)),
    ]
    words = {"title": "Lowest validation loss: 0.5400", "subtitle": "On rows kept out", "metric": "log_loss"}
    return learning(given if curves is None else curves, form=form, **{**words, **other})


def a_lineage() -> Spec:
    nodes = [
        Node("file", "source", "games.csv", "48 kB"),
        Node("g1", "data", "games@1", "900 rows"),
        Node("old", "data", "old@1", "2026-01-02", gone=True),
        Node("more", "more", "4 earlier versions"),
        Node("g3", "data", "games@3", "900 rows", asked=True),
        Node("g4", "data", "games@4"),
        Node("run", "run", "r_06h1gnv1qo000tcuonf3s1c498qj-boosting", "2026-05-01"),
        Node("model", "model", "winner@1", "boosting"),
        Node("made", "prediction", "312 predictions", "stored"),
    ]
    edges = [("file", "g1"), ("more", "old"), ("old", "g3"), ("g1", "g3"), ("g3", "g4"), ("g1", "g4")]
    edges += [("g3", "run"), ("run", "model"), ("model", "made")]
    return lineage(nodes, edges, title="games@3 comes from 1 source", subtitle="1 model trained on it")


def a_waterfall(parts: list[Contribution] | None = None, *, form: Form = "wide", **other: Any) -> Spec:
    given = [
        Contribution("home_elo = 1612", 0.82),
        Contribution("rest_days = 1", -0.33),
        Contribution("neutral = False", 0.12),
    ]
    words = {"title": "home_elo = 1612 speaks most for win", "subtitle": "games@2 · exact Shapley values, in log-odds"}
    parts = given if parts is None else parts
    settings: dict[str, Any] = {"rest": 0.04, "base": 0.21, "output": 0.25 + sum(part.value for part in parts)}
    return waterfall(parts, form=form, **{**words, **settings, **other})


def some_bars(rows: list[Bar] | None = None, *, form: Form = "wide", **other: Any) -> Spec:
    given = [Bar("home_elo", 0.061, 0.052, 0.07), Bar("noise", -0.0004, -0.0014, 0.0006), Bar("rare", 0.01, None, None)]
    rows = given if rows is None else rows
    words = {
        "title": leader(rows, min(1, len(rows)), 3),
        "subtitle": "games@2 · rise of log loss when a column is shuffled",
    }
    return bars(rows, form=form, **{**words, **other})


EVERY_CHART = {
    f"{make.__name__}-{form}": make(form=form)  # type: ignore[operator]
    for make, form in itertools.product(
        (a_forest, a_reliability, a_history, a_learning, a_trend, a_waterfall, some_bars), ("wide", "narrow")
    )
} | {"a_lineage": a_lineage()}
