"""How often screening refuses clean tables and finds planted rows, by simulation; prints tables, asserts nothing.

    python -m tests.performance.screening_rates               every rate below, 2,000 tables a cell
    python -m tests.performance.screening_rates --tables 200   the same, rougher and faster
    python -m tests.performance.screening_rates --calibrate    the constants of mcp_server/core/screening/limits.py

A table is refused if more than a tenth of its rows are anomalous, as `ModelSecurityValidator` does.
"""

from __future__ import annotations

import argparse
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from mcp_server.core.screening import screen_rows
from mcp_server.core.screening.half_sample import Floats, half_sample
from mcp_server.core.screening.limits import _COLUMNS, _ROWS

SEED = 20_150_616
SHARE = 0.10
LEVEL = 0.994
TABLES = 2_000

Shape = tuple[int, int]
Maker = Callable[[np.random.Generator, Shape], Floats]


def gaussian(rng: np.random.Generator, shape: Shape) -> Floats:
    return rng.standard_normal(shape)


def groups(share: float, apart: float) -> Maker:
    """Each column a mixture of two Gaussians of spread 1."""
    return lambda rng, shape: rng.standard_normal(shape) + apart * (rng.random(shape) < share)


def zeros(share: float, rest: Maker) -> Maker:
    return lambda rng, shape: np.where(rng.random(shape) < share, 0.0, rest(rng, shape))


def six_sigma(kind: str, share: float = 0.2) -> Maker:
    """A share of the first column, 6 standard deviations out: `shifted`, all at one `value`, or to `both` sides."""

    def make(rng: np.random.Generator, shape: Shape) -> Floats:
        table = rng.standard_normal(shape)
        count = round(share * shape[0])
        if kind == "value":
            table[:count, 0] = 6.0
        else:
            table[:count, 0] += 6.0 * (np.where(np.arange(count) % 2, -1.0, 1.0) if kind == "both" else 1.0)
        return table

    return make


def thousandfold(share: float, *, whole_rows: bool) -> Maker:
    """N(10, 1), with a share of the rows times 1,000 (at least more than a tenth of them) in one or all columns."""

    def make(rng: np.random.Generator, shape: Shape) -> Floats:
        table = 10 + rng.standard_normal(shape)
        count = max(round(share * shape[0]), int(SHARE * shape[0]) + 1)
        table[:count, : None if whole_rows else 1] *= 1000.0
        return table

    return make


@dataclass(frozen=True)
class Study:
    """A kind of table, the shapes it's tried at, and what is wanted of the share of tables refused."""

    title: str
    make: Maker
    shapes: tuple[Shape, ...]
    wanted: str


CLEAN_SHAPES = tuple(
    (n, d)
    for n in (3, 4, 5, 8, 9, 10, 15, 19, 20, 22, 27, 29, 30, 35, 45, 50, 70, 99, 100, 101, 200, 300, 1000)
    for d in (1, 2, 5, 20)
)
FROM_30 = tuple((n, d) for n in (30, 50, 100, 300, 1000) for d in (1, 5, 20))
FROM_100 = tuple((n, d) for n in (100, 101, 300, 1000) for d in (1, 5, 20))
FROM_8 = tuple((n, d) for n in (8, 9, 10, 19, 20, 30, 100, 1000) for d in (1, 5, 20))
SMALL = tuple((n, d) for n in (20, 30, 50) for d in (1, 20))
TINY = tuple((n, d) for n in (8, 10, 15, 20) for d in (1, 20))

