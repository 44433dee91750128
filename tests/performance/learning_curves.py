"""How much faster models learn from chosen labels than from random ones; prints tables, asserts nothing.

    python -m performance.learning_curves                digits and the NBA games, 10 seeds each
    python -m performance.learning_curves --seeds 20     the same with more

Run it from `tests/`. A curve starts with 50 labels and grows by 20 a round; its area is its mean height.
"""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from core.labelling.curves import Study, area, curves, digits, games, paired


def report(title: str, study: Study, seeds: int) -> None:
    found = [curves(study, seed) for seed in range(seeds)]
    labels = [study.start + study.step * done for done in range(study.steps + 1)]
    told = [0, study.steps // 4, study.steps // 2, study.steps]
    print(f"{title}, {seeds} seeds; at {', '.join(str(labels[at]) for at in told)} labels")
    for score, (name, sign) in enumerate((("log loss", -1.0), ("accuracy", 1.0))):
        for how in ("random", "chosen"):
            mean = sign * np.mean([one[how][:, score] for one in found], axis=0)
            print(f"  {name:9} {how:7} " + " ".join(f"{mean[at]:.3f}" for at in told))
        gained = np.array([area(one["chosen"])[score] - area(one["random"])[score] for one in found])
        value, low, high = paired(gained)
        print(f"  {name:9} area gained {value:.4f} [{low:.4f}, {high:.4f}], in {int((gained > 0).sum())} of {seeds}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    report("digits", digits(), seeds)
    try:
        report("NBA games", games(), seeds)
    except pytest.skip.Exception as absent:
        print(f"NBA games: {absent}")


if __name__ == "__main__":
    main()
