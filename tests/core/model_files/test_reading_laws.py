"""Whatever the bytes, there's a report: no crash, no endless work, and no pass for what was changed into a call."""

from __future__ import annotations

import _compat_pickle
import io
import json
import pickle
import pickletools
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model_files.assembling import call, group, name, stream, value
from core.model_files.hostile_formats import honest_formats, zipped
from core.model_files.zoo import models
from mcp_server.core.model_files import CODES, read_model_file, report
from mcp_server.core.model_files.allowed import ALLOWED, OLD_MODULES
from mcp_server.core.model_files.opcodes import OPCODES
from mcp_server.core.model_files.pickles import read_pickle

NAMING = Path(__file__).with_name("naming_process.py")


def by_joblib(model: Any) -> bytes:
    kept = io.BytesIO()
    joblib.dump(model, kept)
    return kept.getvalue()


def samples() -> list[bytes]:
    model = models()["columns"]
    return [
        pickle.dumps(model, 0),
        pickle.dumps(model, 5),
        by_joblib(model),
        skops.io.dumps(models()["regressor Ridge"]),
        *honest_formats().values(),
    ]


SAMPLES = samples()


def sound(content: bytes) -> str:
    found = read_model_file(content)
    assert (found.verdict == "data-only") == (not found.findings)
    assert found.found >= len(found.findings) <= report.MOST_FINDINGS
    assert {one.code for one in found.findings} <= set(CODES)
    assert all(len(one.what) < 400 and one.what.isprintable() for one in found.findings)
    return found.verdict


@given(st.binary(max_size=300))
def test_any_bytes_have_a_report(content: bytes) -> None:
    sound(content)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"\x80\x04", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x08\x09", b"x\x9c", b"{"]),
)
def test_any_bytes_behind_a_known_start_have_a_report(content: bytes, start: bytes) -> None:
    sound(start + content)


@given(st.lists(st.sampled_from(sorted(OPCODES)), max_size=60), st.binary(max_size=60))
def test_any_opcodes_have_a_report(opcodes: list[int], tail: bytes) -> None:
    sound(b"\x80\x04" + bytes(opcodes) + tail + b".")


