"""Elo ratings of teams: what a rating says before a game, and what the game does to it."""

from __future__ import annotations

AVERAGE = 1500.0
HOME_POINTS = 90.0
_GAIN = 20.0
_KEPT = 0.75


def home_win_probability(home: float, away: float, *, neutral: bool) -> float:
    """The chance of the home team by the ratings before the game, in (0, 1).

    >>> home_win_probability(1500.0, 1500.0, neutral=True)
    0.5
    """
    lead = home - away + (0.0 if neutral else HOME_POINTS)
    return float(1.0 / (1.0 + 10.0 ** (-lead / 400.0)))


def points_won(home: float, away: float, margin: float, *, neutral: bool) -> float:
    """What the home team's rating gains and the away team's loses; negative where the home team lost.

    Args:
        home, away: ratings before the game.
        margin: home score less away score, not 0.
    Source:
        Elo (1978), The Rating of Chessplayers; the factor for the margin after Silver & Fischer-Baum (2015).
    """
    chance = home_win_probability(home, away, neutral=neutral)
    lead = (home - away + (0.0 if neutral else HOME_POINTS)) * (1 if margin > 0 else -1)
    factor = (abs(margin) + 3.0) ** 0.8 / (7.5 + 0.006 * lead)
    return float(_GAIN * factor * ((1.0 if margin > 0 else 0.0) - chance))


def next_season(rating: float) -> float:
    """A rating at the start of the next season: a quarter of the way back to the average."""
    return AVERAGE + _KEPT * (rating - AVERAGE)
