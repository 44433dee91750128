"""Errors planted in known cells of the clean tables, and how well findings meet the answer key.

Each kind of error is planted in 1 to 3 % of the cells of the columns that can have it. Some can't be found by anyone
who wasn't there: a word for "missing" that nobody knows, a digit that was dropped, a value just outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from core.quality.planted_tables import ROWS, Planted, Rng
from mcp_server.core.quality import Finding

WORDS = ["N/A", "n/a", "-", "--", "?", "unknown", "Unknown", "UNKNOWN", "   ", "null", "NULL", "none", "missing", "."]
WORDS += ["not avail.", "k.A.", "XXXX", "to be confirmed", "n.d.", "????", "pending", "*****", "N\\A", "Not recorded"]
NUMBER_WORDS = ["-", "?", "unknown", "  ", "missing", "n/a", "not avail.", "n.d.", "pending"]
"""What import doesn't read as missing in a column of numbers by itself."""
UNITS = [" kg", " oz.", "%", " pcs", "EUR", " mm"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def disguised(rng: Rng, cell: str) -> str:
    return str(rng.choice(NUMBER_WORDS if is_number(cell) else WORDS))


def number_text(rng: Rng, cell: str) -> str:
    bare = cell.split()[0].rstrip("%")
    way = int(rng.integers(4))
    if way == 0:
        return f"${bare}"
    if way == 1:
        return f"about {bare}"
    return bare + str(rng.choice([unit for unit in UNITS if not cell.endswith(unit)]))


def typo(rng: Rng, cell: str) -> str:
    """A slip of a finger, as keyboards have them: a letter doubled, dropped, swapped with its neighbour or wrong, a
    figure for a letter, other capitals or spaces; rarely two of them.
    """
    at = int(rng.integers(0, len(cell) - 1))
    way = int(rng.integers(6))
    if way == 5:
        twice = typo(rng, typo(rng, cell)) if rng.random() < 0.3 else cell
        made = twice.replace("o", "0", 1).replace("l", "1", 1) if twice == cell else twice
    elif way == 0:
        made = cell[:at] + cell[at] + cell[at:]
    elif way == 1:
        made = cell[:at] + cell[at + 1 :]
    elif way == 2:
        made = cell[:at] + cell[at + 1] + cell[at] + cell[at + 2 :]
    elif way == 3:
        made = cell[:at] + str(rng.choice(list(LETTERS))) + cell[at + 1 :]
    else:
        made = str(rng.choice([cell.upper(), cell.lower(), f"{cell} ", cell.replace(" ", "  ")]))
    return made


def broken(rng: Rng, cell: str) -> str:
    """A code that was cut, stretched, or had one of its signs replaced by one of another kind."""
    at = int(rng.integers(0, len(cell)))
    way = int(rng.integers(4))
    if way == 0:
        return cell[: max(1, len(cell) // 2)]
    if way == 1:
        return f"{cell}{rng.choice(['#', '/1', ' old', '_2'])}"
    if way == 2:
        other = "x" if cell[at].isdigit() else "7"
        return cell[:at] + other + cell[at + 1 :]
    return cell.replace("-", "").replace("@", " at ") if "-" in cell or "@" in cell else f"{cell[0]}.{cell[1:]}"


def other_date(rng: Rng, cell: str) -> str:
    for form in ("%Y-%m-%d", "%d %b %Y", "%m/%d/%Y"):
        try:
            day = date(1, 1, 1).fromordinal(_parsed(cell, form))
        except ValueError:
            continue
        others = ["%d.%m.%Y", "%Y/%m/%d", "%b %d, %Y", "%Y%m%d", "%d-%b-%y", "%Y-%m-%d"]
        return day.strftime(str(rng.choice([one for one in others if one != form])))
    raise AssertionError(cell)


def _parsed(cell: str, form: str) -> int:
    return datetime.strptime(cell, form).toordinal()  # noqa: DTZ007 - a day, not a moment


def outlier(rng: Rng, cells: list[str], cell: str) -> str:
    """A slipped decimal point, or a value outside, some of them only just."""
    values = np.array([float(one) for one in cells if is_number(one)])
    digits = len(cell.partition(".")[2])
    if rng.random() < 0.5:
        return f"{float(cell) * float(rng.choice([10.0, 100.0])):.{digits}f}"
    away = float(rng.uniform(5, 20)) * values.std() * float(rng.choice([-1, 1]) if values.min() < 0 else 1)
    return f"{values.mean() + away:.{digits}f}"


PER_CELL = {"disguised": disguised, "number text": number_text, "typo": typo, "pattern": broken, "date": other_date}


def plant(make: Callable[[Rng], Planted], seed: int) -> Planted:
    """A table with its errors.

    Each kind takes 1 to 3 % of the cells of its columns; no cell has two errors.
    """
    rng = np.random.default_rng(seed)
    table = make(rng)
    for kind, columns in table.kinds.items():
        for column in columns:
            count = round(float(rng.uniform(0.01, 0.03)) * ROWS)
            if column:
                _plant_cells(rng, table, kind, column, count)
            else:
                _plant_rows(rng, table, kind, count)
    return table


def _plant_cells(rng: Rng, table: Planted, kind: str, column: str, count: int) -> None:
    cells = table.columns[column]
    taken = {row for row, name in table.cells if name in (column, table.pairs.get(column))}
    free = [row for row in range(1, len(cells) + 1) if row not in taken]
    sentinel = str(rng.choice(["-1", "-999", "9999", "999", "99", "888", "-99.9"]))
    again = last = ""
    before = list(cells)
    for row in sorted(int(at) for at in rng.choice(free, count, replace=False)):
        cell = cells[row - 1]
        if kind == "sentinel":
            made = sentinel
        elif kind == "outlier":
            made = outlier(rng, before, cell)
        elif kind == "dependency":
            made = str(rng.choice([one for one in sorted(set(before)) if one != cell and before.count(one) > 5]))
        else:
            made = PER_CELL[kind](rng, cell)
        if kind == "typo":
            # Whoever types a word wrongly often does so again.
            made = again if again and before[row - 1] == cell == last and rng.random() < 0.3 else made
            again, last = made, cell
        if made != cell:
            cells[row - 1] = made
            table.key[kind].add((row, column))


def _plant_rows(rng: Rng, table: Planted, kind: str, count: int) -> None:
    """Copies of rows without an error, at the end; near ones with one cell written a little differently."""
    faulty = {row for row, _ in table.cells}
    whole = [row for row in range(1, table.rows + 1) if row not in faulty]
    for row in (int(at) for at in rng.choice(whole, count, replace=False)):
        for cells in table.columns.values():
            cells.append(cells[row - 1])
        if kind == "near duplicate":
            texts = [
                name
                for name, cells in table.columns.items()
                if len(cells[row - 1]) > 3 and not is_number(cells[row - 1])
            ]
            name = str(rng.choice([name for name in texts if name not in table.dates]))
            cell = table.columns[name][-1]
            table.columns[name][-1] = str(rng.choice([cell.upper(), f" {cell}", typo(rng, cell)]))
        table.key[kind].add((table.rows, ""))


# The measure -------------------------------------------------------------------------------------------------------

RULES = {
    "missing.disguised": "disguised",
    "missing.sentinel": "sentinel",
    "numbers.text": "number text",
    "spelling.rare": "typo",
    "spelling.form": "typo",
    "patterns.rare": "pattern",
    "dates.mixed": "date",
    "dates.impossible": "date",
    "contradictions.dependency": "dependency",
    "outliers.value": "outlier",
    "outliers.context": "outlier",
    "units.block": "outlier",
    "duplicates.rows": "duplicate",
    "duplicates.near": "near duplicate",
}
"""Which rules speak of cells, and of which kind of error."""

SURE = 0.5
"""The confidence from which a finding claims an error; below, it asks for a look."""


@dataclass
class Score:
    """Counts over cells: planted and found, planted and not, claimed and not planted."""

    found: int = 0
    missed: int = 0
    wrong: int = 0

    def add(self, other: Score) -> None:
        self.found += other.found
        self.missed += other.missed
        self.wrong += other.wrong

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.wrong)

    @property
    def recall(self) -> float:
        return self.found / max(1, self.found + self.missed)

    @property
    def f1(self) -> float:
        return 2 * self.found / max(1, 2 * self.found + self.missed + self.wrong)


def claims(findings: Iterable[Finding]) -> set[tuple[str, int, tuple[str, ...]]]:
    """What findings claim to be wrong: the kind of error, a row, and the columns of which one cell is meant.

    A dependency is about the decided column alone where it says which that is; a copy is about the row.
    """
    made = set()
    for finding in findings:
        kind = RULES.get(finding.rule)
        if kind is None or (finding.confidence or 1.0) < SURE or (kind == "duplicate" and finding.severity == "info"):
            continue
        decided = finding.fix == "replace by the usual value"
        columns = finding.columns[-1:] if decided else finding.columns
        columns = ("",) if kind in ("duplicate", "near duplicate") else columns
        made |= {(kind, row, columns) for row in finding.rows}
    return made


def score(planted: Planted, findings: Iterable[Finding]) -> dict[str, Score]:
    """By kind and under `all`: a planted cell is found if any rule claims it; a claim is wrong if none of its cells,
    nor the row as a copy, was planted. Wrong claims are told under the kind that made them, once for each row and
    columns.
    """
    made = claims(findings)
    cells = planted.cells
    right = {(row, name) for _, row, columns in made for name in columns if (row, name) in cells}
    # The spelling that makes a copy a near one is an error of its row: whoever names it isn't wrong.
    copies = {row for row, name in planted.key["near duplicate"] if not name}
    result = {kind: Score() for kind in planted.kinds}
    for kind, planted_cells in planted.key.items():
        if planted_cells:
            found = len(planted_cells & right)
            result[kind].add(Score(found, len(planted_cells) - found))
    wrong: dict[tuple[int, tuple[str, ...]], str] = {}
    for kind, row, columns in sorted(made):
        if not any((row, name) in cells for name in columns) and row not in copies:
            wrong.setdefault((row, columns), kind)
    for kind in wrong.values():
        result.setdefault(kind, Score()).wrong += 1
    total = Score()
    for part in result.values():
        total.add(part)
    return {**result, "all": total}
