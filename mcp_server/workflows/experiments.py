"""Experiments: runs listed, looked at, set side by side, and drawn with the best so far."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mcp_server.core.labels import closest, label
from mcp_server.core.names import check_name
from mcp_server.errors import InvalidInput, NotFound
from mcp_server.workflows.app import App
from mcp_server.workflows.model_answers import Models
from mcp_server.workflows.reply import Apart, counted, six_digits, token
from mcp_server.workflows.run_queries import lower_is_better, parse

if TYPE_CHECKING:
    from mcp_server.storage.records import Page, Run

PAGE = 50
MOST_RUNS = 2_000
"""What the chart takes."""
MOST_COMPARED = 8
MOST_DIFFERENCES = 60
MOST_ITEMS = 10
MOST_SHOWN = 6
MOST_POINTS = 12
DRAWING_SECONDS = 30.0
OURS = ("seed", "algorithm", "allow_leaks", "seconds", "trials")
FIGURES = ("test", "reported", "train", "baseline", "rows", "calibration", "interval", "error")
NOTED = ("data", "environment", "cost", "artefacts", "curve")
FIRST_CHOICE = ("log_loss", "rmse")


async def search(app: App, query: str | None, limit: int, cursor: str | None) -> Models:
    """A page of runs for the tool, the newest first or by a metric."""
    page = await _page(app, query, limit, cursor)
    rows = [_in_short(run) for run in page.items]
    ids = [run.id for run in page.items]
    if query is None and page.next_cursor is not None:
        after = "Narrow it by a query such as model=games status=succeeded log_loss<0.6 since=2026-01-31 sort=log_loss"
    elif len(ids) > 1:
        after = f"Read experiment://compare/{','.join(ids[:2])} for what differs (2-8 runs), experiment://runs/{ids[0]}"
    elif ids:
        after = f"Read experiment://runs/{ids[0]}"
    else:
        after = "search_models with runs and no query lists every run"
    return Models(models=[], runs=rows, cursor=page.next_cursor, next=f"{after}.")


async def listed(app: App, query: str | None, cursor: str | None, *, limit: int = PAGE) -> dict[str, Any]:
    """A page of runs with their parameters and metrics; `cursor` leads to the next.

    Raises:
        InvalidInput: the query or the cursor can't be read.
    """
    page = await _page(app, query, limit, cursor)
    return _document(page.items, cursor=page.next_cursor)


async def history(app: App, model: str, cursor: str | None) -> dict[str, Any]:
    """The runs of a model, the newest first.

    Raises:
        NotFound: it has none.
    """
    page = await _page(app, f"model={check_name(model)}", PAGE, cursor)
    if not page.items:
        raise never_trained()
    return _document(page.items, model=model, cursor=page.next_cursor)


async def one(app: App, id: str) -> dict[str, Any]:
    """Everything that is known of a run.

    Raises:
        NotFound: there's no such run.
    """
    from mcp_server.storage import models, runs

    storage = await app.storage()
    async with storage.database.reading() as tx:
        run = await runs.get(tx, id)
        made = await models.of_run(tx, id)
    return _document([run], figures=(*FIGURES, "chance", "account"), exact=True, versions=made)


async def compare(app: App, ids: str) -> dict[str, Any]:
    """Two to eight runs side by side: metrics with intervals, and what went in that isn't the same in all.

    Args:
        ids: with commas between.
    Raises:
        InvalidInput: they aren't 2 to 8 different ones.
        NotFound: one isn't there.
    """
    return side_by_side(await _several(app, ids, fewest=2, form="compare"))


def side_by_side(runs: Sequence[Run]) -> dict[str, Any]:
    """The document of a comparison; no verdict is given where the runs aren't known to be judged on the same rows.

    Returns:
        `same_test_rows` is None where it can't be told: the rows themselves decide, not what is said of the split.
    """
    apart = Apart()
    measured = {run.id: _measured(run) for run in runs}
    metrics = {}
    for name in dict.fromkeys(name for one in measured.values() for name in one):
        estimates = {id: one.get(name) for id, one in measured.items()}
        values = {id: _estimate(one) for id, one in estimates.items()}
        there = [(one[0], id) for id, one in values.items() if one is not None and one[0] is not None]
        best = (min if lower_is_better(name) else max)(there)[1] if len(there) > 1 else None
        metrics[name] = {"best": best, "value_low_high": values}
    same = _same_rows(runs)
    curves = {run.id: curve for run in runs if (curve := _curve(run)) is not None}
    differs = _differences(runs, apart)
    drawable = [run for run in runs if _drawable(run, "") is not None]
    alike = len({(_deciding(run), run.target) for run in drawable}) == 1
    drawn = {"curves_drawn": f"experiment://curves/{','.join(run.id for run in drawable)}"} if alike else {}
    return {
        "runs": [_in_short(run, metrics=False) for run in runs],
        "same_test_rows": same,
        "sentence": _sentence(runs, metrics, same=same),
        "metrics": six_digits(metrics),
        **({"curves": six_digits(curves), **drawn} if curves else {}),
        "differs": differs,
        **({"untrusted": {"names": apart.names}} if apart.names else {}),
    }


async def curves(app: App, ids: str) -> bytes:
    """The losses of one to eight runs on rows that they didn't learn from, as a PNG.

    Args:
        ids: with commas between.
    Raises:
        InvalidInput: they aren't 1 to 8 different ones, or their losses aren't of one metric of one target.
        NotFound: one isn't there, or none has a learning curve.
    """
    found = await _several(app, ids, fewest=1, form="curves")
    named = [(run, _drawable(run, _named(place, run))) for place, run in enumerate(found, start=1)]
    drawn = [(run, curve) for run, curve in named if curve is not None]
    if not drawn:
        raise NotFound(
            "None of these runs has a learning curve.",
            hint="Runs of boosting and of tuning have one, where there were enough rows.",
        )
    if len({(_deciding(run), run.target) for run, _ in drawn}) > 1:
        raise InvalidInput(
            "The runs don't forecast the same target, so their losses can't be read on one axis.",
            hint="Name runs of one target.",
        )
    arguments = {
        "metric": _deciding(drawn[0][0]) or "loss",
        "curves": [curve for _, curve in drawn],
        "without": len(found) - len(drawn),
    }
    made = await (await app.compute()).run("draw_curves", arguments, timeout=DRAWING_SECONDS)
    return base64.b64decode(made["picture"])


async def picture(app: App, model: str, metric: str | None) -> bytes:
    """The runs of a model in the order in which they ran, with the best so far, as a PNG.

    Args:
        metric: log_loss or rmse where none is stated and the runs have it; else the one that most of them have.
    Raises:
        NotFound: no run of the model has the metric.
    """
    from mcp_server.storage import runs

    storage = await app.storage()
    async with storage.database.reading() as tx:
        names = await runs.metric_names(tx, check_name(model))
        if not names:
            raise never_trained()
        shown = metric or next((name for name in FIRST_CHOICE if name in names), names[0])
        if shown not in names:
            raise NotFound("No run of the model has that metric.", hint=f"It has {', '.join(names[:MOST_SHOWN])}.")
        found = await runs.with_metric(tx, model, shown, limit=MOST_RUNS)
    if all(value is None for _, value, _, _ in found):
        raise NotFound(f"None of the latest {MOST_RUNS:,} runs has that metric.", hint="Name another metric.")
    judged = [(dataset, rows) for _, value, dataset, rows in found if value is not None]
    arguments = {
        "model": model,
        "metric": shown,
        "values": [value for _, value, _, _ in found],
        "data": len({dataset for dataset, _ in judged}),
        "alike": judged_alike([rows for _, rows in judged]),
        "higher_is_better": not lower_is_better(shown),
    }
    drawn = await (await app.compute()).run("draw_history", arguments, timeout=DRAWING_SECONDS)
    return base64.b64decode(drawn["picture"])


def judged_alike(judged: Sequence[str | None]) -> bool:
    """Whether runs were judged on the same rows for certain, by the digests of these.

    >>> judged_alike(["a 1", "a 2"]), judged_alike(["a 1", "a 1"]), judged_alike([None, None]), judged_alike([None])
    (False, True, False, True)
    """
    return len(judged) == 1 or (len(set(judged)) == 1 and judged[0] is not None)


async def _several(app: App, ids: str, *, fewest: int, form: str) -> list[Run]:
    from mcp_server.storage import runs

    wanted = ids.split(",")
    if not fewest <= len(wanted) <= MOST_COMPARED or len(set(wanted)) < len(wanted):
        number = {1: "One", 2: "Two"}[fewest]
        raise InvalidInput(
            f"{number} to {MOST_COMPARED} different runs are named here.",
            hint=f"Such as experiment://{form}/r_one,r_two.",
        )
    storage = await app.storage()
    async with storage.database.reading() as tx:
        return [await runs.get(tx, id) for id in wanted]


async def _page(app: App, query: str | None, limit: int, cursor: str | None) -> Page[Run]:
    from mcp_server.storage import runs

    wanted = parse(query)
    storage = await app.storage()
    async with storage.database.reading() as tx:
        page = await runs.list_page(tx, wanted=wanted, limit=limit, cursor=cursor)
        named = [*(bound.metric for bound in wanted.bounds), *([wanted.sort] if wanted.sort else [])]
        if named and not page.items:
            _check_metrics(named, await runs.metric_names(tx))
    return page


def _check_metrics(named: Sequence[str], known: Sequence[str]) -> None:
    """Raises InvalidInput where a query that found nothing names a metric that no run has."""
    from mcp_server.storage.runs import MOST_METRICS

    for name in named:
        if 0 < len(known) < MOST_METRICS and name not in known:
            raise InvalidInput(
                f"No run has a metric {label(name)!r}.",
                hint=closest(name, known) or f"There are {', '.join(known[: 2 * MOST_SHOWN])}.",
            )


def never_trained() -> NotFound:
    """What a model without runs is answered."""
    return NotFound("No model of that name was ever trained.", hint="search_models with runs lists the runs.")


# One run ------------------------------------------------------------------------------------------------------------


def _in_short(run: Run, *, metrics: bool = True) -> dict[str, Any]:
    facts = run.facts or {}
    mlflow = facts.get("source", {}).get("kind") == "mlflow"
    # Without a cost that was noted it's how long the run took.
    cost = facts.get("cost", {"seconds": _seconds(run)})
    algorithm = str(run.metrics.get("algorithm") or run.algorithm or "unknown")
    shown = {
        "run": run.id,
        "model": run.model,
        "status": run.status,
        "algorithm": token(algorithm, "see the run") if mlflow else algorithm,
        "dataset": run.dataset or None,
        "source": "mlflow" if mlflow else None,
        "target": None if run.target is None else token(run.target, "see the run"),
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "seconds": cost.get("seconds"),
        "trials": cost.get("trials"),
        "error": run.metrics.get("error"),
    }
    if metrics:
        first = list(_measured(run).items())[:MOST_SHOWN]
        shown["metrics"] = {name: six_digits(_estimate(one)) for name, one in first}
    return {name: value for name, value in shown.items() if value is not None}


def _document(
    runs: Sequence[Run], *, figures: Sequence[str] = FIGURES, exact: bool = False, **facts: Any
) -> dict[str, Any]:
    """Runs with what was noted of them; what names columns, or came from elsewhere, stands under `untrusted`.

    Args:
        exact: whether figures keep all their digits; else six, as many runs are many figures.
    """
    rows = [_row(run, figures, whole=exact) for run in runs]
    return {
        **{name: value for name, value in facts.items() if value is not None},
        "runs": rows if exact else six_digits(rows),
        "untrusted": {run.id: _untrusted(run) for run in runs},
    }


def _row(run: Run, figures: Sequence[str], *, whole: bool) -> dict[str, Any]:
    facts = run.facts or {}
    noted = _part(facts, NOTED if whole else ("cost",))
    if whole and "registered" in facts:
        noted["registered"] = [_part(one, ("verdict", "kind", "digest", "codes")) for one in facts["registered"]]
    return {
        "id": run.id,
        "model": run.model,
        "dataset": run.dataset,
        "status": run.status,
        "parameters": _part(run.parameters, OURS),
        "metrics": _part(run.metrics, figures),
        "job": run.job_id,
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "ended_at": run.ended_at.isoformat(timespec="seconds") if run.ended_at else None,
        **noted,
    }


def _untrusted(run: Run) -> dict[str, Any]:
    return {
        **_part(run.parameters, OURS, inside=False),
        **_part(run.metrics, ("split",)),
        **_part(run.facts or {}, NOTED, inside=False),
    }


def _part(values: dict[str, Any], names: Sequence[str], *, inside: bool = True) -> dict[str, Any]:
    return {name: value for name, value in values.items() if (name in names) is inside}


def _measured(run: Run) -> dict[str, Any]:
    from mcp_server.storage.runs import measured

    return measured(run.metrics)


def _seconds(run: Run) -> float | None:
    return None if run.ended_at is None else round((run.ended_at - run.started_at).total_seconds(), 1)


def _same_rows(runs: Sequence[Run]) -> bool | None:
    """Whether all were judged on the same rows; None where that can't be told, as of other versions of the data."""
    from mcp_server.storage.runs import TEST_ROWS, judged_on

    facts = [run.facts or {} for run in runs]
    data = [one.get("data", {}).get("digest") for one in facts]
    judged = [judged_on(of, one.get("artefacts", {}).get(TEST_ROWS)) for of, one in zip(data, facts, strict=True)]
    if None in judged or len(set(data)) > 1:
        return None
    return len(set(judged)) == 1


