"""Transactions: whole or not at all, one writer at a time, in time, and told in our words."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from sqlalchemy import insert, select, text, update

from mcp_server.context import CallContext
from mcp_server.errors import BadConfiguration, Busy, Conflict, DeadlineExceeded, StorageFailed, Transient
from mcp_server.storage import Storage, audit, database, jobs, open_storage, predictions, sqlite_file
from mcp_server.storage.database import parse_url
from mcp_server.storage.ids import new_id
from mcp_server.storage.records import PredictionRecord
from mcp_server.storage.tables import jobs as jobs_table
from mcp_server.storage.transaction import Transaction
from storage.fixtures import HandClock
from storage.rounds import start

pytestmark = pytest.mark.anyio

Calls = Callable[..., CallContext]


async def enqueue(tx: Transaction, id: str) -> None:
    await jobs.enqueue(tx, id=id, kind="train", arguments={}, caller="local", runtime_version="1")


async def ids(storage: Storage) -> set[str]:
    async with storage.database.reading() as tx:
        return set((await tx.execute(select(jobs_table.c.id))).scalars())


async def test_what_an_exception_leaves_is_undone(storage: Storage) -> None:
    async def fail() -> None:
        async with storage.database.transaction() as tx:
            await enqueue(tx, "j_1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await ids(storage) == set()


async def test_a_reader_sees_one_moment(storage: Storage) -> None:
    async with storage.database.reading() as tx:
        before = (await tx.execute(select(jobs_table.c.id))).all()
        async with storage.database.transaction() as writing:
            await enqueue(writing, "j_1")
        assert (await tx.execute(select(jobs_table.c.id))).all() == before
    assert await ids(storage) == {"j_1"}


async def test_a_reader_cannot_write(storage: Storage) -> None:
    with pytest.raises(StorageFailed):
        async with storage.database.reading() as tx:
            await enqueue(tx, "j_1")


async def test_a_call_that_is_late_at_the_commit_changes_nothing(
    storage: Storage, make_call: Calls, clock: HandClock
) -> None:
    call = make_call(deadline=clock.monotonic() + 5)

    async def dawdle() -> None:
        async with storage.database.transaction(call) as tx:
            await enqueue(tx, "j_1")
            clock.move(timedelta(seconds=5))

    with pytest.raises(DeadlineExceeded):
        await dawdle()
    assert await ids(storage) == set()
    async with storage.database.reading() as tx:
        assert (await audit.list_page(tx)).items == ()


async def test_a_call_that_is_late_at_the_start_is_not_begun(
    storage: Storage, make_call: Calls, clock: HandClock
) -> None:
    with pytest.raises(DeadlineExceeded):
        async with storage.database.transaction(make_call(deadline=clock.monotonic())):
            raise AssertionError("begun")


async def test_a_cancelled_call_changes_nothing_and_harms_nobody(storage: Storage) -> None:
    for _ in range(5):
        begun = asyncio.Event()

        async def work(begun: asyncio.Event = begun) -> None:
            async with storage.database.transaction() as tx:
                await enqueue(tx, "j_1")
                begun.set()
                while True:
                    await tx.execute(select(jobs_table))

        task = asyncio.create_task(work())
        await begun.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    async with storage.database.transaction() as tx:
        await enqueue(tx, "j_2")
    assert await ids(storage) == {"j_2"}


async def test_a_scope_cancelled_inside_a_transaction_undoes_it(storage: Storage) -> None:
    with anyio.CancelScope() as scope:
        async with storage.database.transaction() as tx:
            await enqueue(tx, "j_1")
            scope.cancel()
    async with storage.database.transaction() as tx:
        await enqueue(tx, "j_2")
    assert await ids(storage) == {"j_2"}


async def test_wherever_a_call_is_cancelled_it_is_whole_or_undone_and_nothing_is_left_running(
    database_url: str, tmp_path: Path, clock: HandClock
) -> None:
    before = asyncio.all_tasks()
    storage = await open_storage(database_url=database_url, data_dir=tmp_path / "data", clock=clock)

    async def work(scope: anyio.CancelScope, number: int) -> None:
        with scope:
            async with storage.database.reading() as tx:
                await jobs.count_by_state(tx)
            async with storage.database.transaction() as tx:
                await enqueue(tx, f"j_{number}_a")
                await enqueue(tx, f"j_{number}_b")

    for number in range(60):
        scope = anyio.CancelScope()
        task = asyncio.create_task(work(scope, number))
        for _ in range(number * number // 8):
            await asyncio.sleep(0)
        scope.cancel()
        await task
    found = await ids(storage)
    await storage.close()
    assert {id[:-1] + "b" for id in found if id.endswith("a")} == {id for id in found if id.endswith("b")}
    assert asyncio.all_tasks() == before


async def test_statements_of_one_transaction_at_once_are_refused(storage: Storage) -> None:
    async def both() -> None:
        async with storage.database.transaction() as tx:
            await asyncio.gather(enqueue(tx, "j_1"), enqueue(tx, "j_2"))

    with pytest.raises(RuntimeError, match="one statement"):
        await both()
    assert await ids(storage) == set()


async def test_a_call_cancelled_while_it_waits_for_the_lock_harms_nobody(
    migrated_file: Path, tmp_path: Path, clock: HandClock
) -> None:
    path = tmp_path / "courtside.db"
    shutil.copy(migrated_file, path)
    storage = await open_storage(database_url=f"sqlite:///{path}", data_dir=tmp_path, clock=clock)
    other = sqlite_file.connect(path)
    other.execute("BEGIN IMMEDIATE")
    with anyio.move_on_after(0.05) as scope:
        await _write_nothing(storage)
    assert scope.cancelled_caught
    other.execute("ROLLBACK")
    other.close()
    async with storage.database.transaction() as tx:
        await enqueue(tx, "j_1")
    assert await ids(storage) == {"j_1"}
    await storage.close()


async def test_a_lock_that_another_process_keeps_is_a_passing_failure(
    migrated_file: Path, tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "courtside.db"
    shutil.copy(migrated_file, path)
    monkeypatch.setattr(sqlite_file, "PRAGMAS", ("PRAGMA busy_timeout=10",))
    storage = await open_storage(database_url=f"sqlite:///{path}", data_dir=tmp_path, clock=clock)
    other = sqlite_file.connect(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="Another process"):
        await _write_nothing(storage)
    assert await ids(storage) == set()
    other.execute("ROLLBACK")
    other.close()
    await _write_nothing(storage)
    await storage.close()


async def test_a_caught_failure_still_dooms_the_transaction(storage: Storage) -> None:
    async def add_twice() -> None:
        async with storage.database.transaction() as tx:
            await enqueue(tx, "j_1")
            with contextlib.suppress(Conflict):
                await tx.execute(insert(jobs_table).values(id="j_1", kind="again"))

    with pytest.raises(Conflict):
        await add_twice()
    assert await ids(storage) == set()


async def test_after_a_failure_nothing_more_is_run(storage: Storage) -> None:
    async def go_on() -> None:
        async with storage.database.transaction() as tx:
            with contextlib.suppress(StorageFailed):
                await tx.execute(text("SELECT * FROM nothing_of_that_name"))
            await enqueue(tx, "j_1")

    with pytest.raises(StorageFailed):
        await go_on()
    assert await ids(storage) == set()


async def test_a_failure_is_told_in_our_words(storage: Storage) -> None:
    with pytest.raises(StorageFailed) as failed:
        async with storage.database.reading() as tx:
            await tx.execute(text("SELECT 'hunter2' FROM nothing_of_that_name"))
    told = failed.value.message + failed.value.hint + repr(failed.value.details)
    assert "hunter2" not in told
    assert "nothing_of_that_name" not in told


async def test_a_transaction_inside_a_transaction_is_refused_instead_of_waiting_for_itself(storage: Storage) -> None:
    with pytest.raises(RuntimeError, match="itself"):
        async with storage.database.transaction(), storage.database.transaction():
            raise AssertionError("begun")
    async with storage.database.transaction() as tx:
        await enqueue(tx, "j_1")


async def test_writers_that_wait_too_long_are_told_so(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.01)
    async with storage.database.transaction():
        with pytest.raises(Busy) as busy:
            await asyncio.create_task(_write_nothing(storage))
    assert busy.value.retry_after == 1.0
    await _write_nothing(storage)


async def test_more_readers_than_connections_take_turns(storage: Storage) -> None:
    counted = await asyncio.gather(*(ids(storage) for _ in range(40)))
    assert counted == [set()] * 40


async def test_many_writers_take_turns_and_none_is_refused(storage: Storage) -> None:
    async def add(index: int) -> None:
        async with storage.database.transaction() as tx:
            await enqueue(tx, f"j_{index}")

    await asyncio.gather(*(add(index) for index in range(50)))
    assert len(await ids(storage)) == 50


@pytest.mark.parametrize("mode", ["whole", "split"])
@pytest.mark.fault
async def test_three_processes_lose_no_update(database_url: str, tmp_path: Path, clock: HandClock, mode: str) -> None:
    storage = await open_storage(database_url=database_url, data_dir=tmp_path / "data", clock=clock)
    async with storage.database.transaction() as tx:
        await enqueue(tx, "j_sum")
    adders = [start("adding_process.py", database_url, str(tmp_path / "data"), mode) for _ in range(3)]
    for adder in adders:
        assert adder.stdout is not None
        assert adder.stdout.readline() == "ready\n"
    outs = await asyncio.gather(*(asyncio.to_thread(adder.communicate, "go\n") for adder in adders))
    assert [adder.returncode for adder in adders] == [0, 0, 0], outs
    async with storage.database.reading() as tx:
        total = (await jobs.get(tx, "j_sum")).progress
    await storage.close()
    if mode == "whole":
        assert total == 300
    else:
        assert total < 300, "the control: reading and writing apart must lose updates"


async def test_the_clock_dates_what_is_stored(storage: Storage, clock: HandClock) -> None:
    async with storage.database.transaction() as tx:
        await enqueue(tx, "j_1")
        assert tx.now == clock.now()
    async with storage.database.reading() as tx:
        assert (await jobs.get(tx, "j_1")).created_at == clock.now()


async def test_a_moment_without_a_zone_is_not_stored(storage: Storage) -> None:
    with pytest.raises(Exception, match="without a zone"):
        async with storage.database.transaction() as tx:
            await tx.execute(update(jobs_table).values(ended_at=tx.now.replace(tzinfo=None)))


async def test_a_number_that_is_not_finite_is_not_stored(storage: Storage) -> None:
    with pytest.raises(Exception, match="not JSON compliant"):
        async with storage.database.transaction() as tx:
            await jobs.enqueue(
                tx, id="j_1", kind="train", arguments={"x": float("nan")}, caller="local", runtime_version="1"
            )


async def test_a_ping_takes_a_time_and_a_sound_database_has_no_damage(storage: Storage) -> None:
    assert await storage.database.ping() == 0.0  # The clock stands still.
    assert await storage.database.check() == []


@pytest.mark.parametrize(
    "url",
    [
        *("", "nonsense", "sqlite://", "sqlite:///:memory:", "sqlite://host/x", "mysql://u:hunter2@h/d"),
        *("postgresql://u:hunter2@h", "redis://h/0"),
    ],
)
async def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        parse_url(url)
    assert "hunter2" not in refused.value.message + refused.value.hint


async def test_libpq_says_sslmode_where_the_driver_says_ssl() -> None:
    assert dict(parse_url("postgres://u@h/d?sslmode=require").query) == {"ssl": "require"}


async def test_an_sqlite_database_is_private_durable_and_in_wal_mode(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "data" / "courtside.db"
    storage = await open_storage(database_url=f"sqlite:///{path}", data_dir=path.parent, clock=clock)
    pragmas = {}
    async with storage.database.transaction() as tx:
        for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout"):
            pragmas[name] = (await tx.execute(text(f"PRAGMA {name}"))).scalar()
    modes = [stat.S_IMODE(found.stat().st_mode) for found in (path.parent, *path.parent.glob("courtside.db*"))]
    await storage.close()
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "busy_timeout": 5_000,
    }
    assert modes == [0o700, 0o600, 0o600, 0o600]


async def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "courtside.db"
    path.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(StorageFailed, match="damaged"):
        await open_storage(database_url=f"sqlite:///{path}", data_dir=tmp_path, clock=clock)


async def test_damage_is_found(migrated_file: Path, tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "courtside.db"
    content = bytearray(await anyio.Path(migrated_file).read_bytes())
    storage = await open_storage(database_url=f"sqlite:///{migrated_file}", data_dir=tmp_path, clock=clock)
    async with storage.database.reading() as tx:
        page = (
            await tx.execute(text("SELECT rootpage FROM sqlite_master WHERE name = 'ix_jobs_state_id'"))
        ).scalar_one()
    await storage.close()
    content[(page - 1) * 4096 : page * 4096] = bytes(4096)
    await anyio.Path(path).write_bytes(content)
    storage = await open_storage(database_url=f"sqlite:///{path}", data_dir=tmp_path, clock=clock)
    assert await storage.database.check() != []
    await storage.close()


@pytest.mark.services
async def test_a_server_that_is_not_there_is_a_passing_failure(tmp_path: Path, clock: HandClock) -> None:
    pytest.importorskip("asyncpg", reason="asyncpg isn't installed")
    with pytest.raises(Transient, match="reached"):
        await open_storage(database_url="postgresql://u@127.0.0.1:9/d", data_dir=tmp_path, clock=clock)


@pytest.mark.services
@pytest.mark.fault
async def test_connections_that_the_server_ended_are_replaced_unnoticed(
    migrated_postgres_url: str, tmp_path: Path, clock: HandClock
) -> None:
    storage = await open_storage(database_url=migrated_postgres_url, data_dir=tmp_path, clock=clock)
    for number in range(3):
        async with storage.database.transaction() as tx:
            await enqueue(tx, f"j_ended_{number}")
        await storage.predictions.append([record(clock)])
        async with storage.database.reading() as tx:
            await tx.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
    assert {f"j_ended_{number}" for number in range(3)} <= await ids(storage)
    await storage.close()


@pytest.mark.services
async def test_a_prediction_is_stored_when_the_driver_stumbles_over_its_lost_connection(
    migrated_postgres_url: str, tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncpg

    storage = await open_storage(database_url=migrated_postgres_url, data_dir=tmp_path, clock=clock)
    await storage.predictions.append([record(clock)])
    works, stumbles = asyncpg.Connection.executemany, iter([asyncpg.InternalClientError("cannot switch to state 13")])

    async def executemany(*arguments: object, **options: object) -> None:
        for stumble in stumbles:
            raise stumble
        await works(*arguments, **options)

    monkeypatch.setattr(asyncpg.Connection, "executemany", executemany)
    late = record(clock)
    await storage.predictions.append([late])
    async with storage.database.reading() as tx:
        assert (await predictions.get(tx, late.id)).id == late.id
    await storage.close()


@pytest.mark.services
async def test_a_wrong_database_name_is_a_matter_of_configuration(
    postgres_server: object, tmp_path: Path, clock: HandClock
) -> None:
    from storage.fixtures import SERVER

    url = SERVER.rpartition("/")[0] + "/no_such_database"
    with pytest.raises(StorageFailed, match="name"):
        await open_storage(database_url=url, data_dir=tmp_path, clock=clock)


def record(clock: HandClock) -> PredictionRecord:
    return PredictionRecord(
        id=new_id("p", clock.now()),
        at=clock.now(),
        model="winner",
        version=1,
        digest="sha256:1",
        caller="local",
        request_id="q",
        features={},
        value="1",
    )


async def _write_nothing(storage: Storage) -> None:
    async with storage.database.transaction():
        pass
