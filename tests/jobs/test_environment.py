"""What other processes are told, and what they aren't."""

import os
from pathlib import Path

import mcp_server
from mcp_server.jobs.environment import for_child, for_worker
from mcp_server.settings import Settings, load

SERVER = {
    "PATH": "/usr/bin", "LANG": "C.UTF-8", "HOME": "/home/someone", "COURTSIDE_API_KEYS": "a:admin:12345678",
    "COURTSIDE_DATABASE_URL": "postgresql://u:hunter2@h/d", "AWS_SECRET_ACCESS_KEY": "x", "SSH_AUTH_SOCK": "/run/agent",
}  # fmt: skip


def test_a_child_gets_what_a_python_needs_and_nothing_of_ours(tmp_path):
    given = for_child(SERVER, home=tmp_path, threads=2)
    assert given["PATH"] == "/usr/bin"
    assert given["HOME"] == given["TMPDIR"] == str(tmp_path)
    assert given["OMP_NUM_THREADS"] == given["POLARS_MAX_THREADS"] == "2"
    assert given["OMP_WAIT_POLICY"] == "PASSIVE", "threads that wait leave the processor to the others"
    assert given["OPENBLAS_THREAD_TIMEOUT"] == "4", "2 ** 4 cycles, which is the least"
    assert not {"COURTSIDE_API_KEYS", "COURTSIDE_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK"} & set(given)


def test_a_worker_gets_the_settings_but_not_the_keys_to_the_server(tmp_path):
    settings = Settings(
        data_dir=tmp_path, api_keys="a:admin:12345678", database_url="postgresql://u:p@h/d", job_seconds=77.0,
        allowed_dirs=(Path("/a"), Path("/b")), allowed_hosts=("models.example.org",),
    )  # fmt: skip
    given = for_worker(SERVER, settings)
    assert "12345678" not in str(given)
    assert "AWS_SECRET_ACCESS_KEY" not in given
    assert load(given) == settings.model_copy(update={"api_keys": None, "allowed_hosts": ()})


def test_a_worker_of_default_settings_is_told_the_data_folder_in_any_case(tmp_path):
    assert for_worker({}, Settings(data_dir=tmp_path))["COURTSIDE_DATA_DIR"] == str(tmp_path)


def test_both_import_the_same_code_as_this_process(tmp_path):
    root = str(Path(mcp_server.__file__).parent.parent)
    for given in (for_child({}, home=tmp_path, threads=1), for_worker({}, Settings(data_dir=tmp_path))):
        assert root in given.get("PYTHONPATH", "").split(os.pathsep) or "site-packages" in root
