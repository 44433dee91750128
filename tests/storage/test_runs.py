"""Runs are found by what they are and by what they measured, in pages that lose and repeat none."""

from __future__ import annotations

import base64
import operator
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text
from sqlalchemy.dialects import sqlite as sqlite_dialect

from mcp_server.errors import InvalidInput, NotFound
from mcp_server.storage import Storage, migrations, retention, runs
from mcp_server.storage.records import MetricBound, Run, RunFilter
from mcp_server.storage.tables import run_metrics
from mcp_server.storage.tables import runs as table

pytestmark = pytest.mark.anyio

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def some_runs(count: int, seed: int = 0) -> list[Run]:
    """Runs of a few models, of whose metrics some are missing and several are alike."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        test = {name: {"value": round(chance.random(), 2), "low": 0.0, "high": 1.0} for name in ("log_loss", "auc")}
        if chance.random() < 0.2:
            del test["log_loss"]
        status = chance.choice(["succeeded", "succeeded", "succeeded", "failed", "running"])
        at = AT + timedelta(minutes=number)
        made.append(
            Run(
                id=f"r_{number:06d}-linear",
                model=chance.choice(["games", "Games_b", "g%", "points"]),
                dataset=chance.choice(["nba@1", "nba@2", "nba_x@1"]),
                parameters={"seed": number, "padding": "x" * 3_000},
                metrics={"test": test} if status == "succeeded" else {},
                status=status,
                job_id=None,
                started_at=at,
                ended_at=None if status == "running" else at + timedelta(seconds=9),
                algorithm=chance.choice(["linear", "boosting", None]),
                target=chance.choice(["won", "ignore = all"]),
            )
        )
    return made


async def keep(storage: Storage, made: list[Run]) -> None:
    async with storage.database.transaction() as tx:
        rows = [{column.name: getattr(run, column.name) for column in table.c} for run in made]
        await tx.execute(insert(table), rows)
        found = [(run.id, name, value) for run in made for name, value in runs.figures(run.metrics).items()]
        await tx.execute(
            insert(run_metrics), [dict(zip(("run_id", "name", "value"), one, strict=True)) for one in found]
        )


def expected(made: list[Run], wanted: RunFilter) -> list[str]:
    """The same by looking at every run."""

    def fits(run: Run) -> bool:
        measured = runs.figures(run.metrics)
        return (
            (wanted.part is None or wanted.part.lower() in run.model.lower())
            and (wanted.model in (None, run.model))
            and (wanted.dataset in (None, run.dataset, run.dataset.partition("@")[0]))
            and (wanted.target in (None, run.target))
            and (wanted.algorithm in (None, run.algorithm))
            and (wanted.status in (None, run.status))
            and (wanted.since is None or run.started_at >= wanted.since)
            and all(b.metric in measured and RELATIONS[b.relation](measured[b.metric], b.value) for b in wanted.bounds)
            and (wanted.sort is None or wanted.sort in measured)
        )

    found = [run for run in made if fits(run)]
    if wanted.sort is None:
        return [run.id for run in sorted(found, key=lambda run: run.id, reverse=True)]
    keyed = sorted(((runs.figures(run.metrics)[wanted.sort], run.id) for run in found), reverse=wanted.descending)
    return [id for _, id in keyed]


def filters(seed: int) -> Iterator[RunFilter]:
    chance = random.Random(seed)
    yield RunFilter()
    for _ in range(40):
        bounds = [MetricBound(chance.choice(["log_loss", "auc"]), relation, chance.choice([0.25, 0.5, 0.75]))  # type: ignore[arg-type]
                  for relation in chance.sample(["<", "<=", ">", ">="], chance.choice([0, 0, 1, 2]))]  # fmt: skip
        values: dict[str, Any] = {
            "part": chance.choice([None, None, "GAMES", "%", "_", "g"]),
            "model": chance.choice([None, None, None, "games", "g%"]),
            "dataset": chance.choice([None, None, "nba", "nba@2", "nba_x", "nb"]),
            "target": chance.choice([None, None, None, "won", "ignore = all"]),
            "algorithm": chance.choice([None, None, "linear"]),
            "status": chance.choice([None, None, "succeeded", "failed"]),
            "since": chance.choice([None, None, AT + timedelta(minutes=100)]),
            "bounds": tuple(bounds),
            "sort": chance.choice([None, "log_loss", "auc", "nothing"]),
            "descending": chance.random() < 0.5,
        }
        yield RunFilter(**values)


async def test_pages_hold_what_looking_at_every_run_finds_in_its_order(storage: Storage) -> None:
    made = some_runs(200)
    await keep(storage, made)
    several = 0
    async with storage.database.reading() as tx:
        for wanted in filters(1):
            found, cursor, pages = [], None, 0
            while pages == 0 or cursor is not None:
                page = await runs.list_page(tx, wanted=wanted, cursor=cursor, limit=7)
                found, cursor, pages = found + [run.id for run in page.items], page.next_cursor, pages + 1
            assert found == expected(made, wanted), wanted
            several += pages > 2
    assert several > 5


@pytest.mark.parametrize("forged", ['"auc 0.5 \\u0000"', '"\\u0000"', '"auc 0.5 \\ud800"', '"\\udfff"'])
async def test_a_forged_cursor_that_no_database_takes_is_refused(storage: Storage, forged: str) -> None:
    cursor = base64.urlsafe_b64encode(forged.encode()).decode().rstrip("=")
    for wanted in (RunFilter(), RunFilter(sort="auc")):
        async with storage.database.reading() as tx:
            with pytest.raises(InvalidInput, match="cursor"):
                await runs.list_page(tx, wanted=wanted, cursor=cursor)


async def test_a_cursor_of_another_order_is_refused(storage: Storage) -> None:
    await keep(storage, some_runs(60))
    async with storage.database.reading() as tx:
        page = await runs.list_page(tx, wanted=RunFilter(sort="log_loss"), limit=5)
        for wanted in (RunFilter(sort="auc"),):
            with pytest.raises(InvalidInput, match="another order"):
                await runs.list_page(tx, wanted=wanted, cursor=page.next_cursor)
        newest = await runs.list_page(tx, limit=5)
        with pytest.raises(InvalidInput, match="another order"):
            await runs.list_page(tx, wanted=RunFilter(sort="auc"), cursor=newest.next_cursor)


PLANS = (
    RunFilter(),
    RunFilter(model="games"),
    RunFilter(status="failed", algorithm="linear", dataset="nba", target="won", since=AT, part="game"),
    RunFilter(bounds=(MetricBound("log_loss", "<", 0.5),)),
    RunFilter(sort="log_loss"),
    RunFilter(sort="log_loss", descending=True),
    RunFilter(sort="auc", model="games", status="succeeded", bounds=(MetricBound("log_loss", "<", 0.5),)),
)


def plan_of(connection: Connection, wanted: RunFilter, after: str | None) -> list[str]:
    query = runs.page_of_ids(wanted, after).limit(21)
    written = query.compile(dialect=sqlite_dialect.dialect(), compile_kwargs={"literal_binds": True})
    return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {written}")]


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_lists_read_indexes_alone_in_their_order(storage: Storage, analysed: bool) -> None:
    await keep(storage, some_runs(300))
    async with storage.database.transaction() as tx:
        if analysed:
            await tx.execute(text("ANALYZE"))
        for wanted in PLANS:
            last = "r_000100-linear"
            for after in (None, last if wanted.sort is None else f"{wanted.sort} 0.5 {last}"):
                plan = await tx.run(partial(plan_of, wanted=wanted, after=after))
                assert not [step for step in plan if "TEMP B-TREE" in step], (wanted, plan)
                assert not [step for step in plan if step.startswith("SCAN") and "INDEX" not in step], (wanted, plan)
                if wanted.sort is not None:
                    assert "USING COVERING INDEX ix_run_metrics_name_value_run_id (name=?" in plan[0], plan
                elif wanted.model is None:
                    assert "USING COVERING INDEX" in plan[0], plan


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_without_the_indexes_the_plans_are_not_so(storage: Storage) -> None:
    """The control of the test above."""
    await keep(storage, some_runs(300))
    async with storage.database.transaction() as tx:
        await tx.execute(text("DROP INDEX ix_run_metrics_name_value_run_id"))
        plan = await tx.run(partial(plan_of, wanted=RunFilter(sort="log_loss"), after=None))
    assert any("TEMP B-TREE" in step for step in plan)


async def test_a_run_ends_with_its_facts_and_its_metrics_can_be_sorted_by(storage: Storage) -> None:
    async with storage.database.transaction() as tx:
        await runs.start(
            tx, id="r_1", model="y", dataset="t@1", parameters={}, algorithm="linear", target="t" * 300,
            facts={"data": {"rows": 3}},
        )  # fmt: skip
        ended = await runs.finish(
            tx, "r_1", status="succeeded", metrics={"test": {"rmse": {"value": 2.5}}}, facts={"cost": {"seconds": 1.5}}
        )
        again = await runs.finish(tx, "r_1", status="failed", metrics={"test": {"rmse": {"value": 9.0}}})
        assert await runs.add(tx, replace(ended, model="other")) == ended
        await runs.add(tx, replace(ended, id="r_2", metrics={"test": {"log_loss": {"value": 0.5}}}))
        await runs.add(tx, replace(ended, id="r_3", status="failed", metrics={"error": "E_LEAK"}))
        kept = {"data": {"digest": "d"}, "artefacts": {runs.TEST_ROWS: "t"}}
        await runs.add(tx, replace(ended, id="r_4", facts=kept))
    async with storage.database.reading() as tx:
        page = await runs.list_page(tx, wanted=RunFilter(sort="rmse", bounds=(MetricBound("rmse", "<", 3),)))
        assert await runs.metric_names(tx, "y") == ["rmse", "log_loss"]
        # One that never had this metric is neither a value nor a failure.
        assert await runs.with_metric(tx, "y", "rmse", limit=5) == [
            ("r_1", 2.5, "t@1", None),
            ("r_3", None, "t@1", None),
            ("r_4", 2.5, "t@1", "d t"),
        ]
    assert [one.id for one in page.items] == ["r_1", "r_4"]
    assert page.items[0] == ended == again
    assert ended.facts == {"data": {"rows": 3}, "cost": {"seconds": 1.5}}


async def test_what_is_removed_can_no_longer_be_sorted_by(storage: Storage, clock: Any) -> None:
    await keep(storage, some_runs(30))
    async with storage.database.transaction() as tx:
        await runs.remove(tx, (await runs.list_page(tx, wanted=RunFilter(sort="auc"), limit=1)).items[0].id)
        await retention.remove(tx, "runs", AT + timedelta(days=1))
    async with storage.database.reading() as tx:
        left = (await tx.execute(text("SELECT count(*) FROM run_metrics"))).scalar_one()
        assert left == 0
        assert {run.status for run in (await runs.list_page(tx)).items} == {"running"}
        with pytest.raises(NotFound):
            await runs.get(tx, "r_000001-linear")


async def test_runs_from_before_are_found_after_the_migration(storage: Storage, tmp_path: Path) -> None:
    async with storage.database.transaction() as tx:
        await tx.run(_back_to_0006)
        written = (
            "INSERT INTO runs (id, model, dataset, parameters, metrics, status, started_at) VALUES "
            "('r_1', 'y', 't@1', '{\"algorithm\": \"linear\", \"target\": \"won\"}', :metrics, 'succeeded', :at), "
            "('r_2', 'y', 't@1', '[]', '{\"test\": {\"rmse\": {\"value\": null}, \"r2\": 4}}', 'failed', :at)"
        )
        at = AT.replace(tzinfo=None) if storage.database.is_sqlite else AT
        if storage.database.is_sqlite:
            await tx.execute(text(written), {"metrics": '{"test": {"rmse": {"value": 2.5}}}', "at": at.isoformat(" ")})
        else:
            await tx.execute(text(written), {"metrics": '{"test": {"rmse": {"value": 2.5}}}', "at": at})
    assert await migrations.upgrade(storage.database)
    async with storage.database.reading() as tx:
        page = await runs.list_page(tx, wanted=RunFilter(algorithm="linear", target="won", sort="rmse"))
        assert [run.id for run in page.items] == ["r_1"]
        assert page.items[0].facts is None


def _back_to_0006(connection: Connection) -> None:
    from alembic import command

    command.downgrade(migrations.configuration(connection), "0006")
