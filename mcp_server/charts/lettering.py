"""Text on a chart: cleaned, measured with the shipped font, wrapped, and numbers written out.

Labels come from data and from callers, so they are text and nothing else: they reach a specification only as values of
inline rows or as titles, never as field names, keys or expressions.
"""

from __future__ import annotations

import struct
from functools import cache
from math import ceil, floor, isfinite, log10
from pathlib import Path

from mcp_server.core.labels import label

FONT_FOLDER = Path(__file__).parent / "fonts"
MINUS = "\N{MINUS SIGN}"
_FILES = {400: "CourtsideInter-Regular.otf", 500: "CourtsideInter-Medium.otf", 600: "CourtsideInter-SemiBold.otf"}
_LONGEST = 600


def shorten(text: str, limit: int = 40) -> str:
    r"""`text` with hidden characters escaped, at most `limit` long, cut in the middle: names differ at their ends.

    Args:
        limit: characters, >= 3.
    >>> shorten("gradient-boosting-on-seasons@12", 16)
    'gradient-…ons@12'
    """
    text = label(text, _LONGEST)
    if len(text) <= limit:
        return text
    tail = max(1, (limit - 1) * 2 // 5)
    return f"{text[: limit - 1 - tail]}…{text[-tail:]}"


def literal(text: str) -> str:
    """`text` as a title: Vega looks titles up among its operators, so one reading `constructor` would end the drawing.

    The space at the end, which no operator's name has, is trimmed when it's drawn.
    """
    return f"{text} "


def width(text: str, size: float, weight: int = 400) -> float:
    """CSS px that `text` takes, without kerning; a character the font lacks counts as one em."""
    advances, em = _metrics(weight)
    return sum(advances.get(ord(c), em) for c in text) * size / em


def wrap(text: str, limit: float, size: float, weight: int = 400, *, lines: int = 3) -> list[str]:
    """`text` cleaned, as at most `lines` lines no wider than `limit` CSS px and about equally long.

    What doesn't fit is cut, with an ellipsis at the end of the last line.
    """
    # Only at plain spaces: a figure such as "2 000" with a no-break space stays whole.
    words = [piece for word in label(text, _LONGEST).split(" ") if word for piece in _broken(word, limit, size, weight)]
    made = _lines(words, limit, size, weight)
    if 1 < len(made) <= lines:
        # A narrower limit that gives as many lines spares the last one from holding a single word.
        narrower = (_lines(words, limit * share / 40, size, weight) for share in range(20, 40))
        made = next(
            (tried for tried in narrower if len(tried) == len(made) and _fits(tried, limit, size, weight)), made
        )
    if len(made) > lines:
        made = [*made[: lines - 1], fit(" ".join(made[lines - 1 :]), limit, size, weight)]
    return made


def fit(text: str, limit: float, size: float, weight: int = 400) -> str:
    """`text` cleaned and, where it's wider than `limit` CSS px, cut with an ellipsis at its end."""
    text = label(text, _LONGEST)
    if width(text, size, weight) <= limit:
        return text
    while text and width(f"{text}…", size, weight) > limit:
        text = text[:-1]
    return f"{text.rstrip()}…"


def plain(value: float, digits: int) -> str:
    """`value` with `digits` decimals and a true minus sign; a value that rounds to zero has no sign.

    >>> plain(-0.0001, 3), plain(-1.5, 1)
    ('0.000', '−1.5')
    """
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float, digits: int) -> str:
    """Like `plain`, with a plus sign before what is above zero.

    >>> signed(0.028, 3), signed(-0.058, 3), signed(0.0, 2)
    ('+0.028', '−0.058', '0.00')
    """
    text = plain(value, digits)
    return f"+{text}" if text[0] != MINUS and float(text) != 0 else text


