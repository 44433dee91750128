"""Personal columns are found by what their values are, and ordinary ones are left alone."""

import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import datasets

from mcp_server.core.personal import checks
from mcp_server.core.personal.find import find_personal, may_name_people
from mcp_server.core.personal.subject import matching

GAMES = Path(__file__).parents[4] / "shared" / "data" / "nba" / "nba_games_1947_2015.csv"
ROWS = 60


def with_check(make, check, *, seed: int = 7, rows: int = ROWS) -> list[str]:
    """Random numbers of a shape, each with the last character that passes its check."""
    chance = random.Random(seed)
    found = []
    while len(found) < rows:
        body = make(chance)
        found += [body + last for last in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" if last_fits(check, body + last)][:1]
    return found


def last_fits(check, text: str) -> bool:
    try:
        return check(text)
    except (ValueError, IndexError):
        return False


def digits(count: int, first: str = "123456789"):
    return lambda chance: chance.choice(first) + "".join(chance.choice("0123456789") for _ in range(count - 1))


def accounts() -> list[str]:
    chance = random.Random(3)
    bodies = ["".join(chance.choice("0123456789") for _ in range(18)) for _ in range(ROWS)]
    return [f"DE{98 - int(body + '131400') % 97:02d}{body}" for body in bodies]


COLUMNS = {
    "e-mail": [f"user{i}@mail.example.org" for i in range(ROWS)],
    "phone": [f"+49 30 {1_000_000 + i}" for i in range(ROWS)],
    "account": accounts(),
    "card": with_check(digits(15, "4"), checks.card),
    "IP address": [f"192.0.2.{i}" for i in range(ROWS)],
}
IDS = {
    "US": [f"{100 + i}-{10 + i % 80}-{1000 + i}" for i in range(ROWS)],
    "ES": with_check(digits(8), checks.dni),
    "BR": with_check(digits(10), checks.cpf),
    "PL": with_check(
        lambda chance: f"{chance.randrange(100):02d}0{chance.randrange(1, 10)}15{chance.randrange(10**4):04d}",
        checks.pesel,
    ),
    "DE": with_check(
        lambda chance: (lambda nine: nine + chance.choice(nine))("".join(chance.sample("123456789", 9))),
        checks.german_tax_number,
    ),
    "FI": with_check(
        lambda chance: f"1310{chance.randrange(10, 100)}-{chance.randrange(2, 900):03d}", checks.finnish_code
    ),
    "IT": with_check(
        lambda chance: f"RSSMRA{chance.randrange(10, 100)}T10A{chance.randrange(100, 1000)}", checks.fiscal_code
    ),
    "FR": [
        f"{body}{97 - int(body) % 97:02d}" for body in (f"1{60 + i % 30}0614{100000 + i * 37}" for i in range(ROWS))
    ],
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_is_found_by_its_values_whatever_its_name(kind):
    found = find_personal(pl.Series("c1", COLUMNS[kind]))
    assert found is not None
    assert (found.kind, found.by, found.share) == (kind, "values", 1.0)


@pytest.mark.parametrize("country", IDS)
def test_an_identity_number_is_found_by_its_check_digits(country):
    found = find_personal(pl.Series("c1", IDS[country]))
    assert found is not None
    assert found.kind == "national id"


@pytest.mark.parametrize("cells", [COLUMNS["account"], COLUMNS["card"], *list(IDS.values())[1:]])
def test_the_same_numbers_with_wrong_check_digits_are_not_found(cells):
    wrong = [cell[:-1] + {"0": "1", "A": "B"}.get(cell[-1], "0" if cell[-1].isdigit() else "A") for cell in cells]
    assert find_personal(pl.Series("c1", wrong)) is None


def test_numbers_without_separators_are_found_in_a_column_of_whole_numbers():
    cards = [int(cell) for cell in COLUMNS["card"]]
    assert find_personal(pl.Series("c1", cards)).kind == "card"


def test_an_address_in_one_of_twenty_remarks_makes_the_column_personal():
    remarks = [f"Called again, see file {i}" for i in range(95)] + [f"write to a{i}@example.org." for i in range(5)]
    assert find_personal(pl.Series("remark", remarks)).kind == "e-mail"
    assert find_personal(pl.Series("remark", remarks[:97])) is None


SECRETS = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "postgres://app:hunter2secret@db.example.org/app",
    "Authorization: Bearer abcdef0123456789",
    "sessionid=9f8e7d6c5b4a3210",
    "ghp_" + "a1B2c3" * 6,
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_column_of_secrets_is_as_personal_as_one_of_addresses(secret):
    assert find_personal(pl.Series("remark", [secret] * 3 + ["none"] * 20)).kind == "secret"
    assert find_personal(pl.Series("remark", ["see page 3: a session", "https://example.org/a"] * 20)) is None


def test_most_cells_decide_and_the_sample_is_spread_over_the_column():
    plain = [f"word {i}" for i in range(5_000)]
    assert find_personal(pl.Series("c1", [*plain, *COLUMNS["e-mail"] * 90])).share > 0.5
    assert find_personal(pl.Series("c1", [*plain, *COLUMNS["phone"]])) is None


@given(st.integers(0, 2**32), st.integers(8, 18), st.booleans())
def test_random_numbers_of_any_length_are_not_taken_for_identity_numbers(seed, length, as_text):
    chance = random.Random(seed)
    cells = [chance.randrange(10 ** (length - 1), 10**length) for _ in range(200)]
    assert find_personal(pl.Series("reading", [str(cell) for cell in cells] if as_text else cells)) is None


@given(st.lists(st.text(max_size=40), max_size=30))
def test_any_text_is_looked_at_without_failing(cells):
    find_personal(pl.Series("c1", cells, dtype=pl.String))
    may_name_people(pl.Series("player", cells, dtype=pl.String))


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits", "diabetes", "linnerud"])
def test_no_column_of_the_learning_tables_is_taken_for_personal(name):
    table = getattr(datasets, f"load_{name}")()
    for column, values in zip(table.feature_names, np.asarray(table.data).T, strict=True):
        for shown in (values, [f"{value:g}" for value in values], values.astype(int)):
            assert find_personal(pl.Series(str(column), shown)) is None, column


@pytest.mark.skipif(not GAMES.exists(), reason="the games are not beside the repository")
def test_no_column_of_the_games_is_taken_for_personal():
    games = pl.read_csv(GAMES)
    assert [name for name in games.columns if find_personal(games[name]) or may_name_people(games[name])] == []


def test_names_of_people_are_a_warning_and_no_finding():
    players = pl.Series("player_name", ["Ann Lee", "Bo K. Moe", "Cy van der Poe"])
    assert may_name_people(players)
    assert find_personal(players) is None
    assert not may_name_people(players.alias("venue"))


@given(st.one_of(st.integers(-(2**53), 2**53), st.text(max_size=20)))
def test_a_value_is_found_in_its_own_column_however_it_is_written(value):
    column = pl.Series("c1", [value, None])
    assert matching(column, value).to_list() == [True, False]
    assert matching(column, f"  {value} ").to_list() == [True, False]


def test_a_value_that_isnt_a_number_is_in_no_column_of_numbers():
    assert matching(pl.Series("c1", [1, 2]), "ann").to_list() == [False, False]
