"""How a value that names a person is compared; free of polars, as the server process compares too."""

from __future__ import annotations


def written(value: str | int | float) -> str:
    """How a value is compared: as text, without spaces around it and without case.

    >>> written(" Ann@Example.ORG "), written(7), written(7.0)
    ('ann@example.org', '7', '7')
    """
    text = str(value).strip()
    if text.endswith(".0") and text[:-2].lstrip("-").isdigit():
        text = text[:-2]
    return text.casefold()
