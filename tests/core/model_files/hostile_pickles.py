"""Pickle and joblib files that would do something: each with a technique of its own, and a marker as its whole deed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import marshal
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core.model_files.assembling import Op, build, call, group, made, name, stack_name, stream, text, value

Hostile = tuple[bytes, str | None]
"""The content, and how a careless person would open it; None where nothing that is installed opens it."""

SYSTEM = name("os", "system")
PIPELINE = ("sklearn.pipeline", "Pipeline")
WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")


def deed(marker: Path) -> str:
    return f"touch {marker}"


def code(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


def by_calls(marker: Path) -> dict[str, Op]:
    """One call, by way of many a name."""
    run, source = deed(marker), code(marker)
    words = ["touch", str(marker)]
    module = call(name("importlib", "import_module"), "os")
    partial = call(name("functools", "partial"), SYSTEM, run)
    compiled = marshal.dumps(compile(source, "m", "exec"))
    function = Op(group(call(name("marshal", "loads"), compiled), {"__builtins__": name("builtins", "__dict__")}))
    return {
        "os.system": call(SYSTEM, run),
        "posix.system": call(name("posix", "system"), run),
        "os.popen": call(name("os", "popen"), run),
        "os.spawnvp": call(name("os", "spawnvp"), 0, "touch", words),
        "os.posix_spawnp": call(name("posix", "posix_spawn"), "/bin/sh", ["sh", "-c", run], {}),
        "pty.spawn": call(name("pty", "spawn"), words),
        "subprocess.Popen": call(name("subprocess", "Popen"), words),
        "subprocess.check_output": call(name("subprocess", "check_output"), words),
        "subprocess.getoutput": call(name("subprocess", "getoutput"), run),
        "builtins.eval": call(name("builtins", "eval"), source),
        "builtins.exec": call(name("builtins", "exec"), source),
        "builtins.compile": call(name("builtins", "exec"), call(name("builtins", "compile"), source, "m", "exec")),
        "builtins.__import__": call(name("builtins", "getattr"), call(name("builtins", "__import__"), "os"), "getpid")
        + b"0"
        + call(SYSTEM, run),
        "builtins.open": call(name("builtins", "open"), str(marker), "w"),
        "getattr of an imported module": call(call(name("builtins", "getattr"), module, "system"), run),
        "operator.attrgetter": call(call(call(name("operator", "attrgetter"), "system"), module), run),
        "operator.methodcaller": call(call(name("operator", "methodcaller"), "system", run), module),
        "operator.itemgetter": call(
            call(call(name("operator", "itemgetter"), "exec"), name("builtins", "__dict__")), source
        ),
        "functools.partial": call(partial),
        "functools.reduce": call(name("functools", "reduce"), name("builtins", "getattr"), [module, "system"])
        + b"0"
        + call(SYSTEM, run),
        "pkgutil.resolve_name": call(call(name("pkgutil", "resolve_name"), "os:system"), run),
        "map in bytes": call(name("builtins", "bytes"), call(name("builtins", "map"), SYSTEM, [run])),
        "map in a deque": call(name("collections", "deque"), call(name("builtins", "map"), SYSTEM, [run])),
        "starmap in a list": call(name("builtins", "list"), call(name("itertools", "starmap"), SYSTEM, [group(run)])),
        "filter in a set": call(name("builtins", "set"), call(name("builtins", "filter"), SYSTEM, [run])),
        "types.FunctionType": call(Op(name("types", "FunctionType") + function + b"R")),
        "runpy": call(name("runpy", "_run_code"), call(name("builtins", "compile"), source, "m", "exec"), {}),
        "timeit.timeit": call(name("timeit", "timeit"), source, "pass", name("time", "perf_counter"), 1),
        "cProfile.run": call(name("cProfile", "run"), source),
        "code.InteractiveInterpreter": call(
            call(name("builtins", "getattr"), call(name("code", "InteractiveInterpreter")), "runsource"),
            source,
        ),
        "pydoc.pipepager": call(name("pydoc", "pipepager"), "x", run),
        "numpy.testing runstring": call(name("numpy.testing", "runstring"), source, {}),
        "numpy.f2py myeval": call(name("numpy.f2py.crackfortran", "myeval"), f"print({source})"),
        "setuptools spawn": call(name("setuptools._distutils.spawn", "spawn"), words),
        "pathlib": call(call(name("builtins", "getattr"), call(name("pathlib", "Path"), str(marker)), "touch")),
        "shutil": call(name("shutil", "copyfile"), "/etc/hostname", str(marker)),
        "joblib.dump": call(name("joblib.numpy_pickle", "dump"), 1, str(marker)),
        "numpy.savetxt": call(name("numpy", "savetxt"), str(marker), [1]),
        "pickle.loads of bytes": call(name("_pickle", "loads"), stream(call(SYSTEM, run))),
        "pickle.loads of a text as bytes": call(
            name("pickle", "loads"),
            call(name("_codecs", "encode"), stream(call(SYSTEM, run), 2).decode("latin-1"), "latin1"),
        ),
        "zlib and exec": call(
            name("builtins", "exec"), call(name("zlib", "decompress"), zlib.compress(source.encode()))
        ),
        "base64 and exec": call(name("builtins", "exec"), call(name("_codecs", "decode"), source.encode(), "ascii")),
        "logging handler": call(name("logging", "FileHandler"), str(marker)),
        "sqlite": call(name("sqlite3", "connect"), str(marker)),
    }


def by_machine(marker: Path) -> dict[str, Hostile]:
    """Ways around a reader that looks for names or opcodes alone."""
    run = deed(marker)
    escaped = b"V" + "".join(f"\\u{ord(letter):04x}" for letter in "system").encode() + b"\n"
    in_memo = text("os") + b"q\x00" + b"0" + text("system") + b"q\x01" + b"0" + b"h\x00h\x01\x93"
    swapped = text("numpy") + b"q\x05" + b"0" + text("os") + b"q\x05" + b"0" + b"h\x05" + text("system") + b"\x93"
    estimator = made(*PIPELINE)
    found: dict[str, Hostile] = {
        "protocol 0": (f"cos\nsystem\n(V{run}\ntR.".encode(), "pickle"),
        "protocol 0 without a mark": (b"".join([SYSTEM, text(run), b"\x85R."]), "pickle"),
        "the names of Python 2": (stream(call(name("__builtin__", "eval"), code(marker)), 2), "pickle"),
        "a renamed module of Python 2": (stream(call(name("commands", "getoutput"), run), 2), "pickle"),
        "INST": (f"(V{run}\nios\nsystem\n.".encode(), "pickle"),
        "OBJ": (stream(b"(" + name("subprocess", "Popen") + value(["touch", str(marker)]) + b"o"), "pickle"),
        "NEWOBJ": (
            stream(name("functools", "partial") + group(SYSTEM, run) + b"\x81" + b")R"),
            "pickle",
        ),
        "NEWOBJ_EX": (
            stream(name("functools", "partial") + group(SYSTEM, run) + b"}\x92" + b")R"),
            "pickle",
        ),
        "NEWOBJ that writes a file": (
            stream(name("numpy", "memmap") + group(str(marker), "u1", "w+", 0, group(1)) + b"\x81"),
            "pickle",
        ),
        "names from the memo": (stream(call(Op(in_memo), run)), "pickle"),
        "a place in the memo that is set twice": (stream(call(Op(swapped), run)), "pickle"),
        "a name in escapes": (stream(call(stack_name(text("os"), escaped), run)), "pickle"),
        "a name by DUP and POP": (
            stream(call(Op(text("os") + b"2" + b"0" + text("x") + b"0" + text("system") + b"\x93"), run)),
            "pickle",
        ),
        "a dotted name through a listed module": (
            stream(call(stack_name(text("joblib.numpy_pickle"), text("os.system")), run)),
            "pickle",
        ),
        "a listed module's foreign name": (
            stream(
                call(name("builtins", "getattr"), name("joblib.numpy_pickle", "os"), "system")
                + b"0"
                + call(SYSTEM, run)
            ),
            "pickle",
        ),
        "__setstate__ as an attribute": (
            stream(build(build(estimator, {"__setstate__": SYSTEM}), run)),
            "pickle",
        ),
        "append as an attribute": (stream(build(made(*PIPELINE), {"append": SYSTEM}) + text(run) + b"a"), "pickle"),
        "add as an attribute": (
            stream(build(made(*PIPELINE), {"add": SYSTEM}) + b"(" + text(run) + b"\x90"),
            "pickle",
        ),
        "partial by its state": (
            stream(
                call(
                    build(
                        call(name("functools", "partial"), name("sklearn.utils.validation", "check_array")),
                        group(SYSTEM, group(run), {}, None),
                    )
                )
            ),
            "pickle",
        ),
        "the extension registry": (
            stream(call(name("copyreg", "add_extension"), "os", "system", 7) + b"0" + call(Op(b"\x82\x07"), run)),
            "pickle",
        ),
        "an entry of sys.modules": (
            stream(
                name("sys", "modules")
                + text("numpy.dtypes")
                + call(name("importlib", "import_module"), "os")
                + b"s0"
                + call(name("numpy.dtypes", "system"), run)
            ),
            "pickle",
        ),
        "a foreign call under a model": (stream(call(SYSTEM, run) + b"0" + made(*PIPELINE, {"steps": []})), "pickle"),
        "a foreign call in a key": (stream(b"}" + call(SYSTEM, run) + b"Ns"), "pickle"),
        "__reduce__ of a class": (pickle.dumps(_Reduced(run)), "pickle"),
        "frames": (_framed(call(SYSTEM, run)), "pickle"),
        "a second pickle": (stream(value(1)) + stream(call(SYSTEM, run)), "pickle, twice"),
        "a stream without an end": (b"\x80\x04" + call(SYSTEM, run), "pickle"),
        "damage after the deed": (b"\x80\x04" + call(SYSTEM, run) + b"\xff\xff", "pickle"),
        "a zip behind a pickle": (stream(call(SYSTEM, run)) + _zip({"schema.json": b"{}"}), "pickle"),
        "an unknown name": (stream(made("house_models.wrapper", "Model", {"a": 1})), None),
        "a look-alike name": (stream(made("sklеarn.pipeline", "Pipeline", {})), None),
        "pandas.read_pickle": (stream(call(name("pandas", "read_pickle"), "x.pkl")), None),
        "torch.load": (stream(call(name("torch.serialization", "load"), "x.pt")), None),
        "dill": (stream(call(name("dill._dill", "_create_function"), None)), None),
        "a persistent id": (b"Pos.system\n.", None),
        "a persistent id from the stack": (stream(text("os.system") + b"Q"), None),
        "a buffer from outside": (stream(b"\x97", 5), None),
        "the state of a class": (stream(build(name(*PIPELINE), {"fit": 1})), None),
        "a class in the state": (stream(build(made(*PIPELINE), {"__class__": name("builtins", "object")})), None),
        "attributes one by one": (stream(build(made(*PIPELINE), group(None, {"steps": []}))), None),
        "a protocol in the middle": (b"\x80\x04\x80\x05N.", None),
        "values left over": (stream(value(1) + value(2)), None),
        "a cache of pickles": (stream(made(*PIPELINE, {"steps": [], "memory": str(marker)})), None),
        "rows that name files": (
            stream(made("sklearn.feature_extraction.text", "CountVectorizer", {"input": "filename"})),
            None,
        ),
        "a scorer with a foreign function": (
            stream(made("sklearn.metrics._scorer", "_Scorer", {"_score_func": SYSTEM, "_sign": 1})),
            None,
        ),
    }
    return found


class _Reduced:
    def __init__(self, run: str) -> None:
        self.run = run

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (self.run,)


def _framed(body: bytes) -> bytes:
    """Each opcode group in a frame of its own."""
    halves = [b"N0", body, b"N0"]
    return b"\x80\x04" + b"".join(b"\x95" + struct.pack("<Q", len(half)) + half for half in halves) + b"."


def _zip(members: dict[str, bytes]) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return kept.getvalue()


def wrapped(count: int, aligned: int | None, kind: str = "u1", flags: int = 0, **more: Any) -> Op:
    """An array of joblib's, up to the opcode that its bytes follow."""
    order = "|" if kind in ("u1", "O8") else "<"
    of = build(call(name("numpy", "dtype"), kind, False, True), group(3, order, None, None, None, -1, -1, flags))
    state: dict[str, Any] = {
        "subclass": name("numpy", "ndarray"),
        "shape": group(count),
        "order": "C",
        "dtype": of,
        "allow_mmap": False,
    }
    if aligned is not None:
        state["numpy_array_alignment_bytes"] = aligned
    return made(*WRAPPER, state | more)


