"""Two questions to ask before data or a model is used: `ModelSecurityValidator`.

Both answers are given elsewhere (`core/screening`, a digest of the file); this is the door to them for a program that
imports the package. numpy is imported with the first table, not with this module.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_server.core.canonical import PREFIX, digest
from mcp_server.errors import InvalidInput, QuotaExceeded

if TYPE_CHECKING:
    from mcp_server.core.screening.half_sample import Floats

MAX_ANOMALOUS = 0.10
"""The largest share of anomalous rows with which data passes."""

MAX_CELLS = 50_000_000
"""Rows times distinct columns that are held in memory at once (8 bytes each)."""

_CHUNK = 1024 * 1024

_log = logging.getLogger(__name__)


class ModelSecurityValidator:
    """Screens training data for poisoned rows and model files for changed bytes.

    Attributes:
        trusted_data_hashes: SHA-256 digests of canonical JSON (`core.canonical.digest`), 64 hex digits with or without
            `sha256:` before them; data with one of them passes unscreened. Add and remove as you like.
        anomaly_threshold: a Gaussian-equivalent z, 3.0 unless changed. Larger finds less.
    """

    def __init__(self) -> None:
        self.trusted_data_hashes: set[str] = set()
        self.anomaly_threshold: float = 3.0

    def validate_training_data(self, data: Sequence[Mapping[str, object]]) -> bool:
        """Whether rows look fit for training: no more than a tenth of them are far from the bulk of a column.

        Rows may have different keys. Numbers are screened, true and false as 1 and 0; a missing key, None, NaN and text
        are missing; an infinite number, or one beyond every float, is anomalous. Columns of text aren't looked at.

        Measured by `python -m tests.performance.screening_rates`, tables of 1 to 20 columns. Refused: clean Gaussian
        tables of 3 to 1,000 rows in .04 % (.75 % in the worst cell of 2,000 tables); log-normal and exponential
        columns from 30 rows in .55 % at most, constant and 0/1 columns never. Caught: 20 % of one column at 6 sigma in
        96 % to 100 % from 100 rows; 12 % to half of the rows of N(10, 1) times 1,000 in 99.8 % to 100 % from 8 rows.
        Below 20 rows only gross errors are caught: 20 % at 6 sigma in 2 % to 15 % of tables of 20 rows. Columns in two
        groups, with many zeros or with heavy tails are undecidable: a warning says how many there are, and their far
        values aren't held against the data. Many such columns together in few rows still are (39 % of tables of 100
        rows with 20 columns in two groups of 60:40, 50 % with 20 skewed columns that cross zero, 86 % with 20 Cauchy
        columns). Values exchanged within their range and flipped labels aren't seen at all.

        Args:
            data: one mapping of column name to value for each row.
        Returns:
            False for no rows (with a warning) and for more than a tenth of anomalous rows (logged); else True.
        Raises:
            InvalidInput: a row isn't a mapping, or the threshold isn't a positive number.
            QuotaExceeded: rows times distinct columns exceed `MAX_CELLS`.
        """
        if not data:
            _log.warning("there is no training data to validate")
            return False
        if not all(isinstance(row, Mapping) for row in data):
            raise InvalidInput("A row isn't an object of column names and values.", hint="Pass a list of dicts.")
        if self.trusted_data_hashes and self._is_trusted(data):
            _log.info("the training data has a trusted digest")
            return True
        from mcp_server.core.screening import screen_rows

        screening = screen_rows(_matrix(data), threshold=self.anomaly_threshold)
        if screening.undecidable:
            _log.warning("%d columns can't be screened for far values", len(screening.undecidable))
        if screening.share > MAX_ANOMALOUS:
            _log.error("%d of %d rows of training data are anomalous", int(screening.anomalous.sum()), len(data))
            return False
        return True

    def verify_model_integrity(self, model_path: str | os.PathLike[str], expected_hash: str) -> bool:
        """Whether a file has the SHA-256 that it's expected to have.

        Args:
            model_path: the file.
            expected_hash: 64 hex digits, in either case, with or without `sha256:` before them.
        Returns:
            False where the digest differs or `expected_hash` isn't one; both are logged.
        Raises:
            OSError: the file can't be read to its end; FileNotFoundError where it's absent.
        """
        path = Path(model_path)
        found = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
        expected = _bare(expected_hash)
        # As bytes: text that isn't ASCII would make the comparison raise.
        if hmac.compare_digest(found.hexdigest().encode(), expected.encode("utf-8", "replace")):
            return True
        _log.error("a model file doesn't have the expected SHA-256")
        return False

    def _is_trusted(self, data: Sequence[Mapping[str, object]]) -> bool:
        try:
            found = _bare(digest([dict(row) for row in data]))
        except InvalidInput:  # not JSON (NaN, a date...): no digest is defined, so none is trusted
            return False
        # Every digest is compared, in constant time: how long it takes tells nothing about them.
        matches = [hmac.compare_digest(found.encode(), _bare(trusted).encode()) for trusted in self.trusted_data_hashes]
        return any(matches)


def _bare(hexadecimal: str) -> str:
    return hexadecimal.strip().lower().removeprefix(PREFIX)


def _matrix(data: Sequence[Mapping[str, object]]) -> Floats:
    """Rows and every column that occurs, shape (rows, columns), floats, NaN for what isn't a number."""
    import numpy as np

    names: dict[str, int] = {}
    for row in data:
        for name in row:
            names.setdefault(name, len(names))
    if len(data) * len(names) > MAX_CELLS:
        raise QuotaExceeded(
            f"The rows and the columns that occur in any of them make more than {MAX_CELLS:,} cells.",
            hint="Validate fewer rows at a time, with the same columns.",
        )
    matrix = np.full((len(data), len(names)), np.nan)
    for at, row in enumerate(data):
        for name, value in row.items():
            matrix[at, names[name]] = _number(value)
    return matrix


def _number(value: object) -> float:
    if not isinstance(value, Real | Decimal):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:  # a signalling NaN of decimal
        return math.nan
