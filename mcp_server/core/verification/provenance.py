"""Where a model version comes from: whether its data version is what it was, and by which code it was trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mcp_server.core.verification.checks import Check

LIBRARIES = ("numpy", "scikit-learn", "polars", "skops")
"""Whose versions a training records, and a verification holds against those that are there."""

_VERSION = re.compile(r"[0-9A-Za-z.+-]{1,32}")


def check_provenance(
    manifest: Mapping[str, Any], *, data: Mapping[str, object], genuine: bool, code: str, libraries: Mapping[str, str]
) -> Check:
    """Whether the data version is the one that the signed manifest names, and what trained the model.

    Args:
        manifest: as signed.
        data: what is stored now under the manifest's names, such as `digest`, `artefact` and `rows`.
        genuine: whether the record of the data version has the digest that it was stored under.
        code, libraries: the versions that run here.
    """
    stated = manifest.get("data", {})
    if not genuine:
        return Check("provenance", "failed", "The record of its data version was changed.")
    if any(stated.get(name) != value for name, value in data.items()):
        return Check("provenance", "failed", "Its data version isn't the one that it was trained on.")
    trained = manifest.get("code")
    if not isinstance(trained, str):
        return Check("provenance", "warned", "Its data version is what it was; what trained it isn't recorded.")
    environment = manifest.get("environment", {})
    differing = [name for name, here in libraries.items() if environment.get(name) not in (None, here)]
    others = f" Other versions here of: {', '.join(differing)}." if differing else ""
    if trained != code:
        other = f"version {trained}" if _VERSION.fullmatch(trained) else "another version"
        told = f"Its data version is what it was. It was trained by {other} of Courtside; here is {code}."
        return Check("provenance", "warned", told + others)
    told = f"Its data version is what it was, and version {code} of Courtside trained it, as it runs here."
    return Check("provenance", "passed", told + others)
