"""Clean tables of eight characters, each with what makes clean tables hard: rare values, odd forms, heavy tails.

Six are for looking at; `HELD_OUT` are never looked at while a rule is written.
"""

# ruff: noqa: E501 - rows of made-up data read better in one line

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.ingest import CsvOptions, read_csv, shape_table

Rng = np.random.Generator
Cell = tuple[int, str]
"""A 1-based row and a column; the column is empty where the whole row is meant."""

ROWS = 1_200


@dataclass
class Planted:
    """A table as text, the kinds of error that its columns can have, and what was planted.

    Args:
        columns: name to cells.
        kinds: error kind to the columns that can have it.
        pairs: decided column to the values that another column allows, as (decider, decided).
        key: error kind to cells.
    """

    columns: dict[str, list[str]]
    kinds: dict[str, list[str]]
    pairs: dict[str, str] = field(default_factory=dict)
    dates: tuple[str, ...] = ()
    key: dict[str, set[Cell]] = field(default_factory=lambda: defaultdict(set))

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def cells(self) -> set[Cell]:
        return {cell for cells in self.key.values() for cell in cells}

    def table(self) -> tuple[pl.DataFrame, Contract]:
        """As an import would store it."""
        frame = pl.DataFrame(self.columns, schema=dict.fromkeys(self.columns, pl.String))
        written = io.BytesIO(frame.write_csv(quote_style="always").encode())
        read = read_csv(written, options=CsvOptions(text_columns=self.dates))
        return shape_table(read.frame)


FIRST = [
    "James",
    "Mary",
    "Robert",
    "Patricia",
    "John",
    "Jennifer",
    "Michael",
    "Linda",
    "David",
    "Elizabeth",
    "William",
    "Barbara",
    "Richard",
    "Susan",
]
LAST = [
    "Smith",
    "Johnson",
    "Williams",
    "Brown",
    "Jones",
    "Garcia",
    "Miller",
    "Davis",
    "Rodriguez",
    "Martinez",
    "Wilson",
    "Anderson",
    "Taylor",
]
STREETS = [
    "Main",
    "Church",
    "Highland",
    "Washington",
    "Chestnut",
    "Franklin",
    "Jefferson",
    "Madison",
    "Lincoln",
    "Cherry",
    "Prospect",
    "Spruce",
]
CITIES = {
    "Springfield": ("IL", "Sangamon"), "Portland": ("OR", "Multnomah"), "Madison": ("WI", "Dane"),
    "Birmingham": ("AL", "Jefferson"), "Charleston": ("SC", "Berkeley"), "Columbus": ("OH", "Delaware"),
    "Rochester": ("NY", "Monroe"), "Tallahassee": ("FL", "Leon"), "Sacramento": ("CA", "Yolo"),
    "Minneapolis": ("MN", "Hennepin"), "Albuquerque": ("NM", "Bernalillo"), "Richmond": ("VA", "Henrico"),
}  # fmt: skip


def pick(rng: Rng, values: Iterable[str], rows: int = ROWS, *, even: bool = False) -> list[str]:
    values = list(values)
    weights = np.ones(len(values)) if even else rng.dirichlet(np.full(len(values), 4.0)) + 0.02
    return [values[at] for at in rng.choice(len(values), rows, p=weights / weights.sum())]


LANDS = [
    "United States",
    "Germany",
    "France",
    "Spain",
    "Australia",
    "Austria",
    "Sweden",
    "Switzerland",
    "Iran",
    "Iraq",
    "Slovakia",
    "Slovenia",
    "Niger",
    "Nigeria",
    "Dominica",
    "Dominican Republic",
    "Mali",
    "Malta",
    "Malawi",
    "India",
    "Indonesia",
    "Ireland",
    "Iceland",
    "Guinea",
    "Guyana",
    "Gambia",
    "Zambia",
    "Chad",
    "Chile",
]
SURNAMES = [
    *LAST,
    "Johnston",
    "Johnsen",
    "Andersen",
    "Smyth",
    "Browne",
    "Willis",
    "Tyler",
    "Milner",
    "Davies",
    "Jonas",
    "Martin",
    "Gracia",
    "O'Neil",
]
REMARKS = [
    "left at door",
    "call before delivery",
    "customer asked for invoice",
    "no answer",
    "gift wrap",
    "second attempt",
    "fragile",
    "ok",
]


