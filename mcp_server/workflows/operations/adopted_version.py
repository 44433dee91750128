"""What is made of an audited model file: a serving form, proved and measured, with its files in a folder."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.adoption.audit import AuditedFile
from mcp_server.core.adoption.model import (
    adopted_target,
    for_columns,
    model_columns,
    serving_form,
)
from mcp_server.core.adoption.parity import adopted_parity, require_adopted_parity
from mcp_server.core.adoption.rebuild import Rebuilt, kept_bytes, rebuild
from mcp_server.core.canonical import canonical_bytes, digest
from mcp_server.core.contract import Contract, Overrides, apply_overrides, from_dict, to_dict
from mcp_server.core.expressions.polars_backend import compute
from mcp_server.core.labels import label
from mcp_server.core.training.evaluate import golden_rows
from mcp_server.core.training.judging import condition
from mcp_server.core.training.split import Split, synthetic_rows
from mcp_server.core.training.target import Target, target_values
from mcp_server.core.verification.provenance import LIBRARIES
from mcp_server.errors import InvalidInput
from mcp_server.workflows.operations.fitting import GOLDEN, METRICS, PARITY, measured, stream
from mcp_server.workflows.operations.reading import row_columns, row_digests, stored_table

Report = Callable[[float, str], None]

FEWEST_ROWS = 20
MOST_NAMED = 5
_LEARNED, _JUDGED = 1, 4  # as in `core.training.split`


def make_version(file: AuditedFile, arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Rebuild the model, write its serving form, check parity, measure; arguments and result as for `adopt_model`."""
    report(0.3, "Converting")
    frame = stored_table(arguments["path"])
    contract = _contract(arguments)
    rebuilt = rebuild(file.root)
    columns = model_columns(rebuilt, contract, arguments["target"], arguments["columns"])
    model = for_columns(rebuilt.estimator, columns, contract)
    target = adopted_target(model, contract, arguments["target"])
    split, outcomes = _split(frame, contract, target, arguments["test"])
    form, notes = serving_form(model, frame, contract, target)
    judged = frame[split.test.tolist()]
    report(0.5, "Checking that the serving form answers alike")
    found = adopted_parity(form, model, judged, rng=stream(arguments, PARITY))
    require_adopted_parity(found)
    report(0.7, "Measuring")
    metrics = measured(form, f"adopted {rebuilt.steps[-1]}", frame, contract, target, split, stream(arguments, METRICS))
    metrics["calibration"] = "none"  # its shares are the file's own
    notes += _notes(rebuilt, contract, columns, outcomes)
    origin = _origin(file, rebuilt, columns, held_out=arguments["test"] is not None)
    parameters: dict[str, Any] = {
        "algorithm": "adopted",
        "features": columns,
        "test": arguments["test"],
        "allow_leaks": bool(set(columns) & set(contract.not_before_the_event)),
        "seed": arguments["seed"],
        "adopted": origin,
    }
    document = {"form": form, "contract": to_dict(contract), "parameters": parameters}
    folder = Path(arguments["out"])
    folder.mkdir(exist_ok=True)
    (folder / "form.json").write_bytes(canonical_bytes(document))
    (folder / "estimator.skops").write_bytes(kept_bytes(rebuilt))
    (folder / "test_rows.json").write_bytes(orjson.dumps(split.test.tolist()))
    seen = row_digests(frame[split.seen.tolist()], row_columns(form))
    (folder / "seen_rows.bin").write_bytes(np.unique(seen).tobytes())
    golden = golden_rows(form, judged, rng=stream(arguments, GOLDEN))
    (folder / "golden.json").write_bytes(canonical_bytes(golden))
    return {
        "digest": digest(document),
        "task": target.task,
        "metrics": metrics,
        "parity": {"largest": found.largest, "rows": found.held_out + found.adversarial, "vectors": found.vectors},
        "environment": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "parameters": parameters,
        "notes": notes,
    }


