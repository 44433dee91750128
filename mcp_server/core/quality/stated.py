"""What a person stated about a data set, held to before rows are stored: the rules of `validate`, part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from mcp_server.core.contract import Column, Contract
from mcp_server.core.contract.keeping import Inherited, inherit
from mcp_server.core.ingest.extend import as_kind, of_another_kind
from mcp_server.core.ingest.infer import DTYPES
from mcp_server.core.ingest.parts import Parts
from mcp_server.core.ingest.violations import FIRST_ROWS, Violation, refuse, told, violation
from mcp_server.core.labels import place
from mcp_server.core.quality.columns import contract_findings
from mcp_server.core.quality.promises import promise_findings, size_findings
from mcp_server.core.quality.report import Finding

_SAID = {
    "contract.missing": "must not be missing, as is stated",
    "contract.finite": "holds a number that isn't finite",
    "contract.allowed": "holds values that aren't among those that are stated",
    "contract.pattern": "isn't of the pattern that is stated",
    "contract.unique": "must not hold a value twice, as is stated",
}


def inherited(parts: Parts, contract: Contract, before: Contract, *, imported: bool, hint: str) -> Inherited:
    """Hold a table that was imported anew to what was stated about the version before it.

    Args:
        parts: the table, with the rows' numbers in the file where they were filtered.
        contract: as it was inferred, with what this import states.
        before: of the newest version of that name.
        imported: whether that version was read from a file, so that its columns may be expected in this one.
        hint: the next step of who is refused.
    Returns:
        the contract that holds now. What was promised of columns that an expression or a plan made is lost with them.
    Raises:
        DataRejected: `E_CONTRACT`: a column that something was stated about isn't there or of another kind, or the rows
            break what was stated.
    """
    found = inherit(before, contract)
    old = {column.name: (at, column) for at, column in enumerate(before.columns, start=1)}
    broken: list[Violation] = []
    for name in found.lacking if imported else ():
        at, column = old[name]
        if column.source == "file":
            broken.append(violation(column, at, "isn't in the file, and something is stated about it"))
    for name in found.unlike:
        column = old[name][1]
        if contract.column(name).source == "file":
            at = parts.columns.index(name)
            _, wrong = as_kind(parts.column(at).alias("values"), DTYPES[column.kind])
            broken.append(of_another_kind(column, at + 1, wrong, parts.numbers))
    if broken:
        refuse(broken, hint)
    require_stated(parts, found.contract, hint=hint, rows=parts.numbers)
    return found


def stated_breaks(parts: Parts, contract: Contract, *, first: int = 0) -> list[Finding]:
    """What a table breaks of what a person stated; what was only inferred isn't looked at, nor how fresh it is.

    Rows are gone through part by part, and what has to be unique by hashes first, so that a table of any length needs
    the memory of a part and eight bytes a row.

    Args:
        parts: with the contract's columns, of their kinds.
        first: that many rows at the beginning were there before; only what later rows break counts.
    Returns:
        the findings of `validate` that fail, each with its first ten rows, 1-based after the first `first`.
    """
    sized = size_findings(parts.height, contract)
    return [*_rowwise(parts, contract, first), *_repeated(parts, contract, first), *sized]


def require_stated(
    parts: Parts, contract: Contract, *, hint: str, first: int = 0, rows: pl.Series | None = None
) -> None:
    """Refuse a table that breaks what a person stated.

    Args:
        parts, contract, first: as for `stated_breaks`.
        hint: the next step of who is refused.
        rows: the number in the file of each row after the first `first`; None where they're the same.
    Raises:
        DataRejected: `E_CONTRACT`; details hold `violations`, each with column, count and first rows.
    """
    found = stated_breaks(parts, contract, first=first)
    if found:
        refuse([_told(finding, contract, parts.height, rows) for finding in found], hint)


def _breaks(frame: pl.DataFrame, contract: Contract) -> Iterator[Finding]:
    if frame.height:
        yield from contract_findings(frame, contract)
        yield from promise_findings(frame, contract, None)


def _bare(columns: Iterable[Column], **kept: Any) -> tuple[Column, ...]:
    """Columns that promise nothing but their kinds."""
    nothing: dict[str, Any] = {"role": "ignored", "source": "file", "nullable": True, "unique": False}
    nothing |= dict.fromkeys(("minimum", "maximum", "allowed", "pattern"))
    return tuple(column.model_copy(update=nothing | kept) for column in columns)


def _rowwise(parts: Parts, contract: Contract, first: int) -> list[Finding]:
    """What each row shows by itself."""
    columns = []
    for column, bare in zip(contract.columns, _bare(contract.columns), strict=True):
        promised: dict[str, Any] = {
            part: getattr(column, part) for part in contract.promised(column) if part != "unique"
        }
        columns.append(bare.model_copy(update=promised))
    rules = tuple(rule for rule in contract.rules if rule.severity == "fail")
    wanted = Contract(columns=tuple(columns), rules=rules)
    if not rules and columns == list(_bare(contract.columns)):
        return []
    sums: dict[tuple[str, tuple[str, ...], str], Finding] = {}
    before = 0
    for whole in parts.frames():
        passed = max(0, min(first - before, whole.height))
        frame = whole.slice(passed)
        for finding in _breaks(frame, wanted):
            if finding.severity == "fail":
                key = (finding.rule, finding.columns, finding.reason)
                rows = tuple(row + before + passed - first for row in finding.rows[:FIRST_ROWS])
                seen = sums.get(key, replace(finding, count=0, rows=()))
                both = (*seen.rows, *rows)[:FIRST_ROWS]
                sums[key] = replace(seen, count=seen.count + finding.count, rows=both)
        before += whole.height
    return list(sums.values())


def _repeated(parts: Parts, contract: Contract, first: int) -> Iterator[Finding]:
    """What occurs twice and mustn't."""
    for column in contract.columns:
        if "unique" in contract.promised(column):
            yield from _again(parts, Contract(columns=_bare([column], unique=True)), first)
    for group in contract.unique_together:
        columns = _bare([contract.column(name) for name in group])
        yield from _again(parts, Contract(columns=columns, unique_together=(group,)), first)


