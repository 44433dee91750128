"""A person is erased everywhere: in tables, predictions, answers and models, to the last byte."""

import json
import sqlite3
from pathlib import Path

import polars as pl
import pytest
from mcp import Client

from acceptance.processes import environment, in_server, refused, text_of, told

CANARY = "zoe.canary@example.org"
OTHER = "someone.else@example.org"


def table(*, with_canary: bool = True, extra: int = 0) -> str:
    rows = [f"user{i}@example.org,{i % 17},{i % 5},{int((i % 17) + (i * 7919) % 13 > 12)}" for i in range(600 + extra)]
    if with_canary:
        rows[40] = f"{CANARY},3.25,2,1"
        rows[41] = f"{CANARY.upper()},4.75,2,0"
    return "mail,x,z,y\n" + "\n".join(rows) + "\n"


def offered(tmp_path, **further) -> dict[str, str]:
    return environment(tmp_path, toolsets="default,admin", rate_per_second="1000", rate_burst="1000", **further)


def copies(data: Path, word: str = CANARY) -> dict[str, int]:
    """How often the word is in the raw bytes of each file, and in the cells of each stored table."""
    found = {}
    for path in data.rglob("*"):
        if not path.is_file():
            continue
        content = path.read_bytes().lower()
        count = content.count(word.encode())
        if content[:4] == b"par1":
            frame = pl.read_parquet(path)
            count += sum(
                int(frame[name].str.to_lowercase().str.contains(word, literal=True).sum())
                for name in frame.columns
                if frame[name].dtype == pl.String
            )
        if count:
            found[path.relative_to(data).as_posix()] = count
    return found


async def filled(client: Client) -> None:
    """Two versions with the person, one without, a model, predictions of theirs with and without a key."""
    await told(client, "import_data", name="people", text=table(), target="y", roles={"mail": "ignored"})
    await told(client, "import_data", name="people", text=table(extra=1), target="y", roles={"mail": "ignored"})
    await told(client, "import_data", name="others", text=table(with_canary=False), target="y")
    await told(client, "train_model", model="m", dataset="people@1", algorithm="linear")
    job = await told(client, "get_job", job="m", wait=50.0)
    assert job.structured_content["state"] == "succeeded", text_of(job)
    row = {"x": 3, "z": 2, "mail": CANARY}
    await told(client, "predict", model="m@1", rows=[row, {**row, "mail": OTHER}], idempotency_key="k1")
    await told(client, "predict", model="m@1", rows=[{**row, "mail": CANARY}])


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """What was said on the way from the plan to the erasure, and the folder."""
    env = offered(tmp_path_factory.mktemp("erased"))
    data = Path(env["COURTSIDE_DATA_DIR"])
    said = {"data": data, "env": env}

    async def scene(client):
        await filled(client)
        said["before"] = copies(data)
        said["plan"] = (await told(client, "erase_subject", column="mail", value=CANARY)).structured_content
        said["planned"] = copies(data)
        said["wrong"] = await refused(client, "erase_subject", column="mail", value=CANARY, confirm="0" * 16)
        result = await told(client, "erase_subject", column="mail", value=CANARY, confirm=said["plan"]["confirm"])
        said["done"] = result.structured_content
        said["text"] = text_of(result)
        said["after"] = copies(data)
        again = await told(client, "erase_subject", column="mail", value=CANARY, confirm=said["plan"]["confirm"])
        said["again"] = again.structured_content
        said["described"] = (await told(client, "describe_data", dataset="people@1")).structured_content
        said["verified"] = (await told(client, "verify_model", model="m@1")).structured_content

    in_server(env, scene)
    return said


def test_a_person_is_erased_to_the_last_byte(everything):
    assert everything["before"], "the control: the person was stored"
    assert everything["planned"] == everything["before"], "a plan changes nothing"
    assert everything["after"] == {}
    assert everything["done"]["copies_left"] == {}
    assert everything["done"]["log_emptied"] is True


