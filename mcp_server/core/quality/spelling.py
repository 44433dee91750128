"""Rare spellings of frequent values: another case, other spaces, or a slip of a finger away."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from mcp_server.core.quality.texts import Suspects, TextColumn

MAX_VALUES = 20_000
"""Different values up to which a column is looked at, the most frequent first."""

LONGEST = 40
"""Letters up to which a value can be told to be misspelt; with longer ones the work would grow without bound."""

_TWO_EDITS = 5_000
"""Different values up to which two wrong letters are looked for."""

_FREQUENT = 8
_TIMES = 8
_OFTEN = 0.01
_LEAST_LETTERS = 4
_LETTERS_FOR_TWO = 9
_COVERED = 0.6
_MOST_WORDS = 6


def rare_spellings(column: TextColumn) -> Iterator[Suspects]:
    """Values that are probably a frequent one, in other capitals or spaces, or misspelt."""
    if float(column.values.str.len_chars().mean() or 0.0) > 2 * LONGEST:  # type: ignore[arg-type]
        return
    counts = dict(zip(column.values.head(MAX_VALUES).to_list(), column.counts.head(MAX_VALUES).to_list(), strict=True))
    forms = other_forms(counts)
    if forms:
        reason = "Another value is the same but for capitals and spaces, and far more frequent."
        yield Suspects("spelling.form", "warn", reason, 0.95, "replace by the frequent spelling", forms)
    rest = {value: count for value, count in counts.items() if value not in forms}
    slips = misspelt(rest) or misspelt_words(rest)
    if slips:
        reason = "Rare, and one or two letters away from a value that is frequent."
        yield Suspects("spelling.rare", "warn", reason, 0.8, "replace by the frequent spelling", slips)


def other_forms(counts: Mapping[str, int]) -> dict[str, str]:
    """Values that differ from a far more frequent one in capitals and spaces only, and that one.

    >>> other_forms({"New York": 40, "new  york": 1, "Rome": 5})
    {'new  york': 'New York'}
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for value in counts:
        groups[_folded(value)].append(value)
    found = {}
    for values in groups.values():
        usual = max(values, key=lambda value: counts[value])
        for value in values:
            if value != usual and counts[usual] >= max(_FREQUENT, _TIMES * counts[value]):
                found[value] = usual
    return found


def misspelt(counts: Mapping[str, int]) -> dict[str, str | None]:
    """Rare values near a frequent one, in a column of few values; None where several frequent ones are near.

    A frequent value that has a frequent neighbour itself isn't a spelling to go by: such columns hold codes. A slip
    never changes a digit. Nothing is said of a column most of whose rare values are near no frequent one.

    >>> misspelt({"Concert": 40, "Lecture": 30, "Cocnert": 1})
    {'Cocnert': 'Concert'}
    """
    total = sum(counts.values())
    frequent = {value: count for value, count in counts.items() if count >= _FREQUENT}
    if sum(frequent.values()) < _COVERED * total:
        return {}
    return _near(counts, frequent, total, most=2 if len(counts) <= _TWO_EDITS else 1)


def misspelt_words(counts: Mapping[str, int]) -> dict[str, str | None]:
    """The same for the words of a column of many values, such as addresses: the value with its word put right."""
    words: Counter[str] = Counter()
    cells = 0
    for value, count in counts.items():
        cells += count
        for word in value.split():
            words[word] += count
    total = words.total()
    if not cells or total > _MOST_WORDS * cells or total < 1.5 * cells:
        return {}
    lettered = {word: count for word, count in words.items() if word.isalpha()}
    frequent = {word: count for word, count in lettered.items() if count >= 2 * _FREQUENT}
    if sum(frequent.values()) < _COVERED * sum(lettered.values()):
        return {}
    near = _near(lettered, frequent, total, letters=_LEAST_LETTERS + 1, most=1)
    found: dict[str, str | None] = {}
    for value in counts:
        wrong = [word for word in value.split() if word in near]
        if wrong:
            right = [near.get(word, word) for word in value.split()]
            found[value] = None if None in right else " ".join(word for word in right if word is not None)
    return found