def tail(rng: Rng, values: Iterable[str], rows: int = ROWS) -> list[str]:
    """Values as they come in life: a few that are frequent, and many that are met once or twice."""
    values = list(values)
    weights = 1.0 / np.arange(1, len(values) + 1) ** 1.6
    return [values[at] for at in rng.choice(len(values), rows, p=weights / weights.sum())]


def remarks(rng: Rng, rows: int = ROWS) -> list[str]:
    """Free text, half of it empty."""
    made = []
    for _ in range(rows):
        parts = rng.choice(REMARKS, int(rng.integers(1, 3)), replace=False)
        made.append(
            ", ".join(parts) + (f" #{rng.integers(1, 400)}" if rng.random() < 0.2 else "") if rng.random() < 0.5 else ""
        )
    return made


def sometimes(rng: Rng, cells: list[str], share: float, change: Callable[[str], str]) -> list[str]:
    """Some cells written in a rarer way that is right all the same."""
    return [change(cell) if rng.random() < share else cell for cell in cells]


def numbers(values: np.ndarray, digits: int) -> list[str]:
    return [f"{value:.{digits}f}" for value in values]


def days(rng: Rng, form: str, rows: int = ROWS) -> list[str]:
    start = date(2018, 1, 1)
    return [(start + timedelta(days=int(day))).strftime(form) for day in rng.integers(0, 1_500, rows)]


def sales(rng: Rng) -> Planted:
    product = pick(rng, ["Notebook", "Desk Lamp", "Office Chair", "Stapler", "Whiteboard", "Headphones", "Monitor"])
    family = {"Notebook": "Paper", "Desk Lamp": "Furniture", "Office Chair": "Furniture", "Stapler": "Paper",
              "Whiteboard": "Paper", "Headphones": "Electronics", "Monitor": "Electronics"}  # fmt: skip
    columns = {
        "region": pick(rng, ["North", "South", "East", "West", "Central"]),
        "product": product,
        "family": [family[one] for one in product],
        "channel": pick(rng, ["Online", "Retail Store", "Reseller", "Telephone"]),
        "payment": pick(rng, ["Credit Card", "Invoice", "Cash", "Bank Transfer"]),
        "quantity": [str(value) for value in rng.poisson(9, ROWS) + 1],
        "price": numbers(rng.gamma(9.0, 4.0, ROWS) + 3, 2),
        "discount": numbers(rng.beta(2, 9, ROWS) * 40, 1),
        "satisfaction": [str(value) for value in rng.integers(30, 100, ROWS)],
        "country": tail(rng, LANDS),
        "remark": remarks(rng),
        "margin": numbers(rng.standard_t(3, ROWS) * 4 + 11, 1),
    }
    kinds = {
        "disguised": ["region", "payment"],
        "number text": ["price", "discount"],
        "typo": ["product", "channel"],
        "dependency": ["family"],
        "sentinel": ["satisfaction"],
        "outlier": ["quantity"],
        "duplicate": [""],
    }
    return Planted(columns, kinds, {"family": "product"})


