"""What a person or a table says stays text, whatever reads the Markdown."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mcp_server.core.labels import label
from mcp_server.core.reports import writing

# Others read a report too: with HTML, emphasis, links and struck text, as many viewers do.
EAGER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HOSTILE = st.text(alphabet=st.sampled_from(list("ab1 \n\t#*_`[]()<>!|~&;-+=.\\:/$'\"\u202e\u200bé中"))) | st.text()


@given(HOSTILE)
def test_a_person_s_text_is_one_paragraph_of_text_in_any_viewer(text: str) -> None:
    tokens = EAGER.parse(writing.escaped(text))
    shown = label(" ".join(text.split()), 10**6)
    if not shown:
        assert tokens == []
        return
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    children = tokens[1].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == shown


@given(HOSTILE)
def test_a_quotation_holds_paragraphs_of_text_alone(text: str) -> None:
    kinds = {token.type for token in EAGER.parse(writing.quoted(text))}
    assert kinds <= {"blockquote_open", "paragraph_open", "inline", "paragraph_close", "blockquote_close"}


@given(HOSTILE)
def test_text_from_data_can_t_end_its_block(text: str) -> None:
    tokens = EAGER.parse(writing.apart(text))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close", "fence"]
    assert tokens[1].content == writing.UNTRUSTED
    assert tokens[3].content.rstrip("\n") == "\n".join(label(line, 10**6) for line in text.splitlines()).rstrip("\n")


@given(st.lists(st.lists(st.from_regex(r"[a-z|.0-9 ]{0,8}", fullmatch=True), min_size=2, max_size=2), max_size=4))
def test_a_table_has_as_many_cells_as_it_was_given(rows: list[list[str]]) -> None:
    tokens = EAGER.parse(writing.table(["a", "b"], rows))
    assert sum(token.type == "td_open" for token in tokens) == 2 * len(rows)
    assert tokens[0].type == "table_open"
    assert tokens[-1].type == "table_close"


def test_what_is_too_long_ends_at_a_line_and_says_so() -> None:
    told = writing.prose(["One.", "- " + "a" * 50, "- " + "b" * 50], 70)
    assert told == "One.\n\n- " + "a" * 50 + "\n\n" + writing.CUT
    assert not re.search("b", told)
