"""This server in a client's configuration file: merged, with absolute paths, as a whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mcp_server.errors import BadConfiguration
from mcp_server.settings import user_folder

ClientName = Literal["claude-desktop", "claude-code"]


def configured() -> list[str]:
    """The clients whose configuration names this server."""
    found = []
    for client in get_args(ClientName):
        path = _configuration(client)
        try:
            servers = _existing(path).get("mcpServers", {})
        except BadConfiguration:
            continue
        if isinstance(servers, dict) and "courtside" in servers:
            found.append(client)
    return found


@dataclass(frozen=True, slots=True)
class Plan:
    """A client's configuration file as it will be."""

    path: Path
    text: str
    backup: Path | None
    folders: tuple[Path, ...]

    def write(self) -> None:
        """Replace the file as a whole; the one before is kept beside it."""
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.backup is not None:
            shutil.copy2(self.path, self.backup)
        fresh = self.path.with_name(self.path.name + ".tmp")
        # The file may hold other servers' tokens: never wider than it was.
        mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o600
        with open(fresh, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(self.text)
        os.replace(fresh, self.path)


def plan_install(client: ClientName, allowed: Sequence[str]) -> Plan:
    """Merge this server into a client's configuration, with absolute paths.

    Args:
        client: `claude-desktop` or `claude-code` (the project file `.mcp.json` of the current folder).
        allowed: folders to allow, made where they don't exist; the default folder stays when empty.
    Raises:
        BadConfiguration: the existing file isn't a JSON object, or a path isn't a folder's.
    """
    path = _configuration(client)
    folders = [Path(folder).expanduser().resolve() for folder in allowed]
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise BadConfiguration(f"{folder} isn't a folder.", hint="Name another with --allow.")
    # -P: what lies in the folder that the client starts it from isn't imported.
    entry: dict[str, Any] = {"command": sys.executable, "args": ["-P", "-m", "mcp_server", "serve"]}
    for folder in folders:
        entry["args"] += ["--allow", str(folder)]
    if client == "claude-code":
        entry = {"type": "stdio", **entry}
    document = _existing(path)
    servers = document.setdefault("mcpServers", {})
    if not isinstance(servers, dict):
        raise BadConfiguration(f"mcpServers in {path} isn't an object.", hint="Mend or move the file, then try again.")
    servers["courtside"] = entry
    backup = path.with_name(path.name + ".before-courtside")
    wanted = path.exists() and not backup.exists()  # the first copy is the one from before us
    return Plan(path, json.dumps(document, indent=2) + "\n", backup if wanted else None, tuple(folders))


def _configuration(client: str) -> Path:
    if client == "claude-code":
        return Path.cwd() / ".mcp.json"
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support" / "Claude"
    elif sys.platform == "win32":
        folder = user_folder("APPDATA", "AppData", "Roaming") / "Claude"
    else:
        folder = user_folder("XDG_CONFIG_HOME", ".config") / "Claude"
    return folder / "claude_desktop_config.json"


def _existing(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8") or "{}")
    except (ValueError, OSError):
        document = None
    if not isinstance(document, dict):
        raise BadConfiguration(f"{path} isn't a JSON object.", hint="Mend or move the file, then try again.")
    return document
