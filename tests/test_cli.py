"""The command line, as a person runs it."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from mcp_server import settings
from mcp_server.errors import BadConfiguration


def courtside(*arguments: str, folder: Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    base = {name: value for name, value in os.environ.items() if not name.startswith("COURTSIDE_")}
    env = {
        **base,
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "COURTSIDE_DATA_DIR": str(folder / "data"),
        "COURTSIDE_ALLOWED_DIRS": str(folder),
        "COURTSIDE_LOG_LEVEL": "ERROR",
        **environment,
    }
    return subprocess.run(
        [sys.executable, "-m", "mcp_server", *arguments],
        env=env,
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_tool_can_be_called_with_pairs_or_with_json(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    done = courtside("call", "import_data", "name=t", "path=t.csv", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("t@1: 2 rows × 2 columns, stored")
    done = courtside("call", "describe_data", "--json", "-", folder=tmp_path, stdin='{"dataset": "t@1"}')
    assert "t@1: 2 rows" in done.stdout


def test_a_refusal_of_a_tool_gives_exit_code_1_and_says_what_next(tmp_path):
    done = courtside("call", "describe_data", "dataset=nope", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("E_NOT_FOUND")
    assert "Next:" in done.stdout


@pytest.mark.parametrize("arguments", [["describe_data", "dataset"], ["describe_data", "--json", "[1]"]])
def test_arguments_that_cannot_be_read_give_exit_code_2(tmp_path, arguments):
    done = courtside("call", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("E_ARG")


def test_a_misspelt_setting_is_refused_with_the_right_name(tmp_path):
    done = courtside("serve", folder=tmp_path, COURTSIDE_LOGLEVEL="INFO")
    assert done.returncode == 2
    assert "did you mean COURTSIDE_LOG_LEVEL" in done.stderr
    assert done.stdout == "", "standard output belongs to the protocol"


def test_production_refuses_every_unsafe_setting_in_one_message():
    with pytest.raises(BadConfiguration) as refused:
        settings.load(
            {
                "COURTSIDE_PROFILE": "production",
                "COURTSIDE_DEBUG": "true",
                "COURTSIDE_API_KEYS": "me:admin:tooshort",
                "COURTSIDE_ALLOWED_HOSTS": "*",
                "COURTSIDE_ALLOWED_DIRS": "/",
                "COURTSIDE_RATE_PER_SECOND": "5000",
            }
        )
    for part in ("DEBUG", "24 characters", "ALLOWED_HOSTS", "ALLOWED_DIRS", "RATE_PER_SECOND"):
        assert part in refused.value.message
    assert "tooshort" not in refused.value.message


def test_the_doctor_says_ok_warn_or_fail_with_a_fix_for_each(tmp_path):
    done = courtside("doctor", "--json", folder=tmp_path)
    report = json.loads(done.stdout)
    assert done.returncode == (1 if report["fail"] else 0)
    assert all(check["fix"] for check in report["checks"] if check["state"] != "ok")
    assert {"Python", "SQLite", "Settings", "Storage", "Computing", "Worker"} <= {c["name"] for c in report["checks"]}


def test_the_doctor_fails_where_the_data_folder_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    done = courtside("doctor", folder=tmp_path, COURTSIDE_DATA_DIR=str(tmp_path / "file" / "data"))
    assert done.returncode == 1
    assert "fail" in done.stdout
    assert "fix:" in done.stdout


def test_an_installation_merges_the_file_and_keeps_a_copy(tmp_path):
    path = tmp_path / "config" / "Claude" / "claude_desktop_config.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"theme": "dark", "mcpServers": {"other": {"command": "x"}}}')
    dry = courtside("install", "claude-desktop", "--dry-run", "--allow", str(tmp_path), folder=tmp_path)
    assert dry.returncode == 0, dry.stderr
    assert "courtside" not in path.read_text()
    done = courtside("install", "claude-desktop", "--allow", str(tmp_path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    written = json.loads(path.read_text())
    assert written["theme"] == "dark"
    assert written["mcpServers"]["other"] == {"command": "x"}
    ours = written["mcpServers"]["courtside"]
    assert Path(ours["command"]).is_absolute()
    assert ours["args"][-2:] == ["--allow", str(tmp_path)]
    assert "other" in path.with_name(path.name + ".before-courtside").read_text()


def test_an_installation_leaves_a_broken_file_alone(tmp_path):
    path = tmp_path / ".mcp.json"
    path.write_text("{broken")
    done = courtside("install", "claude-code", folder=tmp_path)
    assert done.returncode == 2
    assert path.read_text() == "{broken"


def test_the_bill_of_the_tools_is_told(tmp_path):
    done = courtside("tokens", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "import_data" in done.stdout
    assert int(done.stdout.splitlines()[-1].split()[0]) < 4_600


def test_http_without_a_key_is_refused_before_it_listens(tmp_path):
    for arguments in (
        ["--http", "127.0.0.1:0"],
        ["--http", "0.0.0.0:0"],
        ["--http", "0.0.0.0:0", "--insecure-loopback"],
    ):
        done = courtside("serve", *arguments, folder=tmp_path)
        assert done.returncode == 2, arguments
        assert "E_CONFIG" in done.stderr


@pytest.mark.parametrize(
    "keys", ["ops:viewer:first-key-123,ops:admin:other-key-456", "a:viewer:one-key-123,b:admin:one-key-123"]
)
def test_two_api_keys_of_one_name_or_one_key_of_two_names_are_refused(keys):
    with pytest.raises(BadConfiguration, match="name or the key of an earlier one") as refused:
        settings.load({"COURTSIDE_API_KEYS": keys})
    assert "key-123" not in refused.value.message


def test_what_was_kept_long_enough_is_counted_and_then_removed(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    assert courtside("call", "import_data", "name=t", "path=t.csv", folder=tmp_path).returncode == 0
    assert courtside("call", "validate_data", "dataset=t@1", folder=tmp_path).returncode == 0
    loose = tmp_path / "data" / "artefacts" / "sha256" / "ab" / ("c" * 62)
    loose.parent.mkdir(exist_ok=True)
    loose.write_bytes(b"left by a failed job")
    os.utime(loose, (1_000_000_000, 1_000_000_000))
    kept = {"COURTSIDE_KEEP_VALIDATIONS_DAYS": "30", "COURTSIDE_WORKER_IDLE_SECONDS": "1"}
    done = courtside("retention", "--dry-run", folder=tmp_path, **kept)
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["Would", "be", "removed:"],
        ["0", "validations"],
        ["0", "answers"],
        ["1", "files"],
        ["20", "bytes"],
    ]
    assert loose.exists()
    done = courtside("retention", folder=tmp_path, **kept)
    assert done.returncode == 0, done.stderr
    assert ["1", "files"] in [line.split() for line in done.stdout.splitlines()]
    assert not loose.exists()
    assert "t@1: 2 rows" in courtside("call", "describe_data", "dataset=t@1", folder=tmp_path).stdout
    assert "No COURTSIDE_KEEP" in courtside("retention", "--dry-run", folder=tmp_path).stdout


def test_runs_are_brought_from_mlflow_and_what_was_refused_gives_exit_code_1(tmp_path):
    run = {"info": {"run_id": "abc", "status": "FINISHED", "start_time": 1_767_225_600_000}, "data": {}}
    answers = {
        "experiments/search": {"experiments": [{"experiment_id": "1", "name": "cancer"}]},
        "runs/search": {"runs": [run]},
        "model-versions/search": {"model_versions": [{"name": "m\x1b[31m", "version": "1", "run_id": "abc"}]},
        "model-versions/get-download-uri": {"artifact_uri": "s3://elsewhere"},
    }

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = json.dumps(answers[self.path.partition("/mlflow/")[2].partition("?")[0]]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  (the name that the class looks for)

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = courtside("mlflow", "import", folder=tmp_path, COURTSIDE_MLFLOW_URL=url)
        server.shutdown()
    assert done.returncode == 1, done.stderr
    refused, count = done.stdout.splitlines()
    assert refused.startswith("refused  m\\u{1b}[31m/1: E_PATH")
    assert count == "1 runs imported, 0 known already, 0 not over, 1 refused."
    of_one = ["import", "--model", "m/1"]
    for arguments in (["import"], ["export", "--experiment", "x"], of_one, ["export", "--dataset", "t@1"]):
        assert courtside("mlflow", *arguments, folder=tmp_path).returncode == 2
