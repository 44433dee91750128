"""Categories and text as numbers: by hashing, by the target's rates, or by what parts of words go together."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd

from mcp_server.core.labels import label
from mcp_server.core.predictor.hashing import hashed
from mcp_server.core.preparing.looking import Looked, look
from mcp_server.core.preparing.plan import Embed
from mcp_server.core.preparing.table import Context, DataTable, Done, IntArray
from mcp_server.errors import PlanRefused

FloatArray = NDArray[np.float64]

WIDTH, FOLDS, SMOOTHING = 8, 5, 10.0
MOST_RATES = 10  # classes, each of which makes a column
BUCKETS = 4_096
GRAMS = (2, 4)
MOST_TEXTS = 20_000  # that the decomposition is fitted on
DIGITS = 9  # of a vector: beyond these, libraries of linear algebra differ


def apply(step: Embed, table: DataTable, context: Context) -> Done:
    """New columns at the end; the column itself stays as it is.

    Raises:
        PlanRefused: the column isn't a category, text, whole number or true/false, or is the target; a name is taken;
            too many classes; too few different texts.
        BadTarget, TrainingRefused: as a split says, where the target is used.
    """
    column = table.column(step.column)
    allowed = {"category", "text"} if step.by == "text" else {"category", "text", "integer", "boolean"}
    if column.role == "target" or column.kind not in allowed:
        raise PlanRefused(
            f"{label(step.column)!r} is {'the target' if column.role == 'target' else column.kind}.",
            hint=f"By {step.by} takes {', '.join(sorted(allowed))}.",
        )
    texts = table.frame.get_column(step.column)
    texts = (texts.cast(pl.Int8) if texts.dtype == pl.Boolean else texts).cast(pl.String)
    match step.by:
        case "hashing":
            matrix, fitted, said = _hashed(texts, step.width or WIDTH)
        case "target":
            matrix, fitted, said = _rates(step, table, texts, context)
        case _:
            matrix, fitted, said = _decomposed(step, table, texts, context)
    prefix = step.prefix or f"{step.column[:200]}_{step.by}"
    names = [f"{prefix}_{at}" for at in range(1, matrix.shape[1] + 1)] if matrix.shape[1] > 1 else [prefix]
    taken = next((name for name in names if name in table.frame.columns), None)
    if taken is not None:
        raise PlanRefused(f"There is a column {label(taken)!r} already.", hint="Give a prefix.")
    series = [pl.Series(name, matrix[:, at], nan_to_null=True) for at, name in enumerate(names)]
    done = table.put(
        series,
        of=dict.fromkeys(names, frozenset({step.column})),
        personal=names if column.personal else (),
    )
    return Done(done, said, {"columns": names, **fitted}, {"columns": names[:10]})


def _hashed(texts: pl.Series, width: int) -> tuple[FloatArray, dict[str, Any], str]:
    distinct, codes = _coded(texts)
    vectors = np.zeros((len(distinct) + 1, width))  # the last is of missing values
    for at, text in enumerate(distinct):
        place, sign = hashed(text, width)
        vectors[at, place] = sign
    fitted = {"by": "hashing", "hash": "blake2b-64", "width": width}
    return vectors[codes], fitted, f"Hashed {len(distinct):,} values into {width} columns."


def _coded(texts: pl.Series) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts, sorted, and for each row the index of its own; -1 where it's missing."""
    distinct = texts.drop_nulls().unique().sort()
    codes = texts.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1
    return distinct.to_list(), codes


