"""What a comparison found, in one sentence with its evidence. Never that two models are equal."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

from mcp_server.core.comparison.many import Field, Pair
from mcp_server.core.comparison.paired import Difference, short_number

MOST_NAMED = 3
MOST_MORE = 8
MINUS = "\N{MINUS SIGN}"


def sentence(field: Field, names: Sequence[str], *, noun: str = "rows") -> str:
    """The finding of a whole comparison.

    Args:
        names: of the models, in the field's order.
        noun: what the rows are.
    """
    return opened(_of_two(field, names, noun) if len(names) == 2 else _of_many(field, names, noun))


def opened(text: str) -> str:
    """A sentence that may begin with a name; only an article gets a capital.

    >>> opened("the outside forecast is better"), opened("nba@1 is better")
    ('The outside forecast is better', 'nba@1 is better')
    """
    return f"The {text[4:]}" if text.startswith("the ") else text


def _of_many(field: Field, names: Sequence[str], noun: str) -> str:
    leader, *others = field.order
    pairs = [field.pair(leader, other) for other in others]
    told = []
    for verdict, words in (("better", "better than"), ("no detectable difference", "no detectable difference from")):
        chosen = [pair for pair in pairs if pair.verdict == verdict]
        if chosen:
            shown = [f"{names[pair.second]} ({_evidence(pair, titled=False)})" for pair in chosen[:MOST_NAMED]]
            more = [f"{len(chosen) - MOST_NAMED} more"] if len(chosen) > MOST_NAMED else []
            told.append(f"{words} {_listed([*shown, *more])}")
    first = pairs[0].primary.found
    nearest = pairs[0]
    needs = _needs(nearest, noun)
    ends = f" From {names[nearest.second]}: {needs}" if nearest.verdict == "no detectable difference" else ""
    return (
        f"{names[leader]} has the best {first.title} of {len(names)} models on {field.rows:,} {noun}: "
        f"{'; '.join(told)}.{ends} Verdicts hold for all {len(field.pairs)} pairs together (Holm)."
    )


def equivalence_sentence(pair: Pair, names: Sequence[str]) -> str:
    """What the sample says of a stated margin."""
    held = pair.equivalence
    if held is None:
        return ""
    title = pair.primary.found.title
    reach = _interval(held.low, held.high, _places(held.high - held.low), pair.primary.found)
    both = f"{names[pair.first]} and {names[pair.second]}"
    said = {
        "within the margin": f"{both} lie within ± {short_number(held.margin)} of {title} of each other",
        "beyond the margin": f"{both} lie further apart than ± {short_number(held.margin)} of {title}",
        "not shown": f"That {both} lie within ± {short_number(held.margin)} of {title} of each other isn't shown",
    }[held.standing]
    return f"{opened(said)} (two one-sided tests at 5 %: 90 % interval {reach})."


def signed(value: float, places: int) -> str:
    """A signed number as sentences write it.

    >>> signed(-0.0021, 3), signed(0.25, 1), signed(0.0, 2)
    ('−.002', '+.2', '.00')
    """
    text = f"{abs(value):.{places}f}"
    text = text[1:] if text.startswith("0.") else text
    if not text.strip("0."):
        return text
    return f"{MINUS if value < 0 else '+'}{text}"


def _of_two(field: Field, names: Sequence[str], noun: str) -> str:
    pair = field.pair(0, 1)
    found = pair.primary.found
    rows = f"on {field.rows:,} {noun}"
    if found.low is None or found.high is None:
        return f"No detectable difference between {names[0]} and {names[1]} {rows}: too few to show one."
    if found.detectable == 0.0:
        if found.difference == 0.0:
            return f"No detectable difference between {names[0]} and {names[1]} {rows}: they score every row alike."
        return f"{names[0]} is {found.verdict} than {names[1]} {rows} ({_evidence(pair)}), by as much in every row."
    if pair.verdict == "no detectable difference":
        return (
            f"No detectable difference between {names[0]} and {names[1]} {rows} ({_evidence(pair)}); "
            f"{_needs(pair, noun)}"
        )
    return f"{names[0]} is {pair.verdict} than {names[1]} {rows} ({_evidence(pair)}; {_direction(found)} is better)."


def _needs(pair: Pair, noun: str) -> str:
    """How many rows would tell, and what these do."""
    found = pair.primary.found
    shows = "" if not found.detectable else f"; this sample would show ± {short_number(found.detectable)}."
    if found.rows_needed is None:
        return f"no number of {noun} within reach would show so small a one{shows or '.'}"
    return f"you'd need about {_about(found.rows_needed)} {noun} to detect it{shows or '.'}"


def _evidence(pair: Pair, *, titled: bool = True) -> str:
    """The difference of the metric itself, the first minus the second, so that a lower loss is a negative one."""
    found = pair.primary.found
    if found.low is None or found.high is None:
        return "too few rows to tell"
    places = _places(found.high - found.low)
    value = found.difference if found.higher_is_better else -found.difference
    shown = _sided(value, places)
    title = f"{found.title} " if titled else ""
    # The interval isn't widened for the other pairs.
    alone = pair.verdict == "no detectable difference" and not found.low <= 0.0 <= found.high and pair.primary.tests > 1
    after = f", not after correction for {pair.primary.tests} tests" if alone else ""
    return f"Δ {title}{shown}, 95 % {_interval(found.low, found.high, places, found)}{after}"


def _interval(low: float, high: float, places: int, found: Difference) -> str:
    ends = (low, high) if found.higher_is_better else (-high, -low)
    return f"{_sided(ends[0], places)}…{_sided(ends[1], places)}"


def _sided(value: float, places: int) -> str:
    """A signed number, with more decimals where they're needed to show on which side of 0 it lies.

    >>> _sided(0.0011, 2), _sided(-0.14, 2), _sided(0.0, 2)
    ('+.001', '−.14', '.00')
    """
    return next(
        (text for more in range(MOST_MORE) if (text := signed(value, places + more)).strip("0.")),
        signed(value, places),
    )


def _places(width: float) -> int:
    """Decimals that show two digits of an interval's width."""
    return 3 if width <= 0.0 else max(0, 1 - floor(log10(width)))


def _about(rows: int) -> str:
    """A count to two digits, rounded up.

    >>> _about(31_250), _about(740)
    ('32,000', '740')
    """
    step = 10 ** max(0, len(str(rows)) - 2)
    return f"{-(-rows // step) * step:,}"


def _direction(found: Difference) -> str:
    return "higher" if found.higher_is_better else "lower"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
