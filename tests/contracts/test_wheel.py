"""The built wheel: what is in it, that it's the same twice, and that the tests saw it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mcp_server
from contracts.repository import PACKAGE, ROOT, tracked

INSTALLED = os.environ.get("TEST_INSTALLED") == "1"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same tree built twice."""
    built = []
    for _ in range(2):
        folder = tmp_path_factory.mktemp("wheel")
        command = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        built += folder.glob("*.whl")
    return built


def shipped() -> dict[str, Path]:
    """Where each file of the package and each prompt belongs in the wheel."""
    places = {}
    for file in tracked():
        if file.is_relative_to(PACKAGE):
            places[file.relative_to(ROOT).as_posix()] = file
        elif file.is_relative_to(ROOT / "prompts"):
            places["mcp_server/_prompts/" + file.relative_to(ROOT / "prompts").as_posix()] = file
    return places


def test_the_wheel_holds_the_package_and_the_prompts_and_nothing_else(wheels: list[Path]) -> None:
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert names == set(shipped())
        for name, file in shipped().items():
            assert wheel.read(name) == file.read_bytes(), name


@pytest.mark.parametrize("part", ["_prompts/", "runbooks/", "charts/fonts/", "storage/migrations/"])
def test_the_wheel_carries_what_is_not_code(wheels: list[Path], part: str) -> None:
    with zipfile.ZipFile(wheels[0]) as wheel:
        assert [name for name in wheel.namelist() if name.startswith(f"mcp_server/{part}")]


def test_the_wheel_says_what_it_is(wheels: list[Path]) -> None:
    with zipfile.ZipFile(wheels[0]) as wheel:
        info = f"courtside-{mcp_server.__version__}.dist-info"
        assert b"courtside = mcp_server.cli:main" in wheel.read(f"{info}/entry_points.txt")
        metadata = wheel.read(f"{info}/METADATA").decode()
        assert "License-Expression: Apache-2.0" in metadata
        assert b"Apache License" in wheel.read(f"{info}/licenses/LICENSE")
        assert b"SIL OPEN FONT LICENSE" in wheel.read(f"{info}/licenses/mcp_server/charts/fonts/OFL.txt").upper()


def test_the_same_tree_gives_the_same_bytes(wheels: list[Path]) -> None:
    first, second = (hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels)
    assert first == second


def test_the_tests_see_the_package_that_they_should() -> None:
    here = Path(mcp_server.__file__).resolve()
    assert here.is_relative_to(Path(sys.prefix).resolve()) if INSTALLED else here.is_relative_to(ROOT)


def test_the_package_that_is_tested_is_the_one_in_the_tree() -> None:
    if not INSTALLED:
        return  # then it is the tree itself: see the test above
    home = Path(mcp_server.__file__).parent.parent
    for name, file in shipped().items():
        assert (home / name).read_bytes() == file.read_bytes(), f"{name} differs: make test builds again"
