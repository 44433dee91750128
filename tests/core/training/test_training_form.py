from __future__ import annotations

import copy
import io
import json
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mcp_server.core.training.estimators import fit_boosting, fit_extra_trees, fit_linear
from mcp_server.core.training.parameters import BoostingParameters, ExtraTreesParameters
from mcp_server.core.training.training_form import audit_training_form, load_training_form, training_form_bytes
from mcp_server.errors import CorruptArtefact

MATRIX = np.random.default_rng(0).normal(size=(200, 3))
GAPPY = np.where(np.random.default_rng(1).random((200, 3)) < 0.1, np.nan, MATRIX)
TARGETS: dict[Any, Any] = {
    "binary": (MATRIX[:, 0] > 0).astype(float),
    "multiclass": (np.arange(200) % 3).astype(float),
    "regression": MATRIX[:, 0] * 2,
}
SHORT = BoostingParameters(iterations=9)


def an_estimator(algorithm: str, task: Any) -> Any:
    if algorithm == "linear":
        return fit_linear(MATRIX, TARGETS[task], task=task).estimator
    if algorithm == "extra_trees":
        short = ExtraTreesParameters(trees=5)
        return fit_extra_trees(
            GAPPY, TARGETS[task], task=task, parameters=short, rng=np.random.default_rng(1)
        ).estimator
    return fit_boosting(MATRIX, TARGETS[task], task=task, parameters=SHORT, rng=np.random.default_rng(1)).estimator


@pytest.fixture(scope="module")
def boosted() -> bytes:
    return training_form_bytes(an_estimator("boosting", "binary"))