STUDIES: tuple[Study, ...] = (
    Study("clean Gaussian", gaussian, CLEAN_SHAPES, "<= .01, no cell > .015"),
    Study("clean N(3, 1)", lambda r, s: 3 + r.standard_normal(s), FROM_30, "<= .01"),
    Study("log-normal, sigma .5", lambda r, s: r.lognormal(0, 0.5, s), FROM_30, "<= .02"),
    Study("log-normal, sigma .35", lambda r, s: r.lognormal(0, 0.35, s), FROM_30, "<= .02"),
    Study("log-normal, sigma 1", lambda r, s: r.lognormal(0, 1, s), FROM_30, "<= .02"),
    Study("log-normal, sigma 2", lambda r, s: r.lognormal(0, 2, s), FROM_30, "<= .02"),
    Study("exponential", lambda r, s: r.exponential(size=s), FROM_30, "<= .02"),
    Study("log-normal, sigma 1, few rows", lambda r, s: r.lognormal(0, 1, s), TINY, "-"),
    Study("exponential, few rows", lambda r, s: r.exponential(size=s), TINY, "-"),
    Study("0/1 at 15 %", lambda r, s: (r.random(s) < 0.15).astype(float), FROM_30, "0"),
    Study("constant", lambda r, s: np.full(s, 3.0), FROM_8, "0"),
    Study("20 % at 6 sigma, shifted", six_sigma("shifted"), FROM_100, ">= .90"),
    Study("20 % at 6 sigma, one value", six_sigma("value"), FROM_100, ">= .90"),
    Study("20 % at 6 sigma, both sides", six_sigma("both"), FROM_100, ">= .90"),
    Study("20 % at 6 sigma, few rows", six_sigma("value"), SMALL, "-"),
    Study("x1,000, 12 % of rows", thousandfold(0.12, whole_rows=True), FROM_8, ">= .95"),
    Study("x1,000, 20 % of one column", thousandfold(0.2, whole_rows=False), FROM_8, ">= .95"),
    Study("x1,000, 40 % of one column", thousandfold(0.4, whole_rows=False), FROM_8, ">= .95"),
    Study("x1,000, half of the rows", thousandfold(0.499, whole_rows=True), FROM_8, ">= .95"),
    Study("two groups, 50:50, 10 sigma", groups(0.5, 10), FROM_30, "0, undecidable"),
    Study("two groups, 60:40, 8 sigma", groups(0.4, 8), FROM_30, "0, undecidable"),
    Study("20 % zeros, rest N(10, 1)", zeros(0.2, lambda r, s: 10 + r.standard_normal(s)), FROM_30, "0, undecidable"),
    Study("60 % zeros, rest log-normal", zeros(0.6, lambda r, s: r.lognormal(0, 1, s)), FROM_30, "0, undecidable"),
    Study("exponential less 1 (crosses 0)", lambda r, s: r.exponential(size=s) - 1, FROM_30, "-"),
    Study("Student t, 3 degrees", lambda r, s: r.standard_t(3, s), FROM_30, "-"),
    Study("Laplace", lambda r, s: r.laplace(size=s), FROM_30, "-"),
    Study("Cauchy", lambda r, s: r.standard_cauchy(s), FROM_30, "-"),
    Study("uniform", lambda r, s: r.random(s), FROM_30, "-"),
    Study("Poisson, mean 3", lambda r, s: r.poisson(3, s).astype(float), FROM_30, "-"),
)


def refused_share(study: Study, shape: Shape, tables: int) -> tuple[float, float, dict[str, float]]:
    """The share of `tables` that are refused, of rows that are anomalous, and of columns undecidable by reason."""
    rng = np.random.default_rng([SEED, zlib.crc32(study.title.encode()), *shape])
    refused, rows = 0, 0.0
    reasons: Counter[str] = Counter()
    for _ in range(tables):
        screening = screen_rows(study.make(rng, shape))
        refused += screening.share > SHARE
        rows += screening.share
        reasons.update(item.reason for item in screening.undecidable)
    return refused / tables, rows / tables, {name: count / tables / shape[1] for name, count in reasons.items()}


def _one(task: tuple[int, Shape, int]) -> tuple[float, float, dict[str, float]]:
    return refused_share(STUDIES[task[0]], *task[1:])


def report(tables: int, only: str) -> None:
    print(f"Share of {tables} tables refused (seed {SEED}); rows x columns", flush=True)
    with ProcessPoolExecutor(2) as pool:
        for at, study in enumerate(STUDIES):
            if only not in study.title:
                continue
            found = list(pool.map(_one, [(at, shape, tables) for shape in study.shapes]))
            rates = [rate for rate, _, _ in found]
            told: Counter[str] = Counter()
            for _, _, reasons in found:
                told.update(reasons)
            print(f"\n{study.title} (wanted {study.wanted})")
            print(f"  {min(rates):.4f} to {max(rates):.4f}, mean {np.mean(rates):.4f}", end="")
            print(f"; rows called anomalous {np.mean([rows for _, rows, _ in found]):.5f}", end="")
            print("".join(f"; {name} {share / len(found):.3f}" for name, share in told.most_common()))
            cells = zip(study.shapes, rates, strict=True)
            print("  " + "  ".join(f"{n}x{d} {rate:.4f}" for (n, d), rate in cells), flush=True)


def calibrate(rows: int, tables: int = 40_000) -> list[float]:
    """The `LEVEL` quantile of the score of the row that decides whether a clean Gaussian table is refused."""
    rng = np.random.default_rng([SEED, rows])
    decisive = int(SHARE * rows) + 1
    scores: dict[int, list[Floats]] = {columns: [] for columns in _COLUMNS}
    most = max(_COLUMNS)
    batch = max(1, 4_000_000 // (rows * most))
    for done in range(0, tables, batch):
        count = min(batch, tables - done)
        table = rng.standard_normal((rows, count * most))
        centre, scale = half_sample(np.sort(table, axis=0))
        distances = (np.abs(table - centre) / scale).reshape(rows, count, most)
        for columns in _COLUMNS:
            worst = distances[:, :, :columns].max(axis=2)
            scores[columns].append(np.partition(worst, rows - decisive, axis=0)[rows - decisive])
    return [float(np.quantile(np.concatenate(scores[columns]), LEVEL)) for columns in _COLUMNS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=TABLES)
    parser.add_argument("--only", default="", help="studies whose title contains this")
    parser.add_argument("--calibrate", action="store_true")
    arguments = parser.parse_args()
    if not arguments.calibrate:
        report(arguments.tables, arguments.only)
        return
    for rows in _ROWS:
        print("    (" + ", ".join(str(float(f"{score:.4g}")) for score in calibrate(rows)) + "),")


if __name__ == "__main__":
    main()
