"""A contract on its way through the running server: stated, kept, broken, read and taken elsewhere."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from mcp import Client, MCPError
from mcp.types import ResourceTemplateReference

from acceptance.processes import environment, in_server, refused, told
from mcp_server.core.contract.great_expectations import from_great_expectations
from mcp_server.core.contract.pandera import from_pandera

ROWS = [f"G-{i:04d},2015-01-{i % 28 + 1:02d},{'BOS' if i % 2 else 'NYK'},{i % 7 + 1},{i % 5}" for i in range(200)]
TABLE = "game,day,team,home,away\n" + "\n".join(ROWS) + "\n"
CHANGE = {
    "columns": {"home": {"minimum": 0, "maximum": 5, "unit": "goals"}},
    "rules": {"no_ties": {"expression": "home != away", "severity": "warn"}},
    "unique_together": [["day", "team"]],
    "freshness": {"days": 2},
    "row_bounds": {"minimum": 150, "maximum": 250},
}


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    env = environment(tmp_path_factory.mktemp("contracts"), rate_per_second="1000", rate_burst="1000")

    async def scene(client):
        await told(client, "import_data", name="games", text=TABLE)
        await told(client, "prepare_data", dataset="games@1", steps=[{"do": "contract", "change": CHANGE}])

    in_server(env, scene)
    return env


async def document(client: Client, uri: str) -> dict:
    return json.loads((await client.read_resource(uri)).contents[0].text)


def test_a_stated_contract_makes_a_version_whose_broken_promises_are_found_by_row(env):
    async def scene(client):
        before = (await told(client, "validate_data", dataset="games@1")).structured_content
        after = (await told(client, "validate_data", dataset="games@2")).structured_content
        return before, after

    before, after = in_server(env, scene)
    ours = ("contract.", "rule.")
    assert not [finding for finding in before["findings"] if finding["rule"].startswith(ours)]
    found = {one["rule"]: one for one in after["findings"] if one["rule"].startswith(ours)}
    above = [at for at in range(200) if at % 7 + 1 > 5]
    ties = [at for at in range(200) if at % 7 + 1 == at % 5]
    assert (found["contract.range"]["severity"], found["contract.range"]["count"]) == ("fail", len(above))
    assert found["contract.range"]["rows"][:2] == [at + 1 for at in above[:2]]
    assert (found["rule.no_ties"]["severity"], found["rule.no_ties"]["count"]) == ("warn", len(ties))
    assert found["rule.no_ties"]["columns"] == ["home", "away"]
    assert found["contract.unique_together"]["count"] == 200 - 28
    assert found["contract.freshness"]["severity"] == "fail"
    assert "contract.rows" not in found
    assert after["verdict"] == "fail"


def test_a_later_version_says_whether_it_breaks_who_used_the_one_before(env):
    async def scene(client):
        second = (await told(client, "describe_data", dataset="games@2")).structured_content
        step = {"do": "contract", "change": {"columns": {"home": {"maximum": 9}}, "rules": {"no_ties": None}}}
        third = (await told(client, "prepare_data", dataset="games@2", steps=[step])).structured_content
        return second, third

    second, third = in_server(env, scene)
    assert second["compatibility"] == "Compatible with games@1."
    assert third["notes"] == ["Breaks 2 promises of games@2: see untrusted.breaks."]
    assert third["untrusted"]["breaks"] == [
        "'home' may be above its promised range",
        "the rule no_ties no longer holds as it was",
    ]


def test_the_same_change_again_is_the_same_version_and_a_dry_run_stores_none(env):
    async def scene(client):
        steps = [{"do": "contract", "change": CHANGE}]
        again = await told(client, "prepare_data", dataset="games@1", steps=steps)
        other = [{"do": "contract", "change": {"row_bounds": {"minimum": 1}}}]
        dry = await told(client, "prepare_data", dataset="games@1", steps=other, dry_run=True)
        return again.structured_content, dry.structured_content

    again, dry = in_server(env, scene)
    assert (again["dataset"], again["existing"]) == ("games@2", True)
    assert "digest" not in dry
    assert dry["untrusted"]["fitted"]["1"]["changes"] == [[None, "row_bounds", None, {"minimum": 1}]]


def test_a_contract_is_read_as_a_document_and_in_other_programs_forms(env):
    async def scene(client):
        ours = await document(client, "data://games@2/contract")
        forms = {
            form: await document(client, f"data://games@2/contract/{form}")
            for form in ("pandera", "great_expectations")
        }
        with pytest.raises(MCPError) as unknown:
            await client.read_resource("data://games@2/contract/xml")
        return ours, forms, str(unknown.value)

    ours, forms, unknown = in_server(env, scene)
    columns = {column["name"]: column for column in ours["untrusted"]["columns"]}
    assert columns["home"]["stated"] == ["minimum", "maximum"]
    assert columns["home"]["confidence"].keys() == {"kind", "nullable"}
    assert columns["game"]["pattern"] == r"[A-Z]\-[0-9]{4}"
    assert ours["untrusted"]["rules"] == {"no_ties": {"expression": "home != away", "severity": "warn"}}
    assert ours["untrusted"]["freshness"] == {"days": 2.0, "against": "now"}
    for form, read in (("pandera", from_pandera), ("great_expectations", from_great_expectations)):
        told_of = forms[form]["untrusted"]
        assert read(told_of["document"]).change.columns["home"].maximum == 5.0
        assert {"home: unit", "freshness"} <= set(told_of["not_carried"])
    assert "great_expectations and pandera" in unknown


def test_a_document_that_was_written_here_is_taken_by_another_data_set(env):
    async def scene(client):
        written = await document(client, "data://games@2/contract/great_expectations")
        await told(client, "import_data", name="later", text=TABLE.replace("G-0199", "H-199"))
        step = {"do": "contract", "great_expectations": written["untrusted"]["document"]}
        made = (await told(client, "prepare_data", dataset="later@1", steps=[step])).structured_content
        return (await told(client, "validate_data", dataset=made["dataset"])).structured_content

    found = in_server(env, scene)
    rules = {one["rule"]: one for one in found["findings"]}
    assert rules["contract.pattern"]["severity"] == "fail"
    assert rules["contract.pattern"]["rows"] == [200]
    assert rules["contract.unique_together"]["severity"] == "fail"


def test_what_was_stated_is_held_to_on_the_way_in(env):
    """Rows that come later, and the table imported anew, keep what a person stated, or nothing is stored."""
    change = {
        "columns": {
            "home": {"minimum": 0, "maximum": 7},
            "team": {"allowed": ["BOS", "NYK"]},
            "game": {"unique": True},
        },
        "rules": {"no_ties": {"expression": "home != away"}},
        "row_bounds": {"maximum": 202},
    }
    header = "game,day,team,home,away\n"
    kept = [row for row in ROWS if row[-3] != row[-1]]

    async def scene(client):
        async def again(rows, **how):
            return await refused(client, "import_data", name="held", text=header + "\n".join(rows) + "\n", **how)

        await told(client, "import_data", name="held", text=header + "\n".join(kept) + "\n", roles={"game": "ignored"})
        await told(client, "prepare_data", dataset="held", steps=[{"do": "contract", "change": change}])
        wrong = ["G-9001,2015-02-01,BOS,9,1", "G-9002,2015-02-01,LAL,1,2", "G-9002,2015-02-01,BOS,3,3"]
        errors = [await again(wrong, mode="append"), await again([kept[0], *wrong])]
        listed = (await told(client, "describe_data")).structured_content["datasets"]
        text = header + "\n".join([*kept[:-1], "G-9001,2015-02-01,BOS,6,1"]) + "\n"
        fine = (await told(client, "import_data", name="held", text=text)).structured_content
        states = (await document(client, "data://held/contract"))["untrusted"]
        options = {"promises": "drop"}
        text = header + "\n".join(wrong) + "\n"
        free = (await told(client, "import_data", name="held", text=text, options=options)).structured_content
        odd = [await again(wrong, options={"promises": "no"}), await again(wrong, options=options, mode="append")]
        return errors, listed, fine, states, free, odd

    errors, listed, fine, states, free, odd = in_server(env, scene)
    for error, first in zip(errors, (1, 2), strict=True):
        assert error["code"] == "E_CONTRACT"
        found = [(one["column"], one["count"], one["rows"]) for one in error["details"]["violations"]]
        assert found == [(3, 1, [first + 1]), (4, 1, [first]), (4, 1, [first + 2]), (1, 1, [first + 2])]
        assert "'team'" in error["message"]
    assert "prepare_data" in errors[0]["hint"]
    assert '{"promises": "drop"}' in errors[1]["hint"]
    assert "held@2" in [one["dataset"] for one in listed], "nothing was stored"
    assert (fine["dataset"], fine["notes"][0]) == (
        "held@3",
        "6 promises of held@2 go on: rows that break them are refused.",
    )
    assert states["row_bounds"] == {"maximum": 202}
    assert next(one for one in states["columns"] if one["name"] == "home")["stated"] == ["minimum", "maximum"]
    assert free["dataset"] == "held@4"
    assert any(note.startswith("Breaks ") for note in free["notes"])
    assert [error["code"] for error in odd] == ["E_ARG", "E_ARG"]


def test_a_wrong_change_stores_nothing_and_says_what_was_meant(env):
    async def scene(client):
        steps = [{"do": "contract", "change": {"columns": {"hone": {"minimum": 0}}}}]
        error = await refused(client, "prepare_data", dataset="games@2", steps=steps)
        listed = (await told(client, "describe_data")).structured_content["datasets"]
        newest = next(one["dataset"] for one in listed if one["dataset"].startswith("games@"))
        after = (await refused(client, "describe_data", dataset=f"games@{int(newest.split('@')[1]) + 1}"))["code"]
        return error, after

    error, after = in_server(env, scene)
    assert error["code"] == "E_ARG"
    assert "'home'" in error["hint"]
    assert after == "E_NOT_FOUND"


def test_names_and_forms_are_completed(env):
    async def scene(client):
        found = {}
        for uri, name, value in (
            ("data://{name}/contract", "name", "ga"),
            ("data://{name}/contract/{form}", "name", "ga"),
            ("data://{name}/contract/{form}", "form", "p"),
        ):
            ref = ResourceTemplateReference(type="ref/resource", uri=uri)
            completed = await client.complete(ref, {"name": name, "value": value})
            found[uri, name] = completed.completion.values
        return found

    found = in_server(env, scene)
    assert "games" in found["data://{name}/contract", "name"]
    assert "games" in found["data://{name}/contract/{form}", "name"]
    assert found["data://{name}/contract/{form}", "form"] == ["pandera"]


def test_a_wide_contract_is_read_in_bounds(env):
    async def scene(client):
        wide = ",".join(f"column {at}" for at in range(900))
        rows = "\n".join(",".join(f"word {at * row % 41}" for at in range(900)) for row in range(90))
        await told(client, "import_data", name="wide", text=f"{wide}\n{rows}\n")
        content = (await client.read_resource("data://wide/contract")).contents[0].text
        with pytest.raises(MCPError) as large:
            await client.read_resource("data://wide/contract/pandera")
        return content, str(large.value)

    content, large = in_server(env, scene)
    assert len(content) < 60_000
    assert json.loads(content)["truncated"]
    assert "E_QUOTA" in large


SUITE = {
    "name": "mine",
    "expectations": [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "home", "max_value": 6}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "team"}},
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "team", "value_set": ["BOS", "NYK"], "row_condition": "home > 1"},
        },
    ],
}


def test_a_suite_is_run_by_the_real_library_from_text_and_from_a_file(env):
    pytest.importorskip("great_expectations", reason="the extra gx isn't installed")

    async def scene(client):
        inline = (await told(client, "validate_data", dataset="games@1", suite=json.dumps(SUITE))).structured_content
        folder = Path(env["COURTSIDE_ALLOWED_DIRS"])
        (folder / "suite.json").write_text(json.dumps(SUITE), encoding="utf-8")
        assert (await told(client, "validate_data", dataset="games@1", suite="suite.json")).structured_content == inline
        broken = await document(client, "data://games@1/contract/great_expectations")
        exported = await told(client, "validate_data", dataset="games@1", suite=broken["untrusted"]["document"])
        await told(client, "validate_data", dataset="games@1")
        history = await document(client, "data://games@1/quality")
        return inline, exported.structured_content, history

    inline, exported, history = in_server(env, scene)
    assert (inline["verdict"], inline["failures"]) == ("fail", 1)
    (finding,) = inline["findings"]
    assert finding["rule"] == "suite.column_values_to_be_between"
    assert finding["columns"] == ["home"]
    assert (finding["count"], finding["rows"][:3]) == (28, [7, 14, 21])
    assert "28 of 200 values break it (14.0%)" in finding["reason"]
    assert inline["next"].startswith("1 of 3 expectations held")
    assert any("evaluated as code" in line for line in inline["not_looked_for"])
    assert (exported["verdict"], exported["findings"]) == ("pass", [])
    own, passed, *failed = history["validations"]
    assert "suite" not in own
    assert passed["verdict"] == "pass"
    assert passed["suite"] != failed[0]["suite"] == failed[1]["suite"]
    assert history["rows_by_rule"]["suite.column_values_to_be_between"] == [None, None, 28, 28]


def test_what_the_library_measures_of_personal_data_is_not_told(env):
    pytest.importorskip("great_expectations", reason="the extra gx isn't installed")
    suite = {"expectations": [{"type": "expect_column_max_to_be_between", "kwargs": {"column": "pin", "max_value": 1}}]}

    async def scene(client):
        await told(client, "import_data", name="pins", text="pin,x\n" + "".join(f"{7000 + i},{i}\n" for i in range(30)))
        open_ = (await told(client, "validate_data", dataset="pins@1", suite=json.dumps(suite))).structured_content
        step = {"do": "contract", "change": {"columns": {"pin": {"personal": True}}}}
        await told(client, "prepare_data", dataset="pins@1", steps=[step])
        return open_, await told(client, "validate_data", dataset="pins@2", suite=json.dumps(suite))

    control, hidden = in_server(env, scene)
    assert control["findings"][0]["statistic"] == 7029
    assert hidden.structured_content["failures"] == 1
    assert "7029" not in hidden.model_dump_json()


def test_without_the_library_the_answer_says_what_to_install(env):
    if find_spec("great_expectations") is not None:
        pytest.skip("Great Expectations is installed")

    async def scene(client):
        return await refused(client, "validate_data", dataset="games@1", suite=json.dumps(SUITE))

    error = in_server(env, scene)
    assert error["code"] == "E_UNSUPPORTED"
    assert "courtside[gx]" in error["hint"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"suite": "{"}, "E_CONTRACT"),
        ({"suite": '{"expectations": 1}'}, "E_CONTRACT"),
        ({"suite": json.dumps({"expectations": [{}] * 501})}, "E_QUOTA"),
        ({"suite": "../elsewhere.json"}, "E_PATH"),
        ({"suite": "{}", "baseline": "games@2"}, "E_ARG"),
    ],
)
def test_a_suite_that_is_none_is_refused(env, arguments, code):
    async def scene(client):
        return await refused(client, "validate_data", dataset="games@1", **arguments)

    assert in_server(env, scene)["code"] == code
