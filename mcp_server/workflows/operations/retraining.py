"""Learning procedures, not models: each is trained anew on random parts of a table and judged on the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from mcp_server.core.training.estimators import Algorithm
from mcp_server.core.training.learn import learn
from mcp_server.core.training.split import TEST_SHARE, plan_split
from mcp_server.core.training.target import Target, describe_target, target_values
from mcp_server.errors import InvalidInput
from mcp_server.workflows.operations.reading import stored_table

Report = Callable[[float, str], None]
FloatArray = NDArray[np.float64]

DEFAULT_MARGIN = 0.01
"""Of the first procedure's loss, where no margin is stated."""


def retrain(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train each model's procedure on random parts of a table, and compare over the runs.

    Args:
        arguments: path, contract, target, recipes (algorithm, features and allow_leaks of each), names, runs, margin
            (or null), seed.
    Returns:
        runs, test_share, margin, losses (mean of each) and pairs: each against the first.
    Raises:
        InvalidInput: the rows have a time, or a model's procedure isn't one that can be repeated here.
        TrainingRefused, LeakFound, InvalidInput: as training says.
    """
    frame, given = stored_table(arguments["path"]), from_dict(arguments["contract"])
    if given.time is not None:
        raise InvalidInput(
            "The rows have a time: random parts would teach a model what came after the rows that judge it.",
            hint="Leave retrain out: the models are compared on rows that they haven't seen.",
        )
    recipes = arguments["recipes"]
    if not all(recipe["algorithm"] in get_args(Algorithm) for recipe in recipes):
        raise InvalidInput(
            "A model was made in a way that can't be repeated here.", hint="Leave retrain out, or compare others."
        )
    contract = given
    if given.target != arguments["target"]:
        contract = apply_overrides(given, Overrides(target=arguments["target"]))
    target = describe_target(frame, contract)
    losses = np.empty((arguments["runs"], len(recipes)))
    for run in range(arguments["runs"]):
        losses[run] = _run(frame, contract, target, recipes, seed=[arguments["seed"], run])
        report((run + 1) / arguments["runs"], f"Trained {run + 1} of {arguments['runs']} times")
    return _compared(losses, arguments["names"], arguments["margin"])


def _run(
    frame: pl.DataFrame, contract: Contract, target: Target, recipes: Sequence[Mapping[str, Any]], *, seed: list[int]
) -> FloatArray:
    """The deciding metric of each procedure on one random part, shape (recipes,): all learn from the same rows."""
    split = plan_split(frame, contract, target, rng=np.random.default_rng([*seed, 0]))
    judged = target_values(frame, contract, target)[split.test]
    losses = np.empty(len(recipes))
    for place, recipe in enumerate(recipes):
        learned = learn(
            frame,
            contract,
            target,
            split,
            algorithm=recipe["algorithm"],
            features=recipe["features"],
            allow_leaks=recipe["allow_leaks"],
            rng=np.random.default_rng([*seed, 1]),
        )
        forecast = compile_batch(learned.form).answer(frame[split.test.tolist()]).forecast
        losses[place] = next(
            one.value for one in measures(judged, forecast, task=target.task) if one.name == PRIMARY[target.task]
        )
    return losses


def _compared(losses: FloatArray, names: Sequence[str], margin: float | None) -> dict[str, Any]:
    """Each procedure against the first; less is better, so that a positive difference favours the first."""
    margin = margin if margin is not None else DEFAULT_MARGIN * float(losses[:, 0].mean())
    gains = [losses[:, place] - losses[:, 0] for place in range(1, len(names))]
    tests = [corrected_t(gain, test_share=TEST_SHARE) for gain in gains]
    adjusted = holm([test.p for test in tests])
    pairs = []
    for name, gain, test, p in zip(names[1:], gains, tests, adjusted, strict=True):
        practical = bayesian_t(gain, test_share=TEST_SHARE, margin=margin)
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
        "test_share": TEST_SHARE,
        "margin": margin,
        "losses": dict(zip(names, losses.mean(axis=0).tolist(), strict=True)),
        "pairs": pairs,
    }


def _verdict(difference: float, p: float) -> Verdict:
    if p >= ALPHA:
        return "no detectable difference"
    return "better" if difference > 0.0 else "worse"
