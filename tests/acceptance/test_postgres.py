"""The whole path on PostgreSQL: server, worker and jobs on one database given by its URL."""

import asyncio

import pytest

from acceptance.processes import environment, stdio_client, text_of

TABLE = "x,z,y\n" + "".join(f"{i % 17},{i % 5},{int((i % 17) + (i * 7919) % 13 > 12)}\n" for i in range(600))


@pytest.mark.services
def test_a_table_becomes_a_verified_answering_model(tmp_path, empty_postgres_url):
    env = environment(tmp_path, database_url=empty_postgres_url, worker_idle_seconds="2")

    async def scene():
        async with stdio_client(["-m", "mcp_server", "serve"], env, "auto", tmp_path / "stderr.log") as client:

            async def told(tool, **arguments):
                result = await client.call_tool(tool, arguments)
                assert not result.is_error, (tool, text_of(result))
                return result.structured_content

            first = await told("import_data", name="t", text=TABLE, target="y", idempotency_key="k")
            assert await told("import_data", name="t", text=TABLE, target="y", idempotency_key="k") == first
            await told("train_model", model="y", dataset="t@1")
            assert (await told("get_job", wait=50.0))["state"] == "succeeded"
            assert (await told("verify_model", model="y@2"))["verdict"] == "passed"
            for key in ({}, {"idempotency_key": "p"}):
                found = await told("predict", model="y@1", rows=[{"x": 3, "z": 1}], **key)
                assert found["predictions"][0]["probability"] > 0.5
            assert (await told("health_report"))["status"] == "ok"

    asyncio.run(scene())
    assert not (tmp_path / "data" / "courtside.db").exists()
