"""`courtside demo`: the whole path, through the real server over stdio, as a client starts it.

Seasons of a simulated league with planted errors and an answer key; or a file of real games, without either.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp import Client
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mcp_server.client import Called, called, connected
from mcp_server.errors import BadConfiguration, CourtsideError, from_code

if TYPE_CHECKING:
    from mcp_server.core.simulation.faults import AnswerKey

SEED = 20
DERIVED = {"home_win": "home_score > away_score", "elo_diff": "home_elo - away_elo"}
TOMORROW = 5
# The forecast to beat, and what tomorrow has no history of.
NOT_FEATURES = ("elo_home_win_prob", "season", "home", "away")
PICTURES = ("comparison.png", "reliability.png")
# Which rules of validate_data answer for which planted error.
CAUGHT_BY = {
    "winners that contradict scores": ("contradiction",),
    "duplicated games": ("duplicate",),
    "travel in metres": ("unit", "screening", "range"),
    "leaked column": ("leak",),
    "flipped results": (),
}


def run(*, games: Path | None, keep: Path | None) -> int:
    """Run the demonstration.

    Args:
        games: a CSV of real games with home_score, away_score, home_elo and away_elo; None simulates.
        keep: where data and pictures stay; None keeps the pictures alone, in a temporary folder.
    Returns:
        0 when every step did what it should.
    """
    console = Console(highlight=False)
    if games is not None and not games.is_file():
        raise BadConfiguration(f"{games} isn't a file.", hint="Name a CSV file with --games.")
    folder = (keep or Path(tempfile.mkdtemp(prefix="courtside-demo-"))).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return asyncio.run(_Demo(console, folder, games).run())
    finally:
        if keep is None:
            for part in ("data", "files"):
                shutil.rmtree(folder / part, ignore_errors=True)


@dataclass(slots=True)
class _Demo:
    console: Console
    folder: Path
    games: Path | None
    step: int = 0

    async def run(self) -> int:
        files = self.folder / "files"
        files.mkdir(exist_ok=True)
        environment = {
            "COURTSIDE_DATA_DIR": str(self.folder / "data"),
            "COURTSIDE_ALLOWED_DIRS": str(files),
            "COURTSIDE_WORKER_IDLE_SECONDS": "5",
            "COURTSIDE_LOG_LEVEL": "ERROR",
        }
        async with connected(environment) as client:
            if self.games is not None:
                await asyncio.to_thread(shutil.copyfile, self.games, files / "games.csv")
                rows = await self._real(client)
            else:
                rows = await self._simulated(client, files)
            await self._models(client, rows)
        self.console.print(f"\n[bold]Done.[/bold] Pictures: {', '.join(str(self.folder / name) for name in PICTURES)}")
        return 0

    async def _simulated(self, client: Client, files: Path) -> list[dict[str, Any]]:
        import numpy as np

        from mcp_server.core.simulation.faults import plant_faults
        from mcp_server.core.simulation.games import NOTICE, simulate_seasons, upcoming_games

        self._say("Simulating seasons of games, with planted errors and an answer key")
        clean = await asyncio.to_thread(simulate_seasons, np.random.default_rng(SEED))
        faulty, key = plant_faults(clean, np.random.default_rng(SEED + 1))
        faulty.write_csv(files / "delivered.csv")
        upcoming = upcoming_games(clean, np.random.default_rng(SEED + 2), TOMORROW)
        self.console.print(f"  {faulty.height:,} games. {NOTICE}")

        self._say("import_data: the delivery as it came")
        delivered = await self._call(
            client, "import_data", name="delivered", path="delivered.csv", target="winner_home"
        )
        self._show(delivered)
        self._say("validate_data: what is wrong with it")
        verdict = await self._call(client, "validate_data", dataset="delivered@1")
        found = caught(key, verdict.structure)
        self.console.print(_answer_sheet(key, found))
        self.console.print(
            f"  Verdict: [bold]{verdict.structure['verdict']}[/bold]. Not looked for, among others: flips."
        )
        if not all(share >= 0.9 for name, share in found.items() if CAUGHT_BY[name]):
            raise BadConfiguration("The checks missed planted errors.", hint="Report this with the table above.")

        self._say("train_model on it anyway: refused")
        refused = await self._refused(client, "train_model", model="leaky", dataset="delivered@1")
        self.console.print(f"  {escape(refused.message)}")

        self._say("Leaving out what was found, and importing again")
        bad = {row for name in key if name != "leaked column" for row in _found_rows(verdict.structure, name)}
        await asyncio.to_thread(_without, files / "delivered.csv", files / "games.csv", bad, {"winner_home"})
        games = await self._call(
            client,
            "import_data",
            name="games",
            path="games.csv",
            target="home_win",
            time="date",
            derived=DERIVED,
            roles={"spread_close": "known_after"} | dict.fromkeys(NOT_FEATURES, "ignored"),
        )
        self._show(games)
        return [_plain(row) for row in upcoming.iter_rows(named=True)]

    async def _real(self, client: Client) -> list[dict[str, Any]]:
        self._say("import_data: real games")
        games = await self._call(
            client, "import_data", name="games", path="games.csv", target="home_win", derived=DERIVED
        )
        self._show(games)
        self._say("validate_data: what is wrong with it")
        self._show(await self._call(client, "validate_data", dataset="games@1"), most=14)
        return await asyncio.to_thread(_last_rows, self.folder / "files" / "games.csv", TOMORROW)

    async def _models(self, client: Client, rows: list[dict[str, Any]]) -> None:
        self._say("train_model: a linear baseline and boosting, as a job")
        started = await self._call(client, "train_model", model="games", dataset="games@1")
        trained = await self._followed(client, started.structure["job"])
        self._show(trained)
        versions = [version["model"] for version in trained.structure["result"]["versions"]]
        best = trained.structure["result"]["recommended"]

        self._say(f"compare_models: {versions[1]} against {versions[0]}")
        compared = await self._call(client, "compare_models", models=[versions[1], versions[0]])
        self._show(compared)
        for name, picture in zip(PICTURES, compared.pictures, strict=True):
            (self.folder / name).write_bytes(base64.b64decode(picture))

        self._say(f"verify_model: {best}")
        self._show(await self._call(client, "verify_model", model=best))

        self._say(f"predict: {'tomorrow' if self.games is None else 'the last games'} with {best}")
        inputs = await self._inputs(client, best, rows)
        predicted = await self._call(client, "predict", model=best, rows=inputs)
        self.console.print(_forecasts(rows, predicted.structure["predictions"]))

        self._say("predict with a rating ten times too high: answered, and flagged")
        odd = {**inputs[0], "home_elo": inputs[0]["home_elo"] * 10}
        self._show(await self._call(client, "predict", model=best, rows=[odd]), most=2)

        self._say("health_report")
        self._show(await self._call(client, "health_report"), most=8)

    async def _inputs(self, client: Client, model: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows with what the model takes; the refusal of a first try names it."""
        card = (await client.read_resource(f"model://{model}/card")).contents[0]
        features = [
            line[2:] for line in getattr(card, "text", "").partition("## Features")[2].splitlines() if line[:2] == "- "
        ]
        return [{name: row[name] for name in features if name in row} for row in rows]

    async def _followed(self, client: Client, job: str) -> Called:
        bar = Progress(
            TextColumn("  {task.description:<52}"),
            BarColumn(24),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        with bar:
            task = bar.add_task("Waiting for the worker", total=1.0)
            while True:
                followed = await self._call(client, "get_job", job=job, wait=1.0)
                state = followed.structure["state"]
                bar.update(task, completed=followed.structure["progress"], description=followed.structure["message"])
                if state == "failed":
                    error = followed.structure["error"]
                    raise from_code(error["code"], error["message"], hint=error.get("hint", ""))
                if state not in ("queued", "running"):
                    return followed

    async def _call(self, client: Client, tool: str, **arguments: Any) -> Called:
        result = called(await client.call_tool(tool, arguments))
        if result.failed:
            error = result.structure.get("error", {})
            raise from_code(error.get("code", ""), error.get("message", result.text), hint=error.get("hint", ""))
        return result

    async def _refused(self, client: Client, tool: str, **arguments: Any) -> CourtsideError:
        """The error of a call that must be refused, at once or by its job."""
        try:
            result = await self._call(client, tool, **arguments)
            await self._followed(client, result.structure["job"])
        except CourtsideError as refused:
            return refused
        raise BadConfiguration(f"{tool} should have refused this.", hint="Report this as a bug.")

    def _say(self, what: str) -> None:
        self.step += 1
        self.console.print(f"\n[bold cyan]{self.step}[/bold cyan] [bold]{what}[/bold]")

    def _show(self, result: Called, most: int = 12) -> None:
        """The tool's text as the assistant reads it, without the fenced data."""
        lines = result.text.partition("What stands between the next two marks")[0].strip().splitlines()
        for line in lines[:most]:
            self.console.print(f"  {escape(line)}", soft_wrap=True)


def caught(key: AnswerKey, structure: Mapping[str, Any]) -> dict[str, float]:
    """The share of each planted error that validate_data reported, 0 to 1."""
    shares = {}
    for name, planted in key.items():
        if isinstance(planted, str):
            columns = [column for finding in _findings(structure, name) for column in finding["columns"]]
            shares[name] = float(planted in columns)
        else:
            shares[name] = len(set(planted) & _found_rows(structure, name)) / len(planted)
    return shares


def _findings(structure: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return [
        finding
        for finding in structure["findings"]
        if finding["severity"] != "info" and any(part in finding["rule"] for part in CAUGHT_BY[name])
    ]


def _found_rows(structure: Mapping[str, Any], name: str) -> set[int]:
    spans = [span for finding in _findings(structure, name) for span in finding["spans"]]
    return {row for first, last in spans for row in range(first, last + 1)}


def _answer_sheet(key: AnswerKey, found: Mapping[str, float]) -> Table:
    table = Table(box=None, padding=(0, 2))
    for heading in ("planted", "how many", "caught"):
        table.add_column(heading)
    for name, planted in key.items():
        many = planted if isinstance(planted, str) else f"{len(planted):,} rows"
        share = f"{found[name]:.0%}" if CAUGHT_BY[name] else "can't be: outcomes are noisy"
        table.add_row(name, many, share)
    return table


def _forecasts(rows: list[dict[str, Any]], predictions: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2))
    for heading in ("date", "home", "away", "home wins with", "check"):
        table.add_column(heading)
    for row, one in zip(rows, predictions, strict=True):
        home = one["probability"] if one["value"] == "1" else 1 - one["probability"]
        table.add_row(
            str(row["date"]), str(row["home"]), str(row["away"]), f"{home:.0%}", ", ".join(one.get("flags", [])) or "–"
        )
    return table


def _without(source: Path, target: Path, rows: set[int], columns: set[str]) -> None:
    """A copy of a CSV file without some 1-based rows and columns."""
    with source.open(newline="") as given, target.open("w", newline="") as kept:
        reader = csv.DictReader(given)
        names = [name for name in reader.fieldnames or () if name not in columns]
        writer = csv.DictWriter(kept, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row for number, row in enumerate(reader, start=1) if number not in rows)


def _last_rows(path: Path, count: int) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _number(value) for name, value in row.items()} for row in list(csv.DictReader(file))[-count:]]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
