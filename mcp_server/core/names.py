"""The names that people give to data sets and models, and references such as `games@3`."""

from __future__ import annotations

import re
import unicodedata

from mcp_server.errors import DataRejected

MAX_LENGTH = 64
FOREIGN = "mlflow."
PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What a name looks like; also the pattern in the tools' schemas."""

_NAME = re.compile(PATTERN)
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_RULE = "Use 1 to 64 of the letters a-z and A-Z, digits, '.', '_' and '-', beginning with a letter or digit"


def check_name(text: str) -> str:
    """Accept a name, or say what a good one would be.

    ASCII only, so that no two names look alike; no name that a file system reads otherwise.

    Returns:
        the name, unchanged.
    Raises:
        DataRejected: `E_NAME`; the hint holds a usable name where one can be made from the text.

    >>> check_name("nba-games_2015")
    'nba-games_2015'
    """
    if _NAME.fullmatch(text) and not text.endswith(".") and not _DEVICE.fullmatch(text):
        return text
    near = suggest_name(text)
    raise DataRejected(
        "E_NAME",
        _reason(text),
        hint=f"{_RULE}{f', such as {near}' if near else ', such as nba-games'}.",
    )


def suggest_name(text: str) -> str | None:
    """A usable name near the text (say, a file's name), or None where nothing of it can be kept.

    >>> suggest_name("Été 2015 (final).csv")
    'Ete-2015-final-.csv'
    """
    plain = unicodedata.normalize("NFKD", text[:256])
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).lstrip("._-")[:MAX_LENGTH].rstrip(".-_")
    if _DEVICE.fullmatch(plain):
        plain = f"data-{plain}"[:MAX_LENGTH]
    return plain if _NAME.fullmatch(plain) else None


def fold_name(text: str) -> str:
    """The form under which two names are the same name: compatibility-composed and case-folded.

    >>> fold_name("NBA-Games") == fold_name("nba-games")
    True
    """
    return unicodedata.normalize("NFKC", text).casefold()


def foreign_name(text: str) -> str:
    """The name under which models of another system stand, near their own; no model of ours can have it.

    >>> foreign_name("cancer study"), foreign_name("mlflow.x"), foreign_name("…"), len(foreign_name("a" * 99))
    ('mlflow.cancer-study', 'mlflow.mlflow.x', 'mlflow.unnamed', 64)
    """
    near = FOREIGN + (suggest_name(text) or "unnamed")
    return near[:MAX_LENGTH].rstrip(".-_")


def check_own_name(text: str) -> str:
    """As `check_name`, of a model that is made here.

    Raises:
        DataRejected: `E_NAME`, also for a name of another system's models.
    """
    check_name(text)
    if fold_name(text).startswith(FOREIGN):
        raise DataRejected(
            "E_NAME",
            f"Names that begin with {FOREIGN} are those of models whose runs were imported from MLflow.",
            hint="Leave that beginning out.",
        )
    return text


def parse_reference(text: str) -> tuple[str, int | None]:
    """Split `name` or `name@version`.

    Returns:
        the name and the version (>= 1), or None where the text names no version.
    Raises:
        DataRejected: `E_NAME`; the name or the version isn't well formed.

    >>> parse_reference("games@3"), parse_reference("games")
    (('games', 3), ('games', None))
    """
    name, at, version = text.partition("@")
    check_name(name)
    if not at:
        return name, None
    if not _VERSION.fullmatch(version):
        raise DataRejected(
            "E_NAME",
            "The version after @ isn't a whole number of at least 1.",
            hint=f"Write {name}@1 for the first version, or {name} alone.",
        )
    return name, int(version)


def reference(name: str, version: int) -> str:
    """The text that `parse_reference` reads.

    >>> reference("games", 3)
    'games@3'
    """
    return f"{name}@{version}"


def _reason(text: str) -> str:
    if not text.strip():
        return "The name is empty."
    if len(text) > MAX_LENGTH:
        return f"The name has {len(text)} characters; {MAX_LENGTH} are allowed."
    if text.isascii():
        if _DEVICE.fullmatch(text):
            return "The name is reserved by some file systems."
        return "The name holds a character that isn't allowed, or begins or ends with a wrong one."
    if _NAME.fullmatch(unicodedata.normalize("NFKC", text)):
        return "The name holds characters that only look like plain letters or digits."
    if any(letter.isalpha() and not letter.isascii() for letter in text):
        return "The name holds letters outside a-z and A-Z, which can look like them and be others."
    return "The name holds a character that isn't allowed."
