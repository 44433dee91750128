"""PMML: XML without anything that makes a reader fetch or unfold something."""

from __future__ import annotations

import re

from mcp_server.core.model_files.report import FileReading, Unread, quoted

DEEPEST = 200
MOST_BYTES = 64 * 1024 * 1024

_NAME = r"[A-Za-z_][\w.-]{0,99}(?::[A-Za-z_][\w.-]{0,99})?"
_ATTRIBUTE = rf"""\s+{_NAME}\s*=\s*(?:"[^"<]*"|'[^'<]*')"""
_MARKUP = re.compile(
    rf"(?P<close></(?P<closed>{_NAME})\s*>)"
    rf"|(?P<open><(?P<opened>{_NAME})(?:{_ATTRIBUTE})*\s*(?P<empty>/?)>)"
)
_DECLARATION = re.compile(r"<\?xml\s+[^<>?]{0,200}\?>")
_REFERENCE = re.compile(r"&(?!(?:lt|gt|amp|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")
_ENCODING = re.compile(r"""encoding\s*=\s*["']([A-Za-z0-9_.-]+)["']""")
_NAMESPACE = re.compile(r"""xmlns\s*=\s*["']http://www\.dmg\.org/PMML-4(?:_[0-9])?["']""")
_RUNS = re.compile(r"<(?:[\w.-]+:)?(?:script|stylesheet|include|import)\b", re.IGNORECASE)


def looks_like_xml(view: memoryview) -> bool:
    return bytes(view[:64]).removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"<?xml", b"<PMML", b"<!DOCTYPE"))


def read_pmml(view: memoryview, reading: FileReading) -> None:
    """Look at every tag.

    Raises:
        Unread: it isn't well-formed, isn't PMML, or has a document type, entities or instructions.
    """
    if len(view) > MOST_BYTES:
        raise Unread("too_large", f"It has more than {MOST_BYTES:,} bytes.")
    try:
        text = bytes(view).decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise Unread("damaged", "It isn't UTF-8.", 0) from None
    start = len(text) - len(text.lstrip())
    if (declared := _DECLARATION.match(text, start)) is not None:
        start = declared.end()
        encoding = _ENCODING.search(declared[0])
        if encoding is not None and encoding[1].lower() not in ("utf-8", "us-ascii", "ascii"):
            raise Unread("unknown_part", "It says that it's in another encoding.", 0)
    for trap, meaning in (("<!DOCTYPE", "a document type"), ("<!ENTITY", "an entity"), ("<?", "an instruction")):
        if (found := text.find(trap, start)) >= 0:
            raise Unread("foreign_reference", f"It has {meaning}, by which a reader can be led elsewhere.", found)
    if (reference := _REFERENCE.search(text, start)) is not None:
        raise Unread("foreign_reference", "It refers to an entity.", reference.start())
    if (runs := _RUNS.search(text, start)) is not None:
        raise Unread("runs_code", f"It has the element {quoted(runs[0][1:])}.", runs.start())
    _walk_tags(text, start, reading)


def _walk_tags(text: str, at: int, reading: FileReading) -> None:
    open_tags: list[str] = []
    rooted = False
    while (bracket := text.find("<", at)) >= 0:
        if not open_tags and text[at:bracket].strip():
            raise Unread("damaged", "Text stands outside of the document.", at)
        if text.startswith("<!--", bracket):
            end = text.find("-->", bracket + 4)
            if end < 0:
                raise Unread("damaged", "A comment has no end.", bracket)
            at = end + 3
            continue
        tag = _MARKUP.match(text, bracket)
        if tag is None:
            raise Unread("damaged", "A tag isn't well-formed.", bracket)
        at = tag.end()
        if tag["opened"]:
            reading.counts["elements"] += 1
            if not open_tags:
                if rooted or tag["opened"] != "PMML" or not _NAMESPACE.search(tag[0]):
                    raise Unread("unknown_kind", "It's XML, and no PMML 4.", bracket)
                rooted = True
            elif tag["opened"].endswith("Model") or tag["opened"].endswith("Network"):
                reading.hold(tag["opened"])
            if not tag["empty"]:
                open_tags.append(tag["opened"])
            if len(open_tags) > DEEPEST:
                raise Unread("too_large", "Its elements are nested too deeply.", bracket)
        elif tag["closed"] and (not open_tags or open_tags.pop() != tag["closed"]):
            raise Unread("damaged", "A tag closes what isn't open.", bracket)
    if open_tags or not rooted or text[at:].strip():
        raise Unread("damaged", "The document has no end, or something behind it.", at)
