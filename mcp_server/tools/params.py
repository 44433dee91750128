"""Parameters that several tools share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

# The full rule for names is `core.names.check_name`; this is its short form for the schema. References have none:
# `core.names.parse_reference` says more of what is wrong with one, and a pattern costs every conversation.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

NewName = Annotated[str, Field(pattern=NAME, max_length=64)]
DatasetRef = Annotated[str, Field(max_length=74)]
ModelRef = Annotated[str, Field(max_length=74)]
Column = Annotated[str, Field(max_length=256)]
Expression = Annotated[str, Field(max_length=500)]
Key = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]
Limit = Annotated[int, Field(ge=1, le=100)]
Cursor = Annotated[str, Field(max_length=256)]
Cell = str | float | int | bool | None
