"""Seeded seasons of a simulated league: results follow hidden strengths, and ratings follow results.

The games are labelled as simulated wherever they're shown: `NOTICE`. Teams are invented. What can be known before a
game (ratings, rest, travel) tells about as much of its outcome as it does in professional basketball: the ratings' own
forecast has a log loss near .615 and an area under the curve near .70.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.simulation import elo
from mcp_server.core.simulation.league import CITIES, TEAMS, Fixture, distance, regular_season
from mcp_server.errors import InvalidInput

NOTICE = "Simulated games of invented teams; not real results."

COLUMNS: dict[str, pl.DataType] = {
    "date": pl.Date(),
    "season": pl.Int64(),
    "neutral": pl.Int64(),
    "playoff": pl.Int64(),
    "home": pl.String(),
    "away": pl.String(),
    "home_elo": pl.Float64(),
    "away_elo": pl.Float64(),
    "elo_home_win_prob": pl.Float64(),
    "home_rest_days": pl.Int64(),
    "away_rest_days": pl.Int64(),
    "travel_km": pl.Float64(),
    "home_score": pl.Int64(),
    "away_score": pl.Int64(),
}
"""Name and type of each column; the last two are known after the game only."""

MAX_REST = 7
_HOME_POINTS = 3.1
_SPREAD = 4.8  # standard deviation of the teams' strengths at the start of a season, in points
_KEPT = 0.6  # share of a team's strength that outlasts a season
_DRIFT = 0.18  # standard deviation of a team's change from game to game, in points
_LUCK = 12.1  # standard deviation of the margin of two given teams, in points
_WIDEST = 55.0
_TOTAL = (206.0, 17.0)  # mean and standard deviation of both scores together
_LEAST = 140.0
_NEUTRAL = 0.012
_OPENING = (10, 20)
_IN_PROGRESS = 0.75
_SERIES = (True, True, False, False, True, False, True)  # whether the better seed is at home


def simulate_seasons(
    rng: np.random.Generator,
    *,
    seasons: int = 8,
    teams: int = 30,
    start_year: int = 2018,
    in_progress: bool = True,
) -> pl.DataFrame:
    """Games of a simulated league in the order of play.

    Args:
        rng: the same state gives the same games.
        seasons: 1 to 50.
        teams: an even number from 4 to 30.
        start_year: the year in which the first season ends; a season is named by that year.
        in_progress: the last season stops after three quarters of its regular games, so that there are games to come;
            otherwise it ends with its play-offs.
    Returns:
        one row a game with the columns of `COLUMNS`, sorted by date: about 1,290 a season with 30 teams.
        `home_elo` and `away_elo` are the ratings before the game; rest is days since the team's last game, at most 7;
        `travel_km` is what the away team travelled from its last venue.
    Raises:
        InvalidInput: a number is out of its range.
    """
    if not 1 <= seasons <= 50 or not 4 <= teams <= len(TEAMS) or teams % 2:
        raise InvalidInput(
            f"A simulated league has 1 to 50 seasons and an even number of 4 to {len(TEAMS)} teams.",
            hint="Leave the defaults: 8 seasons of 30 teams.",
        )
    league = _League(rng, teams)
    for number in range(seasons):
        last = in_progress and number == seasons - 1
        league.play_season(start_year + number, share=_IN_PROGRESS if last else 1.0)
    return pl.DataFrame(league.rows, schema=COLUMNS, orient="row")


def upcoming_games(frame: pl.DataFrame, rng: np.random.Generator, n: int = 5) -> pl.DataFrame:
    """Games on the day after the last one, with what is known before they're played.

    Args:
        frame: games as `simulate_seasons` made them, or with planted faults.
        n: games, at least 1 and at most half as many as there are teams.
    Returns:
        n rows with the columns of `COLUMNS` but for the scores.
    Raises:
        InvalidInput: `n` is out of its range.
    """
    last = _last_games(frame)
    if not 1 <= n <= len(last) // 2:
        raise InvalidInput(f"{len(last)} teams can play 1 to {len(last) // 2} games.", hint="Ask for fewer games.")
    day: date = max(team.day for team in last.values()) + timedelta(days=1)
    season = int(frame.get_column("season").max())  # type: ignore[arg-type]
    names = [str(name) for name in rng.permutation(sorted(last))[: 2 * n]]
    rows = []
    for home, away in zip(names[:n], names[n:], strict=True):
        one, other = last[home], last[away]
        travel = round(distance(CITIES[other.venue], CITIES[home]), 1)
        rest = (min((day - one.day).days, MAX_REST), min((day - other.day).days, MAX_REST))
        ratings = (round(one.rating, 2), round(other.rating, 2))
        forecast = round(elo.home_win_probability(one.rating, other.rating, neutral=False), 4)
        rows.append((day, season, 0, 0, home, away, *ratings, forecast, *rest, travel))
    known_before = {name: kind for name, kind in COLUMNS.items() if not name.endswith("_score")}
    return pl.DataFrame(rows, schema=known_before, orient="row").sort("home")


@dataclass(slots=True)
class _Team:
    """Where a team stands: its rating, when and where it played last."""

    rating: float
    day: date
    venue: str


def _last_games(frame: pl.DataFrame) -> dict[str, _Team]:
    """Each team after its last game."""
    last: dict[str, _Team] = {}
    for row in frame.iter_rows(named=True):
        neutral = bool(row["neutral"])
        margin = row["home_score"] - row["away_score"]
        won = elo.points_won(row["home_elo"], row["away_elo"], margin, neutral=neutral)
        # A neutral venue isn't recorded: the teams are taken to travel on from home.
        last[row["home"]] = _Team(row["home_elo"] + won, row["date"], row["home"])
        last[row["away"]] = _Team(row["away_elo"] - won, row["date"], row["away"] if neutral else row["home"])
    return last


def _spread(strength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strengths around 0 with the league's spread: no season is all chance or foregone, whatever the seed."""
    result: NDArray[np.float64] = (strength - strength.mean()) / strength.std() * _SPREAD
    return result


