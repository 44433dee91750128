"""Archives and other formats with a trap, a program or a lie in them."""

from __future__ import annotations

import functools
import io
import json
import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from core.model_files.assembling import Op, call, group, made, name, stream, text, value
from core.model_files.hostile_pickles import SYSTEM, Hostile, _Reduced, deed


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", method) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return kept.getvalue()


def members_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {member: archive.read(member) for member in archive.namelist()}


def npy(array: Any) -> bytes:
    kept = io.BytesIO()
    np.save(kept, array, allow_pickle=True)
    return kept.getvalue()


@functools.cache
def _bomb() -> bytes:
    return zipped({"a.npy": bytes(150_000_000)}, zipfile.ZIP_DEFLATED)


@functools.cache
def _fitted() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The members of a linear model's and of a tree's skops file."""
    linear = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    tree = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1])
    return members_of(skops.io.dumps(linear)), members_of(skops.io.dumps(tree))


def by_archive(marker: Path) -> dict[str, Hostile]:
    run = deed(marker)
    objects = np.array([_Reduced(run)], dtype=object)
    pickled = stream(call(SYSTEM, run))
    kept = io.BytesIO()
    np.savez(kept, a=objects)
    link = zipfile.ZipInfo("weights.npy")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    linked = io.BytesIO()
    with zipfile.ZipFile(linked, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    twice = zipped({"a.npy": npy(np.zeros(2)), "A.npy": npy(np.ones(2))})
    fine = zipped({"a.npy": npy(np.zeros(2))})
    encrypted = bytearray(fine)
    encrypted[6] |= 1
    encrypted[fine.index(b"PK\x01\x02") + 8] |= 1
    start = struct.unpack("<L", fine[-6:-2])[0]
    gap = fine[:start] + b"\0" * 8 + fine[start:-6] + struct.pack("<L", start + 8) + fine[-2:]
    local = bytearray(fine)
    local[30:35] = b"b.npy"
    smaller = bytearray(zipped({"a.npy": npy(np.zeros(500))}, zipfile.ZIP_DEFLATED))
    at = bytes(smaller).index(b"PK\x01\x02") + 24
    for place in (22, at):
        smaller[place : place + 4] = struct.pack("<L", 10)
    return {
        "npy with objects": (npy(objects), "numpy"),
        "npz with objects": (kept.getvalue(), "numpy"),
        "npy with a longer shape": (npy(np.zeros(4)).replace(b"(4,)", b"(9,)"), None),
        "npy with a call in its header": (npy(np.zeros(4)).replace(b"False", b"exit()"), None),
        "a pickle in a zip": (zipped({"model.pkl": pickled}), "zip"),
        "a pickle in a zip in a zip": (zipped({"a.zip": zipped({"model.pkl": pickled})}), "zip"),
        "a pickle before a zip": (stream(value(1)) + fine, None),
        "a zip before a pickle": (fine + pickled, None),
        "a member that leads out": (zipped({"../a.npy": npy(np.zeros(2))}), None),
        "a member with an absolute path": (zipped({"/a.npy": npy(np.zeros(2))}), None),
        "a member that is a link": (linked.getvalue(), None),
        "two members of one name": (twice, None),
        "an encrypted member": (bytes(encrypted), None),
        "bytes between members": (gap, None),
        "two names for a member": (bytes(local), None),
        "a member larger than it says": (bytes(smaller), None),
        "a comment with a program": (fine[:-2] + struct.pack("<H", 4) + b"#!sh", None),
        "a bomb": (_bomb(), None),
        "nested archives": (functools.reduce(lambda inner, _: zipped({"a.zip": inner}), range(6), fine), None),
    }


def by_skops(marker: Path) -> dict[str, Hostile]:
    honest, tree = _fitted()

    def edited(change: Any, members: dict[str, bytes] = honest) -> bytes:
        schema = json.loads(members["schema.json"])
        change(schema)
        return zipped({**members, "schema.json": json.dumps(schema).encode()})

    def attribute(key: str, node: Any) -> bytes:
        return edited(lambda schema: schema["content"]["content"].__setitem__(key, node))

    def node(module: str, kind: str, loader: str, **more: Any) -> dict[str, Any]:
        return {"__module__": module, "__class__": kind, "__loader__": loader, "__id__": 7, **more}

    def circle(schema: dict[str, Any]) -> None:
        file = schema["content"]["content"]["tree_"]["content"]["content"]["nodes"]["file"]
        nodes = np.load(io.BytesIO(tree[file])).copy()
        nodes["left_child"][0] = 0
        circled[file] = npy(nodes)

    circled: dict[str, bytes] = {}
    edited(circle, tree)
    listed = node("builtins", "list", "ListNode", content=[])
    return {
        "skops: a transformer of os.system": (skops.io.dumps(FunctionTransformer(os.system)), "skops"),
        "skops: a bound part of os.system": (
            skops.io.dumps(FunctionTransformer(functools.partial(os.system))),
            "skops",
        ),
        "skops: another root": (edited(lambda schema: schema.update(__module__="os", __class__="system")), None),
        "skops: a function": (attribute("C", node("builtins", "eval", "FunctionNode")), None),
        "skops: a method": (
            attribute("C", node("builtins", "str", "MethodNode", content={"func": "format", "obj": listed})),
            None,
        ),
        "skops: an operator": (
            attribute("C", node("operator", "methodcaller", "OperatorFuncNode", attrs=listed)),
            None,
        ),
        "skops: a listed name by another loader": (attribute("C", node("builtins", "list", "ObjectNode")), None),
        "skops: an attribute of Python's": (attribute("__class__", listed), None),
        "skops: a cache": (
            attribute("memory", node("builtins", "str", "JsonNode", content='"/x"', is_json=True)),
            None,
        ),
        "skops: an old protocol": (edited(lambda schema: schema.update(protocol=0)), None),
        "skops: a node without a class": (attribute("C", {"__loader__": "ObjectNode"}), None),
        "skops: a file that isn't there": (
            attribute("C", node("numpy", "ndarray", "NdArrayNode", type="numpy", file="1.npy")),
            None,
        ),
        "skops: an array of objects": (
            zipped({**honest, next(key for key in honest if key.endswith("npy")): npy(np.array([{}], dtype=object))}),
            None,
        ),
        "skops: another member": (zipped({**honest, "run.py": b"print(1)"}), None),
        "skops: one id for two types": (
            edited(
                lambda schema: schema["content"]["content"].update(
                    a=node("builtins", "list", "ListNode", content=[]),
                    b=node("builtins", "eval", "ListNode", content=[]),
                )
            ),
            None,
        ),
        "skops: a key twice": (
            zipped({**honest, "schema.json": honest["schema.json"].replace(b"{", b'{"protocol": 1, ', 1)}),
            None,
        ),
        "skops: a tree in a circle": (zipped({**tree, **circled}), None),
    }


def torch_file(body: bytes, storages: dict[str, bytes] | None = None, **more: bytes) -> bytes:
    members = {"archive/data.pkl": stream(body, 2), "archive/version": b"3\n"}
    members |= {f"archive/data/{key}": content for key, content in (storages or {}).items()}
    return zipped(members | more)


def tensor(count: int, *, size: int | None = None, key: str = "0") -> Op:
    """A tensor of floats as torch writes it."""
    storage = Op(group("storage", name("torch", "FloatStorage"), key, "cpu", count) + b"Q")
    hooks = call(name("collections", "OrderedDict"))
    return call(name("torch._utils", "_rebuild_tensor_v2"), storage, 0, group(size or count), group(1), False, hooks)


def by_other_formats(marker: Path) -> dict[str, Hostile]:
    run = deed(marker)
    weights = b"\0" * 8
    lambda_layer = {"module": "keras.layers", "class_name": "Lambda", "registered_name": None, "config": {}}
    house_layer = {"module": "house.layers", "class_name": "Dense", "registered_name": "House>Dense", "config": {}}
    return {
        "torch: os.system": (torch_file(call(SYSTEM, run)), None),
        "torch: TorchScript": (torch_file(value(1), **{"archive/code/a.py": b"def f(): pass"}), None),
        "torch: a storage that isn't there": (torch_file(tensor(2)), None),
        "torch: a tensor larger than its storage": (torch_file(tensor(2, size=900), {"0": weights}), None),
        "torch: a persistent id of another kind": (torch_file(text("os.system") + b"Q"), None),
        "keras: a lambda": (keras_file(lambda_layer), None),
        "keras: a house's layer": (keras_file(house_layer), None),
        "keras: a lambda as a function": (
            keras_file({"class_name": "Dense", "config": {"activation": {"class_name": "__lambda__"}}}),
            None,
        ),
        "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), None),
        "onnx: a tensor in another file": (onnx_model(tensor=field(14, 1) + field(13, field(1, b"location"))), None),
        "onnx: operators of a house": (onnx_model(domain=b"house.ops"), None),
        "onnx: a lie about a tensor": (onnx_model(tensor=field(1, 9) + field(2, 1) + field(9, b"1234")), None),
        "onnx: an unknown field": (onnx_model() + field(99, b"x"), None),
        "onnx: cut off": (onnx_model()[:-3], None),
        "safetensors: beyond the end": (safetensors({"a": ("F32", [9], [0, 36])}, b"1234"), None),
        "safetensors: overlapping": (safetensors({"a": ("U8", [2], [0, 2]), "b": ("U8", [2], [1, 3])}, b"abc"), None),
        "safetensors: bytes between": (safetensors({"a": ("U8", [2], [2, 4])}, b"abcd"), None),
        "safetensors: bytes behind": (safetensors({"a": ("U8", [2], [0, 2])}, b"abPK"), None),
        "safetensors: another size": (safetensors({"a": ("F64", [2], [0, 2])}, b"ab"), None),
        "safetensors: a header beyond the file": (struct.pack("<Q", 1 << 20) + b'{"a": 1}', None),
        "pmml: an entity": (
            b'<?xml version="1.0"?><!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
            b'<PMML xmlns="http://www.dmg.org/PMML-4_4">&x;</PMML>',
            None,
        ),
        "pmml: many entities": (
            b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><PMML>&b;</PMML>',
            None,
        ),
        "pmml: an instruction": (
            b'<?xml version="1.0"?><?xml-stylesheet href="http://x/x.xsl"?><PMML xmlns="http://www.dmg.org/PMML-4_4"/>',
            None,
        ),
        "pmml: another document": (
            b'<?xml version="1.0"?><beans><bean class="java.lang.ProcessBuilder"/></beans>',
            None,
        ),
        "xgboost: a tree that leads out": (
            json.dumps(
                {
                    "version": [3, 0, 0],
                    "learner": {
                        "gradient_booster": {
                            "model": {
                                "trees": [{"left_children": [9], "right_children": [-1], "split_conditions": [0.0]}]
                            }
                        }
                    },
                }
            ).encode(),
            None,
        ),
        "a key of JSON twice": (b'{"learner": {"gradient_booster": {}}, "learner": {}, "version": [1]}', None),
        "lightgbm with a program": (b"tree\nversion=v4\nimport os; os.system('x')\nend of trees\n", None),
        "a script": (b"#!/bin/sh\ntouch x\n", None),
        "a program": (b"\x7fELF" + bytes(60), None),
        "lz4": (b"\x04\x22\x4d\x18" + bytes(40), None),
        "nothing": (b"", None),
    }


def keras_file(layer: dict[str, Any]) -> bytes:
    configuration = {"class_name": "Sequential", "module": "keras", "config": {"layers": [layer]}}
    members = {"metadata.json": b"{}", "config.json": json.dumps(configuration).encode()}
    return zipped(members | {"model.weights.h5": b"\x89HDF\r\n\x1a\n"})


def safetensors(tensors: dict[str, Any], content: bytes) -> bytes:
    header = {key: {"dtype": kind, "shape": shape, "data_offsets": at} for key, (kind, shape, at) in tensors.items()}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + content


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def onnx_model(domain: bytes = b"", tensor: bytes | None = None) -> bytes:
    """A model of one addition, with one constant."""
    constant = field(1, 1) + field(2, 1) + field(9, b"1234") if tensor is None else tensor
    node = field(1, b"x") + field(1, b"c") + field(2, b"y") + field(4, b"Add") + field(7, domain)
    graph = field(1, node) + field(2, b"g") + field(5, constant + field(8, b"c"))
    return field(1, 9) + field(2, b"tests") + field(7, graph) + field(8, field(1, domain) + field(2, 20))


def honest_formats() -> dict[str, bytes]:
    """Sound files of the other formats."""
    kept = io.BytesIO()
    np.savez(kept, a=np.zeros((2, 3)), b=np.array(["x", "yz"]))
    packed = io.BytesIO()
    np.savez_compressed(packed, a=np.arange(1_000))
    structured = np.zeros(3, dtype=[("a", "<f8"), ("b", "<i4", (2,)), ("c", "S3")])
    tree = {"left_children": [1, -1, -1], "right_children": [2, -1, -1], "split_conditions": [0.5, 0.1, -0.1]}
    booster = {"gradient_booster": {"name": "gbtree", "model": {"trees": [tree]}}, "objective": {"name": "reg:linear"}}
    state = call(name("collections", "OrderedDict")) + b"(" + text("w") + tensor(2) + b"u"
    return {
        "npy": npy(np.arange(6.0).reshape(2, 3)),
        "npy by column": npy(np.asfortranarray(np.ones((2, 3)))),
        "npy of text": npy(np.array(["a", "bc"])),
        "npy of dates": npy(np.array(["2020-01-01"], dtype="M8[D]")),
        "npy of records": npy(structured),
        "npz": kept.getvalue(),
        "npz, compressed": packed.getvalue(),
        "zip of arrays and a booster": zipped(
            {"a.npy": npy(np.zeros(3)), "b.json": json.dumps({"version": [3], "learner": booster}).encode()}
        ),
        "safetensors": safetensors({"a": ("F32", [2], [0, 8]), "b": ("U8", [], [8, 9])}, b"123456789"),
        "onnx": onnx_model(),
        "torch": torch_file(state, {"0": b"\0" * 8}),
        "xgboost": json.dumps({"version": [3, 0, 0], "learner": booster}).encode(),
        "catboost": json.dumps({"features_info": {}, "model_info": {}, "oblivious_trees": []}).encode(),
        "lightgbm": b"tree\nversion=v4\nnum_class=1\nfeature_names=a b\n\nTree=0\nnum_leaves=2\nsplit_feature=0\n\n"
        b"end of trees\n\nfeature_importances:\na=1\n\nparameters:\n[boosting: gbdt]\nend of parameters\n\n"
        b"pandas_categorical:null\n",
        "pmml": b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- made by hand -->\n'
        b'<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary numberOfFields="1">'
        b'<DataField name="x" optype="continuous" dataType="double"/></DataDictionary>'
        b'<RegressionModel functionName="regression"><RegressionTable intercept="1.5"/></RegressionModel></PMML>\n',
        "made": stream(made("sklearn.pipeline", "Pipeline", {"steps": [], "memory": None})),
    }
