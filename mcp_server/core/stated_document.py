"""Files in which a person states something: YAML, read strictly, refused with the place that is wrong."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from mcp_server.core.labels import label
from mcp_server.core.plain_yaml import read_plain_yaml
from mcp_server.errors import InvalidInput

M = TypeVar("M", bound=BaseModel)

MOST_BYTES = 256_000


def read_stated(text: str, form: type[M], *, called: str, parts: str, hint: str) -> M:
    """Read a document.

    Args:
        text: YAML, or JSON, which is YAML too.
        form: a strict model of it.
        called: what it's called in a sentence, such as `gates`; in the plural.
        parts: what its top level holds, for who wrote something else.
    Raises:
        InvalidInput: it can't be read, or names what isn't known.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise InvalidInput(f"The {called} are larger than {MOST_BYTES // 1_000} kB.", hint=hint)
    try:
        raw = read_plain_yaml(text, unique=True)
    except ValueError:
        raise InvalidInput(f"The {called} aren't YAML with each key once and without aliases.", hint=hint) from None
    if not isinstance(raw, dict):
        raise InvalidInput(f"The {called} must be an object with {parts}.", hint=hint)
    try:
        return form.model_validate(raw)
    except RecursionError:
        raise InvalidInput(f"The {called} are nested too deep.", hint=hint) from None
    except ValidationError as wrong:
        first = wrong.errors(include_input=False, include_url=False)[0]
        place = ".".join(label(str(part)) for part in first["loc"] if part != "[key]") or "the whole"
        reason = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"The {called} can't be used at {place}: {reason}.", hint=hint) from None
