"""The computing steps of a training job. They leave their files in the job's folder and answer with what is small."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from mcp_server.core.canonical import canonical_bytes, digest
from mcp_server.core.comparison import compare_predictions
from mcp_server.core.contract import Contract, Overrides, apply_overrides, from_dict, to_dict
from mcp_server.core.leakage import find_leaks
from mcp_server.core.predictor import read_form
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.embedded import carry_embeddings
from mcp_server.core.training.evaluate import constant_forecast, evaluate, golden_rows
from mcp_server.core.training.learn import Learned, learn, learn_chosen
from mcp_server.core.training.light import is_usable
from mcp_server.core.training.parity import parity, require_parity
from mcp_server.core.training.prepare import default_features
from mcp_server.core.training.split import Split, plan_split, split_rng
from mcp_server.core.training.target import Target, describe_target, target_values
from mcp_server.core.training.training_form import training_form_bytes
from mcp_server.core.verification.provenance import LIBRARIES
from mcp_server.errors import InvalidInput, LeakFound
from mcp_server.workflows.operations.reading import row_columns, row_digests, stored_table

Report = Callable[[float, str], None]

# Each use of randomness has its own stream, so that adding one doesn't move the others.
LEAKS, FIT, METRICS, GOLDEN, PARITY, COMPARE, FOLDS, TRIALS, CHOICE, SKILL = range(1, 11)  # 0 is the split's
TUNED = "tuned"
MOST_NAMED = 100


def plan_training(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Decide target, features and split; refuse leaks.

    Args:
        arguments: path, contract, target, features, test, seed, allow_leaks, tuned (whether folds calibrate), costs
            (of the two errors, or None), and out for the plan.
    Returns:
        task, target, features, left_out (columns with the role feature that aren't learned from), split (a sentence),
        light (whether LightGBM is installed and loads).
    Raises:
        LeakFound: a feature gives the target away.
        BadTarget, TrainingRefused, InvalidInput: as training says.
    """
    report(0.1, "Planning")
    frame = stored_table(arguments["path"])
    contract = _contract(arguments)
    target = describe_target(frame, contract)
    features = list(arguments["features"] or default_features(contract))
    if arguments.get("costs") and target.task != "binary":
        raise InvalidInput(
            "Costs of the two errors were stated, but the target doesn't have two classes.",
            hint="Leave costs out, or train on a target with two classes.",
        )
    split = plan_split(
        frame,
        contract,
        target,
        test=arguments["test"],
        calibrated_on_folds=arguments.get("tuned", False),
        rng=split_rng(arguments["seed"]),
    )
    if not arguments["allow_leaks"]:
        report(0.5, "Looking for leaks")
        _refuse_leaks(frame, contract, features, split, stream(arguments, LEAKS))
    Path(arguments["out"]).write_bytes(orjson.dumps({"split": split.to_dict(), "contract": to_dict(contract)}))
    usable = {column.name for column in contract.features}
    left_out = sorted(usable - set(features) - set(contract.not_before_the_event))
    return {
        "task": target.task,
        "target": target.name,
        "features": features,
        "left_out": left_out[:MOST_NAMED],
        "split": split.how,
        "light": is_usable(),
    }


def _refuse_leaks(
    frame: pl.DataFrame, contract: Contract, features: list[str], split: Split, rng: np.random.Generator
) -> None:
    # On rows that are learned from: the test rows decide nothing.
    known = frame[split.train.tolist()]
    leaks = [leak for leak in find_leaks(known, contract, rng=rng) if set(leak.columns) <= set(features)]
    if leaks:
        names = " and ".join(repr(name[:64]) for name in leaks[0].columns)
        more = f" {len(leaks) - 1} more like it." if len(leaks) > 1 else ""
        raise LeakFound(
            f"{names} gives the target away: {leaks[0].reason}{more}",
            hint="Import the data with the role known_after for what isn't known when predicting, or leave it out of "
            "features.",
            details={"columns": [list(leak.columns) for leak in leaks[:10]]},
        )


