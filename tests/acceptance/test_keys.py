"""`courtside keys`: what a person does about the key that signs, and what becomes of the models meanwhile."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from acceptance.test_tampering import ROW, code_of, in_server
from contracts.repository import ROOT
from mcp_server import cli
from mcp_server import settings as settings_of
from mcp_server.workflows import auditing

PAGE = ROOT / "docs" / "guides" / "keys.md"


@pytest.fixture
def env(two_versions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in two_versions.items():
        monkeypatch.setenv(name, value)
    return two_versions


@pytest.fixture
def courtside(env, capsys: pytest.CaptureFixture[str]):
    """Run a command in this process: exit code, and what it said."""

    def run(*arguments: str) -> tuple[int, str]:
        code = cli.main(arguments)
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def listed(courtside) -> dict[str, str]:
    """Every key's id with its line, the oldest first."""
    code, said = courtside("keys", "list")
    assert code == 0, said
    return {line.split()[0]: line for line in said.splitlines()}


def answers(env, *references: str) -> list[str]:
    async def scene(_, client):
        return [await code_of(client, "predict", model=reference, rows=[ROW]) for reference in references]

    return in_server(env, scene)


def digest_of(env, reference: str) -> str:
    async def scene(_, client):
        found = await client.call_tool("verify_model", {"model": reference})
        return found.structured_content["digest"]

    return in_server(env, scene)


def test_what_was_signed_answers_after_a_rotation_and_not_after_a_revocation_until_its_owner_signs_it(env, courtside):
    (old,) = list(listed(courtside))[-1:]
    assert courtside("keys", "revoke", old, "--why", "lost")[0] == 2
    code, said = courtside("keys", "rotate")
    assert code == 0, said
    assert "signs from now on" in said
    new = list(listed(courtside))[-1]
    assert new != old
    assert answers(env, "y@1", "y@2") == ["ok", "ok"]

    code, said = courtside("keys", "revoke", old, "--why", "a laptop was lost")
    assert code == 0, said
    lines = listed(courtside)
    assert "a laptop was lost" in lines[old]
    assert "y@1" in lines[old]
    assert answers(env, "y@1", "y@2") == ["E_UNVERIFIED", "E_UNVERIFIED"]

    async def refused(_, client):
        found = await client.call_tool("verify_model", {"model": "y@1"})
        checks = {check["name"]: check for check in found.structured_content["checks"]}
        assert found.structured_content["verdict"] == checks["signature"]["state"] == "failed"
        assert re.search(rf"key {old}, which was revoked on \d{{4}}-", checks["signature"]["detail"])

    in_server(env, refused)
    assert courtside("keys", "export", "--model", "y@1")[0] == 2

    digest = digest_of(env, "y@1")
    code, said = courtside("keys", "sign", "y@1")
    assert (code, digest in said) == (2, True), said
    assert courtside("keys", "sign", "y@1", "--digest", "sha256:" + "0" * 64)[0] == 2
    assert answers(env, "y@1") == ["E_UNVERIFIED"]
    for reference in ("y@1", "y@2"):
        code, said = courtside("keys", "sign", reference, "--digest", digest_of(env, reference))
        assert code == 0, said
    assert answers(env, "y@1", "y@2") == ["ok", "ok"]
    assert "y@1" in listed(courtside)[new]
    assert asyncio.run(auditing.verify(settings_of.load(env))).problems == ()


def test_a_version_is_checked_without_this_program_as_the_guide_says(env, courtside, tmp_path: Path):
    code, said = courtside("keys", "export", "--model", "y@2", "--to", str(tmp_path))
    assert code == 0, said
    assert {Path(line).name for line in said.splitlines()} == {"manifest.json", "manifest.sig", "key.pem"}
    assert courtside("keys", "export") == (0, (tmp_path / "key.pem").read_text())

    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert "mcp_server" not in snippet

    def checked() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    done = checked()
    assert (done.returncode, done.stdout.startswith("y@2 sha256:")) == (0, True), done.stderr
    manifest = (tmp_path / "manifest.json").read_bytes()
    (tmp_path / "manifest.json").write_bytes(manifest.replace(b'"version":2', b'"version":3'))
    assert checked().returncode != 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["revoke", "0" * 16, "--why", "lost"], "E_NOT_FOUND"),
        (["revoke", "0" * 16, "--why", "\x1b[31m"], "E_ARG"),
        (["export", "--key", "x"], "E_NOT_FOUND"),
        (["sign", "nothing@1", "--digest", "sha256:0"], "E_NOT_FOUND"),
    ],
)
def test_what_is_not_there_is_refused_with_the_next_step(courtside, arguments, says):
    code, said = courtside("keys", *arguments)
    assert (code, says in said, "Next:" in said) == (2, True, True), said