class _League:
    """Teams with hidden strengths, playing season after season."""

    def __init__(self, rng: np.random.Generator, teams: int) -> None:
        self.rng = rng
        self.names = TEAMS[:teams]
        self.cities = [CITIES[name] for name in self.names]
        self.strength = _spread(rng.normal(0.0, 1.0, teams))
        self.ratings = [elo.AVERAGE] * teams
        self.rows: list[tuple[object, ...]] = []
        self.venues = list(self.cities)
        self.played: list[date] = []
        self.wins: list[int] = []

    def play_season(self, year: int, *, share: float) -> None:
        """Play the regular season (or the first `share` of it) and, if it was played out, the play-offs."""
        fixtures = regular_season(self.rng, len(self.names))
        fixtures = fixtures[: round(len(fixtures) * share)]
        opening = date(year - 1, *_OPENING)
        self.venues = list(self.cities)
        self.played = [opening - timedelta(days=MAX_REST)] * len(self.names)
        self.wins = [0] * len(self.names)
        neutral = self.rng.random(len(fixtures)) < _NEUTRAL
        for fixture, elsewhere in zip(fixtures, neutral.tolist(), strict=True):
            self._play(fixture, year, opening, neutral=elsewhere, playoff=False)
        if share == 1.0:
            self._play_off(year, opening, first_day=fixtures[-1].day + 4)
        self.ratings = [elo.next_season(rating) for rating in self.ratings]
        fresh = self.rng.normal(0.0, _SPREAD * (1 - _KEPT**2) ** 0.5, len(self.names))
        self.strength = _spread(_KEPT * self.strength + fresh)

    def _play_off(self, year: int, opening: date, *, first_day: int) -> None:
        """Best-of-seven series among the better half, rounded down to a power of two, until one team is left."""
        size = 1 << ((len(self.names) * 8 // 15).bit_length() - 1)
        seeds = sorted(range(len(self.names)), key=lambda team: -self.wins[team])[:size]
        day = first_day
        while len(seeds) > 1:
            pairs = [(seeds[i], seeds[-1 - i]) for i in range(len(seeds) // 2)]
            won = {team: 0 for pair in pairs for team in pair}
            for number, better_at_home in enumerate(_SERIES):
                for better, other in pairs:
                    if max(won[better], won[other]) == 4:
                        continue
                    home, away = (better, other) if better_at_home else (other, better)
                    fixture = Fixture(day + 2 * number, home, away)
                    won[self._play(fixture, year, opening, neutral=False, playoff=True)] += 1
            seeds = [better if won[better] == 4 else other for better, other in pairs]
            day += 2 * len(_SERIES) + 2

    def _play(self, fixture: Fixture, year: int, opening: date, *, neutral: bool, playoff: bool) -> int:
        """Play one game, write its row, and return the winner."""
        home, away = fixture.home, fixture.away
        day = opening + timedelta(days=fixture.day)
        venue = self._elsewhere() if neutral else self.cities[home]
        travel = distance(self.venues[away], venue)
        rest = [min((day - self.played[team]).days, MAX_REST) for team in (home, away)]
        home_score, away_score = self._scores(home, away, rest, travel, neutral=neutral)
        before = self.ratings[home], self.ratings[away]
        shown = round(before[0], 2), round(before[1], 2)
        forecast = round(elo.home_win_probability(*before, neutral=neutral), 4)
        self.rows.append(
            (
                *(day, year, int(neutral), int(playoff), self.names[home], self.names[away]),
                *(*shown, forecast, *rest, round(travel, 1), home_score, away_score),
            )
        )
        won = elo.points_won(*before, home_score - away_score, neutral=neutral)
        self.ratings[home] += won
        self.ratings[away] -= won
        winner = home if home_score > away_score else away
        self.wins[winner] += 1
        for team in (home, away):
            self.venues[team] = venue
            self.played[team] = day
            self.strength[team] += self.rng.normal(0.0, _DRIFT)
        return winner

    def _scores(self, home: int, away: int, rest: list[int], travel: float, *, neutral: bool) -> tuple[int, int]:
        """Whole scores that differ: strength, home, rest and travel, and a good deal of luck."""
        lead = float(self.strength[home] - self.strength[away]) + (0.0 if neutral else _HOME_POINTS)
        lead += 0.5 * (min(rest[0], 3) - min(rest[1], 3)) + 0.0004 * travel
        margin = float(np.clip(self.rng.normal(lead, _LUCK), -_WIDEST, _WIDEST))
        total = max(float(self.rng.normal(*_TOTAL)), _LEAST)
        home_score, away_score = round((total + margin) / 2), round((total - margin) / 2)
        if home_score == away_score:
            # Extra time goes to whoever was ahead by a fraction.
            return (home_score + 4, away_score) if margin > 0 else (home_score, away_score + 4)
        return home_score, away_score

    def _elsewhere(self) -> tuple[float, float]:
        return float(self.rng.uniform(200.0, 3800.0)), float(self.rng.uniform(200.0, 2100.0))