def _rates(step: Embed, table: DataTable, texts: pl.Series, context: Context) -> tuple[FloatArray, dict[str, Any], str]:
    """Micci-Barreca (2001), smoothed towards the whole; out of fold, or from earlier moments alone."""
    if table.contract.synthetic is not None:
        raise PlanRefused(
            "The table has made-up rows, whose sources' own outcomes would be in their rates.",
            hint="Embed before augmenting or copying rows.",
        )
    looked = look(table, context, step.test)
    outcomes = _outcomes(looked)
    distinct, codes = _coded(texts)
    codes = np.where(codes < 0, len(distinct), codes)
    smoothing = SMOOTHING if step.smoothing is None else step.smoothing
    rows = looked.train
    whole = _Sums(codes[rows], outcomes[rows], len(distinct) + 1)
    matrix = whole.rates(codes, smoothing)
    if looked.moments is not None:
        matrix[rows] = earlier_rates(codes[rows], looked.moments[rows], outcomes[rows], smoothing)
        how = "each row that teaches from earlier rows alone"
    else:
        folds = step.folds or FOLDS
        matrix[rows] = folded_rates(codes[rows], outcomes[rows], folds, smoothing, context.rng)
        how = f"each row that teaches from {folds - 1} of {folds} folds, its own left out"
    table_of = whole.rates(np.arange(len(distinct) + 1), smoothing)
    values = {text: table_of[at].tolist() for at, text in enumerate(distinct)}
    other = (whole.all / len(rows)).tolist()
    fitted = {
        "by": "target",
        "smoothing": smoothing,
        "missing": table_of[-1].tolist(),
        "other": other,
        "values": values,
    }
    return matrix, fitted, f"Rates of the target for {len(distinct):,} values: {how}; all others from all that teach."


