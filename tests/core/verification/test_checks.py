from __future__ import annotations

import copy
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.predictor.forms import a_form, a_linear_form
from mcp_server.core.predictor import compile_form
from mcp_server.core.training.estimators import fit_linear
from mcp_server.core.training.evaluate import answer_record
from mcp_server.core.training.training_form import training_form_bytes
from mcp_server.core.verification import (
    REQUIRED,
    Check,
    check_digest,
    check_golden_rows,
    check_manifest,
    check_signature,
    not_done,
    verdict,
    version_digest,
)
from mcp_server.core.verification.estimator import check_parity, check_training_form
from mcp_server.errors import StorageFailed

STATES = st.sampled_from(["passed", "warned", "failed", "not_done"])


@given(st.lists(st.builds(Check, st.sampled_from([*REQUIRED, "other"]), STATES, st.just("")), max_size=12))
def test_a_verdict_passes_only_where_everything_required_passed_and_nothing_failed(checks: list[Check]) -> None:
    passed = verdict(checks) == "passed"
    everything = all(any(check.name == name for check in checks) for name in REQUIRED)
    clean = all(check.state in ("passed", "warned") for check in checks if check.name in REQUIRED)
    none_failed = all(check.state != "failed" for check in checks)
    assert passed == (everything and clean and none_failed)


def test_no_check_at_all_is_a_failure() -> None:
    assert verdict([]) == "failed"


# Digest, manifest, signature ---------------------------------------------------------------------------------------


def test_the_digest_of_what_was_registered_passes_and_of_anything_else_fails() -> None:
    form, contract, parameters = a_form(), {"columns": []}, {"seed": 1}
    expected = version_digest(form, contract, parameters)
    assert check_digest(form, contract, parameters, expected=expected).state == "passed"
    changed = copy.deepcopy(form)
    changed["estimator"]["trees"][0][1]["v"] = float(np.nextafter(-1.0, 0.0))
    assert check_digest(changed, contract, parameters, expected=expected).state == "failed"
    assert check_digest(form, contract, {"seed": 2}, expected=expected).state == "failed"
    assert check_digest(form, contract, {"seed": float("nan")}, expected=expected).state == "failed"


def test_a_manifest_must_state_every_fact() -> None:
    manifest = {"digests": {"serving_form": "sha256:1"}, "data": "games@1"}
    facts = {"digests.serving_form": "sha256:1", "data": "games@1"}
    assert check_manifest(manifest, facts).state == "passed"
    assert check_manifest(manifest, facts | {"data": "games@2"}).state == "failed"
    assert check_manifest(manifest, facts | {"digests.training_form": None}).state == "failed"
    assert check_manifest({"digests": "none"}, facts).state == "failed"
    assert check_manifest(manifest, {}).state == "failed"


def test_only_a_true_signature_passes() -> None:
    def broken() -> bool:
        raise StorageFailed("The key can't be read.")

    assert check_signature(True).state == "passed"
    assert check_signature(lambda: True).state == "passed"
    assert check_signature(False).state == "failed"
    assert check_signature(broken).state == "failed"
    assert check_signature(None).state == "not_done"
    assert check_signature("yes").state == "failed"  # type: ignore[arg-type]


# Golden rows -------------------------------------------------------------------------------------------------------


def golden(form: dict[str, Any]) -> list[dict[str, Any]]:
    predictor = compile_form(form)
    rows = [{"height": height} for height in (10.0, 49.0, 90.0)]
    return [{"row": row, **answer_record(predictor.answer(row))} for row in rows]


WITH_INTERVAL = a_linear_form(interval={"kind": "split_conformal", "half_width": 1.5, "level": 0.9})


@pytest.mark.parametrize("form", [a_form(), a_linear_form(), WITH_INTERVAL], ids=["classes", "numbers", "intervals"])
def test_an_unchanged_form_answers_its_golden_rows(form: dict[str, Any]) -> None:
    assert check_golden_rows(form, golden(form)).state == "passed"


def test_a_swapped_form_is_found_by_its_golden_rows() -> None:
    swapped = a_form(calibration={"kind": "platt", "a": 1.0, "b": 0.001})
    assert check_golden_rows(swapped, golden(a_form())).state == "failed"
    wider = a_linear_form(interval={"kind": "split_conformal", "half_width": 2.0, "level": 0.9})
    assert check_golden_rows(wider, golden(WITH_INTERVAL)).state == "failed"
    assert check_golden_rows(a_linear_form(), golden(WITH_INTERVAL)).state == "failed"


@pytest.mark.parametrize(
    "records",
    [
        [],
        [{}],
        [{"row": {"weight": 1.0}, "value": "yes"}],
        [{"row": {"height": 90.0}, "value": "yes"}],
        [{"row": {"height": 90.0}, "value": "yes", "probabilities": {"yes": None, "no": 1.0}, "interval": None}],
    ],
)
def test_damaged_golden_rows_fail(records: list[dict[str, Any]]) -> None:
    assert check_golden_rows(a_form(), records).state == "failed"


def test_a_malformed_form_fails_its_golden_rows() -> None:
    assert check_golden_rows({"format": "x"}, golden(a_form())).state == "failed"


# Training form and parity ------------------------------------------------------------------------------------------


def a_line() -> tuple[dict[str, Any], bytes]:
    matrix = np.arange(100.0).reshape(-1, 1)
    estimator = fit_linear(matrix, 2.0 + 3.0 * matrix[:, 0], task="regression", penalty=0.0).estimator
    return a_linear_form(), training_form_bytes(estimator)


ROWS = pl.DataFrame({"height": np.linspace(0.0, 100.0, 50)})


def test_a_form_and_its_estimator_pass_together() -> None:
    form, content = a_line()
    check, estimator = check_training_form(content)
    assert check.state == "passed"
    assert check_parity(form, estimator, ROWS, rng=np.random.default_rng(0)).state == "passed"


def test_a_form_of_another_estimator_fails() -> None:
    _, content = a_line()
    _, estimator = check_training_form(content)
    other = a_linear_form(estimator={"kind": "linear", "coefficients": [[3.001]], "intercepts": [2.0]})
    assert check_parity(other, estimator, ROWS, rng=np.random.default_rng(0)).state == "failed"
    assert check_parity(a_form(), estimator, ROWS, rng=np.random.default_rng(0)).state == "failed"


def test_what_cannot_be_had_is_said_not_to_be_done() -> None:
    check, estimator = check_training_form(None)
    assert check.state == "not_done"
    assert check_parity(a_form(), estimator, ROWS, rng=np.random.default_rng(0)).state == "not_done"
    assert not_done("parity", "No rows.").state == "not_done"


def test_a_damaged_training_form_fails() -> None:
    check, estimator = check_training_form(b"damaged")
    assert check.state == "failed"
    assert estimator is None
