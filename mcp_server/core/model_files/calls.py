"""What may be called while a model is loaded, with which arguments, and what comes of it.

Every rule of `allowed` that can be called has a function here, from the arguments to a value; it raises `Unread` where
a model wouldn't call like that. Nothing is called: the values are descriptions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp_server.core.model_files.arrays import ItemType, item_count, item_type
from mcp_server.core.model_files.report import Unread
from mcp_server.core.model_files.values import (
    Gathered,
    Instance,
    Listed,
    Mapped,
    Named,
    Outsider,
    Raw,
    hashable,
    is_whole,
)

_GENERATORS = frozenset({"MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"})
_CONTAINERS = frozenset({"list", "dict", "int", "float", "set"})
_LOSSES_OF_A_NUMBER = {"CyHuberLoss", "CyPinballLoss", "CyHalfTweedieLoss", "CyHalfTweedieLossIdentity"}
MOST_FEATURES = 10_000_000
_MOST_ASKED = 16


def call(of: Named, arguments: tuple[Any, ...]) -> Any:
    """What a call of a listed name gives.

    Raises:
        Unread: foreign_call.
    """
    rule = _RULES.get(of.rule)
    if rule is None:
        raise refused(of, "isn't called while a model is loaded")
    return rule(of, arguments)


def create(of: Named, arguments: tuple[Any, ...]) -> Any:
    """What `cls.__new__(cls, *arguments)` gives.

    Raises:
        Unread: foreign_call.
    """
    if of.rule in ("object", "wrapper", "ordered") and not arguments:
        return Mapped() if of.rule == "ordered" else Instance(of)
    if of.rule == "bunch" and not arguments:
        return Instance(of, attributes=Mapped())
    if of.rule == "triple" and len(arguments) == 3:
        return Instance(of, built=True, attributes=arguments)
    raise refused(of, "isn't made like that by a model")


def refused(of: Named, why: str) -> Unread:
    return Unread("foreign_call", f"'{of.module}.{of.name}' {why}.")


def _is(value: Any, rule: str, name: str | None = None) -> bool:
    return isinstance(value, Named) and value.rule == rule and (name is None or value.name == name)


def is_letter_b(value: Any) -> bool:
    return value == "b" or (isinstance(value, Raw) and bytes(value.view[:2]) == b"b")


def _demand(of: Named, fine: bool) -> None:
    if not fine:
        raise refused(of, "is called with arguments that models don't give it")


def _encode(of: Named, given: tuple[Any, ...]) -> Raw:
    _demand(of, len(given) == 2 and type(given[0]) is str and given[1] in ("latin1", "latin-1"))
    try:
        return Raw(memoryview(given[0].encode("latin-1")))
    except UnicodeEncodeError:
        raise refused(of, "is called with a text that has other characters") from None


def _bytes(of: Named, given: tuple[Any, ...]) -> Raw:
    _demand(of, not given)
    return Raw(memoryview(b""))


def _bytearray(of: Named, given: tuple[Any, ...]) -> Raw:
    if len(given) == 2:
        return _encode(of, given)
    _demand(of, not given or (len(given) == 1 and isinstance(given[0], Raw)))
    return Raw(memoryview(bytearray(given[0].view))) if given else Raw(memoryview(bytearray()))


def _set(of: Named, given: tuple[Any, ...]) -> Gathered:
    items: Any = []
    if given:
        items = given[0].items if isinstance(given[0], Listed | Gathered) else given[0]
    _demand(of, len(given) <= 1 and isinstance(items, list | tuple) and all(map(hashable, items)))
    return Gathered(list(items))


def _slice(of: Named, given: tuple[Any, ...]) -> Instance:
    _demand(of, 1 <= len(given) <= 3 and all(one is None or is_whole(one) or type(one) is str for one in given))
    return Instance(of, built=True, attributes=given)


def _complex(of: Named, given: tuple[Any, ...]) -> Any:
    _demand(of, of.module == "builtins" and of.name == "complex")
    _demand(of, len(given) == 2 and all(type(one) is float for one in given))
    return Instance(of, built=True)


def _ordered(of: Named, given: tuple[Any, ...]) -> Mapped:
    _demand(of, not given)
    return Mapped()


def _defaults(of: Named, given: tuple[Any, ...]) -> Mapped:
    _demand(of, len(given) == 1 and isinstance(given[0], Named) and given[0].module == "builtins")
    _demand(of, given[0].name in _CONTAINERS)
    return Mapped()


def _reconstructor(of: Named, given: tuple[Any, ...]) -> Any:
    _demand(of, len(given) == 3 and isinstance(given[0], Named))
    if given[0].rule == "bunch":
        _demand(of, _is(given[1], "type", "dict") and isinstance(given[2], Mapped))
        return Instance(given[0], attributes=Mapped(list(given[2].pairs)))
    if given[0].rule == "triple":
        _demand(of, _is(given[1], "type", "tuple") and isinstance(given[2], tuple) and len(given[2]) == 3)
        return Instance(given[0], built=True, attributes=given[2])
    _demand(of, given[0].rule in ("object", "wrapper"))
    _demand(of, _is(given[1], "type", "object") and given[2] is None)
    return Instance(given[0])


def _dtype(of: Named, given: tuple[Any, ...]) -> Instance:
    _demand(of, len(given) == 3 and type(given[0]) is str)
    # A copy, or else the state that follows would be set on numpy's own, shared ones.
    _demand(of, given[1] in (False, 0) and type(given[2]) in (bool, int) and given[2] == 1)
    kind = item_type(given[0])
    if kind is None:
        raise refused(of, "is called for a type that models don't have")
    return Instance(of, attributes=kind)


def _array(of: Named, given: tuple[Any, ...]) -> Instance:
    # With another shape, memory of that size would be taken.
    _demand(of, len(given) == 3 and _is(given[0], "ndarray") and given[1] == (0,) and is_letter_b(given[2]))
    return Instance(given[0])


def _masked_array(of: Named, given: tuple[Any, ...]) -> Instance:
    _demand(of, len(given) == 4 and _is(given[0], "masked") and _is(given[1], "ndarray"))
    _demand(of, given[2] == (0,) and is_letter_b(given[3]))
    return Instance(given[0])


def settled_type(value: Any) -> ItemType | None:
    """The item type that a value is, once its state was read."""
    if isinstance(value, Instance) and value.of.rule == "dtype" and isinstance(value.attributes, ItemType):
        return value.attributes if value.attributes.settled else None
    return None


def _scalar(of: Named, given: tuple[Any, ...]) -> Instance:
    kind = settled_type(given[0]) if given else None
    _demand(of, len(given) == 2 and kind is not None and kind.kind != "O" and isinstance(given[1], Raw))
    _demand(of, kind is not None and len(given[1].view) == kind.size)
    return Instance(of, built=True, attributes=(kind, given[1]))


def _buffer(of: Named, given: tuple[Any, ...]) -> Instance:
    kind = settled_type(given[1]) if len(given) == 4 else None
    _demand(of, kind is not None and kind.kind != "O" and isinstance(given[0], Raw) and given[3] in ("C", "F", "A"))
    count = item_count(given[2])
    _demand(of, count is not None and kind is not None and count * kind.size == len(given[0].view))
    told = (kind, given[2], given[0], given[3] == "F")
    return Instance(Named("numpy", "ndarray", "ndarray"), built=True, attributes=told)


def _loss(of: Named, given: tuple[Any, ...]) -> Instance:
    _demand(of, len(given) <= 4 and all(type(one) in (int, float) for one in given))
    return Instance(of)


def _remade_loss(of: Named, given: tuple[Any, ...]) -> Instance:
    _demand(of, len(given) == 3 and _is(given[0], "loss", of.name.removeprefix("__pyx_unpickle_")))
    _demand(of, is_whole(given[1], 0) and (given[2] is None or is_loss_state(given[0], given[2])))
    return Instance(given[0])


def is_loss_state(of: Named, state: Any) -> bool:
    """Whether it's the numbers of a compiled loss, which takes as many as it has without asking."""
    if not isinstance(state, tuple) or len(state) != (of.name in _LOSSES_OF_A_NUMBER):
        return False
    return all(type(one) in (int, float) for one in state)


