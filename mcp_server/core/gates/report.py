"""Outcomes of gates as files that CI systems read."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mcp_server.core.gates.outcome import Outcome
from mcp_server.core.labels import label

_MARKS = {"passed": "passed", "failed": "**failed**", "unknown": "**can't be told**"}


def junit(outcomes: Sequence[Outcome]) -> str:
    """JUnit XML: a test suite for each subject, a test case for each gate."""
    suites = []
    for subject in dict.fromkeys(outcome.subject for outcome in outcomes):
        cases = [outcome for outcome in outcomes if outcome.subject == subject]
        failed = sum(outcome.state != "passed" for outcome in cases)
        suites.append(
            f'  <testsuite name="{_text(subject)}" tests="{len(cases)}" failures="{failed}">\n'
            + "".join(_case(outcome) for outcome in cases)
            + "  </testsuite>\n"
        )
    failed = sum(outcome.state != "passed" for outcome in outcomes)
    head = f'<testsuites name="courtside" tests="{len(outcomes)}" failures="{failed}">\n'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}{"".join(suites)}</testsuites>\n'


def markdown(outcomes: Sequence[Outcome]) -> str:
    """A table for a pull request: what doesn't pass comes first."""
    failed = sum(outcome.state != "passed" for outcome in outcomes)
    ordered = sorted(outcomes, key=lambda outcome: outcome.state == "passed")
    lines = [
        f"## Courtside: {len(outcomes)} gates, {failed} not passed",
        "",
        "| subject | gate | state | figures |",
        "|---|---|---|---|",
        *[
            f"| {_cell(one.subject)} | {_cell(one.gate)} | {_MARKS[one.state]} | {_cell(one.detail)} |"
            for one in ordered
        ],
    ]
    return "\n".join(lines) + "\n"


def _case(outcome: Outcome) -> str:
    head = f'    <testcase classname="{_text(outcome.subject)}" name="{_text(outcome.gate)}"'
    if outcome.state == "passed":
        return f"{head}>\n      <system-out>{_text(outcome.detail)}</system-out>\n    </testcase>\n"
    kind = "can't be told" if outcome.state == "unknown" else "failed"
    return f'{head}>\n      <failure type="{_text(kind)}" message="{_text(outcome.detail)}"/>\n    </testcase>\n'


def _text(text: str) -> str:
    # XML 1.0 has no way to write most control characters, escaped or not.
    return escape(label(text, 2_000))


_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#!~&"})


def _cell(text: str) -> str:
    return label(text, 2_000).translate(_SPECIAL)
