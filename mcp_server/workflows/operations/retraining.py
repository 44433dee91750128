"""Learning procedures, not models: each is trained anew on parts of a table and judged on others.

The parts are random; where the rows have a time, each is judged by what came before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.comparison import Verdict
from mcp_server.core.comparison.bayesian_t import bayesian_t
from mcp_server.core.comparison.corrected_t import corrected_t
from mcp_server.core.comparison.holm import holm
from mcp_server.core.comparison.many import ALPHA
from mcp_server.core.contract import Contract, Overrides, apply_overrides, from_dict
from mcp_server.core.metrics import PRIMARY, measures
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.calibrate import calibrate
from mcp_server.core.training.estimators import Algorithm
from mcp_server.core.training.learn import learn, learn_chosen
from mcp_server.core.training.light import is_usable
from mcp_server.core.training.split import TEST_SHARE, Split, plan_split, row_moments, synthetic_rows
from mcp_server.core.training.target import Target, describe_target, target_values
from mcp_server.errors import InvalidInput
from mcp_server.workflows.operations.reading import stored_table

Report = Callable[[float, str], None]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEAST_RUNS = 3
_FIRST = 0.5  # of the rows in time: what the first part in time is judged by
DEFAULT_MARGIN = 0.01
"""Of the first procedure's loss, where no margin is stated."""