def train_algorithm(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Fit, calibrate, write the serving form, check parity, evaluate.

    Args:
        arguments: path, contract, plan, algorithm, features, allow_leaks, seed, costs, chosen (what `choose_model`
            gave, instead of the algorithm's defaults), embeddings (paths of what preparations fitted), and out: the
            folder for form.json, estimator.skops, test_rows.json, seen_rows.bin and golden.json.
    Returns:
        digest (of the version), algorithm, metrics, parity, environment, needed (embedded columns and marks of filled
        ones that predicting goes on to need as they are), curve (loss by iteration, or None), chosen
        (how to make what tuning chose again, or None), seconds.
    Raises:
        ParityFailed: the serving form doesn't answer as the estimator does.
    """
    report(0.05, f"Fitting {arguments['algorithm']}")
    begun = time.monotonic()
    frame, contract, target, split = planned(arguments)
    learned = _learned(arguments, frame, contract, target, split)
    learned, needed = _with_embeddings(learned, frame, contract, split, arguments["embeddings"])
    report(0.5, f"Evaluating {arguments['algorithm']}")
    chosen = arguments.get("chosen")
    made = chosen["account"]["winner"] if chosen else arguments["algorithm"]
    named = f"{TUNED}: {made}" if chosen else made
    metrics = measured(learned.form, named, frame, contract, target, split, stream(arguments, METRICS))
    if chosen:
        metrics["account"] = chosen["account"]
    report(0.8, "Checking that the serving form answers alike")
    test = frame[split.test.tolist()]
    found = parity(learned.form, learned.estimator, test, rng=stream(arguments, PARITY))
    require_parity(found)
    parameters: dict[str, Any] = {"algorithm": made, "seed": arguments["seed"]}
    if chosen:
        parameters["members"] = [fitted.parameters for fitted in learned.fitted]
    else:
        parameters = {**learned.fitted[0].parameters, **parameters}
    document = {"form": learned.form, "contract": to_dict(contract), "parameters": parameters}
    folder = Path(arguments["out"])
    folder.mkdir(exist_ok=True)
    (folder / "form.json").write_bytes(canonical_bytes(document))
    (folder / "estimator.skops").write_bytes(training_form_bytes(learned.estimator))
    (folder / "test_rows.json").write_bytes(orjson.dumps(split.test.tolist()))
    seen = row_digests(frame[split.seen.tolist()], row_columns(learned.form))
    (folder / "seen_rows.bin").write_bytes(np.unique(seen).tobytes())
    golden = golden_rows(learned.form, test, rng=stream(arguments, GOLDEN))
    (folder / "golden.json").write_bytes(canonical_bytes(golden))
    return {
        "digest": digest(document),
        "algorithm": arguments["algorithm"],
        "metrics": metrics,
        "notes": list(learned.notes),
        "needed": needed[:MOST_NAMED],
        "parity": {"largest": found.largest, "rows": found.held_out + found.adversarial, "vectors": found.vectors},
        "environment": {"python": platform.python_version(), **{name: version(name) for name in _libraries(learned)}},
        "curve": learned.fitted[0].curve,
        "chosen": _recipe(chosen),
        "seconds": round(time.monotonic() - begun, 1),
    }


def _recipe(chosen: dict[str, Any] | None) -> dict[str, Any] | None:
    if chosen is None:
        return None
    return {
        "members": chosen["members"],
        "intercepts": chosen["intercepts"],
        "calibration": chosen["calibration"]["kind"],
    }


def _libraries(learned: Learned) -> tuple[str, ...]:
    light = any(fitted.parameters["algorithm"] == "lightgbm" for fitted in learned.fitted)
    return (*LIBRARIES, "lightgbm") if light else LIBRARIES


def planned(arguments: dict[str, Any]) -> tuple[pl.DataFrame, Contract, Target, Split]:
    """The table with what `plan_training` decided of it; `arguments` have path and plan."""
    frame = stored_table(arguments["path"])
    plan = orjson.loads(Path(arguments["plan"]).read_bytes())
    contract = from_dict(plan["contract"])
    return frame, contract, describe_target(frame, contract), Split.from_dict(plan["split"])


def _learned(
    arguments: dict[str, Any], frame: pl.DataFrame, contract: Contract, target: Target, split: Split
) -> Learned:
    told = {"features": arguments["features"], "allow_leaks": arguments["allow_leaks"]}
    chosen, rng = arguments.get("chosen"), stream(arguments, FIT)
    if chosen:
        learned = learn_chosen(
            frame,
            contract,
            target,
            split,
            members=chosen["members"],
            calibration=chosen["calibration"],
            half_width=chosen["half_width"],
            intercepts=chosen["intercepts"],
            rng=rng,
            **told,
        )
    else:
        learned = learn(frame, contract, target, split, algorithm=arguments["algorithm"], rng=rng, **told)
    if arguments.get("costs"):
        learned.form["decision"] = dict(arguments["costs"])
        read_form(learned.form)
    return learned


def _with_embeddings(
    learned: Learned, frame: pl.DataFrame, contract: Contract, split: Split, paths: list[str]
) -> tuple[Learned, list[str]]:
    fitted = [step for path in paths for step in orjson.loads(Path(path).read_bytes()).values()]
    form, needed = carry_embeddings(
        learned.form,
        frame,
        contract,
        [step for step in fitted if step.get("do") == "embed"],
        learned=split.train,
        unseen=np.concatenate([split.calibration, split.test]),
    )
    return replace(learned, form=form), needed


def measured(
    form: dict[str, Any],
    algorithm: str,
    frame: pl.DataFrame,
    contract: Contract,
    target: Target,
    split: Split,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """What is kept of a version's figures, measured on the parts of a split."""
    found = evaluate(form, frame, contract, target, split, rng=rng)
    return {
        "algorithm": algorithm,
        "split": split.how,
        "calibration": form["calibration"]["kind"],
        "test": found["metrics"],
        "train": found["train"],
        "baseline": found["baseline"],
        "base_rate": found["base_rate"],
        "rows": found["rows"],
        "reliability": found["reliability"],
        "chance": found["chance"],
        "interval": found["interval"],
    }


def summarise_training(arguments: dict[str, Any], _report: Report) -> dict[str, Any]:
    """How the trained versions compare on the test rows, which to take, and whether it beats a constant forecast.

    Args:
        arguments: path, forms (algorithm to path), plan, seed.
    Returns:
        recommended (an algorithm), a sentence, rows (that judged), and skill: whether the recommended one is shown to
        be better on the same rows than a forecast without any feature.
    """
    names = list(arguments["forms"])
    frame, contract, target, split = planned(arguments)
    test, values = frame[split.test.tolist()], target_values(frame, contract, target)
    judged = values[split.test]
    forecasts = {
        name: compile_batch(orjson.loads(Path(path).read_bytes())["form"]).answer(test).forecast
        for name, path in arguments["forms"].items()
    }
    best, sentence = names[0], "One algorithm was trained, so there is nothing to compare it with here."
    if len(names) > 1:
        found = compare_predictions(
            judged, forecasts[names[1]], forecasts[names[0]], task=target.task, rng=stream(arguments, COMPARE)
        )
        # A model isn't better until statistics say so: until then the simpler one is taken.
        best = names[1] if found.verdict == "better" else names[0]
        sentence = f"{names[1]} against {names[0]}, {len(judged):,} rows: {found.sentence}"
        if names[1] == TUNED and best != TUNED:
            sentence += f". Tuning found nothing that is shown to be better than {best} by default"
    constant = constant_forecast(values[split.train], len(judged), target)
    skill = compare_predictions(judged, forecasts[best], constant, task=target.task, rng=stream(arguments, SKILL))
    return {"recommended": best, "sentence": sentence, "rows": len(judged), "skill": skill.verdict == "better"}


def _contract(arguments: dict[str, Any]) -> Contract:
    contract = from_dict(arguments["contract"])
    stated = arguments["target"]
    if stated is None or stated == contract.target:
        return contract
    return apply_overrides(contract, Overrides(target=stated))


def stream(arguments: dict[str, Any], number: int) -> np.random.Generator:
    """The source of randomness of one use in a job of this seed."""
    return np.random.default_rng([arguments["seed"], number])
