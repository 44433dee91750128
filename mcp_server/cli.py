"""The command line: arguments in, exit code out. Standard output belongs to JSON-RPC while serving."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcp_server import __version__
from mcp_server.errors import CourtsideError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done; 1 the command found something wrong; 2 it could not be run as asked; 130 interrupted.
    """
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except CourtsideError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"Next: {error.hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="courtside", description="An MCP server that looks after models on tables.")
    parser.add_argument("--version", action="version", version=f"courtside {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve MCP over stdio, or over HTTP with --http")
    serve.add_argument("--http", metavar="HOST:PORT", help="serve /mcp and the health pages over HTTP")
    serve.add_argument(
        "--insecure-loopback", action="store_true", help="no key over HTTP, for this machine alone; never elsewhere"
    )
    serve.add_argument("--read-only", action="store_true", default=None, help="hide and refuse what writes")
    serve.add_argument("--allow", action="append", metavar="DIR", help="a folder that files may be imported from")
    serve.add_argument("--conformance", action="store_true", help=argparse.SUPPRESS)
    serve.set_defaults(command=_serve)

    worker = commands.add_parser("worker", help="run jobs until idle; the server starts one by itself")
    worker.set_defaults(command=_worker)

    retention = commands.add_parser("retention", help="remove what was kept longer than the settings say, now")
    retention.add_argument("--dry-run", action="store_true", help="only count what would be removed")
    retention.set_defaults(command=_retention)

    demo = commands.add_parser("demo", help="the whole path on simulated or your own games")
    demo.add_argument("--games", type=Path, metavar="FILE", help="a CSV of real games instead of the simulated ones")
    demo.add_argument("--keep", type=Path, metavar="DIR", help="keep data and pictures in this folder")
    demo.set_defaults(command=_demo)

    doctor = commands.add_parser("doctor", help="say what works here and how to mend what doesn't")
    doctor.add_argument("--json", action="store_true", help="for machines")
    doctor.set_defaults(command=_doctor)

    install = commands.add_parser("install", help="add this server to a client's configuration")
    install.add_argument("client", choices=["claude-desktop", "claude-code"])
    install.add_argument("--allow", action="append", metavar="DIR", help="a folder that files may be imported from")
    install.add_argument("--dry-run", action="store_true", help="show what would be written")
    install.set_defaults(command=_install)

    call = commands.add_parser("call", help="call one tool of a server over stdio")
    call.add_argument("tool")
    call.add_argument("arguments", nargs="*", metavar="NAME=VALUE", help="values are JSON, or text")
    call.add_argument("--json", metavar="ARGS", dest="document", help="all arguments as one JSON object; - reads it")
    call.set_defaults(command=_call)

    check = commands.add_parser("check", help="hold models and data to stated gates, for CI")
    check.add_argument(
        "gates", type=Path, metavar="FILE", nargs="?", help="YAML or JSON; docs/guides/gates.md has an example"
    )
    check.add_argument(
        "--policy", type=Path, metavar="FILE", help="what a stage asks; alone: of every version in such a stage"
    )
    check.add_argument("--junit", type=Path, metavar="FILE", help="write the outcomes as JUnit XML")
    check.add_argument("--summary", type=Path, metavar="FILE", help="append the outcomes as a Markdown table")
    check.set_defaults(command=_check)

    audit = commands.add_parser("audit", help="verify the log of changes, or print its head")
    audit.add_argument("what", choices=["verify", "head"], help="look for tampering; or what to note elsewhere")
    audit.add_argument(
        "--head", metavar="HEAD", action="append", help="a head that was printed before and must be there"
    )
    audit.set_defaults(command=_audit)

    keys = commands.add_parser("keys", help="the key that signs: list, rotate, revoke, export; sign a version anew")
    asked = keys.add_subparsers(required=True, metavar="WHAT", dest="what")
    asked.add_parser("list", help="every key, its state and what it signed")
    asked.add_parser("rotate", help="have a new key sign from now on")
    revoke = asked.add_parser("revoke", help="trust no longer what a key signed")
    revoke.add_argument("key", metavar="KEY", help="its id, as list shows it")
    revoke.add_argument("--why", required=True, metavar="TEXT", help="for the log of changes")
    export = asked.add_parser("export", help="print the public key, or write what others need to check a version")
    export.add_argument("--key", metavar="KEY", help="another one than the one that signs now")
    export.add_argument("--model", metavar="NAME@VERSION", help="write manifest, signature and key of this version")
    export.add_argument("--to", type=Path, default=Path(), metavar="DIR", help="where to, with --model")
    sign = asked.add_parser("sign", help="sign a version anew, after its key was revoked")
    sign.add_argument("model", metavar="NAME@VERSION")
    sign.add_argument("--digest", metavar="DIGEST", help="the version's digest, as you noted it elsewhere")
    keys.set_defaults(command=_keys)

    mlflow = commands.add_parser("mlflow", help="bring runs and registered models from an MLflow server, or write ours")
    mlflow.add_argument("what", choices=["import", "export"], help="from there; or to there")
    mlflow.add_argument("--experiment", metavar="NAME", action="append", help="import the runs of this one alone")
    mlflow.add_argument(
        "--model",
        metavar="NAME",
        help="export: the runs and versions of this one alone; import: make a version of this one, as NAME/VERSION",
    )
    mlflow.add_argument("--dataset", metavar="NAME@VERSION", help="import --model: the rows to check it on")
    mlflow.add_argument("--as", dest="named", metavar="NAME", help="import --model: its name here")
    mlflow.add_argument("--target", metavar="COLUMN", help="import --model: what it predicts, if the data don't say")
    mlflow.add_argument("--column", metavar="NAME", action="append", help="import --model: its inputs, in their order")
    mlflow.add_argument("--test", metavar="CONDITION", help="import --model: the rows that it wasn't trained on")
    mlflow.set_defaults(command=_mlflow)

    tokens = commands.add_parser("tokens", help="what the tools cost in a conversation")
    tokens.set_defaults(command=_tokens)
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    import asyncio

    from mcp_server import settings
    from mcp_server.server import build_server

    allowed = tuple(Path(folder).expanduser().resolve() for folder in arguments.allow) if arguments.allow else None
    loaded = settings.load(read_only=arguments.read_only, allowed_dirs=allowed)
    if arguments.http is None:
        from mcp_server.guard.stdio import serve_stdio

        server = build_server(loaded, conformance=arguments.conformance)
        asyncio.run(serve_stdio(server))
        return 0
    from mcp_server.web import serve_http
    from mcp_server.workflows import health

    host, port = _address(arguments.http)
    server = build_server(loaded, conformance=arguments.conformance)
    asyncio.run(
        serve_http(
            server,
            loaded,
            host,
            port,
            insecure_loopback=arguments.insecure_loopback,
            readiness=lambda: health.readiness(server.app),
        )
    )
    return 0