def thousands(value: float) -> str:
    """A count of at most three figures and a letter.

    >>> thousands(0), thousands(500), thousands(2000), thousands(1_500_000)
    ('0', '500', '2k', '1.5M')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def digits_for(resolution: float) -> int:
    """Decimals (0 to 6) that show a quantity known to about `resolution`.

    >>> digits_for(0.004), digits_for(12.0), digits_for(0.0)
    (3, 0, 3)
    """
    if not isfinite(resolution) or resolution <= 0:
        return 3
    return min(6, max(0, ceil(-log10(resolution) - 1e-9)))


def nice_ticks(low: float, high: float, *, about: int = 7) -> list[float]:
    """Round values (steps of 1, 2 or 5 times a power of ten) within [low, high], `about` that many.

    Args:
        low, high: finite, low < high.
    >>> nice_ticks(-0.05, 0.11)
    [-0.04, -0.02, 0.0, 0.02, 0.04, 0.06, 0.08, 0.1]
    """
    rough = (high - low) / about
    power = 10.0 ** floor(log10(rough))
    # The thresholds are geometric means, so the step is the nearest one by ratio.
    step = power * next(
        factor for factor, above in ((10, 50), (5, 10), (2, 2), (1, 0)) if (rough / power) ** 2 >= above
    )
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def covered() -> frozenset[int]:
    """The code points that every shipped weight can draw."""
    return frozenset.intersection(*(frozenset(_metrics(weight)[0]) for weight in _FILES))


def _lines(words: list[str], limit: float, size: float, weight: int) -> list[str]:
    made: list[str] = []
    for word in words:
        if made and width(f"{made[-1]} {word}", size, weight) <= limit:
            made[-1] = f"{made[-1]} {word}"
        else:
            made.append(word)
    return made


def _fits(lines: list[str], limit: float, size: float, weight: int) -> bool:
    return all(width(line, size, weight) <= limit for line in lines)


def _broken(word: str, limit: float, size: float, weight: int) -> list[str]:
    if width(word, size, weight) <= limit:
        return [word]
    pieces = [""]
    for character in word:
        if pieces[-1] and width(pieces[-1] + character, size, weight) > limit:
            pieces.append("")
        pieces[-1] += character
    return pieces


@cache
def _metrics(weight: int) -> tuple[dict[int, int], int]:
    """Advance width by code point, and units per em, of one shipped font file (OpenType `cmap` 4, `hmtx`, `head`)."""
    data = (FONT_FOLDER / _FILES[weight]).read_bytes()
    (count,) = struct.unpack_from(">H", data, 4)
    tables = {}
    for i in range(count):
        tag, _, offset, _ = struct.unpack_from(">4sIII", data, 12 + 16 * i)
        tables[tag] = offset
    (em,) = struct.unpack_from(">H", data, tables[b"head"] + 18)
    (wide,) = struct.unpack_from(">H", data, tables[b"hhea"] + 34)
    advances = {}
    for character, glyph in _glyphs(data, tables[b"cmap"]).items():
        (advances[character],) = struct.unpack_from(">H", data, tables[b"hmtx"] + 4 * min(glyph, wide - 1))
    return advances, em


def _glyphs(data: bytes, cmap: int) -> dict[int, int]:
    (count,) = struct.unpack_from(">H", data, cmap + 2)
    subtables = (cmap + struct.unpack_from(">HHI", data, cmap + 4 + 8 * i)[2] for i in range(count))
    at = next(offset for offset in subtables if struct.unpack_from(">H", data, offset) == (4,))
    segments = struct.unpack_from(">H", data, at + 6)[0] // 2
    ends, starts, deltas, ranges = (at + 14 + extra + 2 * segments * i for i, extra in enumerate((0, 2, 2, 2)))
    found = {}
    for i in range(segments):
        end, start, delta, offset = (
            struct.unpack_from(">H", data, base + 2 * i)[0] for base in (ends, starts, deltas, ranges)
        )
        for character in range(start, min(end, 0xFFFE) + 1):
            glyph = character
            if offset:
                (glyph,) = struct.unpack_from(">H", data, ranges + 2 * i + offset + 2 * (character - start))
            if not offset or glyph:
                glyph = (glyph + delta) & 0xFFFF
            if glyph:
                found[character] = glyph
    return found
