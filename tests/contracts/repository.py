"""What the contract tests read: the repository's files and the package's syntax trees."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mcp_server"


@dataclass(frozen=True)
class Module:
    """One file of the package.

    Args:
        path: from the package's folder, such as `core/drift/univariate.py`.
    """

    path: str
    tree: ast.Module

    def within(self, *places: str) -> bool:
        """Whether it is one of these modules, or below one of these folders."""
        return any(self.path == f"{place}.py" or self.path.startswith(f"{place}/") for place in places)

    def calls(self) -> Iterator[ast.Call]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    def imports(self) -> Iterator[tuple[str, int]]:
        """Every absolutely imported name with its line; `from a.b import c` counts as `a.b.c`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


@functools.cache
def modules() -> tuple[Module, ...]:
    """The package as it stands in the repository."""
    files = sorted(PACKAGE.rglob("*.py"))
    return tuple(Module(file.relative_to(PACKAGE).as_posix(), ast.parse(file.read_bytes())) for file in files)


@functools.cache
def tracked() -> tuple[Path, ...]:
    """Every file that belongs to the repository: what git has, or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return tuple(file for name in names if (file := ROOT / name).is_file())


def dotted(node: ast.expr) -> str:
    """`a.b.c` for a chain of names; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""