def _address(text: str) -> tuple[str, int]:
    from mcp_server.errors import BadConfiguration

    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise BadConfiguration(f"{text[:64]!r} isn't HOST:PORT.", hint="Such as --http 127.0.0.1:8410.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _worker(_: argparse.Namespace) -> int:
    from mcp_server import settings, worker

    return worker.run(settings.load())


def _retention(arguments: argparse.Namespace) -> int:
    import asyncio

    from mcp_server import settings
    from mcp_server.storage import sqlite_library
    from mcp_server.workflows import retention

    sqlite_library.install()
    loaded = settings.load()
    counts = asyncio.run(retention.counted_here(loaded) if arguments.dry_run else retention.run_here(loaded))
    print("Would be removed:" if arguments.dry_run else "Removed:")
    for kind, count in counts.items():
        print(f"{count:>12,}  {kind}")
    if not retention.days_kept(loaded):
        print("No COURTSIDE_KEEP_..._DAYS is set, so every record is kept; docs/settings.md has them.")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from mcp_server import demo

    return demo.run(games=arguments.games, keep=arguments.keep)


def _doctor(arguments: argparse.Namespace) -> int:
    import asyncio

    from mcp_server.workflows import doctor

    checks = asyncio.run(doctor.diagnose())
    worst = 1 if any(check.state == "fail" for check in checks) else 0
    if arguments.json:
        print(json.dumps(doctor.report(checks), indent=2))
        return worst
    for check in checks:
        print(f"{check.state:<5} {check.name:<16} {check.detail}")
        if check.fix:
            print(f"{'':<22} fix: {check.fix}")
    count = doctor.report(checks)
    print(f"\n{count['ok']} ok, {count['warn']} warnings, {count['fail']} failures   exit code {worst}")
    return worst


def _install(arguments: argparse.Namespace) -> int:
    from mcp_server.workflows import installing

    plan = installing.plan_install(arguments.client, arguments.allow or [])
    print(f"{'Would write' if arguments.dry_run else 'Writing'} {plan.path}:")
    print(plan.text)
    if not arguments.dry_run:
        plan.write()
        print(f"Done{f'; the file before is kept as {plan.backup}' if plan.backup else ''}. Restart the client.")
    return 0


def _call(arguments: argparse.Namespace) -> int:
    import asyncio

    from mcp_server import client

    result = asyncio.run(client.call_once(arguments.tool, _call_arguments(arguments)))
    print(result.text)
    return 1 if result.failed else 0


def _call_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    from mcp_server.errors import InvalidInput

    values: dict[str, Any] = {}
    if arguments.document is not None:
        text = sys.stdin.read() if arguments.document == "-" else arguments.document
        try:
            loaded = json.loads(text)
        except ValueError:
            loaded = None
        if not isinstance(loaded, dict):
            raise InvalidInput("--json isn't a JSON object.", hint="""Such as --json '{"dataset": "games@1"}'.""")
        values.update(loaded)
    for pair in arguments.arguments:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidInput(f"{pair[:64]!r} isn't NAME=VALUE.", hint="Such as dataset=games@1.")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def _check(arguments: argparse.Namespace) -> int:
    import asyncio

    from mcp_server import settings
    from mcp_server.core.gates import junit, markdown
    from mcp_server.workflows import gating

    gates = None if arguments.gates is None else gating.read(arguments.gates)
    outcomes = asyncio.run(gating.check(settings.load(), gates, arguments.policy))
    gating.write(arguments.junit, junit(outcomes))
    gating.write(arguments.summary, markdown(outcomes), append=True)
    for one in outcomes:
        print(f"{one.state:<8} {one.subject}  {one.gate}: {one.detail}")
    stopped = sum(one.state != "passed" for one in outcomes)
    print(f"{len(outcomes)} gates, {stopped} not passed   exit code {min(stopped, 1)}")
    return min(stopped, 1)


def _audit(arguments: argparse.Namespace) -> int:
    import asyncio

    from mcp_server import settings
    from mcp_server.workflows import auditing

    loaded = settings.load()
    if arguments.what == "head":
        print(asyncio.run(auditing.head(loaded)))
        return 0
    report = asyncio.run(auditing.verify(loaded, arguments.head or ()))
    for problem in report.problems:
        print(problem)
    print(f"{report.head.place:,} rows, {len(report.problems)} problems. Head: {report.head}")
    return 1 if report.problems else 0


def _keys(arguments: argparse.Namespace) -> int:
    import asyncio

    from mcp_server import settings
    from mcp_server.workflows import signing

    loaded = settings.load()
    if arguments.what == "list":
        for one in asyncio.run(signing.listed(loaded)):
            key, count = one.key, len(one.models)
            dates = [("since", key.since), ("until", key.until), ("revoked", key.revoked)]
            told = ", ".join(f"{name} {day[:10]}" for name, day in dates if day)
            more = f" and {count - 5:,} more" if count > 5 else ""
            signed = f"{count:,} model versions" + (f": {', '.join(one.models[:5])}{more}" if count else "")
            print(f"{key.id}  {key.state:<8} {told or 'since the start'}; {signed}" + (f"; {key.why}" * bool(key.why)))
    elif arguments.what == "rotate":
        key = asyncio.run(signing.rotate(loaded))
        print(f"{key.id} signs from now on. What was signed before stays trusted, unless you revoke its key.")
    elif arguments.what == "revoke":
        key = asyncio.run(signing.revoke(loaded, arguments.key, arguments.why))
        print(f"{key.id} is revoked. What it signed doesn't answer until you train again, or run courtside keys sign.")
    elif arguments.what == "sign":
        record = asyncio.run(signing.sign_again(loaded, arguments.model, arguments.digest))
        print(f"{record.name}@{record.version} passed its verification and is signed with the present key.")
    elif arguments.model is None:
        print(asyncio.run(signing.exported(loaded, arguments.key)), end="")
    else:
        for path in asyncio.run(signing.export_manifest(loaded, arguments.model, arguments.to)):
            print(path)
    return 0


def _mlflow(arguments: argparse.Namespace) -> int:
    import asyncio

    from mcp_server import settings
    from mcp_server.errors import InvalidInput
    from mcp_server.storage import sqlite_library
    from mcp_server.workflows import mlflow_history
    from mcp_server.workflows.mlflow_models import Wanted

    loaded = settings.load()
    importing = arguments.what == "import"
    of_model = [arguments.dataset, arguments.named, arguments.target, arguments.column, arguments.test]
    adopting = importing and arguments.model is not None
    if (any(of_model) and not adopting) or (arguments.experiment and (adopting or not importing)):
        raise InvalidInput(
            "These options don't go together.",
            hint="import --experiment NAME; import --model NAME/VERSION --dataset NAME@VERSION; export --model NAME.",
        )
    if adopting and arguments.dataset is None:
        raise InvalidInput("A model is checked on rows before it's a version here.", hint="Add --dataset NAME@VERSION.")
    sqlite_library.install()
    if adopting:
        wanted = Wanted(
            version=arguments.model,
            dataset=arguments.dataset,
            model=arguments.named,
            target=arguments.target,
            columns=arguments.column,
            test=arguments.test,
        )
        made = asyncio.run(mlflow_history.adopt_here(loaded, wanted))
        print("\n".join(made.lines()))
        return 0 if made.verification == "passed" else 1
    if importing:
        done = asyncio.run(mlflow_history.import_here(loaded, arguments.experiment or []))
    else:
        done = asyncio.run(mlflow_history.export_here(loaded, arguments.model))
    for line in done.told:
        print(line)
    print(
        f"{done.written:,} runs {arguments.what}ed, {done.known:,} known already, {done.unfinished:,} not over, "
        f"{done.refused:,} refused."
    )
    if not importing:
        print(
            f"{done.versions:,} model versions registered, {done.versions_known:,} known already, "
            f"{done.unverified:,} not verified."
        )
    return 1 if done.refused else 0


def _tokens(_: argparse.Namespace) -> int:
    import asyncio

    from mcp_server import client

    rows = asyncio.run(client.token_bill())
    for name, tokens in rows:
        print(f"{tokens:>6}  {name}")
    print(f"{sum(tokens for _, tokens in rows):>6}  in all (bytes of tools/list and instructions, divided by 4)")
    return 0