def _curve(run: Run) -> dict[str, Any] | None:
    """A run's losses after its iterations, thinned, with the one that was taken, or by the rows learned from; None
    where it has neither."""
    curve = (run.facts or {}).get("curve")
    across = _across(curve)
    if curve is None or across is None:
        return None
    steps, chosen = curve[across], curve.get("chosen")
    last = len(steps) - 1
    shown = {round(place * last / (MOST_POINTS - 1)) for place in range(MOST_POINTS)}
    at = sorted(shown | {place for place, step in enumerate(steps) if step == chosen})
    lines = {name: curve[name] for name in (across, "train", "validation") if name in curve}
    told = {name: curve[name] for name in ("chosen", "algorithm") if name in curve}
    return {**told, **{name: [line[place] for place in at] for name, line in lines.items()}}


def _across(curve: Any) -> str | None:
    """What the steps of a recorded curve count; None where there is none.

    >>> _across({"rows": [40, 80]}), _across({"iterations": []}), _across(None)
    ('rows', None, None)
    """
    return next((name for name in ("iterations", "rows") if isinstance(curve, dict) and curve.get(name)), None)


def _drawable(run: Run, name: str) -> dict[str, Any] | None:
    """A run's losses on rows that it didn't learn from, whole."""
    curve = (run.facts or {}).get("curve")
    across = _across(curve)
    if curve is None or across is None or len(curve[across]) < 2:
        return None
    return {"name": name, "across": across, "steps": curve[across], "losses": curve["validation"]}