def customers(rng: Rng) -> Planted:
    city = pick(rng, CITIES)
    columns = {
        "customer": [f"C{number:06d}" for number in rng.choice(999_999, ROWS, replace=False)],
        "name": [f"{a} {b}" for a, b in zip(pick(rng, FIRST), tail(rng, SURNAMES), strict=True)],
        "house": [
            f"{n} {street} {kind}"
            for n, street, kind in zip(
                rng.integers(1, 3_000, ROWS), pick(rng, STREETS), pick(rng, ["Street", "Avenue", "Road"]), strict=True
            )
        ],
        "city": city,
        "state": [CITIES[one][0] for one in city],
        "zip": [f"{10_000 + 701 * list(CITIES).index(one) + int(n):05d}" for one, n in zip(city, rng.integers(0, 9, ROWS), strict=True)],
        "phone": [f"{a}-{b}-{c:04d}" for a, b, c in zip(rng.integers(200, 989, ROWS), rng.integers(200, 989, ROWS), rng.integers(0, 9_999, ROWS), strict=True)],
        "plan": pick(rng, ["Basic", "Standard", "Premium"]),
        "age": [str(value) for value in np.clip(rng.normal(46, 14, ROWS), 18, 92).astype(int)],
        "income": numbers(rng.lognormal(10.4, 0.7, ROWS), 0),
        "visits": [str(value) for value in np.where(rng.random(ROWS) < 0.7, 0, rng.poisson(4, ROWS))],
    }  # fmt: skip
    columns["house"] = sometimes(rng, columns["house"], 0.01, lambda cell: f"PO Box {cell.split()[0]}")
    columns["house"] = sometimes(rng, columns["house"], 0.03, lambda cell: f"{cell}, Apt {len(cell)}B")
    columns["customer"] = sometimes(rng, columns["customer"], 0.004, lambda cell: f"{cell}R")
    kinds = {
        "disguised": ["plan", "phone"],
        "pattern": ["customer", "phone"],
        "typo": ["city", "house"],
        "dependency": ["state"],
        "sentinel": ["age"],
        "near duplicate": [""],
    }
    return Planted(columns, kinds, {"state": "city"})


def sensors(rng: Rng) -> Planted:
    warmth = rng.normal(18, 5, ROWS)
    columns = {
        "site": pick(rng, ["Harbour", "Airport", "Old Town", "University", "Stadium"]),
        "sensor": [f"S-{a}{n:02d}" for a, n in zip(pick(rng, "ABCDEF"), rng.integers(1, 40, ROWS), strict=True)],
        "temperature": numbers(warmth, 1),
        "dew_point": numbers(warmth - 6 + rng.normal(0, 0.8, ROWS), 1),
        "pressure": numbers(rng.normal(1_013, 6, ROWS), 1),
        "humidity": numbers(np.clip(rng.normal(62, 12, ROWS), 5, 100), 0),
        "battery": numbers(rng.normal(3.7, 0.08, ROWS), 2),
        "firmware": pick(rng, ["1.4.2", "1.4.3", "1.5.0", "2.0.1"]),
        "status": pick(rng, ["normal", "maintenance", "calibrating"]),
        "rain": numbers(np.where(rng.random(ROWS) < 0.8, 0.0, rng.gamma(0.7, 6.0, ROWS)), 1),
        "error_code": sometimes(rng, [""] * ROWS, 0.03, lambda _: str(rng.choice(["E12", "E14", "W3", "LOWBAT"]))),
    }
    kinds = {
        "disguised": ["status", "site"],
        "number text": ["humidity", "battery"],
        "pattern": ["sensor"],
        "typo": ["status", "site"],
        "sentinel": ["pressure"],
        "outlier": ["temperature"],
        "duplicate": [""],
    }
    return Planted(columns, kinds)


