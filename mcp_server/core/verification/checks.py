"""What a verification is made of: named checks, each with its state, and a verdict that fails closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mcp_server.core.canonical import digest
from mcp_server.core.labels import label
from mcp_server.errors import CourtsideError

State = Literal["passed", "warned", "barred", "failed", "not_done"]
Verdict = Literal["passed", "failed"]

REQUIRED = ("digest", "manifest", "signature", "training_form", "golden_rows", "parity")
"""The checks that must have passed before a version may answer."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Args:
        name: stable, such as `digest`.
        state: `warned` has passed, with something to know; `barred` too, but isn't for production; `not_done` is not a
            pass.
        detail: one sentence: what was found, or why it wasn't done.
    """

    name: str
    state: State
    detail: str


def version_digest(form: Mapping[str, Any], contract: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """The digest of a model version: over its serving form, its data's contract and its parameters.

    Raises:
        InvalidInput: a part isn't JSON.
    """
    return digest({"form": dict(form), "contract": dict(contract), "parameters": dict(parameters)})


def check_digest(
    form: Mapping[str, Any], contract: Mapping[str, Any], parameters: Mapping[str, Any], *, expected: str
) -> Check:
    """Whether the stored parts are those that the version was registered with."""
    try:
        found = version_digest(form, contract, parameters)
    except CourtsideError:
        return Check("digest", "failed", "The stored parts aren't JSON.")
    if found != expected:
        return Check("digest", "failed", "The serving form, contract or parameters differ from the registered ones.")
    return Check("digest", "passed", f"{expected} is the digest of the serving form, contract and parameters.")


def check_manifest(manifest: Mapping[str, Any], facts: Mapping[str, object]) -> Check:
    """Whether the manifest states the facts.

    Args:
        manifest: as stored.
        facts: dotted path in the manifest, such as `digests.serving_form`, to what is found now; at least one.
    """
    differing = [path for path, value in facts.items() if _at(manifest, path) != value or value is None]
    if differing or not facts:
        listed = ", ".join(repr(label(path)) for path in differing[:5]) or "nothing to compare"
        return Check("manifest", "failed", f"The manifest doesn't match what is stored: {listed}.")
    return Check("manifest", "passed", f"All {len(facts)} stated facts match what is stored.")


def check_signature(verified: bool | Callable[[], bool] | None) -> Check:
    """Whether the manifest is signed by this installation's key.

    Args:
        verified: the result, or what gives it; None where there is no signature or no key to check it with.
    """
    if verified is None:
        return Check("signature", "not_done", "There is no signature, or no key to check it with.")
    try:
        genuine = verified() if callable(verified) else verified
    except CourtsideError as error:
        return Check("signature", "failed", error.message)
    if genuine is not True:
        return Check("signature", "failed", "The signature isn't one of this installation's key over this manifest.")
    return Check("signature", "passed", "The manifest is signed by this installation's key.")


def not_done(name: str, why: str) -> Check:
    """A check that couldn't be made, said so."""
    return Check(name, "not_done", why)


def verdict(checks: Iterable[Check], *, required: Iterable[str] = REQUIRED) -> Verdict:
    """Pass only where no check failed and every required one passed.

    Args:
        checks: in any order; where a name comes twice, both count.
        required: names; one that is missing or not done fails the version.
    """
    states: dict[str, set[State]] = {}
    for check in checks:
        states.setdefault(check.name, set()).add(check.state)
    if any("failed" in found for found in states.values()):
        return "failed"
    done = all(states.get(name, set()) and states[name] <= {"passed", "warned", "barred"} for name in required)
    return "passed" if done else "failed"


def _at(value: object, path: str) -> object:
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