def _tree(of: Named, given: tuple[Any, ...]) -> Instance:
    _demand(of, len(given) == 3 and is_whole(given[0], 1, MOST_FEATURES) and is_whole(given[2], 1, 1_000_000))
    _demand(of, is_array(given[1], "i") and given[1].attributes[1] == (given[2],))
    return Instance(of, attributes=given)


def is_array(value: Any, kinds: str = "biufcSUVOMm") -> bool:
    """Whether a value is a finished array of one of these kinds."""
    if not isinstance(value, Instance) or value.of.rule not in ("ndarray", "masked") or value.attributes is None:
        return False
    return value.attributes[0].kind in kinds


def _new_metric(of: Named, given: tuple[Any, ...]) -> Instance:
    _demand(of, len(given) == 1 and _is(given[0], "metric"))
    return Instance(given[0])


def _new_neighbours(of: Named, given: tuple[Any, ...]) -> Instance:
    _demand(of, len(given) == 1 and _is(given[0], "neighbours") and given[0].module == of.module)
    return Instance(given[0])


def _bit_generator(of: Named, given: tuple[Any, ...]) -> Instance:
    _demand(of, len(given) == 1 and _is_generator_name(given[0]))
    return Instance(of)


def _is_generator_name(value: Any) -> bool:
    name = value.name if _is(value, "type") else value
    return type(name) is str and name in _GENERATORS