def events(rng: Rng) -> Planted:
    venue = pick(rng, ["Grand Hall", "Riverside Arena", "Civic Theatre", "Union Square", "Botanic Garden"])
    town = {"Grand Hall": "Leeds", "Riverside Arena": "Bristol", "Civic Theatre": "Leeds", "Union Square": "Glasgow",
            "Botanic Garden": "Glasgow"}  # fmt: skip
    columns = {
        "starts": days(rng, "%Y-%m-%d"),
        "announced": days(rng, "%d %b %Y"),
        "kind": pick(rng, ["Concert", "Lecture", "Exhibition", "Workshop", "Conference"]),
        "venue": venue,
        "town": [town[one] for one in venue],
        "visitors": [str(value) for value in rng.negative_binomial(6, 0.02, ROWS) + 20],
        "ticket": numbers(rng.gamma(6, 4, ROWS) + 5, 2),
        "contact": [f"{a.lower()}.{b.lower()}@example.org" for a, b in zip(pick(rng, FIRST), pick(rng, LAST), strict=True)],
        "speaker_from": tail(rng, LANDS),
        "remark": remarks(rng),
    }  # fmt: skip
    columns["contact"] = sometimes(
        rng, columns["contact"], 0.01, lambda cell: cell.replace("example.org", "mail2.example.org")
    )
    columns["town"] = sometimes(rng, columns["town"], 0.002, lambda _: "Bath")
    kinds = {
        "disguised": ["kind", "starts"],
        "date": ["starts", "announced"],
        "typo": ["venue", "kind"],
        "dependency": ["town"],
        "number text": ["ticket"],
        "pattern": ["contact"],
        "near duplicate": [""],
    }
    return Planted(columns, kinds, {"town": "venue"}, dates=("starts", "announced"))


def parts(rng: Rng) -> Planted:
    supplier = pick(rng, ["SUP-011", "SUP-027", "SUP-034", "SUP-058", "SUP-102"])
    land = dict(
        zip(
            ["SUP-011", "SUP-027", "SUP-034", "SUP-058", "SUP-102"],
            ["Germany", "Japan", "Japan", "Poland", "Canada"],
            strict=True,
        )
    )
    columns = {
        "part": [f"{a}{b}-{n:04d}-{c}" for a, b, n, c in zip(pick(rng, "ABKTX"), pick(rng, "LMNPR"), rng.integers(0, 9_999, ROWS), pick(rng, "XYZ"), strict=True)],
        "serial": [f"{value:08x}" for value in rng.choice(2**32, ROWS, replace=False)],
        "supplier": supplier,
        "country": [land[one] for one in supplier],
        "material": pick(rng, ["Stainless Steel", "Aluminium", "Polycarbonate", "Brass", "Titanium"]),
        "colour": pick(rng, ["black", "silver", "white", "graphite"]),
        "weight": numbers(rng.lognormal(3.0, 0.35, ROWS), 1),
        "length": numbers(rng.normal(140, 22, ROWS), 0),
        "lot": [f"{y}W{w:02d}" for y, w in zip(rng.integers(19, 24, ROWS), rng.integers(1, 53, ROWS), strict=True)],
        "finish": tail(rng, ["matte", "gloss", "satin", "brushed", "coated", "plated", "glass", "Mattel"]),
        "price": numbers(rng.lognormal(2.0, 1.1, ROWS), 2),
    }  # fmt: skip
    columns["lot"] = sometimes(rng, columns["lot"], 0.01, lambda cell: f"{cell}R")
    kinds = {
        "disguised": ["material", "colour"],
        "pattern": ["part", "lot"],
        "typo": ["material", "country"],
        "dependency": ["country"],
        "number text": ["weight"],
        "outlier": ["length"],
        "duplicate": [""],
    }
    return Planted(columns, kinds, {"country": "supplier"})


def panel(rng: Rng) -> Planted:
    factors = rng.normal(size=(ROWS, 4))
    columns = {}
    for at in range(24):
        mixed = factors @ rng.normal(size=4) + rng.normal(0, 0.6, ROWS)
        columns[f"v{at:02d}"] = numbers(100 + 10 * at + mixed * (3 + at % 5), 2)
    columns["group"] = pick(rng, ["treated", "control", "reference"])
    columns["skewed"] = numbers(rng.lognormal(1.0, 1.0, ROWS), 2)
    columns["squared"] = numbers((factors[:, 0] ** 2 + 0.05 * rng.normal(size=ROWS)) * 10, 2)
    columns["two_groups"] = numbers(np.where(rng.random(ROWS) < 0.3, 50, 10) + rng.normal(size=ROWS), 2)
    kinds = {
        "outlier": ["v02", "v05", "v11", "v17", "v18", "v21"],
        "sentinel": ["v03", "v12", "v13", "v22"],
        "number text": ["v07", "v08", "v14", "v20"],
        "disguised": ["group", "v09", "v15", "v16"],
        "typo": ["group"],
        "duplicate": [""],
    }
    return Planted(columns, kinds)


