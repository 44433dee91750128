"""The repository itself: no machine in its text, pinned workflows, the same commands everywhere."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.repository import ROOT, tracked

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# Written in parts, so that this file doesn't hold what it looks for.
MACHINE = ["/" + "work/", "/" + "root/", "/" + "tmp/", "/opt/" + "wheels"]
HOSTS = [
    "pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "registry.yarnpkg" + ".com",
    "index" + "-url", "find" + "-links", '"res' + 'olved"',
]  # fmt: skip
SECRETS = [r"-----BEGIN [A-Z ]*PRIVATE" + r" KEY-----", r"\bghp_[A-Za-z0-9]{36}\b", r"\bAKIA[0-9A-Z]{16}\b"]


def text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""  # fonts and pictures


@pytest.mark.parametrize("kind", [MACHINE, HOSTS], ids=["machine paths", "registry hosts"])
def test_no_file_names_a_machine_or_a_registry(kind: list[str]) -> None:
    problems = []
    for file in tracked():
        if file.name == "Makefile" and kind is HOSTS:
            continue  # `make lock` tells uv to leave the index out, by the option's name
        text = text_of(file)
        problems += [f"{file.relative_to(ROOT)}: {part}" for part in kind if part in text]
    assert not problems, "\n".join(problems)


def test_no_file_holds_a_secret() -> None:
    for file in tracked():
        for pattern in SECRETS:
            assert not re.search(pattern, text_of(file)), file.relative_to(ROOT)


def test_no_file_is_large() -> None:
    large = [file.relative_to(ROOT).as_posix() for file in tracked() if file.stat().st_size > 1_000_000]
    assert not large


# Workflows -------------------------------------------------------------------------------------------------------


def load(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_has_no_more_rights_than_it_needs(file: Path) -> None:
    workflow = load(file)
    assert workflow["permissions"] == {}
    assert "concurrency" in workflow
    assert "pull_request_target" not in workflow[True]  # YAML reads `on` as true
    for job in workflow["jobs"].values():
        assert job["permissions"] == {"contents": "read"}
        assert 0 < job["timeout-minutes"] <= 60
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_every_action_and_image_is_pinned_by_digest(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    uses = re.findall(r"uses:\s*(\S.*)$", text, re.MULTILINE)
    assert uses
    for each in uses:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", each), each
    for image in re.findall(r"image:\s*(\S+)", text):
        assert re.search(r"@sha256:[0-9a-f]{64}$", image), image


def test_the_workflow_runs_what_is_run_here_on_every_python() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "ci.yml")
    jobs = workflow["jobs"]
    assert jobs["check"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    commands = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    assert any(".ci/run" in command for command in commands)
    (measured,) = [step["env"]["COVERAGE"] for step in jobs["check"]["steps"] if ".ci/run" in step.get("run", "")]
    assert "== '3.11' && '1'" in measured, "one of them holds the ratchet of coverage"
    assert any("make audit" in command for command in commands)
    assert any("make build" in command for command in commands)


def test_ci_runs_every_check_and_the_tests_last() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "set -euo pipefail" in script
    assert "COURTSIDE_REQUIRE_SERVICES=1" in script
    (checks,) = re.findall(r"^for name in (.*?); do", script, re.MULTILINE)
    assert checks.split() == ["lint", "types", "contracts", "docs-check", "security", "conformance"]
    assert script.index("step test ARGS=") > script.index("for name in")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


# What a person meets first -----------------------------------------------------------------------------------------


def test_the_readme_is_short_and_gives_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    for part in ("make demo", "make test", "<!-- tools -->", "docs/settings.md"):
        assert part in text, part


def test_every_link_in_a_page_leads_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "[name of copyright owner]" not in text


def test_no_file_is_left_out_of_the_coverage() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]
    assert settings["run"]["branch"] is True
    assert settings["report"]["fail_under"] >= 91
    # The whole installed package is measured; nothing of it is left out.
    assert settings["report"]["include"] == ["*/site-packages/mcp_server/*"]
    assert not {"omit", "include", "exclude_lines", "exclude_also"} & {*settings["run"]}
    assert not {"omit", "exclude_lines", "exclude_also"} & {*settings["report"]}
    pragma = "pragma: no " + "cover"
    assert not [file.relative_to(ROOT).as_posix() for file in tracked() if pragma in text_of(file)]


def test_the_node_tools_are_pinned_and_run_no_scripts() -> None:
    folder = ROOT / "tests" / "conformance"
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    locked = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for name, version in {**wanted["dependencies"], **wanted["optionalDependencies"]}.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", version), name
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all(part.get("integrity") for place, part in locked.items() if place)
    assert "--ignore-scripts" in (folder / "suite.py").read_text(encoding="utf-8")
