"""What a file is, by its content alone, and whether it's data: one way in for every kind."""

from __future__ import annotations

import hashlib
from typing import Any

from mcp_server.core.model_files.archive import Archive
from mcp_server.core.model_files.arrays import read_npy
from mcp_server.core.model_files.booster_files import looks_like_lightgbm, read_json_model, read_lightgbm
from mcp_server.core.model_files.keras_files import KERAS_NEXT, is_keras, read_keras
from mcp_server.core.model_files.npz_files import read_npz
from mcp_server.core.model_files.onnx_files import looks_like_onnx, read_onnx
from mcp_server.core.model_files.packed import packing_of_model, unpacked
from mcp_server.core.model_files.pickles import looks_like_pickle, read_pickle
from mcp_server.core.model_files.pmml_files import looks_like_xml, read_pmml
from mcp_server.core.model_files.report import MOST_DEPTH, FileReading, ModelFileReport, Unread
from mcp_server.core.model_files.safetensors_files import looks_like_safetensors, read_safetensors
from mcp_server.core.model_files.skops_files import SCHEMA, read_skops
from mcp_server.core.model_files.torch_files import is_torch, read_torch

MOST_BYTES = 256 * 1024 * 1024

# Kinds that are known and not read: by their first bytes.
_UNREAD = (
    (b"\x89HDF\r\n\x1a\n", "HDF5", f"{KERAS_NEXT} HDF5 can link to files, and Keras puts programs into it."),
    (b"GGUF", "GGUF", "GGUF isn't read here."),
    (b"CBM1", "CatBoost (binary)", "CatBoost's binary form isn't read here; save it as JSON."),
    (b"binf", "XGBoost (binary)", "XGBoost's old binary form isn't read here; save it as JSON."),
    (b"{L\x00\x00\x00\x00\x00\x00", "XGBoost (UBJSON)", "UBJSON isn't read here; save it as JSON."),
    (b"PAR1", "Parquet", "It's a table, not a model."),
    (b"\x7fELF", "program", "It's a program."),
    (b"MZ", "program", "It's a program."),
    (b"Rar!", "RAR", "RAR archives aren't unpacked here."),
    (b"7z\xbc\xaf\x27\x1c", "7z", "7z archives aren't unpacked here."),
    (b"%PDF", "PDF", "It's a document, not a model."),
)
DESCRIBED = ("pickle", "joblib", "skops")
_ALWAYS = ("Whether it's the model that you think it is, and a good one: data alone can mislead too.",)
_ARRAYS = "Values in arrays, beyond the nodes of trees: compiled code may trust wrong ones."


def read_model_file(content: bytes | memoryview) -> ModelFileReport:
    """Say what a model file is and whether it's data alone, without loading any of it.

    Args:
        content: the whole file.
    Returns:
        the report; every content has one.

    >>> read_model_file(b"cos\\nsystem\\n(S'ls'\\ntR.").verdict
    'unsafe'
    """
    return open_model_file(content)[0]


def open_model_file(content: bytes | memoryview) -> tuple[ModelFileReport, Any]:
    """As `read_model_file`, and what a data-only pickle or skops file describes.

    Returns:
        the report, and `FileReading.root` of the whole file; None where it isn't data-only or is of another kind.
    """
    view = memoryview(content)
    reading = FileReading()
    kind = "unknown"
    if len(view) > MOST_BYTES:
        reading.add("too_large", f"It has {len(view):,} bytes; {MOST_BYTES:,} are looked through.")
    elif not len(view):
        reading.add("damaged", "It's empty.")
    else:
        kind = _read_part(view, reading, 0)
    reading.counts["bytes"] = len(view)
    findings = tuple(reading.findings)
    verdict = "data-only" if not reading.found else "unsafe" if reading.unsafe else "not understood"
    report = ModelFileReport(
        kind=kind,
        verdict=verdict,  # type: ignore[arg-type]
        findings=findings,
        found=reading.found,
        holds=tuple(reading.holds),
        counts=dict(reading.counts),
        digest=f"sha256:{hashlib.sha256(view).hexdigest()}",
        unchecked=(*_ALWAYS, *reading.unchecked),
    )
    described = kind.split(" ")[0] in DESCRIBED and verdict == "data-only"
    return report, reading.root if described else None


def _read_part(view: memoryview, reading: FileReading, depth: int) -> str:
    """Read a file or a part of one; what can't be read is a finding.

    Returns:
        the kind.
    """
    found = ["unknown"]
    try:
        _dispatch(view, reading, depth, found)
    except Unread as unread:
        reading.add(unread.code, unread.what, unread.at)
    return found[-1]


def _dispatch(view: memoryview, reading: FileReading, depth: int, kind: list[str]) -> None:
    if depth > MOST_DEPTH:
        raise Unread("too_large", "Files are nested too deeply.")
    start = bytes(view[:64])
    for mark, name, why in _UNREAD:
        if start.startswith(mark):
            kind.append(name)
            raise Unread("uncheckable", why, 0)
    if start.startswith(b"PK\x03\x04"):
        _read_archive(view, reading, depth, kind)
    elif start.startswith(b"\x93NUMPY"):
        kind.append("npy")
        read_npy(view, reading)
    elif (packing := packing_of_model(view)) is not None:
        kind.append(packing)
        inner = _read_part(unpacked(view, packing, reading), reading, depth + 1)
        kind.append(f"{inner} ({packing})")
    elif looks_like_safetensors(view):
        kind.append("safetensors")
        read_safetensors(view, reading)
    elif looks_like_xml(view):
        kind.append("PMML")
        read_pmml(view, reading)
    elif looks_like_lightgbm(view):
        kind.append("LightGBM (text)")
        read_lightgbm(view, reading)
    elif looks_like_onnx(view):
        kind.append("ONNX")
        reading.unchecked["What each operator computes."] = None
        read_onnx(view, reading)
    elif looks_like_pickle(view):
        kind.append("pickle")
        reading.unchecked[_ARRAYS] = None
        kind.append(read_pickle(view, reading))
    elif start.lstrip()[:1] == b"{":
        kind.append("JSON")
        kind.append(read_json_model(view, reading))
    else:
        raise Unread("unknown_kind", "Its content isn't of a kind that is read here.", 0)


def _read_archive(view: memoryview, reading: FileReading, depth: int, kind: list[str]) -> None:
    kind.append("zip")
    archive = Archive(view, reading)
    if not archive.members:
        raise Unread("damaged", "The archive is empty.")
    if SCHEMA in archive.members:
        kind.append("skops")
        reading.unchecked[_ARRAYS] = None
        read_skops(archive, reading)
    elif is_torch(archive):
        kind.append("PyTorch")
        read_torch(archive, reading)
    elif is_keras(archive):
        kind.append("Keras")
        read_keras(archive, reading)
    elif all(name.endswith(".npy") for name in archive.members):
        kind.append("npz")
        read_npz(archive, reading)
    else:
        way = reading.way
        for name in archive.members:
            reading.way = (*way, name[:60])
            _read_part(archive.read(name), reading, depth + 1)
        reading.way = way
