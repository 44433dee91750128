"""What people and clients read: generated pages in step, runbooks and prompts that name only what exists."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mcp_server
from contracts.repository import PACKAGE, ROOT, modules
from mcp_server import cli, prompts, tools
from mcp_server.core.preparing.plan import STEPS, read_plan
from mcp_server.errors import CODES
from mcp_server.settings import PREFIX, Settings

RUNBOOKS = sorted((PACKAGE / "runbooks").glob("*.md"))
PROMPTS = sorted((ROOT / "prompts").glob("*.md"))
PARTS = ["## What happened", "## How to tell", "## Steps", "## When to ask a person"]
OUTSIDE_SETTINGS = {"REQUIRE_SERVICES"}
MOST_WORDS = 400


def names(files: list[Path]) -> list[str]:
    return [file.stem for file in files]


def tool_names() -> set[str]:
    return {spec.name for spec in tools.specs()}


def commands() -> set[str]:
    (subparsers,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
    return set(subparsers.choices)


def test_the_generated_pages_are_in_step() -> None:
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(
        rf"^## \[{re.escape(mcp_server.__version__)}\] - (unreleased|\d{{4}}-\d\d-\d\d)$", text, re.MULTILINE
    )
    assert "## [Unreleased]" in text


def test_every_error_code_has_a_runbook() -> None:
    assert {code.runbook for code in CODES.values()} <= set(names(RUNBOOKS))


def test_every_runbook_can_be_reached() -> None:
    """From an error code, or by a name in the code of what raises attention."""
    told = {code.runbook for code in CODES.values()}
    for module in modules():
        source = (PACKAGE / module.path).read_text(encoding="utf-8")
        told |= set(re.findall(r"runbook://([a-z-]+)", source))
    assert set(names(RUNBOOKS)) <= told


def test_no_runbook_is_named_that_does_not_exist() -> None:
    for file in [*PACKAGE.rglob("*.py"), *RUNBOOKS, *PROMPTS]:
        named = set(re.findall(r"runbook://([a-z][a-z-]*[a-z])\b", file.read_text(encoding="utf-8")))
        assert named <= {*names(RUNBOOKS), "index"}, file.name


@pytest.mark.parametrize("file", RUNBOOKS, ids=names(RUNBOOKS))
def test_a_runbook_is_short_and_has_its_four_parts(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert re.findall(r"^## .*$", text, re.MULTILINE) == PARTS
    assert re.match(r"# \S", text)
    assert re.search(r"^1\. ", text, re.MULTILINE)
    assert len(text.split()) <= MOST_WORDS


@pytest.mark.parametrize("file", RUNBOOKS, ids=names(RUNBOOKS))
def test_a_runbook_covers_each_code_that_leads_to_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    missing = [code for code, meant in CODES.items() if meant.runbook == file.stem and code not in text]
    assert not missing


@pytest.mark.parametrize("file", [*RUNBOOKS, *PROMPTS], ids=names([*RUNBOOKS, *PROMPTS]))
def test_a_page_names_only_codes_settings_commands_and_tools_that_exist(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert set(re.findall(r"\bE_[A-Z_]+\b", text)) <= set(CODES)
    settings = {PREFIX + name.upper() for name in Settings.model_fields} | {PREFIX + name for name in OUTSIDE_SETTINGS}
    assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", text)) <= settings
    assert set(re.findall(r"`courtside ([a-z]+)", text)) <= commands()
    verbs = {name.split("_")[0] for name in tool_names()}
    named = {name for name in re.findall(r"\b[a-z]+_[a-z_]+\b", text) if name.split("_")[0] in verbs}
    assert named <= tool_names()


def test_every_tool_is_in_a_runbook_or_a_prompt() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in [*RUNBOOKS, *PROMPTS])
    assert {name for name in tool_names() if name not in text} == set()


@pytest.mark.parametrize("page", prompts.load(), ids=lambda page: page.name)
def test_a_prompt_is_well_formed(page: prompts.PromptPage) -> None:
    assert page.name in names(PROMPTS)
    assert page.title
    assert 1 <= len(page.description.split()) <= 60
    arguments = [argument.name for argument in page.arguments]
    assert len(arguments) == len(set(arguments))
    assert set(re.findall(r"\{([a-z_]+)\}", page.body)) == set(arguments)
    assert all(argument.description for argument in page.arguments)


def test_every_prompt_file_is_loaded() -> None:
    assert {page.name for page in prompts.load()} == set(names(PROMPTS))


def test_a_prompt_keeps_no_placeholder_when_it_is_rendered() -> None:
    for page in prompts.load():
        given = {argument.name: "x" for argument in page.arguments if argument.required}
        assert not re.search(r"\{[a-z_]+\}", page.render(**given))


DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


def test_decisions_are_numbered_dated_and_give_reasons() -> None:
    assert [int(file.name[:3]) for file in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    for file in DECISIONS:
        text = file.read_text(encoding="utf-8")
        assert re.match(rf"# {file.name[:3]}: ", text)
        assert re.search(r"^Date: \d{4}-\d\d-\d\d\. Status: \w+", text, re.MULTILINE), file.name
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Why", "Consequences"], file.name


def test_every_step_of_a_plan_stands_with_its_example_in_the_runbook_and_the_guide() -> None:
    runbook = (PACKAGE / "runbooks" / "plan-refused.md").read_text(encoding="utf-8")
    guide = (ROOT / "docs" / "guides" / "prepare.md").read_text(encoding="utf-8")
    for do, kind in STEPS.items():
        example = json.dumps(kind.example)
        assert example in runbook, do
        assert f"## `{do}`" in guide, do
        assert example in guide, do
        _, _, section = guide.partition(f"## `{do}`")
        section, _, _ = section.partition("\n## ")
        shown = re.findall(r'`(\{"do": .*?\})`(?= or|\n)', section)
        assert shown
        for text in shown:
            assert read_plan([json.loads(text)])[0].do == do
