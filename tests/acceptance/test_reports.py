"""A report of everything that can be said of a model, through a real server, read back as every file."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path

import pytest

from acceptance.processes import refused, stdio_client, text_of, told, with_two_versions

pytestmark = pytest.mark.anyio

SECTIONS = [
    "data:table@1",
    "validation:table@1",
    "model:y@2",
    "comparison:y@1,y@2",
    "explanation:y@2",
    "fairness:y@2,z",
    "history:y",
    "lineage:y@2",
    "health",
]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return with_two_versions(tmp_path)


async def test_a_report_of_every_kind_of_section_reads_back_as_every_file(env: dict[str, str], tmp_path: Path) -> None:
    async with stdio_client(["-m", "mcp_server", "serve"], env, "auto", tmp_path / "stderr.log") as client:
        made = await told(
            client,
            "create_report",
            title="Is y fit?",
            sections=SECTIONS,
            export=["html", "pdf", "csv", "markdown"],
        )
        structure = made.structured_content
        id, uri = structure["report"], structure["uri"]
        assert len(text_of(made)) < 4_000
        compared = await told(client, "compare_models", models=["y@1", "y@2"], picture=False)
        text = (await client.read_resource(uri)).contents[0].text
        assert compared.structured_content["sentence"] in text
        assert text.count("![") == structure["drawn"] >= 4
        titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
        assert titles == [one["title"] for one in structure["sections"]]

        files = {}
        for form, kind in (("html", "text/html"), ("pdf", "application/pdf"), ("csv", "text/csv")):
            blob = (await client.read_resource(f"{uri}/{form}")).contents[0]
            assert blob.mime_type == kind
            files[form] = base64.b64decode(blob.blob)
        folder = Path(env["COURTSIDE_DATA_DIR"]) / "reports" / id
        assert (folder / "report.pdf").read_bytes() == files["pdf"]
        assert (folder / "report.html").read_bytes() == files["html"]
        assert files["html"].count(b'src="data:image/png;base64,') == structure["drawn"]
        assert files["pdf"].count(b"/Subtype/Image") >= structure["drawn"]
        picture = (await client.read_resource(f"{uri}/pictures/1")).contents[0]
        assert (folder / "picture-1.png").read_bytes() == base64.b64decode(picture.blob)
        facts = {
            (row["section"], row["fact"]): row["value"] for row in csv.DictReader(io.StringIO(files["csv"].decode()))
        }
        metrics = compared.structured_content["models"][0]["metrics"]
        assert float(facts["comparison", "models.1.metrics.log_loss.value"]) == metrics["log_loss"]["value"]
        assert facts["model", "dataset"] == "table@1"

        listed = (await client.read_resource("report://list")).contents[0].text
        assert uri in listed
        lost = await refused(client, "create_report", title="x", sections=["model:y@9"])
        assert lost["code"] == "E_NOT_FOUND"


async def test_a_stage_stands_for_its_version_in_every_section(env: dict[str, str], tmp_path: Path) -> None:
    env = {**env, "COURTSIDE_TOOLSETS": "default,admin"}
    async with stdio_client(["-m", "mcp_server", "serve"], env, "auto", tmp_path / "stderr.log") as client:
        nobody = await refused(client, "create_report", title="x", sections=["model:y@production"])
        assert nobody["code"] == "E_NOT_FOUND"
        await told(client, "review_model", model="y@1", stage="production")
        sections = [f"{kind}:y@production" for kind in ("model", "lineage", "explanation")]
        made = await told(client, "create_report", title="x", sections=sections)
        assert [one["title"] for one in made.structured_content["sections"]] == [
            *("Model y@1", "Lineage of y@1", "What y@1 goes by"),
        ]
        card = (await client.read_resource("model://y@production/card")).contents[0].text
        assert card.startswith("# y@1\n")
        assert (await client.read_resource("model://y/card")).contents[0].text.startswith("# y@2\n")
