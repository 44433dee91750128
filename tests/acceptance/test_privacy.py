"""Sixty values of persons and secrets go through every tool, failures included, and come out nowhere."""

import asyncio
import json
from pathlib import Path

import pytest

from acceptance.processes import environment, stdio_client, text_of

COUNT = 5


def luhn(body: str) -> str:
    total = sum(2 * d - 9 * (d > 4) if place % 2 == 0 else d for place, d in enumerate(map(int, reversed(body))))
    return body + str(-total % 10)


def iban(body: str) -> str:
    return f"DE{98 - int(body + '131400') % 97:02d}{body}"


# Column -> its canaries. The names of columns say nothing, but for the one of names, which nothing else can tell.
CANARIES = {
    "c1": [f"canary.{i}@mail.example.org" for i in range(COUNT)],
    "c2": [f"+49 30 55501{i}71" for i in range(COUNT)],
    "c3": [iban(f"3704004405320130{i}0") for i in range(COUNT)],
    "c4": [luhn(f"41111111111{i}{i}77") + "" for i in range(COUNT)],
    "c5": [f"53{i}-9{i}-4399" for i in range(COUNT)],
    "c6": [f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnk{i}In0.c2lnbmF0dXJlY2FuYXJ5{i}" for i in range(COUNT)],
    "c7": [f"AKIACANARYCANARY{i:04d}" for i in range(COUNT)],
    "c8": [f"postgres://app:canarypass{i}@db.example.org/app" for i in range(COUNT)],
    "c9": [f"Bearer canarytoken{i}abcdef" for i in range(COUNT)],
    "c10": [f"sessionid=canarysession{i}" for i in range(COUNT)],
    "c11": [f"203.0.113.{70 + i}" for i in range(COUNT)],
    "last_name": [f"Canaryson{i}" for i in range(COUNT)],
}
ALL = [canary for canaries in CANARIES.values() for canary in canaries]
ROWS = 300


def table(columns: dict[str, list[str]] = CANARIES, *, broken: bool = False) -> str:
    names = list(columns)
    lines = [",".join([*names, "x", "z", "y"])]
    for i in range(ROWS):
        # Most canaries stand in several rows: a column with few values shows them as categories.
        cells = [columns[name][i % COUNT] for name in names]
        lines.append(",".join([*cells, str(i % 17), str(i % 5), str(int((i % 17) + (i * 7919) % 13 > 12))]))
    if broken:
        lines[7] += ",one too many"
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Everything that was answered, and every log."""
    folder = tmp_path_factory.mktemp("privacy")
    env = environment(folder, toolsets="default,admin", rate_per_second="1000", rate_burst="1000", debug="true")
    (folder / "files" / "persons.csv").write_text(table())
    (folder / "files" / "broken.csv").write_text(table(broken=True))
    answers: list[tuple[str, str]] = []
    states: dict[str, object] = {}

    async def scene():
        async with stdio_client(["-m", "mcp_server", "serve"], env, "auto", folder / "stderr.log") as client:

            async def say(tool: str, **arguments):
                result = await client.call_tool(tool, arguments)
                answers.append((tool, text_of(result) + json.dumps(result.structured_content, ensure_ascii=False)))
                return result

            row = {"x": 3, "z": 2, **{name: values[0] for name, values in CANARIES.items()}}
            first, second = CANARIES["c1"][:2]
            await say("import_data", name="p", path="persons.csv", target="y")
            await say("import_data", name="q", path="broken.csv", target="y")
            await say("import_data", name="r", text=table(), options={"encoding": "ascii", "decimal": first[:3]})
            await say("import_data", name="s", text=table(), target="x", filter=f'c1 == "{first}" and y > "a"')
            await say("import_data", name=first, text=table())
            await say("describe_data", dataset="p@1")
            await say("describe_data", dataset=second)
            await say("validate_data", dataset="p@1")
            await say("validate_data", dataset="p@1", baseline="p@1")
            await say("train_model", model="m", dataset="p@1", features=["x", "z"])
            await say("train_model", model="n", dataset="p@1", target="c1")
            for _ in range(3):
                job = await say("get_job", job="m", wait=50.0)
                if job.structured_content["state"] == "succeeded":
                    break
            states["job"] = job.structured_content["state"]
            states["predicted"] = (await say("predict", model="m@1", rows=[row])).is_error
            await say("predict", model="m@1", rows=[{**row, "x": first}])
            await say("predict", model="m@1", rows=[{**row, "unknown": first}])
            await say("predict", model="m@2", dataset="p@1")
            await say("predict", model=second, rows=[row])
            await say("compare_models", models=["m@1", "m@2"])
            await say("compare_models", models=["m@1"], column="c1")
            await say("verify_model", model="m@1")
            await say("search_models", query="m")
            await say("get_job", job=first)
            await say("cancel_job", job=first)
            plan = await say("erase_subject", column="c1", value=first)
            await say("erase_subject", column="c1", value=first, confirm="0" * 16)
            states["planned"] = plan.structured_content["datasets"]
            await say("delete_item", kind="dataset", item=first)
            await say("delete_item", kind="dataset", item="p@1")
            await say("prepare_data", dataset="p@1", steps=[{"do": "filter", "where": "x > 3"}], name="less")
            differing = (await say("describe_data", dataset="less", against="p@1")).structured_content
            states["differs"] = (
                differing["difference"]["rows_removed"],
                len(differing["untrusted"]["rows"]["removed"]),
            )
            await say("validate_data", dataset="p@1", suite=first)
            await say("search_models", query=f"p_{first}"[:128])
            await say("health_report")
            uris = (
                "data://less/diff/p@1",
                "model://m@1/card",
                "experiment://m/history",
                "data://p/profile",
                "lineage://m@1",
                "runbook://index",
            )
            answers.extend([(uri, (await client.read_resource(uri)).contents[0].text) for uri in uris])

    asyncio.run(scene())
    logs = [folder / "stderr.log", *(Path(env["COURTSIDE_DATA_DIR"]) / "logs").rglob("*")]
    return answers, states, {path.name: path.read_text() for path in logs if path.is_file()}, folder


def test_the_path_went_through_and_there_are_sixty_canaries(said):
    _, states, logs, _ = said
    assert states["job"] == "succeeded"
    assert states["predicted"] is False
    assert states["planned"] == [{"dataset": "p@1", "rows": ROWS // COUNT}]
    assert states["differs"][0] > states["differs"][1] == 5
    assert "worker.log" in logs
    assert len(set(ALL)) == 60


def test_no_canary_is_in_any_answer_or_resource(said):
    found = [(where, canary) for where, text in said[0] for canary in ALL if canary in text]
    assert found == []


def test_no_canary_is_in_any_log(said):
    found = [(name, canary) for name, text in said[2].items() for canary in ALL if canary in text]
    assert found == []


def test_of_the_data_folder_only_the_tables_hold_canaries(said):
    """Artefacts are the tables that were asked for; the database holds no value of a personal column."""
    data = said[3] / "data"
    found = [
        (path.name, canary)
        for path in list(data.rglob("*"))
        if path.is_file() and "artefacts" not in path.parts and "jobs" not in path.name
        for canary in ALL
        if canary.encode() in path.read_bytes()
    ]
    assert found == []


def test_of_ordinary_columns_values_are_shown_which_is_the_control(said):
    """The tests above would find what isn't masked."""
    profile = json.loads(next(text for where, text in said[0] if where == "data://p/profile"))
    listed = {one["name"]: one for one in profile["untrusted"]["profile"]["listed"]}
    assert listed["x"]["max"] == 16
    assert all("personal" in listed[name] for name in CANARIES)