def hospitals(rng: Rng) -> Planted:
    city = pick(rng, CITIES)
    condition = {"SCIP-1": "Surgical Infection Prevention", "AMI-2": "Heart Attack", "PN-5": "Pneumonia",
                 "HF-3": "Heart Failure", "CAC-1": "Childrens Asthma"}  # fmt: skip
    measure = pick(rng, condition)
    columns = {
        "provider": [f"{value:05d}" for value in rng.integers(10_001, 10_060, ROWS)],
        "county": [CITIES[one][1] for one in city],
        "city": city,
        "owner": pick(rng, ["Government - Federal", "Proprietary", "Voluntary non-profit - Private"]),
        "measure": measure,
        "condition": [condition[one] for one in measure],
        "score": [f"{value}%" for value in np.clip(rng.normal(84, 9, ROWS), 10, 100).astype(int)],
        "sample": [f"{value} patients" for value in rng.poisson(60, ROWS)],
        "reported": days(rng, "%m/%d/%Y"),
        "surveyor": [f"{a} {b}" for a, b in zip(pick(rng, FIRST), tail(rng, SURNAMES), strict=True)],
        "beds": numbers(rng.lognormal(4.6, 0.8, ROWS), 0),
        "footnote": remarks(rng),
    }
    columns["provider"] = sometimes(rng, columns["provider"], 0.005, lambda cell: f"{cell[:4]}F")
    columns["sample"] = sometimes(rng, columns["sample"], 0.004, lambda _: "1 patient")
    kinds = {
        "disguised": ["score", "owner"],
        "number text": ["sample"],
        "typo": ["condition", "city"],
        "dependency": ["county", "condition"],
        "pattern": ["measure"],
        "date": ["reported"],
        "near duplicate": [""],
    }
    return Planted(columns, kinds, {"county": "city", "condition": "measure"}, dates=("reported",))


def beers(rng: Rng) -> Planted:
    city = pick(rng, CITIES)
    columns = {
        "id": [str(value) for value in rng.choice(9_999, ROWS, replace=False)],
        "style": pick(rng, ["American IPA", "Pale Ale", "Witbier", "Oatmeal Stout", "Kölsch", "Saison", "Fruit Beer"]),
        "ounces": [f"{value} oz" for value in rng.choice(["12.0", "16.0", "24.0", "19.2"], ROWS, p=[0.6, 0.3, 0.05, 0.05])],
        "abv": numbers(np.clip(rng.normal(0.059, 0.012, ROWS), 0.03, 0.12), 3),
        "ibu": [str(value) for value in rng.integers(8, 98, ROWS)],
        "brewery": [f"BRW{value:03d}" for value in rng.integers(1, 300, ROWS)],
        "city": city,
        "state": [CITIES[one][0] for one in city],
        "imported_to": tail(rng, LANDS),
        "rating": numbers(np.clip(rng.normal(3.7, 0.5, ROWS), 1, 5), 1),
        "reviews": [str(value) for value in rng.negative_binomial(0.8, 0.01, ROWS)],
    }  # fmt: skip
    columns["brewery"] = sometimes(rng, columns["brewery"], 0.006, lambda cell: f"{cell}-NC")
    kinds = {
        "disguised": ["style", "ibu"],
        "number text": ["ounces", "abv"],
        "typo": ["style", "city"],
        "dependency": ["state"],
        "pattern": ["brewery"],
        "sentinel": ["ibu"],
        "duplicate": [""],
    }
    return Planted(columns, kinds, {"state": "city"})


TABLES: dict[str, Callable[[Rng], Planted]] = {
    make.__name__: make for make in (sales, customers, sensors, events, parts, panel)
}
HELD_OUT: dict[str, Callable[[Rng], Planted]] = {make.__name__: make for make in (hospitals, beers)}