def _deciding(run: Run) -> str | None:
    return next((name for name in FIRST_CHOICE if name in _measured(run)), None)


def _named(place: int, run: Run) -> str:
    """A run in a picture of several: its place among them, its model, and what the curve is of.

    >>> from types import SimpleNamespace
    >>> _named(2, SimpleNamespace(model="m", algorithm="tuned", facts={"curve": {"algorithm": "linear"}}))
    '2 m, tuned linear'
    """
    of = (run.facts or {}).get("curve", {}).get("algorithm")
    return f"{place} {run.model}, {f'tuned {of}' if of else run.algorithm}"


# Side by side -------------------------------------------------------------------------------------------------------


def _estimate(one: Any) -> list[float | None] | None:
    """Value, low and high."""
    return None if not isinstance(one, dict) else [one.get("value"), one.get("low"), one.get("high")]


def _sentence(runs: Sequence[Run], metrics: dict[str, Any], *, same: bool | None) -> str:
    if not same:
        told = (
            "It can't be told whether the runs were judged on the same rows"
            if same is None
            else "The runs were judged on different rows"
        )
        return (
            f"{told}, so their metrics can't decide between them; compare_models judges their versions on rows that "
            "none has seen."
        )
    name = next((one for one in (*FIRST_CHOICE, *metrics) if metrics.get(one, {}).get("best")), None)
    if name is None:
        return f"None of the {counted(len(runs), 'run')} has a metric in common with another."
    found = metrics[name]
    low, high = found["value_low_high"][found["best"]][1:]
    others = [one for id, one in found["value_low_high"].items() if id != found["best"] and one is not None]
    known = None not in (low, high) and all(None not in one for one in others)
    if known and all(one[1] > high or one[2] < low for one in others):
        return f"{found['best']} has the best {name}, and its 95 % interval is apart from every other."
    return (
        f"{found['best']} has the best {name}, but the 95 % intervals overlap: compare_models tests pairs of rows, "
        "which can tell more."
    )