OBJECT_TYPE = build(call(name("numpy", "dtype"), "O8", False, True), group(3, "|", None, None, None, -1, -1, 63))
NEW_ARRAY = call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"), group(0), b"b")


def _twofold(run: str) -> bytes:
    """To joblib, the second pickle has a memo of its own and calls numpy's dtype; to `pickle.load` there's one memo."""
    number = group("f8", False, True)
    outer = text("os") + b"\x940" + text("system") + b"\x940" + group(run) + b"\x940"
    inner = text("numpy") + b"\x940" + text("dtype") + b"\x940" + number + b"\x940" + b"h\x00h\x01\x93h\x02R0"
    full = build(NEW_ARRAY, group(1, group(1), OBJECT_TYPE, False, [None]))
    return b"\x80\x04" + outer + wrapped(1, 16, "O8", 63) + stream(inner + full, 5) + b"."


def _two_ends(run: str) -> bytes:
    """To joblib, the array's stream ends at the first STOP, since a wrapper is an object like others in there.

    Who takes it for one more array goes on with the memo of that stream: `bytes()`, and not what the outer memo has.
    """
    outer = b"(" + text("posix") + b"q\x00" + text("system") + b"q\x01" + text(run) + b"\x85q\x02l"
    inner = text("builtins") + b"q\x00" + text("bytes") + b"q\x01" + b")q\x02" + b"000" + wrapped(1, None, "O8", 63)
    array = build(NEW_ARRAY, group(1, group(1), OBJECT_TYPE, False, [None]))
    rest = b"h\x00h\x01\x93h\x02R0."
    return b"\x80\x03" + outer + wrapped(1, None, "O8", 63) + inner + array + b"." + rest + b"0."