def _near(
    counts: Mapping[str, int],
    frequent: Mapping[str, int],
    total: int,
    *,
    letters: int = _LEAST_LETTERS,
    most: int = 2,
) -> dict[str, str | None]:
    index: defaultdict[str, list[str]] = defaultdict(list)
    for value in frequent:
        for shorter in _deletions(_folded(value), _edits(value, letters, most)):
            index[shorter].append(value)
    crowded = {value for value in frequent if len(_neighbours(value, index, frequent, letters, most)) > 1}
    found: dict[str, str | None] = {}
    for value, count in counts.items():
        if value in frequent and count > _OFTEN * total:
            continue
        near = [
            other
            for other in _neighbours(value, index, frequent, letters, most)
            if other != value and other not in crowded and frequent[other] >= _TIMES * count
        ]
        if near and _same_digits(value, near[0]) and not _inflected(value, near[0]):
            found[value] = near[0] if len(near) == 1 else None
    # Where most rare values are near none, the column has a long tail of right ones, and some are near by chance.
    rare = sum(value not in frequent for value in counts)
    return found if 2 * len(found) >= rare else {}


def _neighbours(
    value: str, index: Mapping[str, list[str]], frequent: Mapping[str, int], letters: int, most: int
) -> list[str]:
    """Frequent values within as many edits of a value as its length allows, itself included, by frequency."""
    folded = _folded(value)
    near = {
        other
        for shorter in _deletions(folded, _edits(value, letters, most))
        for other in index.get(shorter, ())
        if distance(folded, _folded(other)) <= min(_edits(value, letters, most), _edits(other, letters, most))
    }
    return sorted(near, key=lambda other: (-frequent[other], other))


def _edits(value: str, letters: int, most: int) -> int:
    """How many letters of a value may be wrong."""
    count = sum(letter.isalpha() for letter in value)
    # Where half of it isn't letters it's a code, in which the next one is as near as a slip.
    if count < letters or 2 * count < len(value) or len(value) > LONGEST:
        return 0
    return min(most, 2 if count >= _LETTERS_FOR_TWO else 1)


def _deletions(value: str, edits: int) -> set[str]:
    """The value, and what is left of it without up to `edits` letters."""
    found = last = {value}
    for _ in range(edits):
        last = {shorter[:at] + shorter[at + 1 :] for shorter in last for at in range(len(shorter))}
        found = found | last
    return found


def distance(one: str, other: str) -> int:
    """Letters to insert, delete, replace or swap with their neighbour to make one text the other.

    Source: the restricted distance of Damerau (1964), Communications of the ACM 7(3).

    >>> distance("concert", "cocnert"), distance("abc", "abd"), distance("abc", "")
    (1, 1, 3)
    """
    before: list[int] = []
    last = list(range(len(other) + 1))
    for at, letter in enumerate(one, start=1):
        row = [at]
        for to, wanted in enumerate(other, start=1):
            best = min(last[to] + 1, row[-1] + 1, last[to - 1] + (letter != wanted))
            if at > 1 and to > 1 and letter == other[to - 2] and one[at - 2] == wanted:
                best = min(best, before[to - 2] + 1)
            row.append(best)
        before, last = last, row
    return last[-1]


def _folded(value: str) -> str:
    return " ".join(value.casefold().split())


def _same_digits(one: str, other: str) -> bool:
    return [letter for letter in one if letter.isdigit()] == [letter for letter in other if letter.isdigit()]


def _inflected(value: str, frequent: str) -> bool:
    """Whether the one is the other in the plural."""
    shorter, longer = sorted((_folded(value), _folded(frequent)), key=len)
    return longer in (f"{shorter}s", f"{shorter}es")
