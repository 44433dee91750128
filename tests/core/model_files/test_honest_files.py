"""Ordinary models, in every form in which they're kept: none is refused."""

from __future__ import annotations

import gzip
import importlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io

from core.model_files.hostile_formats import honest_formats, zipped
from core.model_files.zoo import models
from mcp_server.core.model_files import ModelFileReport, read_model_file
from mcp_server.core.model_files.allowed import ALLOWED


def by_joblib(compress: Any) -> Callable[[Any], bytes]:
    def dump(model: Any) -> bytes:
        kept = io.BytesIO()
        joblib.dump(model, kept, compress=compress)
        return kept.getvalue()

    return dump


def by_pickle(protocol: int) -> Callable[[Any], bytes]:
    return lambda model: pickle.dumps(model, protocol)


FORMS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    **{f"pickle {protocol}": ("pickle", by_pickle(protocol)) for protocol in range(6)},
    "pickle in gzip": ("pickle (gzip)", lambda model: gzip.compress(pickle.dumps(model))),
    "joblib": ("joblib", by_joblib(0)),
    "joblib zlib": ("joblib (zlib)", by_joblib(("zlib", 3))),
    "joblib gzip": ("joblib (gzip)", by_joblib(("gzip", 3))),
    "joblib bz2": ("joblib (bzip2)", by_joblib(("bz2", 3))),
    "joblib lzma": ("joblib (lzma)", by_joblib(("lzma", 3))),
    "joblib xz": ("joblib (xz)", by_joblib(("xz", 3))),
    "skops": ("skops", skops.io.dumps),
}


def told(report: ModelFileReport) -> str:
    return f"{report.kind}, {report.verdict}: {[(one.code, one.where, one.what) for one in report.findings[:3]]}"


def test_there_are_models_of_every_kind() -> None:
    assert len(models()) >= 100


@pytest.mark.parametrize("form", FORMS)
def test_no_ordinary_model_is_refused(form: str) -> None:
    kind, write = FORMS[form]
    problems = []
    for name, model in models().items():
        report = read_model_file(write(model))
        # What holds no array is a plain pickle, however it was written.
        if (
            report.verdict != "data-only"
            or report.findings
            or report.kind not in (kind, kind.replace("joblib", "pickle"))
        ):
            problems.append(f"{name}: {told(report)}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("file", sorted((Path(__file__).parent / "kept").iterdir()), ids=lambda file: file.stem)
def test_what_other_versions_wrote_is_not_refused(file: Path) -> None:
    """Modules that they name otherwise, losses that they remake otherwise, array bytes without padding."""
    report = read_model_file(file.read_bytes())
    assert report.verdict == "data-only", told(report)
    asked = any("'_loss'" in sentence for sentence in report.unchecked)
    assert asked == any(version in file.stem for version in ("1.5.2", "1.8.0"))


def test_tables_of_objects_beside_a_model_are_no_reason_to_refuse() -> None:
    """Read by `pickle.load`, the stream of such an array has other things in its memo, and just fails."""
    labels = np.array(["home", "away", "home", None, "away"], dtype=object)
    for name in ("columns", "regressor GradientBoostingRegressor", "classifier KBinsDiscretizer LogisticRegression"):
        model = models()[name]
        versions = {"sklearn": "1.8.0", "numpy": "2.3.1"}
        for kept in (
            {"model": model, "labels": labels},
            versions | {"model": model, "labels": labels},
            (model, labels),
        ):
            report = read_model_file(by_joblib(0)(kept))
            assert report.verdict == "data-only", told(report)


def test_only_numpy_has_a_dtype_among_the_listed_modules() -> None:
    """By this the reader knows that `pickle.load` would fail where it asks another module for it."""
    for module, _ in ALLOWED:
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue  # of another version of the library
        assert module.startswith("numpy") or not hasattr(found, "dtype"), module


@pytest.mark.parametrize("name", honest_formats())
def test_sound_files_of_other_formats_pass(name: str) -> None:
    report = read_model_file(honest_formats()[name])
    assert report.verdict == "data-only", told(report)


@pytest.mark.parametrize(
    ("content", "next_step"),
    [
        (b"\x04\x22\x4d\x18" + bytes(40), "save it again with zlib"),
        (b"\x28\xb5\x2f\xfd" + bytes(40), "save it again with zlib"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "export the model to ONNX"),
        (zipped({"config.json": b'{"class_name": "Sequential"}', "metadata.json": b"{}"}), "export the model to ONNX"),
    ],
    ids=["lz4", "zstd", "HDF5", "Keras"],
)
def test_a_kind_that_is_known_and_not_read_says_what_to_do(content: bytes, next_step: str) -> None:
    report = read_model_file(content)
    assert (report.verdict, [one.code for one in report.findings]) == ("not understood", ["uncheckable"])
    assert next_step in report.findings[0].what


def test_a_report_tells_what_the_file_holds_and_what_was_not_looked_at() -> None:
    content = pickle.dumps(models()["classifier StandardScaler LogisticRegression"])
    report = read_model_file(content)
    assert report.holds == ("Pipeline", "StandardScaler", "LogisticRegression")
    assert report.counts["bytes"] == len(content)
    assert report.counts["arrays"] >= 5
    assert report.digest.startswith("sha256:")
    assert any("good one" in sentence for sentence in report.unchecked)


def test_a_name_says_nothing_about_a_file() -> None:
    """The kind is told by the content: the reader isn't even given a name."""
    assert read_model_file(skops.io.dumps(models()["regressor Ridge"])).kind == "skops"
    assert read_model_file(pickle.dumps(models()["regressor Ridge"], 2)).kind == "pickle"
