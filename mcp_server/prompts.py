"""Prompts from Markdown files: front matter (name, title, description, arguments) and a body with {placeholders}."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import PromptArgument

from mcp_server.errors import BadConfiguration, InvalidInput

LONGEST_VALUE = 200
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class PromptPage:
    """One prompt file."""

    name: str
    title: str
    description: str
    arguments: tuple[PromptArgument, ...]
    body: str

    def render(self, **values: str) -> str:
        """The body with its placeholders filled; an optional one that isn't given becomes a dash."""
        for name, value in values.items():
            if len(value) > LONGEST_VALUE:
                raise InvalidInput(
                    f"{name} is longer than {LONGEST_VALUE} characters.", hint="Give a name, not a text."
                )
        return _PLACEHOLDER.sub(lambda found: values.get(found[1]) or "—", self.body)

    def registered(self) -> Prompt:
        return Prompt(
            name=self.name,
            title=self.title,
            description=self.description,
            arguments=list(self.arguments),
            fn=self.render,
            context_kwarg=None,
        )


def load() -> list[PromptPage]:
    """Every prompt, by name.

    Raises:
        BadConfiguration: a file's front matter is malformed.
    """
    return sorted((_parse(file) for file in _files()), key=lambda page: page.name)


def _files() -> Iterable[Traversable]:
    installed = resources.files("mcp_server") / "_prompts"
    folder: Traversable = installed if installed.is_dir() else Path(__file__).parent.parent / "prompts"
    return [file for file in folder.iterdir() if file.name.endswith(".md")]


def _parse(file: Traversable) -> PromptPage:
    text = file.read_text(encoding="utf-8")
    parts = text.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise BadConfiguration(f"prompts/{file.name} has no front matter.", hint="Begin it with --- lines.")
    fields: dict[str, str] = {}
    arguments: list[dict[str, str]] = []
    for line in parts[1].splitlines():
        found = re.match(r"(\s*)(- )?([a-z]+):\s*(.*)$", line)
        if not found:
            continue
        indent, dash, name, value = found.groups()
        value = value.strip().strip('"')
        if dash:
            arguments.append({name: value})
        elif indent and arguments:
            arguments[-1][name] = value
        else:
            fields[name] = value
    if not {"name", "title", "description"} <= fields.keys():
        raise BadConfiguration(f"prompts/{file.name} lacks name, title or description.", hint="Add the missing line.")
    return PromptPage(
        name=fields["name"],
        title=fields["title"],
        description=fields["description"],
        arguments=tuple(
            PromptArgument(
                name=argument["name"],
                description=argument.get("description"),
                required=argument.get("required") == "true",
            )
            for argument in arguments
        ),
        body=parts[2].strip() + "\n",
    )
