"""One place where an exception becomes what a client sees."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import structlog
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent
from pydantic import ValidationError

from mcp_server.errors import CODES, CourtsideError, DeadlineExceeded, InvalidInput
from mcp_server.guard.text import MAX_RESULT, bound_result, clean, clean_json, cut, fence
from mcp_server.workflows.reply import Apart, Reply

_log = structlog.get_logger("courtside.guard")

MOST_MESSAGE = 1_000
MOST_DETAILS = 10
MOST_FENCED = 6_000
FENCE = 500


def typed(error: BaseException, reference: str) -> CourtsideError:
    """The error as one of ours; anything unknown is masked and logged under the reference."""
    if isinstance(error, CourtsideError):
        return error
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return DeadlineExceeded(
            "The call ran out of time; what it had not committed was undone.",
            hint="Ask for less at once, or see get_job when a job was started.",
        )
    if isinstance(error, ToolError) and not isinstance(error, UnexpectedToolError):
        if isinstance(error.__cause__, ValidationError):
            return InvalidInput("An argument doesn't fit the tool's schema.", hint="tools/list has the schema.")
        return CourtsideError(str(error), hint="")
    cause = error.__cause__ if isinstance(error, UnexpectedToolError) and error.__cause__ else error
    if isinstance(cause, CourtsideError):
        return cause
    _log.error("unexpected error", reference=reference, error=type(cause).__name__, exc_info=cause)
    return CourtsideError(
        "Something unexpected broke here; nothing of it is shown for safety.",
        hint=f"Report reference {reference}; the server's log has the details. See runbook://internal-error.",
    )


def as_data(error: CourtsideError, reference: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The error as data: stable code, message, next step, runbook, and the reference of the log line.

    Returns:
        the error, and the names from data that it speaks of by stand-ins.
    """
    apart = Apart()
    data: dict[str, Any] = {
        "code": error.code,
        "message": cut(apart.text(clean(error.message)), MOST_MESSAGE),
        "hint": cut(apart.text(clean(error.hint)), MOST_MESSAGE),
        "runbook": f"runbook://{CODES[error.code].runbook}",
        "reference": reference,
    }
    if error.retry_after is not None:
        data["retry_after"] = error.retry_after
    if error.details:
        data["details"] = apart.value(clean_json(dict(list(error.details.items())[:MOST_DETAILS])))
    return data, apart.names


def refusal(error: CourtsideError, reference: str) -> CallToolResult:
    """The result that a failed call has."""
    data, names = as_data(error, reference)
    parts = [f"{data['code']}: {data['message']}"]
    if data["hint"]:
        parts.append(f"Next: {data['hint']}")
    if "retry_after" in data:
        parts.append(f"Retry after {data['retry_after']:.1f} s.")
    parts.append(f"(reference {reference}, {data['runbook']})")
    said = "\n".join(parts)
    # Names of the details alone stand in the structure, beside these.
    if told := {stand_in: name for stand_in, name in names.items() if re.search(rf"\b{stand_in}\b", said)}:
        parts.append(fence(compact(told)))
    structure = {"error": data, **({"untrusted": names} if names else {})}
    return CallToolResult(
        content=[TextContent(type="text", text="\n".join(parts))], structured_content=structure, is_error=True
    )


def answered(answer: Reply, *, replayed: bool = False) -> CallToolResult:
    """The result that a successful call has: a short text, the structure beside it, and pictures."""
    return rendered(answer, answer.model_dump(mode="json", exclude_none=True), replayed=replayed)


def rendered(answer: Reply, structure: dict[str, Any], *, replayed: bool = False) -> CallToolResult:
    lines = [clean(line) for line in answer.lines()]
    if replayed:
        lines.append("(This is the stored answer of the first call with this idempotency key.)")
    if answer.next:
        lines.append(f"Next: {clean(answer.next)}")
    text, structure = bound_result("\n".join(lines), structure, MAX_RESULT - MOST_FENCED - FENCE)
    if answer.untrusted:
        text = f"{text}\n{fence(compact(structure.get('untrusted', {})))}"
    content: list[ContentBlock] = [TextContent(type="text", text=text)]
    content.extend(_picture(png) for png in answer.pictures)
    return CallToolResult(content=content, structured_content=structure)


def compact(value: Any) -> str:
    """JSON of data for the fence, cut to what a conversation can bear."""
    import orjson

    raw = orjson.dumps(value)
    if len(raw) <= MOST_FENCED:
        return raw.decode()
    return f"{raw[:MOST_FENCED].decode(errors='ignore')}… (cut; {len(raw):,} bytes in all)"


def _picture(png: bytes) -> ImageContent:
    import base64

    return ImageContent(type="image", data=base64.b64encode(png).decode(), mime_type="image/png")
