"""Loading a model version in a process of its own, and seeing whether it still answers as it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from mcp_server.core.contract import from_dict
from mcp_server.core.training.split import synthetic_rows
from mcp_server.core.verification import Check, check_digest, check_golden_rows, not_done
from mcp_server.core.verification.adopted import check_adopted_file, check_adopted_parity
from mcp_server.core.verification.ageing import check_age, check_drift
from mcp_server.core.verification.estimator import check_parity, check_training_form
from mcp_server.core.verification.membership import MOST_ROWS, check_membership
from mcp_server.workflows.operations.reading import row_columns, row_digests, stored_table

Report = Callable[[float, str], None]

SEED = 0
# Each use of randomness has its own stream.
MEMBERS, DRIFT = 1, 2
_LOOKED_AT = 5
"""How many rows are looked at for each one that is asked of: most of those that weren't held out were learned from."""


def verify_model(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """The checks that need the files' content.

    Args:
        arguments: paths of form, estimator, golden, test_rows and data, and of seen_rows where it was kept; the
            version's digest; and, once the version is registered, now and imported (instants in ISO form), most_days
            (as for `check_age`), membership (`personal` or `always`), and newer: path and contract of the newest
            version of its data, or None, and then why.
    Returns:
        checks: name, state and detail of each.
    """
    document = orjson.loads(Path(arguments["form"]).read_bytes())
    form = document["form"]
    adopted = document["parameters"].get("adopted")
    report(0.2, "Auditing")
    content = Path(arguments["estimator"]).read_bytes()
    audited, estimator = check_training_form(content) if adopted is None else check_adopted_file(content)
    frame = stored_table(arguments["data"])
    held_out = frame[orjson.loads(Path(arguments["test_rows"]).read_bytes())]
    report(0.5, "Comparing answers")
    checks = [
        check_digest(form, document["contract"], document["parameters"], expected=arguments["digest"]),
        audited,
        check_golden_rows(form, orjson.loads(Path(arguments["golden"]).read_bytes())),
        check_parity(form, estimator, held_out, rng=np.random.default_rng(SEED))
        if adopted is None
        else check_adopted_parity(document, estimator, held_out, rng=np.random.default_rng(SEED)),
    ]
    if all(check.state == "passed" for check in checks):
        report(0.7, "Looking at what it was trained on")
        checks += [_members(arguments, document, frame), *_ageing(arguments, document, frame)]
    return {"checks": [asdict(check) for check in checks]}


def _members(arguments: dict[str, Any], document: dict[str, Any], frame: pl.DataFrame) -> Check:
    """Whether its answers tell the rows that it was fitted or calibrated on from those that were held out."""
    adopted = document["parameters"].get("adopted")
    if adopted is not None and not adopted["held_out"]:
        return not_done("membership", "It isn't known which rows it was trained on: `test` of register_model says.")
    if "seen_rows" not in arguments:
        return not_done("membership", "It isn't kept which rows it was trained on.")
    form, contract = document["form"], from_dict(document["contract"])
    rng = np.random.default_rng([SEED, MEMBERS])
    held = np.zeros(frame.height, dtype=np.bool_)
    held[orjson.loads(Path(arguments["test_rows"]).read_bytes())] = True
    real = ~synthetic_rows(frame, contract)
    seen = np.frombuffer(Path(arguments["seen_rows"]).read_bytes(), dtype=np.uint64)
    parts = []
    for which, wanted in ((real & ~held, True), (real & held, False)):
        places = rng.permutation(np.flatnonzero(which))[: _LOOKED_AT * MOST_ROWS]
        rows = frame[np.sort(places).tolist()]
        # A held-out row that equals one that was learned from tells nothing.
        known = np.isin(row_digests(rows, row_columns(form)), seen)
        rows = rows.filter(pl.Series(known == wanted))
        parts.append(rows[np.sort(rng.permutation(rows.height)[:MOST_ROWS]).tolist()])
    return check_membership(form, contract, *parts, always=arguments.get("membership") == "always")


def _ageing(arguments: dict[str, Any], document: dict[str, Any], frame: pl.DataFrame) -> list[Check]:
    if "now" not in arguments:
        return []
    imported, now = (datetime.fromisoformat(arguments[name]) for name in ("imported", "now"))
    age = check_age(
        frame, from_dict(document["contract"]), imported=imported, now=now, most_days=arguments["most_days"]
    )
    newer = arguments["newer"]
    if newer is None:
        return [age, not_done("drift", arguments["why"])]
    inputs = {column["name"] for column in document["form"]["inputs"]}
    after, contract = stored_table(newer["path"]), from_dict(newer["contract"])
    rng = np.random.default_rng([SEED, DRIFT])
    return [age, check_drift(frame, after, contract, inputs, rng=rng)]