def _generator(of: Named, given: tuple[Any, ...]) -> Instance:
    first = bool(given) and (_is_generator_name(given[0]) or _made_by(given[0], "bit_generator"))
    _demand(of, 1 <= len(given) <= 2 and first)
    _demand(of, len(given) == 1 or _is(given[1], "bit_generator"))
    return Instance(of)


def _made_by(value: Any, rule: str) -> bool:
    return isinstance(value, Instance) and value.of.rule == rule


def _seed_sequence(of: Named, given: tuple[Any, ...]) -> Instance:
    _demand(of, len(given) == 3 and _is(given[0], "type", "SeedSequence"))
    _demand(of, is_whole(given[1], 0) and given[2] is None)
    return Instance(of)


def _partial(of: Named, given: tuple[Any, ...]) -> Instance:
    _demand(of, len(given) == 1 and _is(given[0], "function", "check_array"))
    return Instance(of, attributes=given[0])


_RULES: dict[str, Callable[[Named, tuple[Any, ...]], Any]] = {
    "encode": _encode,
    "bytes": _bytes,
    "bytearray": _bytearray,
    "set": _set,
    "slice": _slice,
    "type": _complex,
    "ordered": _ordered,
    "defaults": _defaults,
    "reconstructor": _reconstructor,
    "dtype": _dtype,
    "array": _array,
    "masked_array": _masked_array,
    "scalar": _scalar,
    "buffer": _buffer,
    "loss": _loss,
    "remade_loss": _remade_loss,
    "tree": _tree,
    "new_metric": _new_metric,
    "new_neighbours": _new_neighbours,
    "bit_generator": _bit_generator,
    "generator": _generator,
    "random_state": _generator,
    "seed_sequence": _seed_sequence,
    "partial": _partial,
}


def any_foreign(values: tuple[Any, ...], levels: int = 2) -> bool:
    """Whether something that was reported already is among the arguments: what follows from it isn't news."""
    return any(
        isinstance(value, Outsider) or (levels > 0 and isinstance(value, tuple) and any_foreign(value, levels - 1))
        for value in values[:_MOST_ASKED]
    )
