"""Operations that behave and misbehave, for the tests of computing children and jobs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp_server.errors import DataRejected

Report = Callable[[float, str], None]


def echo(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    return {"arguments": arguments, "pid": os.getpid()}


def count(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    for step in range(arguments["to"]):
        report(step / arguments["to"], f"step {step}")
        time.sleep(arguments.get("pause", 0.11))
    return {"counted": arguments["to"]}


def compute_for(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Busy for some seconds; says in a file that it started, and which process it is."""
    Path(arguments["started"]).write_text(str(os.getpid()), encoding="ascii")
    end = time.monotonic() + arguments["seconds"]
    while time.monotonic() < end:
        sum(range(1_000))
    return {"finished": True}


def with_a_grandchild(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(arguments["started"]).write_text(f"{os.getpid()} {grandchild.pid}", encoding="ascii")
    time.sleep(600)
    return {}


def allocate(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    return {"bytes": len(bytearray(arguments["bytes"]))}


def allocate_in_polars(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    import polars as pl

    frame = pl.select(pl.int_range(0, arguments["rows"], eager=False).alias("a"))
    return {"rows": frame.with_columns((pl.col("a") * 2).alias("b")).height}


def fit(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """What real work imports: Polars and scikit-learn under the memory limit."""
    import numpy as np
    import polars as pl
    from sklearn.linear_model import LogisticRegression

    table = pl.DataFrame({"a": np.linspace(-1, 1, 1_000), "b": np.arange(1_000) % 7})
    model = LogisticRegression().fit(table.to_numpy(), table["a"].to_numpy() > 0)
    return {"coefficients": [float(value) for value in model.coef_[0]]}


def crash(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    os.kill(os.getpid(), arguments["signal"])
    return {}


def leave(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    os._exit(arguments["code"])


def raise_unexpectedly(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    raise RuntimeError(f"could not open {arguments['secret']}")


def refuse(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    raise DataRejected("E_RAGGED", "Row 3 has 4 fields.", hint="Quote the field.", details={"row": 3})


def print_noise(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    print("stray text " * arguments["times"])
    sys.stdout.flush()
    os.write(1, b"\x00\x00\x00\x05stray")
    subprocess.run(["echo", "from a program"], check=True)
    return {"ok": True}


def flood_stderr(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    for number in range(arguments["lines"]):
        print(f"line {number} " + "x" * 200, file=sys.stderr)
    print("y" * 3_000_000, file=sys.stderr)
    return {"ok": True}


def answer_with_nan(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    return {"value": float("nan")}


def answer_with_a_list(arguments: dict[str, Any], report: Report) -> Any:
    return [1, 2]


def connect(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    try:
        socket.create_connection((arguments["host"], arguments["port"]), timeout=2).close()
    except OSError:
        return {"connected": False}
    return {"connected": True}


def environment(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    return {"environment": dict(os.environ), "pid": os.getpid(), "folder": os.getcwd()}


def read_text(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    try:
        return {"text": Path(arguments["path"]).read_text(encoding="utf-8", errors="replace")}
    except OSError as refused:
        return {"refused": type(refused).__name__}


def write_text(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    try:
        Path(arguments["path"]).write_text("written", encoding="ascii")
    except OSError as refused:
        return {"refused": type(refused).__name__}
    return {"written": True}


def mark(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Append this step's name to a file, then compute for a while: what ran twice is there twice."""
    with open(arguments["marks"], "a", encoding="ascii") as file:
        file.write(f"{arguments['name']} {os.getpid()}\n")
    end = time.monotonic() + arguments.get("seconds", 0.0)
    while time.monotonic() < end:
        sum(range(1_000))
    return {"name": arguments["name"]}
