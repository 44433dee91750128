"""10,000 strings that want to be run, read in a process that writes down whatever Python does beside reading them.

Run as a program: prints a JSON object with how many were refused, how many are expressions, and what Python did.
"""

from __future__ import annotations

import json
import random
import sys

COUNT = 10_000

ATOMS = (
    *("home", "away", "1", "'x'", "true", "None", "...", "b'x'", "1j", "()", "[]", "{}", "{home}", "__builtins__"),
    *("__import__('os')", "__import__('os').system('true')", "open('/etc/passwd').read()", "exec('import os')"),
    *("eval('1')", "compile('1','','eval')", "globals()", "vars()", "getattr(home,'x')", "().__class__", "home.real"),
    *(
        "''.__class__.__mro__[1].__subclasses__()",
        "type(home)",
        "breakpoint()",
        "input()",
        "print(home)",
        "col('home')",
    ),
    *(
        "col(home)",
        "col('__class__')",
        "abs.__self__",
        "min.__globals__",
        "lambda: home",
        "(lambda: home)()",
        "super()",
    ),
    *("[x for x in home]", "{x: 1 for x in home}", "(x for x in home)", "f'{home}'", "f'{exit()}'", "home[0]"),
    *("home[0:1]", "*home", "await home", "(yield)", "(home := 1)", "home if away else 1", "9**9**9", "'a'*10**9"),
    *("ｅｖａｌ('1')", "__ｉｍｐｏｒｔ__('os')", "home\u202e", "exit()", "quit()", "help()", "dir()", "\u0435val('1')"),
)
FORMS = (
    *("{0}", "({0})", "{0} + {1}", "{0} ** {1}", "{0} // {1}", "{0} @ {1}", "{0} and {1}", "{0} or {1}", "not {0}"),
    *("{0} == {1}", "{0} in {1}", "{0} in [{1}]", "{0} is {1}", "min({0}, {1})", "abs({0})", "round({0}, {1})"),
    *("is_missing({0})", "year({0})", "{0}({1})", "{0}.{1}", "{0}[{1}]", "[{0} for home in {1}]", "lambda home: {0}"),
    *("f'{{{0}}}'", "{0} if {1} else home", "({0}, {1})", "min({0}, key={1})", "abs(*{0})", "abs(**{0})", "{0}; {1}"),
    *("import {0}", "{0}\n{1}", "{0} # {1}", "col({0})", "-{0}", "~{0}", "{0} < {1} < home", "del {0}", "{0} = {1}"),
    *("({0} := {1})", "print({0})", "eval({0})", "{0}.__class__", "home.__getattribute__({0})", "'{0}'", "assert {0}"),
)
# Reading compiles to a tree, which raises "compile"; nothing else may happen.
HARMLESS = frozenset({"compile"})


def strings() -> list[str]:
    """The same 10,000 each time, all different."""
    draw = random.Random(20260101)
    found: dict[str, None] = {}
    while len(found) < COUNT:
        text = draw.choice(ATOMS)
        for _ in range(draw.randint(1, 3)):
            text = draw.choice(FORMS).format(*draw.sample([text, draw.choice(ATOMS)], 2))
        if draw.random() < 0.1:
            at = draw.randrange(len(text) + 1)
            text = text[:at] + draw.choice(["\0", "\\", "\n", "\u200b", "'", "\ud800", ")"]) + text[at:]
        found[text] = None
    return list(found)


def main() -> None:
    from mcp_server.core.expressions import parse
    from mcp_server.errors import DataRejected

    row = {"home": 3, "away": 1.5, "x": "text"}
    done: dict[str, int] = {}
    counts = {"refused": 0, "expressions": 0, "plain": 0}
    texts = strings()
    # What is imported on the first refusal and value is here before anything is written down.
    for text in ("home +", "home + 1", "rond(home)", "year(home)", "home == 1 and 'a"):
        try:
            parse(text).evaluate(row)
        except DataRejected:
            continue
    watching = True

    def note(event: str, _arguments: object) -> None:
        if watching and event not in HARMLESS:
            done[event] = done.get(event, 0) + 1

    sys.addaudithook(note)
    for text in texts:
        try:
            expression = parse(text)
        except DataRejected as refused:
            counts["refused"] += refused.code == "E_EXPRESSION"
            continue
        counts["expressions"] += 1
        try:
            value = expression.evaluate(row)
        except DataRejected:
            value = None
        counts["plain"] += value is None or type(value) in (bool, int, float, str)
    if "control" in sys.argv:
        for text in ("open('/dev/null')", "__import__('os')", "exec('1')"):
            eval(text)
    watching = False
    print(json.dumps(counts | {"done": done}))


if __name__ == "__main__":
    main()
