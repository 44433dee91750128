"""What the computing child does: `(arguments, report) -> dict`, JSON in and out, tables as paths.

Nothing here runs in the server process. The child looks operations up by their names in this module; each is imported
when it's first asked for, so that reading a file doesn't wait for scikit-learn.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "ping": "tables",
    "parse_table": "tables",
    "read_rows": "tables",
    "query_sqlite": "querying",
    "find_subject": "erasing",
    "export_subject": "erasing",
    "without_subject": "erasing",
    "validate": "checking",
    "page_findings": "checking",
    "differ": "checking",
    "run_suite": "checking",
    "draw_curves": "drawing",
    "draw_history": "drawing",
    "draw_lineage": "drawing",
    "draw_quality": "drawing",
    "prepare_table": "preparing",
    "compare": "comparing",
    "retrain": "retraining",
    "plan_training": "fitting",
    "train_algorithm": "fitting",
    "summarise_training": "fitting",
    "tune": "tuning",
    "choose_model": "tuning",
    "verify_model": "loading",
    "read_model": "inspecting",
    "adopt_model": "adopting",
    "suggest_labels": "labelling",
    "measure_labels": "labelling",
    "explain_rows": "explaining",
    "explain_overall": "explaining",
    "judge_groups": "grouping",
    "render_report": "reporting",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
