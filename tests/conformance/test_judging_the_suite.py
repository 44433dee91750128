"""The judge of the official suite: what it must not let through."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import suite

STATUSES = st.sampled_from(["SUCCESS", "FAILURE", "WARNING", "SKIPPED", "INFO"])


def one(*statuses: str) -> suite.Verdict:
    return suite.judge({"ping": [{"status": status} for status in statuses]}, ["ping"])[0]


@given(st.lists(STATUSES))
def test_a_scenario_passes_only_when_something_succeeded_and_nothing_else_happened(statuses: list[str]) -> None:
    assert one(*statuses).passed == ("SUCCESS" in statuses and not {"FAILURE", "WARNING", "SKIPPED"} & set(statuses))


def test_a_scored_scenario_that_never_ran_has_failed() -> None:
    (verdict,) = suite.judge({}, ["ping"])
    assert verdict.scored
    assert not verdict.passed


def test_a_scenario_that_is_not_scored_is_told_apart() -> None:
    verdicts = suite.judge({"extra": [{"status": "FAILURE"}], "ping": [{"status": "SUCCESS"}]}, ["ping"])
    assert [(verdict.scenario, verdict.scored, verdict.passed) for verdict in verdicts] == [
        ("ping", True, True),
        ("extra", False, False),
    ]


def test_results_are_found_by_scenario(tmp_path: Path) -> None:
    folder = tmp_path / "server-server-sse-polling-2026-11-23T14-33-55-657Z"
    folder.mkdir()
    (folder / "checks.json").write_text('[{"status": "SUCCESS"}]')
    assert suite.read_checks(tmp_path) == {"server-sse-polling": [{"status": "SUCCESS"}]}


@pytest.fixture(scope="module")
def installed() -> None:
    try:
        suite.install()
        suite.node()
    except suite.Unavailable as missing:
        pytest.skip(str(missing))


@pytest.mark.services
@pytest.mark.usefixtures("installed")
def test_the_frozen_lists_are_the_ones_that_are_promised() -> None:
    assert [len(suite.scored_scenarios(revision)) for revision in suite.REVISIONS] == [30, 37]


@pytest.mark.services
@pytest.mark.usefixtures("installed")
def test_nothing_passes_where_there_is_no_server(tmp_path: Path) -> None:
    """The control of `make conformance`: the suite itself reports some scenarios as passed here."""
    verdicts = suite.run("2026-07-28", "http://127.0.0.1:9/mcp", tmp_path)
    assert not [verdict.scenario for verdict in verdicts if verdict.scored and verdict.passed]