def _address() -> bytes:
    """To joblib, a sound type of 8 bytes; to `pickle.load`, with its one memo, one of objects over raw bytes."""
    fields = b"}" + text("a") + OBJECT_TYPE + b"K\x00\x86s"
    outer = b"K\x3dq\x000" + text("a") + b"\x85q\x010" + fields + b"q\x020"
    state = group(3, "|", None, Op(b"h\x01"), Op(b"h\x02"), 8, 1, Op(b"h\x00"))
    evil = build(
        NEW_ARRAY, group(1, group(1), build(call(name("numpy", "dtype"), "V8", False, True), state), False, b"A" * 8)
    )
    inner = b"K\x00\x940N\x940N\x940" + build(NEW_ARRAY, group(1, group(1), OBJECT_TYPE, False, [evil]))
    return b"\x80\x04" + outer + wrapped(1, None, "O8", 63) + inner + b"." + b"."


def _alias(module: str) -> bytes:
    """To joblib, numpy's `dtype`; to `pickle.load`, the same by another name, so that nobody looks at its states."""
    outer = text(module) + b"\x940"
    inner = text("numpy") + b"\x940" + b"h\x00" + text("dtype") + b"\x930"
    array = build(NEW_ARRAY, group(1, group(1), OBJECT_TYPE, False, [None]))
    return b"\x80\x04" + outer + wrapped(1, None, "O8", 63) + inner + array + b"." + b"."


