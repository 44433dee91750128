"""How many hostile and honest model files are told apart, and how fast.

`python -m performance.model_file_rates`, in `tests/`. With `--libraries DIRECTORIES ...`: how many models are passed
that other versions of scikit-learn, numpy and joblib write, each version's directories as in PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from core.model_files.test_honest_files import FORMS
from core.model_files.test_hostile_files import corpus
from core.model_files.zoo import models
from mcp_server.core.model_files import read_model_file

WRITING = Path(__file__).parents[1] / "core" / "model_files" / "writing_process.py"


def of_other_versions(libraries: list[str]) -> None:
    for directories in libraries:
        with tempfile.TemporaryDirectory() as folder:
            surroundings = {**os.environ, "PYTHONPATH": directories}
            command = [sys.executable, "-W", "ignore", WRITING, folder]
            done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True)
            told = json.loads(done.stdout.splitlines()[-1])
            written = told.pop("models")
            files = sorted(Path(folder).iterdir())
            passed: Counter[str] = Counter()
            for file in files:
                number, _, form = file.name.partition(" ")
                report = read_model_file(file.read_bytes())
                passed[form] += report.verdict == "data-only"
                if report.findings:
                    print(f"refused: {written[int(number)]}, {form}: {report.findings[0].what}")
            print(told, f"{len(written)} models, {len(files)} files, {sum(passed.values())} passed; {dict(passed)}")


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--libraries", nargs="+", metavar="DIRECTORIES")
    if libraries := parser.parse_args().libraries:
        of_other_versions(libraries)
    else:
        of_this_version()


def of_this_version() -> None:
    with tempfile.TemporaryDirectory() as folder:
        hostile = corpus(Path(folder))
        verdicts = Counter(read_model_file(content).verdict for (content, _), _ in hostile.values())
    opened = sum(way is not None for (_, way), _ in hostile.values())
    print(f"hostile: {len(hostile)} techniques, {opened} of them shown to work; {dict(verdicts)}")
    for form, (_, write) in FORMS.items():
        files = [write(model) for model in models().values()]
        seconds, refused = [], 0
        for content in files:
            start = time.process_time()
            refused += read_model_file(content).verdict != "data-only"
            seconds.append(time.process_time() - start)
        middle, size = statistics.median(seconds) * 1e3, sum(map(len, files)) / 1e6
        took = f"median {middle:.1f} ms, {size:.1f} MB in {sum(seconds):.2f} s"
        print(f"honest, {form}: {len(files)} files, {refused} refused; {took}")
    rng = np.random.default_rng(0)
    table = rng.normal(size=(20_000, 20))
    forest = RandomForestClassifier(300, random_state=0, n_jobs=1).fit(table, table[:, 0] + rng.normal(size=20_000) > 0)
    for form in ("pickle 5", "joblib", "joblib zlib", "skops"):
        content = FORMS[form][1](forest)
        start = time.process_time()
        found = read_model_file(content)
        print(f"300 trees, {form}: {len(content) / 1e6:.0f} MB, {found.verdict}, {time.process_time() - start:.2f} s")


if __name__ == "__main__":
    main()
