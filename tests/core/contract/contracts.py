"""Contracts for tests: one of games, and any."""

from __future__ import annotations

from hypothesis import strategies as st

from mcp_server.core.contract import Column, Contract, Derived, Freshness, RateLimits, RowBounds, Rule

GAMES = Contract(
    columns=(
        Column(name="date", kind="date", role="time", inferred={"kind": 0.9, "nullable": 0.9}),
        Column(name="game_id", kind="text", role="key", unique=True, pattern=r"G\-[0-9]{4}"),
        Column(name="season", kind="integer", minimum=1947.0, maximum=2015.0),
        Column(name="home", kind="category", allowed=("BOS", "NYK")),
        Column(name="home_elo", kind="number", nullable=True, unit="points", minimum=1000.0, maximum=1900.0),
        Column(name="home_score", kind="integer", role="known_after"),
        Column(name="away_score", kind="integer", role="known_after"),
        Column(name="home_win", kind="boolean", role="target", source="derived"),
        Column(name="note", kind="text", nullable=True),
    ),
    derived=(Derived(name="home_win", expression="home_score > away_score"),),
    rules=(
        Rule(name="no_ties", expression="home_score != away_score"),
        Rule(name="plausible", expression="home_score < 250", severity="warn"),
    ),
    unique_together=(("date", "home"),),
    freshness=Freshness(days=2.0),
    row_bounds=RowBounds(minimum=10),
)

LIMITS = (
    {},
    {"selection_rate": RateLimits(ratio=0.8)},
    {"selection_rate": RateLimits(ratio=0.9, difference=0.1), "false_negative_rate": RateLimits(difference=0.05)},
)

texts = st.text(min_size=1, max_size=12)
bounds = st.none() | st.floats(-1e6, 1e6)


any_kinds = st.tuples(
    *[st.sampled_from(["integer", "number", "boolean", "category", "date", "datetime"]) for _ in range(4)]
)


@st.composite
def columns(draw, name: str, kind: str, *, inferred: bool = False) -> Column:
    """Any column of a name and kind, or text for a category; with `inferred`, parts of it may be."""
    kind = draw(st.sampled_from(["category", "text"])) if kind == "category" else kind
    parts = {
        "nullable": draw(st.booleans()),
        "unit": draw(st.none() | texts),
        "unique": draw(st.booleans()),
        "personal": draw(st.booleans()),
        "sensitive": draw(st.booleans()),
        "role": draw(st.sampled_from(["feature", "ignored", "known_after"])),
    }
    if kind in ("integer", "number"):
        low, high = draw(bounds), draw(bounds)
        if low is not None and high is not None:
            low, high = sorted((low, high))
        parts |= {"minimum": low, "maximum": high}
    if kind == "category":
        parts["allowed"] = draw(st.none() | st.lists(texts, max_size=4).map(lambda values: tuple(sorted(set(values)))))
    if kind in ("category", "text"):
        parts["pattern"] = draw(st.none() | st.sampled_from(["[A-Z]{3}", "a+", r"\d*", "."]))
    if inferred:
        named = draw(
            st.sets(st.sampled_from(["kind", "nullable", "minimum", "maximum", "allowed", "pattern", "unique"]))
        )
        parts["inferred"] = dict.fromkeys(sorted(named), 0.9)
    return Column(name=name, kind=kind, **parts)


@st.composite
def contracts(draw, kinds: tuple[str, ...] | None = None, *, inferred: bool = False) -> Contract:
    """Any contract over four columns; the first may be the target, the second the time."""
    names = ("a", "b", "c", "d")
    listed = [draw(columns(*pair, inferred=inferred)) for pair in zip(names, kinds or draw(any_kinds), strict=True)]
    roles = draw(st.sampled_from(["none", "target", "time"]))
    if roles == "target" and listed[0].kind not in ("date", "datetime"):
        listed[0] = listed[0].model_copy(update={"role": "target"})
    if roles == "time" and listed[1].kind in ("date", "datetime", "integer"):
        listed[1] = listed[1].model_copy(update={"role": "time"})
    timely = roles == "time" and listed[1].kind in ("date", "datetime")
    rules = draw(st.sets(st.sampled_from(["one", "two", "three"])))
    least = draw(st.none() | st.integers(0, 50))
    return Contract(
        columns=tuple(listed),
        rules=tuple(
            Rule(
                name=name,
                expression=draw(st.sampled_from([f"is_missing({names[0]})", f"not is_missing({names[1]})"])),
                severity=draw(st.sampled_from(["fail", "warn", "info"])),
            )
            for name in sorted(rules)
        ),
        unique_together=draw(st.sampled_from([(), (("a", "b"),), (("a", "b"), ("b", "c", "d"))])),
        freshness=Freshness(days=draw(st.floats(0.5, 50))) if timely and draw(st.booleans()) else None,
        row_bounds=None if least is None else RowBounds(minimum=least),
        fairness=draw(st.sampled_from(LIMITS)) if any(column.sensitive for column in listed) else {},
    )


same_columns = any_kinds.flatmap(lambda kinds: st.tuples(contracts(kinds), contracts(kinds)))
"""Two contracts over the same columns, as far as a change of one can lead to the other."""