def by_joblib(marker: Path, folder: Path) -> dict[str, Hostile]:
    """What only joblib's way of keeping arrays makes possible, and layers around a pickle."""
    run = deed(marker)
    plain = stream(call(SYSTEM, run))
    numbers = np.arange(10, dtype="u1")
    inner = stream(call(SYSTEM, run), 5)
    objects = wrapped(1, 16, "O8", 63)
    behind_array = b"}" + text("a") + wrapped(10, 16) + b"\x01\xff" + numbers.tobytes() + b"s0" + call(SYSTEM, run)
    # As `pickle.load` reads it, the length of the padding is an opcode, and what follows are more of them.
    opcodes = b"N0" * 8 + call(SYSTEM, run) + b"."
    opcodes += b"\0" * (200 - len(opcodes))
    padded = b"\x80\x04" + wrapped(200 - 0x4E, 16) + b"N" + opcodes[:0x4E] + opcodes[0x4E:] + b"."
    unaligned = b"\x80\x04" + wrapped(200, None) + opcodes + b"."
    laxly = {
        "a number in base 16": b"I0x10\n0",
        "a number that a NUL ends": b"I1\0\xff\n0",
        "a number of many digits": b"L" + b"1" * 2_000 + b"L\n0",
        "a mark that is dropped": b"(0",
        "nothing that is appended to a text": text("a") + b"(e0",
        "a text of Python 2": b"U\x01a0",
    }
    companion = folder / f"{marker.name}.companion"
    companion.write_bytes(plain)
    array = folder / f"{marker.name}.npy"
    np.save(array, np.array([_Reduced(run)], dtype=object), allow_pickle=True)
    layers: dict[str, Callable[[bytes], bytes]] = {
        "zlib": zlib.compress,
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE),
    }
    return {
        **{f"under {layer}": (pack(plain), "joblib") for layer, pack in layers.items()},
        "two layers": (gzip.compress(gzip.compress(plain)), None),
        "a pickle in gzip": (gzip.compress(plain), "gzip"),
        "bytes behind gzip": (gzip.compress(stream(value(1))) + plain, None),
        "behind an array": (stream(behind_array), "joblib"),
        "inside of an object array": (b"\x80\x04" + objects + inner + b".", "joblib"),
        "an object array that is no array": (b"\x80\x04" + objects + stream(value(1), 5) + b".", None),
        "opcodes in the padding": (padded, "pickle"),
        "opcodes in the array's bytes": (unaligned, "pickle"),
        # Where this reader is stricter than an unpickler, which goes on.
        **{
            f"opcodes in the array's bytes, after {what}": (
                b"\x80\x04" + wrapped(len(first) + 200, None) + first + opcodes + b".",
                "pickle",
            )
            for what, first in laxly.items()
        },
        # A listed function that takes two arguments and reads nothing stands in for joblib's reader of the bytes.
        "a listed function as joblib's reader": (
            b"\x80\x04" + wrapped(200, None, read_array=name("numpy", "nan_to_num")) + opcodes + b".",
            "joblib",
        ),
        "an array of joblib's inside of an object array": (_two_ends(run), "joblib"),
        "addresses in pickle.load's memo": (_address(), None),
        "numpy's dtype by another name in pickle.load's memo": (_alias("numpy.ma.core"), None),
        "any module in pickle.load's memo": (_alias("house.models"), None),
        "another memo for pickle.load": (_twofold(run), "pickle"),
        "an array inside of a frame": (
            b"\x80\x04\x95" + struct.pack("<Q", len(wrapped(2, 16)) + 4) + wrapped(2, 16) + b"\x00\x01\x02N0.",
            None,
        ),
        "joblib.load of another file": (stream(call(name("joblib.numpy_pickle", "load"), str(companion))), "joblib"),
        "numpy.load of another file": (stream(call(name("numpy", "load"), str(array), None, True)), "pickle"),
        "joblib's old way to other files": (
            stream(made("joblib.numpy_pickle_compat", "NDArrayWrapper", {"filename": str(array)})),
            None,
        ),
        "an array of another class": (
            stream(made(*WRAPPER, {"subclass": name("numpy", "memmap"), "shape": group(1)})),
            None,
        ),
        "a number too few for a compiled loss": (
            stream(
                name("sklearn._loss.loss", "HuberLoss")
                + b"0"
                + call(name("_loss", "__pyx_unpickle_CyHuberLoss"), name("_loss", "CyHuberLoss"), 1, group())
            ),
            None,
        ),
        "a function of the module of losses": (
            stream(name("sklearn._loss.loss", "HuberLoss") + b"0" + call(name("_loss", "system"), run)),
            None,
        ),
        "a transformer's function": (
            stream(made("sklearn.preprocessing._function_transformer", "FunctionTransformer", _transformer(SYSTEM))),
            "use",
        ),
    }


