"""A PDF says the same whenever it's made, runs nothing of its text, and shows no box for what no font has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import typst

from mcp_server.charts import typesetting
from mcp_server.charts.typesetting import pdf
from mcp_server.core.reports.reading import blocks

AT = datetime(2026, 3, 1, 12, 30, 15, 999, tzinfo=UTC)
TEXT = "# T\n\n## A `b`\n\np\n\n> q\n\n- i\n\n| x | y |\n|---|--:|\n| 1 | 2 |\n\n```text\nc\n```\n"


def made(text: str, title: str = "T") -> bytes:
    return pdf(blocks(text), [], title=title, foot="report://d_1", at=AT)


def test_the_same_report_is_the_same_file() -> None:
    first = made(TEXT)
    assert first.startswith(b"%PDF-")
    assert b"D:20260301123015" in first
    assert made(TEXT) == first
    assert made(TEXT.replace("| 1 |", "| 3 |")) != first


def test_text_is_never_read_as_markup() -> None:
    hostile = '#read("/etc/passwd") #panic("x") $x$ @ref <label> \\u{41} #import "@preview/a:1.0.0"'
    assert made(f"# T\n\n{hostile}\n\n```text\n{hostile}\n```\n", title=hostile).startswith(b"%PDF-")


def test_what_no_font_here_has_is_written_as_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def compile(source: bytes, **options: Any) -> bytes:
        seen.update(options["sys_inputs"])
        return b"%PDF-"

    monkeypatch.setattr(typst, "compile", compile)
    made("é ж Δ − 中 \U0001f600")
    assert r"é ж Δ − \\u{4e2d} \\u{1f600}" in seen["report"]


@pytest.mark.parametrize("character", ["é", "Ω", "ж", "…", "→", "≤", "−", "×", "▲"])
def test_the_fonts_have_what_passes_for_printable(character: str) -> None:
    assert not typesetting._UNPRINTABLE.search(character)
    source = f'#set text(font: ("Courtside Inter", "Libertinus Serif"))\n{character}'.encode()
    fonts: list[Any] = [str(typesetting.FONT_FOLDER)]
    _, warnings = typst.compile_with_warnings(source, format="pdf", font_paths=fonts, ignore_system_fonts=True)
    assert not warnings


@pytest.mark.parametrize("name", ["a" * 70, "gradient-boosting-on-seasons-without-playoffs@12", "sha256:" + "0" * 64])
def test_a_long_name_can_break_and_reads_the_same(name: str) -> None:
    shown = typesetting._printable(f"short {name} short")
    assert shown.replace("\u200b", "") == f"short {name} short"
    assert max(map(len, shown.replace("\u200b", " ").split())) <= 20