def _contract(arguments: dict[str, Any]) -> Contract:
    contract = from_dict(arguments["contract"])
    if arguments["target"] == contract.target:
        return contract
    return apply_overrides(contract, Overrides(target=arguments["target"]))


def _split(
    frame: pl.DataFrame, contract: Contract, target: Target, test: str | None
) -> tuple[Split, NDArray[np.bool_]]:
    """The rows that judge, and which rows' outcomes are no class of the model's.

    With a condition the others count as learned from; without one it isn't known of any row.
    """
    values = target_values(frame, contract, target)
    given = frame.get_column(target.name).is_not_null().to_numpy()
    usable = ~np.isnan(values) & ~synthetic_rows(frame, contract)
    parts = np.zeros(frame.height, dtype=np.uint8)
    how = f"Judged on all {int(usable.sum()):,} rows with an outcome; whether it was trained on them isn't known."
    judging = usable
    if test is not None:
        held_out = compute(condition(contract, test), frame).fill_null(False).to_numpy()
        judging = usable & held_out
        parts[usable & ~held_out] = _LEARNED
        how = f"Judged on rows where {test}, which it wasn't trained on as the caller says."
    parts[judging] = _JUDGED
    strange = np.isnan(values) & given
    if int(judging.sum()) < FEWEST_ROWS:
        raise _too_few(int(judging.sum()), frame.filter(pl.Series(strange)), target, test)
    return Split(parts, how, False), strange


def _too_few(rows: int, strange: pl.DataFrame, target: Target, test: str | None) -> InvalidInput:
    """Why there aren't enough rows to judge by.

    Args:
        strange: rows whose outcome is no class of the model's.
    """
    if target.classes is not None and strange.height:
        found = strange.get_column(target.name).value_counts(sort=True).get_column(target.name).to_list()
        return InvalidInput(
            f"The model answers {_named(target.classes)}; in {strange.height:,} rows {label(target.name)!r} is "
            f"{_named([str(one) for one in found])}. Only {rows:,} rows to judge by have an outcome that the model "
            f"knows; {FEWEST_ROWS} are needed.",
            hint="Give the target that the model predicts; or derive it by prepare_data, such as "
            '{"do": "derive", "columns": {"late": "days > 3"}}, and give that.',
        )
    which = "have an outcome" if test is None else "meet the test and have an outcome"
    return InvalidInput(
        f"Only {rows:,} rows {which}; {FEWEST_ROWS} are needed.",
        hint="Name a data set with more rows." if test is None else "Give a test that more rows meet, or leave it out.",
    )


def _named(values: Sequence[str]) -> str:
    more = f" and {len(values) - MOST_NAMED} more" if len(values) > MOST_NAMED else ""
    return ", ".join(repr(label(one)) for one in values[:MOST_NAMED]) + more


def _notes(rebuilt: Rebuilt, contract: Contract, columns: list[str], strange: NDArray[np.bool_]) -> list[str]:
    notes = []
    here = version("scikit-learn").split(".")[:2]
    other = [one for one in rebuilt.written_by if one.split(".")[:2] != here]
    if other:
        notes.append(f"scikit-learn {', '.join(other[:3])} wrote it, and {'.'.join(here)} is here: both may differ.")
    if strange.any():
        notes.append(f"{int(strange.sum()):,} rows have an outcome that the model doesn't know; they don't judge.")
    known_after = sorted(set(columns) & set(contract.not_before_the_event))
    if known_after:
        notes.append(
            f"It reads {label(known_after[0])!r}, which is known only after the event: it can't be asked before."
        )
    return notes


def _origin(file: AuditedFile, rebuilt: Rebuilt, columns: list[str], *, held_out: bool) -> dict[str, Any]:
    return {
        "digest": file.report.digest,
        "kind": file.report.kind,
        "verdict": file.report.verdict,
        "scikit_learn": rebuilt.written_by[:10],
        "steps": rebuilt.steps[:50],
        "columns": columns,
        "held_out": held_out,
    }