def _again(parts: Parts, contract: Contract, first: int) -> Iterator[Finding]:
    frame, rows = _alike(parts, [column.name for column in contract.columns])
    for finding in _breaks(frame, contract):
        numbers = rows[[row - 1 for row in finding.rows]]
        later = numbers.filter(numbers >= first) - first + 1
        if later.len():
            yield replace(finding, count=later.len(), rows=tuple(later.head(FIRST_ROWS).to_list()))


def _alike(parts: Parts, names: Sequence[str]) -> tuple[pl.DataFrame, pl.Series]:
    """The rows, and their indices, whose values in some columns may be those of another row."""
    columns = pl.nth(*(parts.columns.index(name) for name in names))
    hashes = []
    for frame in parts.frames():
        wanted = frame.select(columns)
        known = wanted.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
        hashes.append(wanted.hash_rows().set(~known, None))
    every = pl.concat(hashes)
    again = every.is_duplicated() & every.is_not_null()
    picked, before = [], 0
    for frame in parts.frames():
        picked.append(frame.select(columns).filter(again.slice(before, frame.height)))
        before += frame.height
    return pl.concat(picked), again.arg_true().cast(pl.Int64)


def _told(finding: Finding, contract: Contract, height: int, rows: pl.Series | None) -> Violation:
    """A finding as a refusal says it, with the rows of the file."""
    numbers = list(finding.rows) if rows is None else rows[[row - 1 for row in finding.rows]].to_list()
    places = {column.name: at for at, column in enumerate(contract.columns, start=1)}
    if finding.rule == "contract.rows":
        return told(f"The data set would have {height:,} rows, {_bounds(contract)}")
    if len(finding.columns) == 1 and not finding.rule.startswith("rule."):
        name = finding.columns[0]
        said = _SAID.get(finding.rule) or f"is {finding.reason.split()[0].lower()} the range that is stated"
        return violation(contract.column(name), places[name], said, count=finding.count, rows=numbers)
    where = " and ".join(place(name, places[name]) for name in finding.columns) or "The rows"
    broken = finding.rule.removeprefix("rule.")
    said = "hold the same values together twice" if finding.rule == "contract.unique_together" else f"break {broken}"
    column = places[finding.columns[0]] if finding.columns else None
    return told(f"{where[0].upper()}{where[1:]} {said}", column=column, count=finding.count, rows=numbers)


def _bounds(contract: Contract) -> str:
    bounds = contract.row_bounds
    assert bounds is not None
    least = "" if bounds.minimum is None else f"at least {bounds.minimum:,}"
    most = "" if bounds.maximum is None else f"at most {bounds.maximum:,}"
    return f"and {' and '.join(filter(None, (least, most)))} are stated"