@settings(max_examples=300)
@given(st.data())
def test_a_changed_file_has_a_report(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        change = data.draw(st.sampled_from(["set", "drop", "double", "cut"]))
        if change == "set":
            content[at] = data.draw(st.integers(0, 255))
        elif change == "drop":
            del content[at : at + data.draw(st.integers(1, 20))]
        elif change == "double":
            content[at:at] = content[at : at + data.draw(st.integers(1, 20))]
        else:
            del content[at:]
        if not content:
            break
    sound(bytes(content))


@settings(max_examples=60)
@given(st.sampled_from(SAMPLES), st.integers(1, 200))
def test_a_file_that_is_cut_off_never_passes(content: bytes, left_out: int) -> None:
    if not content.startswith((b"tree", b"<?xml")):
        assert sound(content[:-left_out]) != "data-only"


@settings(max_examples=60)
@given(st.sampled_from(SAMPLES), st.binary(min_size=1, max_size=40))
def test_a_file_with_something_behind_it_never_passes(content: bytes, more: bytes) -> None:
    if more.strip():
        assert sound(content + b"\0" + more) != "data-only"


@given(
    st.from_regex(r"[a-z_]{1,12}(\.[a-z_]{1,12}){0,2}", fullmatch=True),
    st.from_regex(r"[A-Za-z_]{1,16}(\.[a-z]{1,8})?", fullmatch=True),
    st.integers(2, 5),
)
def test_no_name_outside_the_list_passes(module: str, qualified: str, protocol: int) -> None:
    old = OLD_MODULES.get(module, module) if protocol < 3 else module
    passed = sound(stream(name(module, qualified), protocol)) == "data-only"
    assert passed == ((old, qualified) in ALLOWED)


def test_a_change_of_letters_makes_a_listed_name_foreign() -> None:
    for module, qualified in ALLOWED:
        for other in (qualified + "_", qualified.swapcase(), f"{qualified}.__init__", f" {qualified}"):
            if (module, other) not in ALLOWED:
                assert sound(stream(name(module, other))) == "unsafe", (module, other)


def test_what_python_renames_on_loading_is_not_on_the_list() -> None:
    """Protocols below 3 have some names changed by the unpickler: none of ours becomes another one."""
    for module, qualified in ALLOWED:
        assert (module, qualified) not in _compat_pickle.NAME_MAPPING
        assert module not in _compat_pickle.IMPORT_MAPPING
    for old, new in OLD_MODULES.items():
        assert _compat_pickle.IMPORT_MAPPING[old] == new
        for module, qualified in ALLOWED:
            if module == new:
                assert _compat_pickle.NAME_MAPPING.get((old, qualified), (new, qualified)) == (new, qualified)


def test_what_passes_looks_up_nothing_but_listed_names_when_it_is_loaded(tmp_path: Path) -> None:
    """Changed at random, read as data alone, then really loaded: the loader asks for no other name."""
    rng = np.random.default_rng(11)
    passed = []
    whole = [content for content in SAMPLES[:3] if len(content) < 60_000]
    opcodes = sorted(OPCODES)
    for _ in range(1_500):
        content = bytearray(whole[rng.integers(len(whole))])
        at = int(rng.integers(len(content)))
        match rng.integers(3):
            case 0:
                content[at] = int(rng.integers(256))
            case 1:
                content.insert(at, opcodes[rng.integers(len(opcodes))])
            case _:
                del content[at]
        if sound(bytes(content)) == "data-only":
            file = tmp_path / str(len(passed))
            file.write_bytes(content)
            passed.append(str(file))
    assert len(passed) > 100
    (tmp_path / "list.json").write_text(json.dumps(passed))
    command = [sys.executable, "-W", "ignore", NAMING, tmp_path / "list.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(passed)
    looked_up = {(OLD_MODULES.get(module, module), qualified) for names in told for module, qualified in names}
    assert len(looked_up) > 10
    assert looked_up <= set(ALLOWED)


def test_every_opcode_of_the_language_is_known() -> None:
    ours = {bytes([code]).decode("latin-1"): known[0] for code, known in OPCODES.items()}
    assert ours == {one.code: one.name for one in pickletools.opcodes}


@pytest.mark.parametrize("protocol", range(6))
def test_opcodes_and_arguments_are_read_as_the_library_reads_them(protocol: int) -> None:
    content = pickle.dumps(models()["columns"], protocol)
    assert read_model_file(content).counts["opcodes"] == len(list(pickletools.genops(content)))


@pytest.mark.parametrize(
    "content",
    [
        stream(call(name("builtins", "bytearray"), 2**30)),
        b"\x80\x04\x8b\xff\xff\xff\x7f.",
        b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b".",
        b"\x80\x04Nr\xff\xff\xff\xff.",
        b"\x93NUMPY\x01\x00" + (20_000).to_bytes(2, "little") + b"(" * 20_000,
        zipped({"a.npy": bytes(150_000_000)}, zipfile.ZIP_DEFLATED),
        zlib.compress(bytes(150_000_000), 9),
        (2**33).to_bytes(8, "little") + b"{}",
    ],
    ids=range(8),
)
def test_what_asks_for_memory_gets_none(content: bytes) -> None:
    tracemalloc.start()
    verdict = sound(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert verdict != "data-only"
    assert peak < 2 * report.RATIO_FROM + 32_000_000


@pytest.mark.parametrize(
    "content", [b"\x80\x04" + b"(" * 5_000, b"\x80\x04" + b"N0" * 5_000, b"\x80\x04N" + b"2" * 5_000]
)
def test_opcodes_are_counted_and_end(content: bytes) -> None:
    reading = report.FileReading(opcodes=1_000)
    with pytest.raises(report.Unread, match="more opcodes"):
        read_pickle(memoryview(content), reading)
    assert reading.counts["opcodes"] == 1_000


@pytest.mark.parametrize(
    "content",
    [
        b"{" + b'"a":{' * 100_000,
        b"<?xml version='1.0'?><PMML xmlns='http://www.dmg.org/PMML-4_4'>" + b"<a>" * 100_000,
        b"\x08\x09" + b"\x3a\x02" * 10_000,
        *(
            b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header
            for header in (b"-" * 20_000 + b"1", b"not " * 10_000 + b"1", b"a" + b".a" * 20_000, b"1" + b"-1" * 20_000)
        ),
    ],
    ids=["json", "xml", "protobuf", "npy of signs", "npy of words", "npy of dots", "npy of differences"],
)
def test_what_is_nested_without_end_is_refused(content: bytes) -> None:
    assert sound(content) == "not understood"


def test_what_a_call_copies_is_counted_with_the_opcodes() -> None:
    """A list that is there once can be made into many sets: a small file, and endless work."""
    shared = b"]q\x00(" + b"K\x01" * 20_000 + b"e0"
    sets = b"](" + (name("builtins", "set") + b"h\x00\x85R") * 300 + b"e"
    found = read_model_file(stream(shared + sets))
    assert [one.code for one in found.findings] == ["too_large"]
    assert found.counts["opcodes"] < 21_000


def test_one_list_many_times_over_is_looked_through_once() -> None:
    lists = b"Nq\x000" + (b"](" + b"h\x00" * 900 + b"eq\x000") * 6
    metric = "sklearn.metrics._dist_metrics"
    made = call(name(metric, "newObj"), name(metric, "EuclideanDistance64"))
    assert sound(stream(lists + made + b"h\x00\x85b")) == "data-only"


def test_deep_tuples_are_no_recursion() -> None:
    depth = sys.getrecursionlimit() * 20
    deep = b"N" + b"\x85" * depth
    assert sound(stream(deep)) == "data-only"
    assert sound(stream(call(name("numpy", "dtype"), "f8", False) + b"0" + deep)) == "unsafe"
    assert sound(stream(b"}" + deep + b"Ns")) == "unsafe"


def test_a_file_beyond_the_limit_is_not_looked_through() -> None:
    found = read_model_file(bytes(256 * 1024 * 1024 + 1))
    assert (found.verdict, found.findings[0].code) == ("not understood", "too_large")


def test_many_findings_are_counted_and_few_are_told() -> None:
    body = b"".join(bytes(name("house.models", f"Model{number}")) + b"0" for number in range(500))
    found = read_model_file(stream(body + value(1)))
    assert found.found == 500
    assert len(found.findings) == report.MOST_FINDINGS


def test_names_from_a_file_are_cleaned_and_cut() -> None:
    found = read_model_file(stream(name("os", "x\x1b[31m" + "y" * 400)))
    assert "\x1b" not in found.findings[0].what
    assert len(found.findings[0].what) < 200
    twin = read_model_file(stream(name("sklеarn.pipeline", "Pipeline")))
    assert "\\u0435" in twin.findings[0].what


def test_the_place_of_a_nested_finding_is_the_way_to_it() -> None:
    found = read_model_file(zipped({"readme.npy": b"", "models/a.pkl": stream(name("os", "system"))}))
    assert ("foreign_name", "models/a.pkl > byte 2") in {(one.code, one.where) for one in found.findings}


def test_nothing_in_the_reader_could_load_a_pickle() -> None:
    assert np.lib.format.read_magic  # the library is here; the reader's modules don't use its loader
    loaded = [module for key, module in sys.modules.items() if key.startswith("mcp_server.core.model_files")]
    assert len(loaded) > 10
    assert not [module for module in loaded if {"pickle", "joblib", "sklearn"} & vars(module).keys()]


def test_a_compiled_loss_is_remade_of_numbers_by_its_own_function_alone() -> None:
    """As scikit-learn up to 1.5 pickles gradient boosting."""
    module = "sklearn._loss._loss"

    def remade(function: str, of: str, state: object) -> str:
        asked = call(name(module, f"__pyx_unpickle_{function}"), name(module, of), 1, state)
        return read_model_file(stream(asked)).verdict

    assert remade("CyHalfBinomialLoss", "CyHalfBinomialLoss", None) == "data-only"
    assert remade("CyHuberLoss", "CyHuberLoss", group(3)) == "data-only"
    assert remade("CyHalfBinomialLoss", "CyHalfBinomialLoss", group()) == "data-only"
    assert remade("CyHalfBinomialLoss", "CyHalfBinomialLoss", group(3)) == "unsafe"
    assert remade("CyHuberLoss", "CyHuberLoss", group()) == "unsafe"
    assert remade("CyHalfBinomialLoss", "CyHuberLoss", None) == "unsafe"
    assert remade("CyHuberLoss", "CyHuberLoss", group("text")) == "unsafe"
    assert remade("Hinge", "Hinge", None) == "unsafe"
