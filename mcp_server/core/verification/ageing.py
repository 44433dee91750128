"""Whether what a model was trained on is out of date: its age, and how the newest data differ from it.

For a computing process: it loads numpy, polars and scikit-learn.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.quality.poisoning import comparable, feature_arrays
from mcp_server.core.screening.shift import LEAST_ROWS, measure_shift
from mcp_server.core.screening.table import FeatureTable
from mcp_server.core.training.split import synthetic_rows
from mcp_server.core.verification.checks import Check, not_done

_DAY = 86_400.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_age(frame: pl.DataFrame, contract: Contract, *, imported: datetime, now: datetime, most_days: int) -> Check:
    """Warn where the newest of what a model was trained on is older than a bound.

    Args:
        frame: the training data; the newest past moment in its time column counts, where it has one of dates.
        imported: aware, counts otherwise.
        most_days: the bound; 0 for none.
    """
    newest, what = _newest(frame, contract, now), "newest row"
    if newest is None:
        newest, what = imported, "import"
    days = max(0.0, (now - newest).total_seconds() / _DAY)
    told = f"The {what} of its training data is {days:,.0f} days old"
    if not most_days:
        return not_done("age", f"{told}; no bound is set.")
    if days > most_days:
        return Check("age", "warned", f"{told}, beyond {most_days:,}: train again on newer data.")
    return Check("age", "passed", f"{told}; {most_days:,} are allowed.")


def check_drift(
    before: pl.DataFrame, after: pl.DataFrame, contract: Contract, inputs: Collection[str], *, rng: np.random.Generator
) -> Check:
    """Warn where newer data are distributed otherwise than the training data, in a column or in all together.

    Args:
        before: the training data; after: a newer table, of `contract`. Made-up rows don't count.
        inputs: names of the columns that the model reads.
        rng: draws rows, folds and seeds.
    Source:
        As `core.screening.shift.measure_shift`: Kolmogorov-Smirnov and chi-squared by column with false discoveries
        controlled, and a classifier two-sample test.
    """
    before, after = _real(before, contract), _real(after, contract)
    shared = set(comparable(after, before)) & set(inputs)
    if not shared:
        return not_done("drift", "The newest version of its data has none of the model's columns.")
    together = pl.concat([after, before.select(sorted(shared))], how="diagonal_relaxed")
    numbers, codes, names = feature_arrays(together, contract)
    width = numbers.shape[1]
    kept = [at for at, name in enumerate(names) if name in shared]
    whole = FeatureTable(
        numbers[:, [at for at in kept if at < width]], codes[:, [at - width for at in kept if at >= width]]
    )
    new, old = whole.take(np.arange(after.height)), whole.take(np.arange(after.height, together.height))
    found = measure_shift(new, old, rng)
    if found is None or len(found.compared) < LEAST_ROWS:
        return not_done("drift", f"Fewer than {LEAST_ROWS} rows of the newest version of its data are new.")
    differing, rows = len(found.columns) + len(found.code_columns), len(found.compared)
    compared = f"{rows:,} rows and {len(kept)} columns of the newest version of its data were compared"
    if not differing and not found.unlike:
        return Check("drift", "passed", f"{compared}: they're distributed as those that it was trained on.")
    told = f"{compared}: {differing} columns are distributed otherwise (by {found.difference:.2f} of 1 at most)"
    told += f", and {found.unlike:.0%} of the rows are certainly unlike its own"
    return Check("drift", "warned", f"{told}. Compare a model that is trained on them.")


def _real(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Without the made-up rows; an older table may not have their mark yet."""
    if contract.synthetic is None or contract.synthetic.flag not in frame.columns:
        return frame
    return frame.filter(pl.Series(~synthetic_rows(frame, contract)))


def _newest(frame: pl.DataFrame, contract: Contract, now: datetime) -> datetime | None:
    """The last moment in the time column that has passed; None where there's no such column, or it isn't of dates."""
    if contract.time is None or contract.time not in frame.columns:
        return None
    series = frame.get_column(contract.time)
    if series.dtype.base_type() not in (pl.Date, pl.Datetime):
        return None
    stamps = series.cast(pl.Datetime("us")).to_physical()
    last = stamps.filter(stamps <= int(now.timestamp() * 1_000_000)).max()
    return _EPOCH + timedelta(microseconds=last) if isinstance(last, int) else None
