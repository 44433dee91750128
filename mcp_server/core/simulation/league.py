"""The simulated league: invented teams on an invented map, and who meets whom on which day."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import numpy as np

ROUNDS = 80
"""Regular games of a team in a season: half at home, half away."""

_BREAK_AFTER, _BREAK_DAYS = 52, 6

# Code: place on the map, east and north, in km. The cities don't exist.
CITIES: dict[str, tuple[float, float]] = {
    "ALD": (310, 1840), "BRY": (420, 1490), "CAV": (180, 1130), "DUN": (560, 720), "EBB": (240, 410),
    "FAR": (900, 2050), "GLY": (1120, 1560), "HOB": (980, 1180), "IVO": (1310, 830), "JUR": (1060, 300),
    "KES": (1620, 1960), "LUM": (1750, 1420), "MOR": (1840, 1010), "NEM": (1580, 560), "OAR": (1930, 210),
    "PEL": (2260, 2110), "QUA": (2410, 1690), "RYN": (2350, 1240), "SUL": (2540, 870), "TAM": (2290, 390),
    "ULM": (2950, 1990), "VEX": (3120, 1620), "WYE": (3010, 1150), "XAN": (3240, 760), "YAR": (2880, 280),
    "ZEN": (3610, 1930), "ARB": (3790, 1580), "BEX": (3850, 1310), "CUR": (3700, 940), "DEX": (3560, 430),
}  # fmt: skip
TEAMS: tuple[str, ...] = tuple(CITIES)


@dataclass(frozen=True, slots=True)
class Fixture:
    """A game to come: day of the season (from 0), and the places of the teams in the league's list."""

    day: int
    home: int
    away: int


def distance(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Kilometres on the map, as the crow flies."""
    return hypot(first[0] - second[0], first[1] - second[1])


def regular_season(rng: np.random.Generator, teams: int) -> list[Fixture]:
    """Every team's games, half of them at home, by rising day; nobody plays twice on a day.

    Args:
        teams: even, at least 4.
    """
    leg = teams - 1
    whole = ROUNDS // leg // 2 * 2
    again = (ROUNDS - whole * leg) // 2
    legs = _round_robin(rng.permutation(teams).tolist())
    rounds = [_turned(leg, turn) for turn in range(whole) for leg in legs]
    rounds += [_turned(legs[i % len(legs)], turn) for turn in (0, 1) for i in range(again)]
    fixtures = []
    day = 0
    for played, place in enumerate(rng.permutation(len(rounds))):
        # A round takes two days and the next begins on the third at the earliest.
        late = rng.random(teams // 2) < 0.5
        fixtures += [
            Fixture(day + int(second), home, away) for (home, away), second in zip(rounds[place], late, strict=True)
        ]
        day += 2 + int(rng.random() < 0.15) + (_BREAK_DAYS if played == _BREAK_AFTER else 0)
    return sorted(fixtures, key=lambda f: (f.day, f.home))


def _round_robin(teams: list[int]) -> list[list[tuple[int, int]]]:
    """Rounds in which everyone meets everyone once (the circle method)."""
    rounds = []
    order = list(teams)
    half = len(order) // 2
    for number in range(len(order) - 1):
        pairs = list(zip(order[:half], reversed(order[half:]), strict=True))
        rounds.append(_turned(pairs, number))
        order = [order[0], order[-1], *order[1:-1]]
    return rounds


def _turned(pairs: list[tuple[int, int]], turn: int) -> list[tuple[int, int]]:
    return pairs if turn % 2 == 0 else [(away, home) for home, away in pairs]
