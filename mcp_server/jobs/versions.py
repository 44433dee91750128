"""Which jobs this program can run, and go on with."""

from __future__ import annotations

RUNTIME_VERSION = "3"
"""Of the jobs' steps: raised when the name, order or meaning of a step changes. A job that an older version began
starts again then, from its first step; with the same version it goes on after the last completed one."""

ACCEPTED = ("1", "2", RUNTIME_VERSION)
"""Versions whose waiting jobs have arguments that this program understands."""


def is_newer(version: str, other: str) -> bool:
    """Whether a release of the program comes after another.

    >>> is_newer("0.10.0", "0.9.1"), is_newer("0.9.1", "0.9.1"), is_newer("0.9", "0.9.1")
    (True, False, False)
    """
    return _numbers(version) > _numbers(other)


def _numbers(version: str) -> tuple[int, ...]:
    parts = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        parts.append(int(digits or 0))
    return tuple(parts)