def _differences(runs: Sequence[Run], apart: Apart) -> dict[str, dict[str, Any]]:
    """What isn't the same in all of them, by its path."""
    told: list[dict[str, Any]] = []
    for run in runs:
        facts = {name: part for name, part in (run.facts or {}).items() if name in ("data", "environment", "source")}
        everything = {"dataset": run.dataset, "target": run.target, "algorithm": run.algorithm, **run.parameters}
        told.append(_flat({**everything, **facts}))
    paths = list(dict.fromkeys(path for one in told for path in one))
    differing = [path for path in paths if any(one.get(path) != told[0].get(path) for one in told)]
    shown = {}
    for path in differing[:MOST_DIFFERENCES]:
        values = [one.get(path) for one in told]
        if any(isinstance(value, list) for value in values):
            lists = [value if isinstance(value, list) else [] for value in values]
            common = [item for item in lists[0] if all(item in one for one in lists)]
            values = [
                value
                if not isinstance(value, list)
                else {"not_in_all": [i for i in value if i not in common][:MOST_ITEMS]}
                for value in values
            ]
        shown[apart.value(path)] = {run.id: apart.value(value) for run, value in zip(runs, values, strict=True)}
    return shown


def _flat(value: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested objects as one, with paths such as `environment.numpy`."""
    found: dict[str, Any] = {}
    for name, part in value.items():
        if isinstance(part, dict):
            found |= _flat(part, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = part
    return found
