"""The public validator: what passes, what doesn't, and what it says in the log."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from mcp_server import model_security
from mcp_server.core.canonical import digest
from mcp_server.errors import InvalidInput, QuotaExceeded
from mcp_server.model_security import ModelSecurityValidator

CLEAN = [{"feature1": 1.0, "feature2": 2.0}, {"feature1": 1.1, "feature2": 2.1}, {"feature1": 0.9, "feature2": 1.9}]
HALF_POISONED = [
    {"feature1": 1.0, "feature2": 2.0},
    {"feature1": 1.1, "feature2": 2.1},
    {"feature1": 1000.0, "feature2": 2000.0},
    {"feature1": 2000.0, "feature2": 3000.0},
]


@pytest.fixture
def validator() -> ModelSecurityValidator:
    return ModelSecurityValidator()


def gaussian_rows(count: int, *, seed: int = 1) -> list[dict[str, object]]:
    table = np.random.default_rng(seed).normal(10.0, 1.0, (count, 3))
    return [{"a": a, "b": b, "c": c} for a, b, c in table.tolist()]


def test_three_close_rows_pass(validator: ModelSecurityValidator) -> None:
    assert validator.validate_training_data(CLEAN) is True


def test_a_table_of_which_half_is_poisoned_fails(validator: ModelSecurityValidator) -> None:
    assert validator.validate_training_data(HALF_POISONED) is False


def test_no_data_fails_with_a_warning(validator: ModelSecurityValidator, caplog: pytest.LogCaptureFixture) -> None:
    assert validator.validate_training_data([]) is False
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_anomalous_rows_are_logged_as_a_count_without_their_values(
    validator: ModelSecurityValidator, caplog: pytest.LogCaptureFixture
) -> None:
    validator.validate_training_data(HALF_POISONED)
    assert "2 of 4 rows" in caplog.text
    assert "2000" not in caplog.text


@pytest.mark.parametrize("prefix", ["", "sha256:", "SHA256:"])
def test_data_with_a_trusted_digest_passes_unscreened(validator: ModelSecurityValidator, prefix: str) -> None:
    bare = hashlib.sha256(json.dumps(HALF_POISONED, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    validator.trusted_data_hashes.add(prefix + bare)
    assert validator.validate_training_data(HALF_POISONED) is True
    assert validator.validate_training_data([*HALF_POISONED, CLEAN[0]]) is False


def test_the_digest_of_the_canonical_form_is_the_one_to_trust(validator: ModelSecurityValidator) -> None:
    validator.trusted_data_hashes.add(digest(HALF_POISONED))
    reordered = [dict(reversed(row.items())) for row in HALF_POISONED]
    assert validator.validate_training_data(reordered) is True


def test_data_that_is_not_json_has_no_digest_and_is_screened(validator: ModelSecurityValidator) -> None:
    validator.trusted_data_hashes.add(digest(CLEAN))
    assert validator.validate_training_data([*HALF_POISONED, {"feature1": math.nan}]) is False


def test_a_tenth_of_anomalous_rows_passes_and_more_fails(validator: ModelSecurityValidator) -> None:
    rows = gaussian_rows(100)
    for row in rows[:10]:
        row["b"] = 1e6
    assert validator.validate_training_data(rows) is True
    rows[10]["b"] = 1e6
    assert validator.validate_training_data(rows) is False


def test_a_higher_threshold_finds_less(validator: ModelSecurityValidator) -> None:
    rows = gaussian_rows(200)
    for row in rows[:40]:
        row["a"] = 16.0
    assert validator.validate_training_data(rows) is False
    validator.anomaly_threshold = 30.0
    assert validator.validate_training_data(rows) is True


def test_infinite_numbers_are_anomalous(validator: ModelSecurityValidator) -> None:
    rows = gaussian_rows(20)
    for row, value in zip(rows, (math.inf, -math.inf, 10**400), strict=False):
        row["a"] = value
    assert validator.validate_training_data(rows) is False


def test_text_none_nan_and_missing_keys_are_missing_not_anomalous(validator: ModelSecurityValidator) -> None:
    rows = gaussian_rows(40)
    for row, value in zip(rows, (None, math.nan, "n/a", Decimal("sNaN"), [1], {}), strict=False):
        row["a"] = value
    del rows[10]["b"]
    rows[11]["note"] = "only here"
    assert validator.validate_training_data(rows) is True


def test_flags_counts_and_constants_are_never_anomalous(validator: ModelSecurityValidator) -> None:
    rows: list[dict[str, object]] = [{"flag": i % 7 == 0, "bit": int(i == 3), "one": 1} for i in range(30)]
    assert validator.validate_training_data(rows) is True


def test_rows_without_any_number_pass(validator: ModelSecurityValidator) -> None:
    assert validator.validate_training_data([{"name": "a"}, {"name": "b"}]) is True


def test_exact_decimals_are_numbers(validator: ModelSecurityValidator) -> None:
    rows = [{name: Decimal(str(value)) for name, value in row.items()} for row in HALF_POISONED]
    assert validator.validate_training_data(rows) is False


def test_a_column_in_two_groups_is_said_to_be_undecidable(
    validator: ModelSecurityValidator, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(5)
    rows = [{"a": value} for value in (rng.normal(0, 1, 200) + 12 * (rng.random(200) < 0.5)).tolist()]
    assert validator.validate_training_data(rows) is True
    assert "1 columns can't be screened" in caplog.text


def test_a_row_that_is_no_object_is_refused(validator: ModelSecurityValidator) -> None:
    with pytest.raises(InvalidInput, match="row"):
        validator.validate_training_data([{"a": 1.0}, [1.0]])  # type: ignore[list-item]


def test_a_threshold_that_is_no_positive_number_is_refused(validator: ModelSecurityValidator) -> None:
    validator.anomaly_threshold = 0.0
    with pytest.raises(InvalidInput, match="threshold"):
        validator.validate_training_data(CLEAN)


def test_rows_that_share_no_columns_are_refused_before_they_fill_the_memory(
    validator: ModelSecurityValidator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_security, "MAX_CELLS", 1_000)
    with pytest.raises(QuotaExceeded):
        validator.validate_training_data([{f"only in row {at}": 1.0} for at in range(100)])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.json"
    path.write_bytes(b"weights" * 500_000)  # several chunks
    return path


@pytest.mark.parametrize("write", [str, str.upper, "sha256:{}".format])
def test_a_file_with_the_expected_digest_is_intact(validator: ModelSecurityValidator, model: Path, write) -> None:  # type: ignore[no-untyped-def]
    expected = hashlib.sha256(model.read_bytes()).hexdigest()
    assert validator.verify_model_integrity(model, write(expected)) is True
    assert validator.verify_model_integrity(str(model), write(expected)) is True


def test_one_changed_byte_is_found_and_logged(
    validator: ModelSecurityValidator, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = hashlib.sha256(model.read_bytes()).hexdigest()
    with model.open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"W")
    with caplog.at_level(logging.ERROR):
        assert validator.verify_model_integrity(model, expected) is False
    assert "SHA-256" in caplog.text


@pytest.mark.parametrize("expected", ["", "sha256:", "abc", "é" * 64, "\ud800" * 64])
def test_what_is_no_digest_never_matches(validator: ModelSecurityValidator, model: Path, expected: str) -> None:
    assert validator.verify_model_integrity(model, expected) is False


def test_a_file_that_cannot_be_read_raises(validator: ModelSecurityValidator, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        validator.verify_model_integrity(tmp_path / "absent", "0" * 64)
    with pytest.raises(OSError):
        validator.verify_model_integrity(tmp_path, "0" * 64)


def test_importing_the_module_does_not_import_numpy() -> None:
    check = "import sys, mcp_server.model_security; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
