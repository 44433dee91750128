"""A report's text as a page, as a PDF and as a sheet."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any

from mcp_server.charts.typesetting import pdf
from mcp_server.core.reports.page import page
from mcp_server.core.reports.reading import blocks
from mcp_server.core.reports.sheet import sheet

Report = Callable[[float, str], None]


def render_report(arguments: dict[str, Any], _report: Report) -> dict[str, Any]:
    """Write a report in some forms.

    Args:
        arguments: forms; title; foot; at (ISO); markdown; facts (kind, about and facts of each section); pictures (PNG
            files as base64).
    Returns:
        files: form to content as base64.
    """
    pictures = [base64.b64decode(one) for one in arguments["pictures"]]
    title, foot, markdown = arguments["title"], arguments["foot"], arguments["markdown"]
    files: dict[str, bytes] = {}
    for form in arguments["forms"]:
        match form:
            case "html":
                files[form] = page(markdown, pictures, title=title, foot=foot).encode("utf-8", "backslashreplace")
            case "pdf":
                at = datetime.fromisoformat(arguments["at"])
                files[form] = pdf(blocks(markdown), pictures, title=title, foot=foot, at=at)
            case "csv":
                files[form] = sheet([(one["kind"], one["about"], one["facts"]) for one in arguments["facts"]])
    return {"files": {form: base64.b64encode(content).decode() for form, content in files.items()}}