def retrain(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train each model's procedure on random parts of a table, and compare over the runs.

    Args:
        arguments: path, contract, target, recipes (algorithm, features, allow_leaks and chosen of each: what tuning
            chose, or null), names, runs, margin (or null), seed.
    Returns:
        runs, in_time (whether what came before judges what came after), test_share (on average), margin, losses (mean
        of each), reused (names of what was tuned, whose parameters aren't searched anew) and pairs: each against the
        first.
    Raises:
        InvalidInput: a model's procedure isn't one that can be repeated here.
        TrainingRefused, LeakFound, InvalidInput: as training says.
    """
    frame, given = stored_table(arguments["path"]), from_dict(arguments["contract"])
    recipes = arguments["recipes"]
    if unknown := [name for name, one in zip(arguments["names"], recipes, strict=True) if not _repeatable(one)]:
        raise InvalidInput(
            f"{' and '.join(unknown)} can't be made again here: adopted, tuned by an earlier version of Courtside, or "
            "of a library that isn't installed.",
            hint="Leave retrain out, or compare others.",
        )
    contract = given
    if given.target != arguments["target"]:
        contract = apply_overrides(given, Overrides(target=arguments["target"]))
    target = describe_target(frame, contract)
    runs = arguments["runs"]
    losses, shares = np.empty((runs, len(recipes))), []
    moments = row_moments(frame, contract)
    parts = [] if moments is None else _parts_in_time(frame, contract, target, moments, runs)
    for run in range(runs):
        seed = [arguments["seed"], run]
        table, share = frame, None
        if moments is not None:
            last, share = parts[run]
            # As it was known then: what came after has no outcome yet.
            outcome = pl.when(pl.Series(moments <= last)).then(pl.col(target.name)).alias(target.name)
            table = frame.with_columns(outcome)
        split = plan_split(table, contract, target, test=share, rng=np.random.default_rng([*seed, 0]))
        losses[run] = _run(table, contract, target, recipes, split, seed=[*seed, 1])
        shares.append(len(split.test) / (len(split.test) + len(split.seen)))
        report((run + 1) / runs, f"Trained {run + 1} of {runs} times")
    test_share = TEST_SHARE if moments is None else float(np.mean(shares))
    return {
        **_compared(losses, arguments["names"], arguments["margin"], test_share=test_share),
        "in_time": moments is not None,
        "reused": [name for name, recipe in zip(arguments["names"], recipes, strict=True) if recipe.get("chosen")],
    }


def _repeatable(recipe: Mapping[str, Any]) -> bool:
    chosen = recipe.get("chosen")
    algorithms = [member["algorithm"] for member in chosen["members"]] if chosen else [recipe["algorithm"]]
    return all(name in get_args(Algorithm) and (name != "lightgbm" or is_usable()) for name in algorithms)


def _parts_in_time(
    frame: pl.DataFrame, contract: Contract, target: Target, moments: IntArray, runs: int
) -> list[tuple[int, float]]:
    """The last moment of each run's part, and what share of the rows until then the part is.

    The later half of the rows in time is parted among the runs, whole moments each; no row is in two parts.

    Raises:
        InvalidInput: it has fewer different times than there are runs.
    """
    usable = ~np.isnan(target_values(frame, contract, target)) & (moments >= 0) & ~synthetic_rows(frame, contract)
    distinct, counts = np.unique(moments[usable], return_counts=True)
    until = np.cumsum(counts)
    rows = int(counts.sum())
    wanted = _FIRST * rows + (1.0 - _FIRST) * rows * np.arange(runs + 1) / runs
    ends = np.unique(np.searchsorted(until, np.round(wanted)).clip(max=max(0, len(distinct) - 1)))
    if len(ends) <= runs:
        possible = max(0, len(ends) - 1)
        raise InvalidInput(
            f"The later half of the rows has too few different times for {runs} parts.",
            hint=f"Retrain {possible} times at most." if possible >= LEAST_RUNS else "Leave retrain out.",
        )
    return [(int(distinct[end]), float((until[end] - until[begin]) / until[end])) for begin, end in pairwise(ends)]


def _run(
    frame: pl.DataFrame,
    contract: Contract,
    target: Target,
    recipes: Sequence[Mapping[str, Any]],
    split: Split,
    *,
    seed: list[int],
) -> FloatArray:
    """The deciding metric of each procedure on one part, shape (recipes,): all learn from the same rows."""
    judged = target_values(frame, contract, target)[split.test]
    losses = np.empty(len(recipes))
    for place, recipe in enumerate(recipes):
        form = _form(frame, contract, target, split, recipe, np.random.default_rng(seed))
        forecast = compile_batch(form).answer(frame[split.test.tolist()]).forecast
        losses[place] = next(
            one.value for one in measures(judged, forecast, task=target.task) if one.name == PRIMARY[target.task]
        )
    return losses


def _form(
    frame: pl.DataFrame,
    contract: Contract,
    target: Target,
    split: Split,
    recipe: Mapping[str, Any],
    rng: np.random.Generator,
) -> Mapping[str, Any]:
    """What a procedure makes of these rows; of a tuned one with what was chosen, calibrated anew where it was."""
    told = {"features": recipe["features"], "allow_leaks": recipe["allow_leaks"], "rng": rng}
    chosen = recipe.get("chosen")
    if not chosen:
        return learn(frame, contract, target, split, algorithm=recipe["algorithm"], **told).form
    made = learn_chosen(
        frame,
        contract,
        target,
        split,
        members=chosen["members"],
        calibration={"kind": "none"},
        half_width=None,
        intercepts=chosen["intercepts"],
        **told,
    )
    if chosen["calibration"] == "none":
        return made.form
    rows = split.calibration
    return calibrate(made.form, frame[rows.tolist()], target_values(frame, contract, target)[rows])


def _compared(losses: FloatArray, names: Sequence[str], margin: float | None, *, test_share: float) -> dict[str, Any]:
    """Each procedure against the first; less is better, so that a positive difference favours the first."""
    margin = margin if margin is not None else DEFAULT_MARGIN * float(losses[:, 0].mean())
    gains = [losses[:, place] - losses[:, 0] for place in range(1, len(names))]
    tests = [corrected_t(gain, test_share=test_share) for gain in gains]
    adjusted = holm([test.p for test in tests])
    pairs = []
    for name, gain, test, p in zip(names[1:], gains, tests, adjusted, strict=True):
        practical = bayesian_t(gain, test_share=test_share, margin=margin)
        pairs.append(
            {
                "first": names[0],
                "second": name,
                "difference": test.difference,
                "low": test.low,
                "high": test.high,
                "p_holm": p,
                "verdict": _verdict(test.difference, p),
                "worse": practical.worse,
                "inside": practical.inside,
                "better": practical.better,
            }
        )
    return {
        "runs": len(losses),
        "test_share": test_share,
        "margin": margin,
        "losses": dict(zip(names, losses.mean(axis=0).tolist(), strict=True)),
        "pairs": pairs,
    }


def _verdict(difference: float, p: float) -> Verdict:
    if p >= ALPHA:
        return "no detectable difference"
    return "better" if difference > 0.0 else "worse"
