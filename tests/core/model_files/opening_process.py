"""Opens files as a careless person would, each in a process of its own: `python opening_process.py LIST`.

The list is JSON: [file, way] pairs. What a file does meanwhile is for the test to see.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import signal
import sys
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import sklearn.pipeline  # noqa: F401 - loaded once, before the forks
import skops.io

LONGEST = 20


def open_file(path: str, way: str) -> None:
    content = Path(path).read_bytes()
    if way == "pickle":
        pickle.loads(content)
    elif way == "pickle, twice":
        stream = io.BytesIO(content)
        pickle.load(stream)
        pickle.load(stream)
    elif way == "gzip":
        pickle.loads(gzip.decompress(content))
    elif way == "joblib":
        joblib.load(path)
    elif way == "numpy":
        loaded = np.load(path, allow_pickle=True)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            for name in loaded.files:
                loaded[name]
    elif way == "zip":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                open_inner(archive.read(name))
    elif way.startswith("use"):
        model: Any = joblib.load(path)
        model.transform(Path(path + ".rows").read_text())
    elif way == "skops":
        model = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
        model.transform(Path(path + ".rows").read_text())
    else:
        raise ValueError(way)


def open_inner(content: bytes) -> None:
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                open_inner(archive.read(name))
    else:
        with contextlib.suppress(Exception):
            pickle.loads(content)


def main() -> None:
    for path, way in json.loads(Path(sys.argv[1]).read_text()):
        child = os.fork()
        if child == 0:
            signal.alarm(LONGEST)
            quiet = os.open(os.devnull, os.O_RDWR)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            try:
                open_file(path, way)
            finally:
                os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
