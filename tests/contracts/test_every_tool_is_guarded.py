"""No tool can be reached around the guard, over either transport and in either protocol era."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client

from acceptance.processes import ERAS, TRANSPORTS, environment, free_port, http_server, stdio_client, text_of
from mcp_server import tools

FAULTY = str(Path(__file__).parents[1] / "acceptance" / "guarded_server.py")

# One valid call of each tool; a tool that is missing here fails the first test.
CALLS = {
    "import_data": {"name": "games", "text": "a,b\n1,2\n"},
    "describe_data": {"dataset": "games@1"},
    "validate_data": {"dataset": "games@1"},
    "prepare_data": {"dataset": "games@1", "steps": [{"do": "filter", "where": "a > 0"}]},
    "train_model": {"model": "games", "dataset": "games@1"},
    "compare_models": {"models": ["games@1", "games@2"]},
    "register_model": {"model": "games", "file": "model.skops", "dataset": "games@1"},
    "explain_model": {"model": "games@1"},
    "verify_model": {"model": "games@1"},
    "search_models": {},
    "predict": {"model": "games@1", "rows": [{"a": 1}]},
    "health_report": {},
    "get_job": {"job": "games"},
    "cancel_job": {"job": "games"},
    "schedule_job": {"name": "nightly", "remove": True},
    "create_report": {"title": "Week 9", "sections": ["health"]},
    "suggest_labels": {"dataset": "games@1"},
    "erase_subject": {"column": "a", "value": "1"},
    "delete_item": {"kind": "dataset", "item": "games@1"},
    "review_model": {"model": "games@1"},
}
WAYS = [(transport, era) for transport in TRANSPORTS for era in ERAS]


@asynccontextmanager
async def served(tmp_path: Path, transport: str, era: str, fault: str, **settings: str):
    env, log = environment(tmp_path, toolsets="default,labels,admin", **settings), tmp_path / "stderr.log"
    if transport == "stdio":
        async with stdio_client([FAULTY, "stdio", fault], env, era, log) as client:
            yield client
    else:
        port = free_port()
        with http_server([sys.executable, FAULTY, str(port), fault], port, env, log) as url:
            async with Client(url, mode=era) as client:
                yield client


def lines_of(tmp_path: Path, name: str) -> list[dict]:
    """The log lines of calls of one tool; every line of the log must be JSON."""
    lines = [json.loads(line) for line in (tmp_path / "stderr.log").read_text().splitlines()]
    return [line for line in lines if line.get("event") == "call" and line.get("tool") == name]


async def each_tool(client: Client, arguments=None) -> dict:
    listed = await client.list_tools()
    assert {tool.name for tool in listed.tools} == set(CALLS), "CALLS names every registered tool"
    return {
        name: await client.call_tool(name, valid if arguments is None else arguments) for name, valid in CALLS.items()
    }


def test_every_registered_tool_has_a_call_here():
    assert {spec.name for spec in tools.every_spec()} == set(CALLS)


@pytest.mark.parametrize(("transport", "era"), WAYS)
def test_a_throttle_of_zero_refuses_every_tool(tmp_path, transport, era):
    async def scene():
        async with served(tmp_path, transport, era, "none", rate_per_second="0") as client:
            results = {name: await client.call_tool(name, arguments) for name, arguments in CALLS.items()}
        for name, result in results.items():
            assert result.is_error, name
            assert text_of(result).startswith("E_THROTTLED"), name

    asyncio.run(scene())
    for name in CALLS:
        assert [line["outcome"] for line in lines_of(tmp_path, name)] == ["E_THROTTLED"]


@pytest.mark.parametrize(("transport", "era"), WAYS)
def test_a_bad_argument_is_shaped_and_logged_once_for_every_tool(tmp_path, transport, era):
    async def scene():
        async with served(tmp_path, transport, era, "none") as client:
            for name, result in (await each_tool(client, {"nonsense": "hunter2"})).items():
                assert result.is_error, name
                error = result.structured_content["error"]
                assert error["code"] == "E_ARG", name
                assert "nonsense" in error["message"]
                assert "hunter2" not in json.dumps(result.structured_content) + text_of(result)
                assert error["hint"]
                assert error["reference"]

    asyncio.run(scene())
    for name in CALLS:
        assert [line["outcome"] for line in lines_of(tmp_path, name)] == ["E_ARG"]


@pytest.mark.parametrize(("transport", "era"), WAYS)
def test_a_transient_error_is_retried_exactly_where_the_tool_is_declared_idempotent(tmp_path, transport, era):
    declared = {spec.name: spec.hints.idempotent for spec in tools.every_spec()}
    assert set(declared.values()) == {True, False}, "both kinds are there to be told apart"

    async def scene():
        async with served(tmp_path, transport, era, "transient") as client:
            for name, result in (await each_tool(client)).items():
                if declared[name]:
                    assert not result.is_error, (name, text_of(result))
                    assert result.structured_content["attempts"] == 2
                else:
                    assert text_of(result).startswith("E_TRANSIENT"), name

    asyncio.run(scene())
    for name, idempotent in declared.items():
        assert [line["outcome"] for line in lines_of(tmp_path, name)] == ["ok" if idempotent else "E_TRANSIENT"]


@pytest.mark.parametrize(("transport", "era"), WAYS)
def test_an_unexpected_error_is_masked_for_the_client_and_redacted_in_the_log(tmp_path, transport, era):
    async def scene():
        async with served(tmp_path, transport, era, "crash") as client:
            for name, result in (await each_tool(client)).items():
                said = json.dumps(result.structured_content) + text_of(result)
                assert result.is_error, name
                assert "E_INTERNAL" in said
                assert "hunter2" not in said
                assert "alice" not in said
                assert result.structured_content["error"]["reference"] in said

    asyncio.run(scene())
    log = (tmp_path / "stderr.log").read_text()
    assert "RuntimeError" in log
    assert "hunter2" not in log
    assert "alice@example.org" not in log
