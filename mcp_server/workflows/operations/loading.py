"""Loading a model version in a process of its own, and seeing whether it still answers as it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from mcp_server.core.verification import check_digest, check_golden_rows
from mcp_server.core.verification.adopted import check_adopted_file, check_adopted_parity
from mcp_server.core.verification.estimator import check_parity, check_training_form
from mcp_server.workflows.operations.reading import stored_table

Report = Callable[[float, str], None]

SEED = 0


def verify_model(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """The checks that need the files' content.

    Args:
        arguments: paths of form, estimator, golden, test_rows and data, and the version's digest.
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
    return {"checks": [asdict(check) for check in checks]}