def test_the_plan_says_what_the_erasure_then_does(everything):
    plan, done = everything["plan"], everything["done"]
    assert plan["datasets"] == [{"dataset": "people@1", "rows": 2}, {"dataset": "people@2", "rows": 2}]
    assert (plan["predictions"], plan["answers"]) == (2, 1)
    same = ("datasets", "predictions", "answers", "models_removed", "models_to_retrain")
    assert {name: plan[name] for name in same} == {name: done[name] for name in same}
    assert everything["wrong"]["code"] == "E_CONFLICT"


def test_a_model_that_learned_from_the_rows_says_why_it_cant_be_verified(everything):
    assert everything["done"]["models_to_retrain"] == ["m@1"]
    checks = json.dumps(everything["verified"])
    assert "A person was erased from its training data" in checks


def test_the_version_stays_under_its_name_without_the_rows(everything):
    assert everything["described"]["rows"] == 598
    assert everything["described"]["digest"] != ""
    assert CANARY not in json.dumps(everything["described"])


def test_nothing_is_left_to_erase_afterwards(everything):
    assert everything["again"]["status"] == "nothing found"


def test_the_audit_log_knows_of_it_and_doesnt_name_the_person(everything):
    with sqlite3.connect(everything["data"] / "courtside.db") as db:
        rows = db.execute("SELECT subject, details FROM audit WHERE tool = 'erase_subject'").fetchall()
    assert len(rows) == 1
    assert rows[0][0].startswith("subject:hmac:")
    assert json.loads(rows[0][1])["rows"] == 4
    assert CANARY not in str(rows)


def test_predictions_of_others_in_the_same_call_stay(everything):
    with sqlite3.connect(everything["data"] / "courtside.db") as db:
        assert db.execute("SELECT count(*) FROM predictions").fetchone() == (1,)