@pytest.mark.parametrize("algorithm", ["linear", "boosting", "extra_trees"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_estimator_answers_the_same_after_the_audit(algorithm: str, task: str) -> None:
    estimator = an_estimator(algorithm, task)
    again = load_training_form(training_form_bytes(estimator))
    ask = "predict" if task == "regression" else "predict_proba"
    np.testing.assert_array_equal(getattr(again, ask)(MATRIX), getattr(estimator, ask)(MATRIX))


def rewritten(content: bytes, *, schema: Any = None, compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """The same archive with its schema passed through a function, or with further members."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", compression) as new:
        for name in old.namelist():
            body = old.read(name)
            if name == "schema.json" and schema is not None:
                body = json.dumps(schema(json.loads(body))).encode()
            new.writestr(name, body)
        for name, body in members.items():
            new.writestr(name, body)
    return made.getvalue()


def calling_the_system(schema: dict[str, Any]) -> dict[str, Any]:
    schema["content"]["content"]["loss"] = {
        "__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "content": "true", "__id__": 1,
    }  # fmt: skip
    return schema


def hiding_in_a_type(schema: dict[str, Any]) -> dict[str, Any]:
    schema["content"]["key_types"]["content"][0] = {"__class__": "system", "__module__": "os", "__loader__": "TypeNode"}
    return schema


def with_another_loader(schema: dict[str, Any]) -> dict[str, Any]:
    schema["__loader__"] = "MethodNode"
    return schema


def of_an_older_protocol(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"protocol": 0}


def of_another_file(schema: dict[str, Any]) -> dict[str, Any]:
    schema["content"]["content"]["extra"] = {
        "__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode", "type": "numpy", "file": "../x.npy",
    }  # fmt: skip
    return schema


@pytest.mark.parametrize(
    "change", [calling_the_system, hiding_in_a_type, with_another_loader, of_an_older_protocol, of_another_file]
)
def test_a_schema_that_asks_for_anything_else_is_refused(boosted: bytes, change: Any) -> None:
    audit_training_form(rewritten(boosted, schema=lambda schema: schema))  # the control: rewriting alone is no fault
    with pytest.raises(CorruptArtefact):
        load_training_form(rewritten(boosted, schema=change))


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x05\x06" + b"\x00" * 18, b"not an archive", pickle.dumps({"a": 1})],
    ids=["nothing", "an empty archive", "text", "a pickle"],
)
def test_what_is_no_training_form_is_refused(content: bytes) -> None:
    with pytest.raises(CorruptArtefact):
        load_training_form(content)


def test_a_compressed_archive_is_refused(boosted: bytes) -> None:
    with pytest.raises(CorruptArtefact):
        load_training_form(rewritten(boosted, compression=zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("name", ["../evil.npy", "evil.py", "schema.json.npy"])
def test_a_further_member_is_refused(boosted: bytes, name: str) -> None:
    with pytest.raises(CorruptArtefact):
        load_training_form(rewritten(boosted, **{name: b"x"}))


def an_array(header: dict[str, Any], body: bytes = b"\0" * 8) -> bytes:
    text = repr(header).encode() + b" \n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


PLAIN = {"descr": "<f8", "fortran_order": False, "shape": (1,)}


@pytest.mark.parametrize(
    "body",
    [
        an_array(PLAIN | {"shape": (10**12,)}),
        an_array(PLAIN | {"descr": "|O"}),
        an_array(PLAIN | {"shape": (-1,)}),
        b"x" * 80,
    ],
    ids=["eight terabytes", "objects", "a negative shape", "no array"],
)
def test_an_array_that_is_not_as_large_as_it_says_is_refused_before_it_is_built(boosted: bytes, body: bytes) -> None:
    audit_training_form(rewritten(boosted, **{"9999.npy": an_array(PLAIN)}))  # the control
    with pytest.raises(CorruptArtefact):
        audit_training_form(rewritten(boosted, **{"9999.npy": body}))


def test_members_that_share_their_bytes_are_refused(boosted: bytes) -> None:
    """Thousands of names for one large member: the archive is small, what is read from it isn't."""
    made = io.BytesIO(boosted)
    with zipfile.ZipFile(made, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("9999.npy", an_array(PLAIN))
        (last,) = archive.infolist()[-1:]
        twin = copy.copy(last)
        twin.filename = "9998.npy"
        archive.filelist.append(twin)
        archive.NameToInfo[twin.filename] = twin
    assert len(zipfile.ZipFile(made).namelist()) > len(zipfile.ZipFile(io.BytesIO(boosted)).namelist()) + 1
    with pytest.raises(CorruptArtefact):
        audit_training_form(made.getvalue())


@pytest.mark.parametrize("where", ["before", "behind"])
def test_bytes_that_belong_to_no_member_are_refused(boosted: bytes, where: str) -> None:
    content = b"more" + boosted if where == "before" else boosted + b"more"
    with pytest.raises(CorruptArtefact):
        audit_training_form(content)


def test_a_cut_archive_is_refused(boosted: bytes) -> None:
    for length in range(0, len(boosted), len(boosted) // 40):
        with pytest.raises(CorruptArtefact):
            load_training_form(boosted[:length])


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(n_estimators=2),
        make_pipeline(StandardScaler(), LinearRegression()),
        make_pipeline(StandardScaler(), StandardScaler()),
    ],
    ids=["a forest", "another linear model", "two scalers"],
)
def test_another_estimator_is_refused_however_honest(estimator: Any) -> None:
    estimator.fit(MATRIX, TARGETS["binary"].astype(int))
    with pytest.raises(CorruptArtefact):
        load_training_form(skops.io.dumps(estimator))


@pytest.mark.parametrize(
    ("part", "value"), [("left", 1_000_000), ("right", 0), ("feature_idx", 77), ("feature_idx", -5)]
)
def test_a_tree_that_leads_out_of_its_array_is_refused(part: str, value: int) -> None:
    estimator = an_estimator("boosting", "binary")
    estimator._predictors[0][0].nodes[part][0] = value
    with pytest.raises(CorruptArtefact):
        load_training_form(training_form_bytes(estimator))


def test_a_blend_is_a_list_of_its_estimators() -> None:
    members = [an_estimator(algorithm, "binary") for algorithm in ("linear", "boosting", "extra_trees")]
    again = load_training_form(training_form_bytes(members))
    for one, other in zip(again, members, strict=True):
        np.testing.assert_array_equal(one.predict_proba(MATRIX), other.predict_proba(MATRIX))


@pytest.mark.parametrize("content", [[], ["text"], [{"a": 1}], [[MATRIX]]], ids=["none", "text", "a dict", "a list"])
def test_a_list_of_anything_else_is_refused(content: Any) -> None:
    with pytest.raises(CorruptArtefact):
        load_training_form(skops.io.dumps(content))


@pytest.mark.parametrize(
    ("part", "value"), [("left_child", 1_000_000), ("right_child", 0), ("feature", 77), ("feature", -5)]
)
def test_an_extra_tree_that_leads_out_of_its_array_is_refused(part: str, value: int) -> None:
    estimator = an_estimator("extra_trees", "binary")
    tree = estimator.estimators_[0].tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"][part][0] = value
    tree.__setstate__(state)
    with pytest.raises(CorruptArtefact):
        load_training_form(training_form_bytes(estimator))
