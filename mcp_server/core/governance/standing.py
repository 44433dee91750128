"""Stages, owners and tags: what each may be, and how a search names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from mcp_server.core.labels import closest, label
from mcp_server.errors import InvalidInput

Stage = Literal["candidate", "staging", "production", "archived"]
Approvable = Literal["staging", "production"]
"""The stages that a policy can guard and that are approved for; anything may go back to the others."""

STAGES: tuple[Stage, ...] = get_args(Stage)
FIRST: Stage = "candidate"
MOST_TAGS = 20

# Both are words that can stand among our own: no space, so no sentence.
TAG_KEY = r"[a-z][a-z0-9_.-]{0,31}"
_KEY = re.compile(TAG_KEY)
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,63}")
_OWNER = re.compile(r"local|key:[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def check_tags(tags: Mapping[str, str]) -> None:
    """Whether tags can be kept.

    Args:
        tags: all that a version has.
    Raises:
        InvalidInput: a key or value isn't of the form that is allowed, or there are too many.

    >>> check_tags({"team": "risk"})
    """
    for key, value in tags.items():
        if _KEY.fullmatch(key) is None:
            raise InvalidInput(
                f"The tag {label(key)!r} isn't a key.", hint="Small letters, digits, _ . -, at most 32, a letter first."
            )
        if _VALUE.fullmatch(value) is None:
            raise InvalidInput(
                f"The tag {key} can't have the value {label(value)!r}.",
                hint="Letters, digits and . _ : / @ + -, at most 64, without spaces.",
            )
    if len(tags) > MOST_TAGS:
        raise InvalidInput(f"A version has at most {MOST_TAGS} tags.", hint="Remove one by giving it null.")


def check_owner(owner: str, keys: frozenset[str]) -> None:
    """Whether someone can own a version.

    Args:
        owner: a principal's id.
        keys: the names of the API keys that this server knows; with none, any name is taken.
    Raises:
        InvalidInput: it isn't a principal's id, or no principal has it.

    >>> check_owner("key:ann", frozenset({"ann"}))
    """
    if _OWNER.fullmatch(owner) is None:
        raise InvalidInput(
            f"{label(owner)!r} isn't a principal's id.", hint="An owner is local, or key: and the name of an API key."
        )
    name = owner.removeprefix("key:")
    if owner != "local" and keys and name not in keys:
        raise InvalidInput(
            f"There is no API key named {label(name)!r}.",
            hint=closest(name, keys) or "COURTSIDE_API_KEYS names the keys.",
        )


@dataclass(frozen=True, slots=True)
class Filters:
    """What a search asks of a version's standing.

    Args:
        text: what is left of the query, or None.
    """

    text: str | None = None
    stage: Stage | None = None
    owner: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def parse_filters(query: str | None) -> Filters:
    """The words of a query that begin with `stage:`, `owner:` or `tag:` (`tag:key=value`), and the rest.

    Raises:
        InvalidInput: an unknown stage or condition, or a tag that isn't key=value.

    >>> parse_filters("games stage:production tag:team=risk")
    Filters(text='games', stage='production', owner=None, tags={'team': 'risk'})
    """
    rest: list[str] = []
    stage: Stage | None = None
    owner: str | None = None
    tags: dict[str, str] = {}
    for word in (query or "").split(" "):
        what, colon, value = word.partition(":")
        if "=" in what or (colon and what not in ("stage", "owner", "tag")):
            raise InvalidInput(
                f"Versions aren't found by {label(word)!r}.",
                hint="Such as games stage:production owner:local tag:team=risk; conditions such as model=games are "
                "for runs, with `runs` true.",
            )
        if not colon:
            rest.append(word)
        elif what == "stage":
            stage = _stage(value)
        elif what == "owner":
            owner = value
        else:
            key, equals, wanted = value.partition("=")
            if not equals or not key or not wanted:
                raise InvalidInput(f"{label(word)!r} isn't tag:key=value.", hint="Such as tag:team=risk.")
            tags[key] = wanted
    return Filters(" ".join(rest).strip() or None, stage, owner, tags)


def _stage(value: str) -> Stage:
    for stage in STAGES:
        if stage == value:
            return stage
    raise InvalidInput(f"There is no stage {label(value)!r}.", hint=f"The stages are {', '.join(STAGES)}.")