TOWN = "Canarytown-on-Sea"


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A model that has the value among its categories: export, then erasure of everybody from one town."""
    env = offered(tmp_path_factory.mktemp("learned"))
    data = Path(env["COURTSIDE_DATA_DIR"])
    said = {"data": data}
    rows = [f"{(TOWN, 'Oldtown', 'Newtown')[i % 3]},{i % 17},{int(i % 17 + i * 7919 % 13 > 12)}" for i in range(600)]

    async def scene(client):
        await told(client, "import_data", name="towns", text="town,x,y\n" + "\n".join(rows) + "\n", target="y")
        test = f"x >= 5 and x < 9 and town != '{TOWN}'"
        await told(client, "train_model", model="m", dataset="towns@1", algorithm="linear", test=test)
        job = await told(client, "get_job", job="m", wait=50.0)
        assert job.structured_content["state"] == "succeeded", text_of(job)
        await told(client, "predict", model="m@1", rows=[{"town": TOWN, "x": 1}, {"town": "Oldtown", "x": 1}])
        said["before"] = copies(data, TOWN.lower())
        arguments = {"column": "town", "value": TOWN, "dataset": "towns"}
        plan = (await told(client, "erase_subject", **arguments, export="json")).structured_content
        said["exported"] = {path.name: json.loads(path.read_text()) for path in (data / plan["exported"]).iterdir()}
        said["modes"] = [path.stat().st_mode & 0o777 for path in (data / plan["exported"]).iterdir()]
        said["both"] = await refused(client, "erase_subject", **arguments, export="csv", confirm=plan["confirm"])
        said["done"] = (await told(client, "erase_subject", **arguments, confirm=plan["confirm"])).structured_content
        for _ in range(30):
            if not said["done"]["copies_left"]:
                break
            # The worker had not put the ended job away yet.
            assert set(said["done"]["copies_left"]) <= {"jobs.db", "jobs.db-wal"}
            again = (await told(client, "erase_subject", **arguments)).structured_content
            said["done"]["copies_left"] = again["copies_left"]
        said["after"] = copies(data, TOWN.lower())
        said["predict"] = await refused(client, "predict", model="m@1", rows=[{"town": "Oldtown", "x": 1}])
        said["nowhere"] = await refused(client, "erase_subject", column="town", value=TOWN, dataset="nowhere")
        said["unknown"] = await refused(client, "erase_subject", column="street", value=TOWN)

    in_server(env, scene)
    return said


def test_a_model_whose_files_hold_the_value_is_removed_with_it(learned):
    assert any("artefacts" in name for name in learned["before"])
    assert learned["done"]["models_removed"] == ["m@1"]
    assert learned["after"] == {}
    assert learned["done"]["copies_left"] == {}
    assert learned["predict"]["code"] == "E_NOT_FOUND"
    assert "was deleted" in learned["predict"]["message"]


def test_an_export_holds_every_row_and_prediction_for_its_owner_alone(learned):
    assert len(learned["exported"]["rows.json"]["towns@1"]) == 200
    assert learned["exported"]["rows.json"]["towns@1"][0]["town"] == TOWN
    (one,) = learned["exported"]["predictions.json"]
    assert one["features"]["town"] == TOWN
    assert set(learned["modes"]) == {0o600}


def test_wrong_requests_are_refused_with_the_next_step(learned):
    assert learned["both"]["code"] == learned["unknown"]["code"] == "E_ARG"
    assert learned["nowhere"]["code"] == "E_NOT_FOUND"
    assert learned["both"]["hint"] == "Export first, then confirm without export."


def test_the_tools_are_off_unless_the_settings_name_them(tmp_path):
    async def scene(client):
        error = await refused(client, "erase_subject", column="a", value="b")
        assert error["code"] == "E_SCOPE"
        assert "COURTSIDE_TOOLSETS=default,admin" in error["hint"]
        assert "delete_item" not in {tool.name for tool in (await client.list_tools()).tools}

    in_server(environment(tmp_path), scene)


def test_a_plain_delete_leaves_copies_behind(tmp_path):
    """The control: deleting the row is not enough."""
    path = tmp_path / "plain.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA secure_delete=OFF")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, mail TEXT)")
    db.executemany("INSERT INTO t (mail) VALUES (?)", [(f"user{i}",) for i in range(50)] + [(CANARY,)])
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("DELETE FROM t WHERE mail = ?", (CANARY,))
    assert copies(tmp_path)
    db.close()


def test_a_name_goes_on_after_its_newest_version_was_deleted(tmp_path):
    async def scene(client):
        await told(client, "import_data", name="a", text="x,y\n1,2\n2,3\n")
        plan = await told(client, "delete_item", kind="dataset", item="a@1")
        await told(client, "delete_item", kind="dataset", item="a@1", confirm=plan.structured_content["confirm"])
        again = await told(client, "import_data", name="a", text="x,y\n1,2\n2,3\n")
        assert again.structured_content["dataset"] == "a@2"
        await told(client, "import_data", name="a", text="x,y\n4,5\n", mode="append")
        assert "Compatible with a@2" in text_of(await told(client, "describe_data", dataset="a"))

    in_server(offered(tmp_path), scene)


def test_rows_that_are_put_back_are_the_newest_content(tmp_path):
    async def scene(client):
        await told(client, "import_data", name="u", text="id,x\n1,1\n2,1\n", roles={"id": "key"})
        await told(client, "import_data", name="u", text="id,x\n1,7\n", mode="upsert")
        back = await told(client, "import_data", name="u", text="id,x\n1,1\n", mode="upsert")
        assert back.structured_content["dataset"] == "u@3"
        assert not back.structured_content.get("existing")
        more = await told(client, "import_data", name="u", text="id,x\n3,1\n", mode="append")
        assert more.structured_content["dataset"] == "u@4"
        profile = (await told(client, "describe_data", dataset="u@4")).structured_content["untrusted"]["profile"]
        assert next(one for one in profile["listed"] if one["name"] == "x")["max"] == 1

    in_server(offered(tmp_path), scene)