class _Sums:
    """Rows and outcomes of each value.

    Args:
        codes: shape (n,); outcomes: shape (n, outcomes).
    """

    def __init__(self, codes: NDArray[np.int64], outcomes: FloatArray, size: int) -> None:
        self.counts = np.bincount(codes, minlength=size).astype(np.float64)
        self.sums = np.column_stack([np.bincount(codes, weights=one, minlength=size) for one in outcomes.T])
        self.all = outcomes.sum(axis=0)

    def less(self, other: _Sums) -> _Sums:
        """Without the rows of another."""
        rest = object.__new__(_Sums)
        rest.counts, rest.sums, rest.all = self.counts - other.counts, self.sums - other.sums, self.all - other.all
        return rest

    def rates(self, codes: NDArray[np.int64], smoothing: float) -> FloatArray:
        """Smoothed means of the outcomes, shape (rows, outcomes); the whole mean for values without a row."""
        total = self.counts.sum()
        prior = self.all / total if total else np.full(self.sums.shape[1], np.nan)
        counts = self.counts[codes][:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            found = (self.sums[codes] + smoothing * prior) / (counts + smoothing)
        return np.where(counts + smoothing > 0, found, prior)


def folded_rates(
    codes: NDArray[np.int64], outcomes: FloatArray, folds: int, smoothing: float, rng: np.random.Generator
) -> FloatArray:
    """Each row's rates from the rows of the other folds.

    Args:
        codes: shape (n,), from 0; outcomes: shape (n, outcomes).
    """
    size = int(codes.max()) + 1
    fold = rng.permutation(np.arange(len(codes)) % folds)
    whole = _Sums(codes, outcomes, size)
    found = np.empty_like(outcomes)
    for number in range(folds):
        own = fold == number
        found[own] = whole.less(_Sums(codes[own], outcomes[own], size)).rates(codes[own], smoothing)
    return found


def earlier_rates(
    codes: NDArray[np.int64], moments: NDArray[np.int64], outcomes: FloatArray, smoothing: float
) -> FloatArray:
    """Each row's rates from the rows of strictly earlier moments; NaN at the first moment.

    Args:
        codes, moments: shape (n,); outcomes: shape (n, outcomes).
    """
    order = np.lexsort((moments, codes))
    counts, sums = _before(codes[order], moments[order], outcomes[order])
    alone = np.zeros_like(codes)
    by_time = np.argsort(moments, kind="stable")
    all_counts, all_sums = _before(alone, moments[by_time], outcomes[by_time])
    n, s = np.empty(len(codes)), np.empty_like(outcomes)
    n[order], s[order] = counts, sums
    total, totals = np.empty(len(codes)), np.empty_like(outcomes)
    total[by_time], totals[by_time] = all_counts, all_sums
    with np.errstate(invalid="ignore", divide="ignore"):
        prior = totals / total[:, None]
        found = (s + smoothing * prior) / (n + smoothing)[:, None]
    return np.where((n + smoothing > 0)[:, None], found, prior)


def _before(
    codes: NDArray[np.int64], moments: NDArray[np.int64], outcomes: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """For rows sorted by code, then moment: how many rows of the code are of earlier moments, and their sums."""
    n = len(codes)
    running = np.vstack([np.zeros((1, outcomes.shape[1])), np.cumsum(outcomes, axis=0)])
    index = np.arange(n)
    new_code = np.concatenate([[True], codes[1:] != codes[:-1]])
    new_moment = new_code | np.concatenate([[True], moments[1:] != moments[:-1]])
    start = np.maximum.accumulate(np.where(new_code, index, 0))
    moment = np.maximum.accumulate(np.where(new_moment, index, 0))
    return (moment - start).astype(np.float64), running[moment] - running[start]


def _outcomes(looked: Looked) -> FloatArray:
    """The target's outcomes, shape (n, 1), or for three classes or more a column of 0 and 1 for each."""
    classes = looked.target.classes
    if classes is None or len(classes) == 2:
        return looked.values[:, None]
    if len(classes) > MOST_RATES:
        raise PlanRefused(
            f"The target has {len(classes)} classes, each of which would make a column; {MOST_RATES} are allowed.",
            hint="Use by hashing.",
        )
    each: FloatArray = (looked.values[:, None] == np.arange(len(classes))).astype(np.float64)
    return each


def _decomposed(
    step: Embed, table: DataTable, texts: pl.Series, context: Context
) -> tuple[FloatArray, dict[str, Any], str]:
    """Character n-grams within words, weighted by rarity, and their truncated singular value decomposition.

    Source:
        Deerwester et al. (1990), Indexing by latent semantic analysis.
    """
    width = step.width or WIDTH
    rows: IntArray = np.arange(table.rows)
    if table.contract.target is not None:
        rows = look(table, context, step.test).train
    known = texts[rows].drop_nulls().unique().sort()
    if len(known) > MOST_TEXTS:
        known = known[np.sort(context.rng.permutation(len(known))[:MOST_TEXTS])]
    if len(known) <= width:
        raise PlanRefused(
            f"There are {len(known)} different texts to learn from, for {width} columns.", hint="Give a smaller width."
        )
    counts = _grams(known.to_list())
    idf = np.log((1.0 + len(known)) / (1.0 + np.bincount(counts.indices, minlength=BUCKETS))) + 1.0
    _, _, axes = randomized_svd(_weighted(counts, idf), width, random_state=int(context.rng.integers(2**31)))
    axes = np.round(axes, 12)
    distinct, codes = _coded(texts)
    vectors = np.full((len(distinct) + 1, width), np.nan)  # the last is of missing values
    for start in range(0, len(distinct), MOST_TEXTS):
        part = _weighted(_grams(distinct[start : start + MOST_TEXTS]), idf)
        vectors[start : start + part.shape[0]] = np.round(part @ axes.T, DIGITS)
    fitted = {
        "by": "text",
        "grams": list(GRAMS),
        "buckets": BUCKETS,
        "idf": np.round(idf, 12).tolist(),
        "axes": axes.tolist(),
    }
    return vectors[codes], fitted, f"{width} columns from character n-grams, fitted on {len(known):,} different texts."


def _grams(texts: list[str]) -> csr_matrix:
    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=GRAMS, n_features=BUCKETS, alternate_sign=False, norm=None
    )
    counts: csr_matrix = vectorizer.transform(texts)
    return counts


def _weighted(counts: csr_matrix, idf: FloatArray) -> csr_matrix:
    weighted: csr_matrix = normalize(counts.multiply(idf).tocsr())
    return weighted
