"""What a client is told about the tools: complete, strict, small, and changed only on purpose."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import Client

from mcp_server import server, settings, tools

SNAPSHOT = Path(__file__).parent / "tools.json"
MOST_TOKENS = 4_200
MOST_OF_THE_MAIN_PATH = 2_700
"""From a file to a prediction: the tools without those that are `ASIDE`."""
ASIDE = ("prepare_data", "explain_model", "register_model", "schedule_job", "create_report")
NAMES = (
    *("import_data", "describe_data", "validate_data", "prepare_data"),
    *("train_model", "compare_models", "verify_model", "register_model", "explain_model", "search_models"),
    *("predict", "health_report", "get_job", "cancel_job", "schedule_job", "create_report"),
)


def tools_of(environment: dict[str, str]) -> list:
    async def scene():
        async with Client(server.build_server(settings.load(environment))) as client:
            return (await client.list_tools()).tools

    return asyncio.run(scene())


@pytest.fixture(scope="module")
def listed():
    return tools_of({})


@pytest.fixture(scope="module")
def every():
    """Those that are off by default too."""
    return tools_of({"COURTSIDE_TOOLSETS": "default," + ",".join(settings.FURTHER_TOOLSETS)})


def as_told(tool) -> dict:
    return tool.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_the_tools_are_these_in_this_order(listed):
    assert tuple(tool.name for tool in listed) == NAMES


def test_the_settings_know_every_toolset_and_the_rest_is_off(listed, every):
    assert (*settings.DEFAULT_TOOLSETS, *settings.FURTHER_TOOLSETS) == tools.TOOLSETS
    assert [tools.toolset(name).name for name in tools.TOOLSETS] == list(tools.TOOLSETS)
    further = {tool.name for tool in every} - {tool.name for tool in listed}
    assert further == {"suggest_labels", "erase_subject", "delete_item", "review_model"}
    assert [tool.name for tool in tools_of({"COURTSIDE_TOOLSETS": "jobs"})] == [
        *("get_job", "cancel_job", "schedule_job")
    ]


def test_what_removes_says_so(every):
    told = {tool.name for tool in every if as_told(tool)["annotations"]["destructiveHint"]}
    assert {"erase_subject", "delete_item"} <= told


def test_every_tool_has_title_hints_strict_input_and_an_output_schema(every):
    for tool in every:
        told = as_told(tool)
        assert told["title"]
        assert set(told["annotations"]) == {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
        assert told["inputSchema"]["additionalProperties"] is False
        assert told["outputSchema"]["type"] == "object"
        assert told["outputSchema"]["properties"]


def test_a_description_says_what_when_and_what_next_in_under_sixty_words(every):
    for tool in every:
        assert len(tool.description.split()) < 60, tool.name
        assert tool.description.endswith("."), tool.name
    for spec in tools.every_spec():
        if spec.name not in ("predict",):
            assert "Next:" in spec.description, spec.name


def test_every_argument_is_bounded(every):
    def unbounded(schema: dict, where: str) -> list[str]:
        kind = schema.get("type")
        if kind == "string" and not {"maxLength", "pattern", "enum"} & schema.keys():
            return [where]
        if kind == "integer" and not {"minimum", "maximum"} <= schema.keys():
            return [where]
        return []

    problems = []
    for tool in every:
        for name, schema in tool.input_schema["properties"].items():
            problems += unbounded(schema, f"{tool.name}.{name}")
            problems += unbounded(schema.get("items", {}), f"{tool.name}.{name}[]")
    assert not problems


def test_the_tools_cost_a_conversation_little(listed):
    bill = {tool.name: len(tool.model_dump_json(by_alias=True, exclude_none=True).encode()) / 4 for tool in listed}
    assert sum(bill.values()) <= MOST_TOKENS, bill
    aside = sum(bill[name] for name in ASIDE)
    assert sum(bill.values()) - aside <= MOST_OF_THE_MAIN_PATH, bill
    assert max(bill.values()) <= 1_000


def test_the_instructions_are_short():
    assert len(server.INSTRUCTIONS.encode()) < 2_048


def test_the_schemas_are_those_that_were_agreed_on(listed):
    """Refresh with `python tests/contracts/test_tools.py` when a change is meant, and say so in the changelog."""
    assert [as_told(tool) for tool in listed] == json.loads(SNAPSHOT.read_text())


HEAVY = (
    *("sqlalchemy", "aiosqlite", "alembic", "polars", "numpy", "sklearn", "dbos", "obstore", "prometheus_client"),
    *("mcp_server.storage.records", "mcp_server.core.preparing", "mcp_server.tools.admin", "mcp_server.tools.labels"),
)


def test_nothing_heavy_is_loaded_before_the_first_call():
    code = f"""
import asyncio, sys
from mcp import Client
from mcp_server import server, settings
async def scene():
    async with Client(server.build_server(settings.load({{}}))) as client:
        await client.list_tools()
        await client.list_resource_templates()
        await client.list_prompts()
        print([name for name in {HEAVY!r} if name in sys.modules])
asyncio.run(scene())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_prediction_loads_no_table_or_learning_library(tmp_path):
    """The server's own process: the row path is plain Python."""
    code = """
import sys
import mcp_server.serving.predictors, mcp_server.workflows.predicting
from mcp_server.core.predictor import compile_form
print([name for name in ("polars", "numpy", "sklearn", "dbos") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


if __name__ == "__main__":

    async def told() -> list[dict]:
        async with Client(server.build_server(settings.load({}))) as client:
            return [as_told(tool) for tool in (await client.list_tools()).tools]

    SNAPSHOT.write_text(json.dumps(asyncio.run(told()), indent=1) + "\n")
