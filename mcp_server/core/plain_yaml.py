"""YAML of strangers as plain values: no objects, no aliases, and no text that breaks the reader."""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain values only, and no aliases: a few lines of them can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("alias")
        return super().compose_node(parent, index)


class _UniqueLoader(_Loader):
    """No key twice, of which one would silently not count."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        if len(found) != len(node.value):
            raise yaml.YAMLError("key twice")
        return found


def read_plain_yaml(text: str, *, unique: bool = False) -> Any:
    """Read a document; JSON is one too.

    Args:
        unique: whether a key that comes twice in an object is refused.
    Raises:
        ValueError: it isn't YAML, holds an alias or a tag that its value doesn't fit, or is nested too deep.

    >>> read_plain_yaml("a: [1, x]")
    {'a': [1, 'x']}
    """
    try:
        # Both loaders make plain values only.
        return yaml.load(text, Loader=_UniqueLoader if unique else _Loader)  # noqa: S506  # nosec B506
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError, LookupError):
        # Beside its own errors the library lets through those of what it calls, as for `!!bool x` and `!!timestamp x`.
        raise ValueError("not plain YAML") from None
