"""The environments of other processes: never the server's own, which may hold keys and passwords."""

from __future__ import annotations

import os
import site
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

import mcp_server
from mcp_server.settings import PREFIX, Settings

# What a Python needs to start and to write text as here. Some are linked against a folder that LD_LIBRARY_PATH names.
_PASSED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "WINDIR")
_MEASURED = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_THREAD_TIMEOUT": "4"}
"""What has the threads of numerical libraries sleep while they wait for each other.

By default they spin, and take the processor from the one that they wait for: on a busy machine boosting is then many
times slower, and linear algebra two to three times.
"""

# The worker serves no one: what opens the server's door stays with the server.
_NOT_FOR_WORKERS = frozenset({"api_keys", "allowed_hosts", "allowed_origins", "sql_sources"})


def for_child(environment: Mapping[str, str], *, home: Path, threads: int) -> dict[str, str]:
    """What a computing child gets.

    Args:
        environment: this process's own; only names that say where the system's files are, pass.
        home: the child's HOME and temporary folder.
        threads: cap for each numerical library.
    """
    chosen = _base(environment)
    chosen.update(HOME=str(home), TMPDIR=str(home), TEMP=str(home), TMP=str(home))
    chosen.update(dict.fromkeys(_THREADS, str(threads)))
    chosen.update(PATIENT)
    # Each thread's own heap would reserve 64 MiB more of what the memory limit counts.
    chosen["MALLOC_ARENA_MAX"] = "2"
    chosen["PYTHONDONTWRITEBYTECODE"] = "1"
    chosen["JOBLIB_MULTIPROCESSING"] = "0"  # its semaphores are outside of what a child may write
    return chosen


def for_worker(environment: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """What the worker process gets: every setting that isn't its default, save those that only a server reads."""
    chosen = _base(environment)
    for name in ("HOME", "TMPDIR", "TEMP", "TMP", "USERPROFILE", "LOCALAPPDATA", *_MEASURED):
        if name in environment:
            chosen[name] = environment[name]
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if name not in _NOT_FOR_WORKERS and value != field.get_default(call_default_factory=True):
            chosen[PREFIX + name.upper()] = _text(value)
    # The folder is named even where it is the default: that depends on the home folder.
    chosen[PREFIX + "DATA_DIR"] = str(settings.data_dir)
    return chosen


def _base(environment: Mapping[str, str]) -> dict[str, str]:
    chosen = {name: environment[name] for name in _PASSED if name in environment}
    chosen["PYTHONUTF8"] = "1"
    # The same code as here, also where this process was started from a checkout or a user's own site folder.
    own = [str(Path(mcp_server.__file__).parent.parent), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    if site.ENABLE_USER_SITE:
        own.append(site.getusersitepackages())
    own = [os.path.abspath(entry) for entry in own if entry]
    extra = [entry for entry in own if os.path.isdir(entry) and entry not in _library()]
    if extra:
        chosen["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(extra))
    return chosen


def _library() -> set[str]:
    """Where this interpreter looks anyway; naming it first would let a package hide the standard library."""
    return {path for name in ("stdlib", "purelib", "platlib") if (path := sysconfig.get_path(name))}


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value)