def _transformer(function: Any) -> dict[str, Any]:
    plain = {"inverse_func": None, "validate": False, "accept_sparse": False, "check_inverse": False}
    return {"func": function, "kw_args": None, "inv_kw_args": None, "feature_names_out": None, **plain}


def by_memory(marker: Path) -> dict[str, Hostile]:
    """What no name betrays: sizes, addresses and circles that compiled code would follow."""
    array = NEW_ARRAY
    huge = call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"), group(1 << 30, 1 << 30), b"b")

    def dtype(kind: str, *state: Any) -> Op:
        return build(call(name("numpy", "dtype"), kind, False, True), group(*state))

    numbers = dtype("f8", 3, "<", None, None, None, -1, -1, 0)
    late = call(name("numpy", "dtype"), "V8", False, True)
    return {
        "an array of another size": (stream(build(array, group(1, group(1 << 20), numbers, False, b"12345678"))), None),
        "an empty array that takes all memory": (stream(huge), None),
        "bytes as addresses": (
            stream(
                build(array, group(1, group(1), dtype("V8", 3, "|", None, None, None, 8, 1, 63), False, b"12345678"))
            ),
            None,
        ),
        "a type that is changed afterwards": (
            stream(late + b"q\x00" + build(array, group(1, group(1), Op(b"h\x00"), False, b"12345678"))),
            None,
        ),
        "numpy's shared type": (stream(build(call(name("numpy", "dtype"), "f8", False, False), group(3))), None),
        "a state that is set twice": (
            stream(
                build(
                    build(array, group(1, group(1), numbers, False, b"12345678")),
                    group(1, group(0), numbers, False, b""),
                )
            ),
            None,
        ),
        "a place in the memo beyond memory": (b"\x80\x04Nr\xff\xff\xff\x7f.", None),
        "a number of a gigabyte": (b"\x80\x04\x8b\x00\x00\x00\x40.", None),
        "a constructor that is kept for later": (
            stream(
                made(
                    "sklearn.preprocessing._function_transformer",
                    "FunctionTransformer",
                    _transformer(name("numpy._core.multiarray", "_reconstruct")),
                )
            ),
            None,
        ),
        "a generator's place beyond its numbers": (
            stream(
                build(
                    call(name("numpy.random._pickle", "__bit_generator_ctor"), "MT19937"),
                    group({"bit_generator": "MT19937", "state": {"key": [], "pos": 1 << 20}}, None),
                )
            ),
            None,
        ),
        "bytes of a terabyte": (stream(call(name("builtins", "bytearray"), 1 << 30)), None),
        "a text longer than the file": (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60), None),
        "a key whose hash doubles with each level": (
            stream(b"}" + b"N" + b"\x85" + b"2\x86" * 60 + b"Ns"),
            None,
        ),
        "a frame longer than the file": (b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.", None),
    }
