"""Tables of eight characters with errors planted in known cells, and how well findings meet the answer key.

Each table comes clean first; then several kinds of error are planted, each in 1 to 3 % of the cells of the columns
that can have it. Six tables are for looking at; `HELD_OUT` are never looked at while a rule is written.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.ingest import CsvOptions, read_csv, shape_table
from mcp_server.core.quality import Finding

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


# The clean tables ------------------------------------------------------------------------------------------------

FIRST = "James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard Susan".split()
LAST = "Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Wilson Anderson Taylor".split()
STREETS = "Main Church Highland Washington Chestnut Franklin Jefferson Madison Lincoln Cherry Prospect Spruce".split()
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


LANDS = (
    "United States,Germany,France,Spain,Australia,Austria,Sweden,Switzerland,Iran,Iraq,Slovakia,Slovenia,Niger,Nigeria,"
    "Dominica,Dominican Republic,Mali,Malta,Malawi,India,Indonesia,Ireland,Iceland,Guinea,Guyana,Gambia,Zambia,Chad,Chile"
).split(",")
SURNAMES = LAST + "Johnston Johnsen Andersen Smyth Browne Willis Tyler Milner Davies Jonas Martin Gracia O'Neil".split()
REMARKS = "left at door,call before delivery,customer asked for invoice,no answer,gift wrap,second attempt,fragile,ok".split(",")


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
        made.append(", ".join(parts) + (f" #{rng.integers(1, 400)}" if rng.random() < 0.2 else "") if rng.random() < 0.5 else "")
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
    columns["contact"] = sometimes(rng, columns["contact"], 0.01, lambda cell: cell.replace("example.org", "mail2.example.org"))
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
    land = dict(zip(["SUP-011", "SUP-027", "SUP-034", "SUP-058", "SUP-102"], ["Germany", "Japan", "Japan", "Poland", "Canada"], strict=True))
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
        "outlier": ["v02", "v05", "v11", "v17"],
        "sentinel": ["v03", "v12"],
        "number text": ["v07", "v20"],
        "disguised": ["group", "v09"],
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

# The errors --------------------------------------------------------------------------------------------------------

WORDS = ["N/A", "n/a", "-", "--", "?", "unknown", "Unknown", "UNKNOWN", "   ", "null", "NULL", "none", "missing", "."]
WORDS += ["not avail.", "k.A.", "XXXX", "to be confirmed", "n.d.", "????", "pending", "*****", "N\\A", "Not recorded"]
NUMBER_WORDS = ["-", "?", "unknown", "  ", "missing", "n/a", "not avail.", "n.d.", "pending"]
"""What import doesn't read as missing in a column of numbers by itself."""
UNITS = [" kg", " oz.", "%", " pcs", "EUR", " mm"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def disguised(rng: Rng, cell: str) -> str:
    return str(rng.choice(NUMBER_WORDS if is_number(cell) else WORDS))


def number_text(rng: Rng, cell: str) -> str:
    bare = cell.split()[0].rstrip("%")
    way = int(rng.integers(4))
    if way == 0:
        return f"${bare}"
    if way == 1:
        return f"about {bare}"
    return bare + str(rng.choice([unit for unit in UNITS if not cell.endswith(unit)]))


def typo(rng: Rng, cell: str) -> str:
    """A slip of a finger, as keyboards have them: a letter doubled, dropped, swapped with its neighbour or wrong, a
    figure for a letter, other capitals or spaces; rarely two of them.
    """
    at = int(rng.integers(0, len(cell) - 1))
    way = int(rng.integers(6))
    if way == 5:
        twice = typo(rng, typo(rng, cell)) if rng.random() < 0.3 else cell
        made = twice.replace("o", "0", 1).replace("l", "1", 1) if twice == cell else twice
    elif way == 0:
        made = cell[:at] + cell[at] + cell[at:]
    elif way == 1:
        made = cell[:at] + cell[at + 1 :]
    elif way == 2:
        made = cell[:at] + cell[at + 1] + cell[at] + cell[at + 2 :]
    elif way == 3:
        made = cell[:at] + str(rng.choice(list(LETTERS))) + cell[at + 1 :]
    else:
        made = str(rng.choice([cell.upper(), cell.lower(), f"{cell} ", cell.replace(" ", "  ")]))
    return made


def broken(rng: Rng, cell: str) -> str:
    """A code that was cut, stretched, or had one of its signs replaced by one of another kind."""
    at = int(rng.integers(0, len(cell)))
    way = int(rng.integers(4))
    if way == 0:
        return cell[: max(1, len(cell) // 2)]
    if way == 1:
        return f"{cell}{rng.choice(['#', '/1', ' old', '_2'])}"
    if way == 2:
        other = "x" if cell[at].isdigit() else "7"
        return cell[:at] + other + cell[at + 1 :]
    return cell.replace("-", "").replace("@", " at ") if "-" in cell or "@" in cell else f"{cell[0]}.{cell[1:]}"


def other_date(rng: Rng, cell: str) -> str:
    for form in ("%Y-%m-%d", "%d %b %Y", "%m/%d/%Y"):
        try:
            day = date(1, 1, 1).fromordinal(_parsed(cell, form))
        except ValueError:
            continue
        others = ["%d.%m.%Y", "%Y/%m/%d", "%b %d, %Y", "%Y%m%d", "%d-%b-%y", "%Y-%m-%d"]
        return day.strftime(str(rng.choice([one for one in others if one != form])))
    raise AssertionError(cell)


def _parsed(cell: str, form: str) -> int:
    return datetime.strptime(cell, form).toordinal()  # noqa: DTZ007 - a day, not a moment


def outlier(rng: Rng, cells: list[str], cell: str) -> str:
    """A slipped decimal point, or a value outside, some of them only just."""
    values = np.array([float(one) for one in cells if is_number(one)])
    digits = len(cell.partition(".")[2])
    if rng.random() < 0.5:
        return f"{float(cell) * float(rng.choice([10.0, 100.0])):.{digits}f}"
    away = float(rng.uniform(5, 20)) * values.std() * float(rng.choice([-1, 1]) if values.min() < 0 else 1)
    return f"{values.mean() + away:.{digits}f}"


PER_CELL = {"disguised": disguised, "number text": number_text, "typo": typo, "pattern": broken, "date": other_date}


def plant(make: Callable[[Rng], Planted], seed: int) -> Planted:
    """A table with its errors.

    Each kind takes 1 to 3 % of the cells of its columns; no cell has two errors.
    """
    rng = np.random.default_rng(seed)
    table = make(rng)
    for kind, columns in table.kinds.items():
        for column in columns:
            count = round(float(rng.uniform(0.01, 0.03)) * ROWS)
            if column:
                _plant_cells(rng, table, kind, column, count)
            else:
                _plant_rows(rng, table, kind, count)
    return table


def _plant_cells(rng: Rng, table: Planted, kind: str, column: str, count: int) -> None:
    cells = table.columns[column]
    taken = {row for row, name in table.cells if name in (column, table.pairs.get(column))}
    free = [row for row in range(1, len(cells) + 1) if row not in taken]
    sentinel = str(rng.choice(["-1", "-999", "9999", "999", "99", "888", "-99.9"]))
    again = last = ""
    before = list(cells)
    for row in sorted(int(at) for at in rng.choice(free, count, replace=False)):
        cell = cells[row - 1]
        if kind == "sentinel":
            made = sentinel
        elif kind == "outlier":
            made = outlier(rng, before, cell)
        elif kind == "dependency":
            made = str(rng.choice([one for one in sorted(set(before)) if one != cell and before.count(one) > 5]))
        else:
            made = PER_CELL[kind](rng, cell)
        if kind == "typo":
            # Whoever types a word wrongly often does so again.
            made = again if again and before[row - 1] == cell == last and rng.random() < 0.3 else made
            again, last = made, cell
        if made != cell:
            cells[row - 1] = made
            table.key[kind].add((row, column))


def _plant_rows(rng: Rng, table: Planted, kind: str, count: int) -> None:
    """Copies of rows without an error, at the end; near ones with one cell written a little differently."""
    faulty = {row for row, _ in table.cells}
    whole = [row for row in range(1, table.rows + 1) if row not in faulty]
    for row in (int(at) for at in rng.choice(whole, count, replace=False)):
        for cells in table.columns.values():
            cells.append(cells[row - 1])
        if kind == "near duplicate":
            texts = [name for name, cells in table.columns.items() if len(cells[row - 1]) > 3 and not is_number(cells[row - 1])]
            name = str(rng.choice([name for name in texts if name not in table.dates]))
            cell = table.columns[name][-1]
            table.columns[name][-1] = str(rng.choice([cell.upper(), f" {cell}", typo(rng, cell)]))
        table.key[kind].add((table.rows, ""))


# The measure -------------------------------------------------------------------------------------------------------

RULES = {
    "missing.disguised": "disguised",
    "missing.sentinel": "sentinel",
    "numbers.text": "number text",
    "spelling.rare": "typo",
    "spelling.form": "typo",
    "patterns.rare": "pattern",
    "dates.mixed": "date",
    "dates.impossible": "date",
    "contradictions.dependency": "dependency",
    "outliers.value": "outlier",
    "outliers.context": "outlier",
    "units.block": "outlier",
    "duplicates.rows": "duplicate",
    "duplicates.near": "near duplicate",
}
"""Which rules speak of cells, and of which kind of error."""

SURE = 0.5
"""The confidence from which a finding claims an error; below, it asks for a look."""


@dataclass
class Score:
    """Counts over cells: planted and found, planted and not, claimed and not planted."""

    found: int = 0
    missed: int = 0
    wrong: int = 0

    def add(self, other: Score) -> None:
        self.found += other.found
        self.missed += other.missed
        self.wrong += other.wrong

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.wrong)

    @property
    def recall(self) -> float:
        return self.found / max(1, self.found + self.missed)

    @property
    def f1(self) -> float:
        return 2 * self.found / max(1, 2 * self.found + self.missed + self.wrong)


def claims(findings: Iterable[Finding]) -> set[tuple[str, int, tuple[str, ...]]]:
    """What findings claim to be wrong: the kind of error, a row, and the columns of which one cell is meant.

    A dependency is about the decided column alone where it says which that is; a copy is about the row.
    """
    made = set()
    for finding in findings:
        kind = RULES.get(finding.rule)
        if kind is None or (finding.confidence or 1.0) < SURE or (kind == "duplicate" and finding.severity == "info"):
            continue
        decided = finding.fix == "replace by the usual value"
        columns = finding.columns[-1:] if decided else finding.columns
        columns = ("",) if kind in ("duplicate", "near duplicate") else columns
        made |= {(kind, row, columns) for row in finding.rows}
    return made


def score(planted: Planted, findings: Iterable[Finding]) -> dict[str, Score]:
    """By kind and under `all`: a planted cell is found if any rule claims it; a claim is wrong if none of its cells,
    nor the row as a copy, was planted. Wrong claims are told under the kind that made them, once for each row and
    columns.
    """
    made = claims(findings)
    cells = planted.cells
    right = {(row, name) for _, row, columns in made for name in columns if (row, name) in cells}
    # The spelling that makes a copy a near one is an error of its row: whoever names it isn't wrong.
    copies = {row for row, name in planted.key["near duplicate"] if not name}
    result = {kind: Score() for kind in planted.kinds}
    for kind, planted_cells in planted.key.items():
        if planted_cells:
            found = len(planted_cells & right)
            result[kind].add(Score(found, len(planted_cells) - found))
    wrong: dict[tuple[int, tuple[str, ...]], str] = {}
    for kind, row, columns in sorted(made):
        if not any((row, name) in cells for name in columns) and row not in copies:
            wrong.setdefault((row, columns), kind)
    for kind in wrong.values():
        result.setdefault(kind, Score()).wrong += 1
    total = Score()
    for part in result.values():
        total.add(part)
    return {**result, "all": total}
