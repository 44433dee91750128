"""An abstract pickle machine: follows every opcode of a stream on descriptions of objects, and makes none.

It does what an unpickler does with stack, marks, memo and names, so that a name that was put together on the stack,
fetched from the memo or hidden behind array bytes is seen as the loader would see it. What it can't follow it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mcp_server.core.model_files import calls, states
from mcp_server.core.model_files.allowed import ALLOWED, LOST_FROM, LOST_MODULE, LOST_WARNING, OLD_MODULES, has_no_dtype
from mcp_server.core.model_files.arrays import item_count
from mcp_server.core.model_files.opcodes import OPCODES, Content
from mcp_server.core.model_files.report import FileReading, Unread, quoted
from mcp_server.core.model_files.values import (
    Gathered,
    Instance,
    Listed,
    Mapped,
    Named,
    Outsider,
    Raw,
    hashable,
    told,
    weight,
)

NEWEST_PROTOCOL = 5

_CALLED = """
array buffer bytearray bytes dtype encode generator masked_array new_metric new_neighbours partial
random_state reconstructor remade_loss scalar seed_sequence slice
"""
CALLED_ONLY = frozenset(_CALLED.split())
"""Rules of names that are called while a model is loaded: one that is kept could be called later, with anything."""


class Machine:
    """One stream.

    Args:
        content: at the stream's start; afterwards at its end.
        reading: where findings go.
        allowed: (module, name) to rule.
        persistent: what a persistent id stands for, where the format has them.
        plain: read as `pickle.load` would read a joblib file: array bytes as opcodes.
        nested: the stream of an object array inside of joblib's, which joblib reads with a plain unpickler.
    """

    def __init__(
        self,
        content: Content,
        reading: FileReading,
        *,
        allowed: dict[tuple[str, str], str] = ALLOWED,
        persistent: Callable[[Any], Any] | None = None,
        plain: bool = False,
        nested: bool = False,
    ) -> None:
        self._content = content
        self._reading = reading
        self._allowed = allowed
        self._persistent = persistent
        self._plain = plain
        self._nested = nested
        self._start = content.at
        self._op_at = content.at
        self._protocol = 0
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._boosters: list[states.Booster] = []
        self._modules: set[str] = set()
        self._trees: list[Instance] = []
        self.wrapped = 0
        self.nested_streams = 0
        self.doubtful = 0

    def run(self) -> Any:
        """Follow the stream up to its STOP.

        Returns:
            what it would give.
        Raises:
            Unread: it can't be followed further; findings so far are kept.
        """
        content, reading = self._content, self._reading
        while True:
            self._op_at = content.at
            if reading.opcodes <= 0:
                raise Unread("too_large", "There are more opcodes than are followed.", self._op_at)
            reading.opcodes -= 1
            reading.counts["opcodes"] += 1
            code = content.take(1)[0]
            known = OPCODES.get(code)
            if known is None:
                raise Unread("damaged", f"Byte 0x{code:02x} is no opcode.", self._op_at, fails=True)
            name, argument_of = known
            argument = argument_of(content)
            if name == "STOP":
                self._check_whole()
                return self._result()
            try:
                _DO[name](self, argument)
            except Unread as unread:
                if unread.at is None:
                    unread.at = self._op_at
                if unread.code not in ("foreign_call", "foreign_state", "out_of_bounds"):
                    raise
                self._found(unread.code, unread.what)
                self._stack.append(Outsider())

    def _check_whole(self) -> None:
        for booster in self._boosters:
            states.check_features(booster, self._reading, self._op_at)
        for tree in self._trees:
            if not tree.built and not self._reading.found:
                self._found("out_of_bounds", f"{told(tree)} has no nodes: compiled code would look for the first.")

    # Stack and memo --------------------------------------------------------------------------------------------

    def _pop(self) -> Any:
        if not self._stack:
            raise Unread("damaged", "The stack is empty.", self._op_at, fails=True)
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise Unread("damaged", "The stack is empty.", self._op_at, fails=True)
        return self._stack[-1]

    def _marked(self) -> list[Any]:
        if not self._below:
            raise Unread("damaged", "There is no mark.", self._op_at, fails=True)
        items, self._stack = self._stack, self._below.pop()
        return items

    def _mark(self, _argument: None) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _drop(self, _argument: None) -> None:
        if not self._stack and self._below:
            raise Unread("damaged", "A mark is dropped.", self._op_at)  # which unpicklers do
        self._pop()

    def _result(self) -> Any:
        result = self._pop()
        if (self._stack or self._below) and not self._plain:
            raise Unread("second_content", "Values are left over at the end.", self._op_at)
        return result

    def _put(self, place: int) -> None:
        if place > self._content.end:
            # Loaders take memory for every place below.
            raise Unread("bomb", "A place in the memo is beyond all there can be.", self._op_at)
        self._memo[place] = self._top()

    def _memoize(self, _argument: None) -> None:
        self._memo[len(self._memo)] = self._top()

    def _get(self, place: int) -> None:
        if place not in self._memo:
            raise Unread("damaged", "The memo has nothing in that place.", self._op_at, fails=True)
        self._stack.append(self._memo[place])

    def _version(self, protocol: int) -> None:
        if self._op_at != self._start and not self._plain:
            raise Unread("damaged", "A protocol is named in the middle.", self._op_at)
        if protocol > NEWEST_PROTOCOL:
            raise Unread("unknown_part", f"Protocol {protocol} isn't known here.", self._op_at, fails=True)
        self._protocol = protocol

    # Values ----------------------------------------------------------------------------------------------------

    def _keep(self, items: Sequence[Any]) -> None:
        if self._plain:
            return  # a text of an honest file's may be any object there, and lies in a list that nobody calls
        for item in items:
            if type(item) is Named and item.rule in CALLED_ONLY:
                self._found("foreign_state", f"{told(item)} is kept, as if to be called later.")

    def _list(self, _argument: None) -> None:
        made = Listed(self._marked())
        self._keep(made.items)
        self._stack.append(made)

    def _tuple(self, _argument: None) -> None:
        items = tuple(self._marked())
        self._keep(items)
        self._stack.append(items)

    def _tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise Unread("damaged", "The stack is empty.", self._op_at, fails=True)
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._keep(items)
        self._stack.append(items)

    def _dict(self, _argument: None) -> None:
        made = Mapped()
        self._set_pairs(made, self._marked())
        self._stack.append(made)

    def _frozen_set(self, _argument: None) -> None:
        made = Gathered()
        self._add_all(made, self._marked())
        self._stack.append(made)

    def _append(self, _argument: None) -> None:
        self._extend([self._pop()])

    def _appends(self, _argument: None) -> None:
        self._extend(self._marked())

    def _fails_on(self, to: Any) -> None:
        """In place of opcodes, `pickle.load` finds an array's bytes: an error where they ask for what isn't there."""
        if self._plain and (to is None or isinstance(to, bool | int | float | str | tuple)):
            raise Unread("damaged", f"{told(to)} is changed.", self._op_at, fails=True)

    def _extend(self, items: list[Any]) -> None:
        self._keep(items)
        to = self._top()
        if items:
            self._fails_on(to)
        if isinstance(to, Listed):
            to.items.extend(items)
        elif not isinstance(to, Outsider):
            self._found("foreign_call", f"Items are appended to {told(to)}.")

    def _set_item(self, _argument: None) -> None:
        value, key = self._pop(), self._pop()
        self._set_pairs(self._top(), [key, value])

    def _set_items(self, _argument: None) -> None:
        items = self._marked()
        self._set_pairs(self._top(), items)

    def _set_pairs(self, to: Any, items: list[Any]) -> None:
        if len(items) % 2:
            raise Unread("damaged", "A key has no value.", self._op_at)
        self._keep(items)
        if isinstance(to, Instance) and to.of.rule == "bunch":
            to = to.attributes
        if isinstance(to, Outsider):
            return
        if items:
            self._fails_on(to)
        if not isinstance(to, Mapped):
            self._found("foreign_call", f"Items are set on {told(to)}.")
            return
        if not all(map(hashable, items[::2])):
            self._found("foreign_call", "A key is an object of which the hash would be asked.")
        to.pairs.extend(zip(items[::2], items[1::2], strict=True))

    def _add_items(self, _argument: None) -> None:
        items = self._marked()
        self._add_all(self._top(), items)

    def _add_all(self, to: Any, items: list[Any]) -> None:
        if items:
            self._fails_on(to)
        if not isinstance(to, Gathered):
            if not isinstance(to, Outsider):
                self._found("foreign_call", f"Items are added to {told(to)}.")
        elif all(map(hashable, items)):
            to.items.extend(items)
        else:
            self._found("foreign_call", "An item of a set is an object of which the hash would be asked.")

    # Names and calls -------------------------------------------------------------------------------------------

    def _global(self, names: tuple[str, str]) -> None:
        self._stack.append(self._named(*names))

    def _stack_global(self, _argument: None) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise Unread("damaged", "A name isn't a text.", self._op_at, fails=True)
        self._stack.append(self._named(module, name))

    def _named(self, module: str, name: str) -> Named | Outsider:
        if self._protocol < 3:
            module = OLD_MODULES.get(module, module)
        self._reading.counts["names"] += 1
        rule = self._allowed.get((module, name))
        if rule is not None and module == LOST_MODULE and LOST_FROM not in self._modules:
            self._found("foreign_name", f"It names {quoted(f'{module}.{name}')} before what has that module loaded.")
            return Outsider(f"{module}.{name}")
        if rule is not None:
            self._modules.add(module)
            if module == LOST_MODULE:
                self._reading.unchecked[LOST_WARNING] = None
            if rule in ("object", "tree", "neighbours"):
                self._reading.hold(name)
            return Named(module, name, rule)
        if self._plain and name == "dtype" and has_no_dtype(module):
            # Where an honest array of objects has the module from its memo, `pickle.load` has another text, and fails.
            raise Unread("damaged", "A module is asked for a type that it doesn't have.", self._op_at, fails=True)
        self._found("foreign_name", f"It names {quoted(f'{module}.{name}')}, which isn't on the list.")
        return Outsider(f"{module}.{name}")

    def _reduce(self, _argument: None) -> None:
        arguments, of = self._pop(), self._pop()
        self._called(of, arguments, calls.call)

    def _new(self, _argument: None) -> None:
        arguments, of = self._pop(), self._pop()
        self._called(of, arguments, calls.create)

    def _new_with_names(self, _argument: None) -> None:
        names, arguments, of = self._pop(), self._pop(), self._pop()
        if not isinstance(names, Mapped) or names.pairs:
            self._found("foreign_call", f"{told(of)} is made with named arguments.")
            self._stack.append(Outsider())
            return
        self._called(of, arguments, calls.create)

    def _called(self, of: Any, arguments: Any, how: Callable[[Named, tuple[Any, ...]], Any]) -> None:
        if isinstance(of, Outsider) or calls.any_foreign((arguments,)):
            self._stack.append(Outsider())
            return
        if isinstance(arguments, Instance) and arguments.of.rule == "triple":
            raise Unread("foreign_call", f"{told(of)} is called with a tuple of another kind.", self._op_at)
        if not isinstance(arguments, tuple):
            raise Unread("damaged", "The arguments of a call aren't a tuple.", self._op_at)
        if not isinstance(of, Named):
            if self._plain and not isinstance(of, Instance):
                raise Unread("damaged", f"{told(of)} is called.", self._op_at, fails=True)
            self._found("foreign_call", f"{told(of)} is called.")
            self._stack.append(Outsider())
            return
        self._reading.opcodes -= weight(arguments, lists=True)
        made = how(of, arguments)
        self._stack.append(made)
        if isinstance(made, Instance) and made.of.rule in ("tree", "neighbours"):
            self._trees.append(made)

    def _old_call(self, names: tuple[str, str] | None) -> None:
        self._marked()
        if names is not None:
            self._named(*names)
        self._found("foreign_call", "INST or OBJ calls a class; models of today don't have them.")
        self._stack.append(Outsider())

    def _extension(self, number: int) -> None:
        if self._plain:
            raise Unread("damaged", "There is no such extension.", self._op_at, fails=True)
        self._found("foreign_reference", f"It names extension {number} of a registry outside of the file.")
        self._stack.append(Outsider())

    def _persistent_text(self, _text: bytes) -> None:
        if self._plain:
            raise Unread("damaged", "Nothing stands for a persistent id.", self._op_at, fails=True)
        self._found("foreign_reference", "It refers to an object outside of the file by a persistent id.")
        self._stack.append(Outsider())

    def _persistent_id(self, _argument: None) -> None:
        key = self._pop()
        if self._persistent is None:
            self._persistent_text(b"")
        else:
            self._stack.append(self._persistent(key))

    def _outside(self, _argument: None) -> None:
        raise Unread("foreign_reference", "It needs a buffer from outside of the file.", self._op_at)

    def _old_text(self, raw: bytes | memoryview) -> None:
        what = "It has byte strings of Python 2, which could be read in two ways."
        raise Unread("unknown_part", what, self._op_at, fails=not bytes(raw).isascii())

    # State, and the arrays of joblib ---------------------------------------------------------------------------

    def _build(self, _argument: None) -> None:
        state = self._pop()
        to = self._top()
        if isinstance(to, Outsider) or isinstance(state, Outsider):
            return
        if not isinstance(to, Instance):
            if state is not None and not isinstance(state, tuple):
                self._fails_on(to)
            self._pop()
            raise Unread("foreign_state", f"{told(to)} is given a state.", self._op_at)
        if self._nested and to.of.rule == "wrapper":
            self._pop()  # no array to the plain unpickler, and what seems to be one's stream is the rest of this one
            raise Unread("foreign_state", "An array of joblib's stands inside of an object array.", self._op_at)
        self._reading.opcodes -= weight(state, lists=False)
        try:
            states.build(to, state)
        except Unread:
            self._pop()
            raise
        if to.of.rule == "wrapper":
            self._reading.counts["arrays"] += 1
            self.wrapped += 1
            if not self._plain:
                self._stack[-1] = self._array_behind(to)
        elif to.of.name.startswith("HistGradientBoosting"):
            self._boosters.append(states.booster(to))
        elif to.of.rule == "ndarray":
            self._reading.counts["arrays"] += 1

    def _array_behind(self, wrapper: Instance) -> Any:
        """The array whose bytes follow the opcode, as joblib puts them there."""
        state = wrapper.attributes
        kind = calls.settled_type(state.get("dtype"))
        shape, order, subclass = state.get("shape"), state.get("order"), state.get("subclass")
        count = item_count(shape)
        fine = kind is not None and count is not None and order in ("C", "F")
        if not fine or not isinstance(subclass, Named) or subclass.rule != "ndarray" or kind is None or count is None:
            raise Unread("foreign_state", "An array's description isn't one that joblib writes.", self._op_at)
        self._content.leave_frame()
        if kind.kind == "O":
            return self._object_array()
        aligned = state.get("numpy_array_alignment_bytes")
        if aligned is not None:
            self._content.leave_padding()
        elif count * kind.size and self._content.at < self._content.end:
            self.doubtful += self._content.view[self._content.at] in OPCODES
        raw = self._content.take(count * kind.size)
        return Instance(subclass, built=True, attributes=(kind, shape, Raw(raw), order == "F"))

    def _object_array(self) -> Any:
        self.nested_streams += 1
        inner = Machine(self._content, self._reading, allowed=self._allowed, nested=True)
        inner._modules = self._modules
        array = inner.run()
        self._content.leave_frame()
        if not calls.is_array(array, "O") and not isinstance(array, Outsider):
            self._found("foreign_state", "What stands in place of an object array isn't one.")
            return Outsider()
        return array

    def _found(self, code: str, what: str) -> None:
        self._reading.add(code, what, self._op_at)


def _value(machine: Machine, value: Any) -> None:
    machine._stack.append(value)


def _push(make: Callable[[], Any]) -> Callable[[Machine, Any], None]:
    return lambda machine, _argument: machine._stack.append(make())


_DO: dict[str, Callable[[Machine, Any], Any]] = {
    "PROTO": Machine._version,
    "FRAME": lambda machine, size: machine._content.open_frame(size),
    "MARK": Machine._mark,
    "POP": Machine._drop,
    "POP_MARK": lambda machine, _argument: machine._marked(),
    "DUP": lambda machine, _argument: machine._stack.append(machine._top()),
    "NONE": _push(lambda: None),
    "NEWTRUE": _push(lambda: True),
    "NEWFALSE": _push(lambda: False),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _value),
    **dict.fromkeys(("FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE"), _value),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE8"), _value),
    **dict.fromkeys(
        ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        lambda machine, view: machine._stack.append(Raw(view)),
    ),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), Machine._old_text),
    "EMPTY_LIST": _push(Listed),
    "LIST": Machine._list,
    "APPEND": Machine._append,
    "APPENDS": Machine._appends,
    "EMPTY_TUPLE": _push(tuple),
    "TUPLE": Machine._tuple,
    "TUPLE1": lambda machine, _argument: machine._tuple_of(1),
    "TUPLE2": lambda machine, _argument: machine._tuple_of(2),
    "TUPLE3": lambda machine, _argument: machine._tuple_of(3),
    "EMPTY_DICT": _push(Mapped),
    "DICT": Machine._dict,
    "SETITEM": Machine._set_item,
    "SETITEMS": Machine._set_items,
    "EMPTY_SET": _push(Gathered),
    "ADDITEMS": Machine._add_items,
    "FROZENSET": Machine._frozen_set,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Machine._put),
    "MEMOIZE": Machine._memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine._get),
    "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global,
    "REDUCE": Machine._reduce,
    "NEWOBJ": Machine._new,
    "NEWOBJ_EX": Machine._new_with_names,
    "BUILD": Machine._build,
    "INST": Machine._old_call,
    "OBJ": Machine._old_call,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), Machine._extension),
    "PERSID": Machine._persistent_text,
    "BINPERSID": Machine._persistent_id,
    **dict.fromkeys(("NEXT_BUFFER", "READONLY_BUFFER"), Machine._outside),
}
