"""How the code is built: each rule looks at every module of the package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import mcp_server
from contracts.repository import PACKAGE, ROOT, Module, dotted, modules

MOST_LINES = 500
BANNED_PARTS = {"advanced", "enhanced", "simple", "new", "v2", "utils", "helpers", "common", "manager"}

# Who may import what from outside (style: the edge knows the protocol, storage knows SQL, core knows the maths).
HOMES = {
    "mcp": ("tools", "resources", "prompts", "server", "guard", "client", "demo"),
    "starlette": ("web", "server", "guard"),
    "uvicorn": ("web", "server"),
    "sqlalchemy": ("storage", "jobs", "worker"),
    "alembic": ("storage",),
    "aiosqlite": ("storage",),
    "asyncpg": ("storage", "integrations"),
    "pymysql": ("integrations",),
    "httpx": ("integrations",),
    "obstore": ("storage",),
    "dbos": ("jobs", "worker"),
    "sklearn": ("core/training", "core/screening", "core/preparing", "core/labelling", "core/adoption"),
    "skops": ("core/training", "core/adoption"),
    "vl_convert": ("charts",),
    "typst": ("charts",),
    "markdown_it": ("core/reports",),
}
NEVER = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "imp", "joblib"}
# Where anything may be caught: calls and jobs end with an answer whatever breaks, and a log line never breaks a call.
BROAD = ("guard", "jobs", "worker", "log")


def found(*problems: str) -> str:
    return "\n".join(problems)


def test_there_is_a_package_to_look_at() -> None:
    assert len(modules()) > 20


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
    mine = [file for file in files if "node_modules" not in file.parts]
    lengths = {file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines()) for file in mine}
    long = [f"{name}: {length} lines" for name, length in sorted(lengths.items()) if length > MOST_LINES]
    assert not long, found(*long)


def test_names_say_the_concept() -> None:
    problems = []
    for module in modules():
        names = [Path(module.path).stem, *Path(module.path).parts[:-1]]
        names += [node.name for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
        for name in names:
            parts = {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)}
            if banned := parts & BANNED_PARTS:
                problems.append(f"{module.path}: {name} ({', '.join(banned)})")
    assert not problems, found(*problems)


def test_no_class_has_two_homes() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for module in modules():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(module.path)
    twins = [f"{name}: {', '.join(where)}" for name, where in sorted(homes.items()) if len(where) > 1]
    assert not twins, found(*twins)


def test_only_the_guard_and_the_jobs_keep_what_they_caught_of_everything() -> None:
    """To undo and raise again is fine anywhere."""
    problems = []
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler) and not module.within(*BROAD):
                if isinstance(last := node.body[-1], ast.Raise) and last.exc is None:
                    continue
                caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
                if any(kind is None or dotted(kind) in ("Exception", "BaseException") for kind in caught):
                    problems.append(f"{module.path}:{node.lineno}")
    assert not problems, found(*problems)


def test_only_the_command_line_and_the_demo_print() -> None:
    problems = [
        f"{module.path}:{call.lineno}"
        for module in modules()
        for call in module.calls()
        if dotted(call.func) == "print" and not module.within("cli", "demo")
    ]
    assert not problems, found(*problems)


def test_nothing_runs_what_it_loads() -> None:
    problems = []
    for module in modules():
        problems += [f"{module.path}:{line} imports {name}" for name, line in module.imports() if _top(name) in NEVER]
        for call in module.calls():
            name = dotted(call.func)
            if name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "joblib.load", "numpy.load"):
                problems.append(f"{module.path}:{call.lineno} calls {name}")
            if any(key.arg == "shell" and getattr(key.value, "value", True) is not False for key in call.keywords):
                problems.append(f"{module.path}:{call.lineno} starts a shell")
            if any(key.arg == "allow_pickle" and getattr(key.value, "value", True) for key in call.keywords):
                problems.append(f"{module.path}:{call.lineno} allows pickle")
    assert not problems, found(*problems)


def test_randomness_is_given_not_taken() -> None:
    """A generator is an argument; `secrets` and `os.urandom` are for keys, ids and jitter has `random.Random`."""
    allowed = {"numpy.random.default_rng", "numpy.random.Generator", "numpy.random.SeedSequence", "numpy.random.PCG64"}
    problems = []
    for module in modules():
        for node in ast.walk(module.tree):
            name = dotted(node) if isinstance(node, ast.Attribute) else ""
            name = re.sub(r"^np\.", "numpy.", name)
            if re.fullmatch(r"numpy\.random\.\w+", name) and name not in allowed:
                problems.append(f"{module.path}:{node.lineno} {name}")
            if re.fullmatch(r"random\.[a-z]\w*", name) and module.within("core", "workflows", "charts", "serving"):
                problems.append(f"{module.path}:{node.lineno} {name}")
    assert not problems, found(*problems)


def test_clocks_are_never_naive() -> None:
    problems = []
    for module in modules():
        for call in module.calls():
            name = dotted(call.func)
            naive = name.endswith(("datetime.now", "datetime.fromtimestamp")) and not (call.args[1:] or call.keywords)
            naive = naive and not (name.endswith(".now") and call.args)
            if naive or name.endswith(("datetime.utcnow", "date.today", "datetime.today")):
                problems.append(f"{module.path}:{call.lineno} {name}")
            if module.within("core") and name in ("time.time", "time.monotonic", "time.perf_counter"):
                problems.append(f"{module.path}:{call.lineno} {name}: time comes in as an argument")
    assert not problems, found(*problems)


def test_only_settings_reads_our_part_of_the_environment() -> None:
    problems = []
    for module in modules():
        if module.within("settings"):
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                source, key = dotted(node.value), node.slice
            elif isinstance(node, ast.Call) and node.args:
                source, key = dotted(node.func), node.args[0]
            else:
                continue
            ours = isinstance(key, ast.Constant) and str(key.value).upper().startswith("COURTSIDE_")
            if ours and ("environ" in source or source.endswith("getenv")):
                problems.append(f"{module.path}:{node.lineno}")
    assert not problems, found(*problems)


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_is_imported_only_in_its_home(library: str) -> None:
    problems = [
        f"{module.path}:{line} imports {name}"
        for module in modules()
        for name, line in module.imports()
        if _top(name) == library and not module.within(*HOMES[library])
    ]
    assert not problems, found(*problems)


def test_core_knows_nothing_but_core_and_errors() -> None:
    outside = {"os", "logging", "socket", "subprocess", "asyncio", "sqlite3", "pathlib", "tempfile", "structlog"}
    problems = []
    for module in modules():
        if not module.within("core"):
            continue
        for name, line in module.imports():
            ours = name.startswith("mcp_server.") and not name.startswith(("mcp_server.core", "mcp_server.errors"))
            if ours or _top(name) in outside:
                problems.append(f"{module.path}:{line} imports {name}")
        opened = (call for call in module.calls() if dotted(call.func) in ("open", "io.open"))
        problems += [f"{module.path}:{call.lineno} opens a file" for call in opened]
    assert not problems, found(*problems)


def test_a_toolset_can_be_switched_off_alone() -> None:
    shared = {"toolset", "params"}
    problems = []
    for module in modules():
        if not module.within("tools") or module.path == "tools/__init__.py":
            continue
        for name, line in module.imports():
            part = name.removeprefix("mcp_server.tools.").split(".")[0]
            if name.startswith("mcp_server.tools.") and part not in shared:
                problems.append(f"{module.path}:{line} imports {name}")
    assert not problems, found(*problems)


HEAVY = ("sklearn", "scipy", "numpy", "polars", "dbos", "sqlalchemy", "skops", "vl_convert", "alembic")
START = """
import sys
touched = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.bind"):
        touched.append(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        if "__pycache__" not in str(arguments[0]) and str(arguments[0]) != "/dev/null":
            touched.append(f"writes {arguments[0]}")
sys.addaudithook(watch)
import mcp_server.server
print(",".join(name for name in sys.argv[1:] if name in sys.modules))
print(",".join(touched))
"""


def test_the_server_starts_without_what_it_does_not_need_yet() -> None:
    """Cold start: what is heavy loads when it's first needed; importing opens no socket and writes no file."""
    home = Path(mcp_server.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", START, *HEAVY], capture_output=True, text=True, check=True, cwd=home)
    loaded, touched = done.stdout.splitlines()[-2:] if done.stdout.strip() else ("", "")
    assert loaded == ""
    assert touched == ""


def _top(name: str) -> str:
    return name.split(".")[0]


def test_the_rules_can_see_what_they_forbid() -> None:
    """The control of this file: a module with every fault is found by the same means."""
    bad = Module("core/bad.py", ast.parse("import sklearn.svm\nfrom mcp_server.storage import x\nprint(eval('1'))"))
    assert {name for name, _ in bad.imports()} == {"sklearn.svm", "mcp_server.storage.x"}
    assert {dotted(call.func) for call in bad.calls()} == {"print", "eval"}
    assert bad.within("core")
    assert not bad.within("storage", "core/b")
