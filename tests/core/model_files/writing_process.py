"""Writes the models of `zoo` as the scikit-learn of this process keeps them: `writing_process.py FOLDER`.

It needs numpy, SciPy, scikit-learn and joblib alone, of whatever version; a name is `number form`. What it was written
with is told as a line of JSON.
"""

from __future__ import annotations

import importlib.util
import json
import pickle
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import sklearn

sys.path.insert(0, str(Path(__file__).parents[2]))
from core.model_files.zoo import models

PROTOCOLS = (2, 3, 4, 5)
COMPRESSIONS = ("zlib", "gzip", "bz2", "lzma", "xz")


def main() -> None:
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    packed = [*COMPRESSIONS, *(["lz4"] if importlib.util.find_spec("lz4") else [])]
    for number, model in enumerate(models().values()):
        for protocol in PROTOCOLS:
            (folder / f"{number:03} pickle {protocol}").write_bytes(pickle.dumps(model, protocol))
        joblib.dump(model, folder / f"{number:03} joblib")
        for name in packed:
            joblib.dump(model, folder / f"{number:03} joblib {name}", compress=(name, 3))
    told = {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "joblib": joblib.__version__}
    print(json.dumps(told | {"models": list(models())}))


if __name__ == "__main__":
    main()
