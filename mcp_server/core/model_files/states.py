"""What state an object of a model may be given, and what of it would be acted on later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mcp_server.core.labels import label
from mcp_server.core.model_files.arrays import ItemType, item_count, leads_beyond, leads_out
from mcp_server.core.model_files.calls import is_array, is_loss_state, settled_type
from mcp_server.core.model_files.report import FileReading, Unread
from mcp_server.core.model_files.values import Instance, Listed, Mapped, Named, Outsider, Raw, is_whole

_OBJECT_FLAGS = 63
_ADDRESS_FLAGS = 0b111
"""numpy's flags for items that are, or hold, addresses of objects."""
PLACES = {"pos": 624, "buffer_pos": 4}
"""Of random generators: the entries that compiled code takes for a place, and the last place that there is."""
_MOST_PLAIN = 200
_WRAPPER = {"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"}
_ALIGNMENTS = (1, 2, 4, 8, 16)


def build(made: Instance, state: Any) -> None:
    """Give an object its state.

    Raises:
        Unread: foreign_state or out_of_bounds.
    """
    if made.built:
        raise refused(made, "is given a state twice")
    rule = _RULES.get(made.of.rule)
    if rule is None:
        raise refused(made, "has no state in a model")
    rule(made, state)
    made.built = True


def refused(made: Instance, why: str) -> Unread:
    return Unread("foreign_state", f"'{made.of.module}.{made.of.name}' {why}.")


def _demand(made: Instance, fine: bool) -> None:
    if not fine:
        raise refused(made, "is given a state that models don't give it")


def _object(made: Instance, state: Any) -> None:
    # A pair would set attributes one by one, `__class__` among them.
    _demand(made, isinstance(state, Mapped))
    check_attributes(made.of, state.pairs)
    made.attributes = Mapped(list(state.pairs))  # a copy, as with Python: the dictionary can change afterwards
    if made.of.name == "TreePredictor":
        _predictor(made, state)


def check_attributes(of: Named, pairs: list[tuple[Any, Any]]) -> None:
    """Look at the attributes of an object for what Python or scikit-learn would act on.

    Raises:
        Unread: foreign_state.
    """
    made = Instance(of)
    for name, value in pairs:
        _demand(made, type(name) is str)
        if name.startswith("__"):
            raise refused(made, f"is given the attribute {label(name, 40)!r}, which Python acts on")
        if name == "memory" and value is not None and not isinstance(value, Outsider):
            raise refused(made, "names a cache: at its next fit it would load pickles from that folder")
        if name == "input" and not (type(value) is str and value == "content") and not isinstance(value, Outsider):
            raise refused(made, "would open the files that its rows name")


def _bunch(made: Instance, state: Any) -> None:
    _demand(made, isinstance(state, Mapped))
    check_attributes(made.of, state.pairs)


def _wrapper(made: Instance, state: Any) -> None:
    """What joblib knows of an array. Another entry could stand in for the method that reads the bytes."""
    _object(made, state)
    _demand(made, {name for name, _ in state.pairs} <= _WRAPPER)
    _demand(made, state.get("allow_mmap") in (None, True, False))
    _demand(made, state.get("numpy_array_alignment_bytes") in (None, 16))


def _predictor(made: Instance, state: Mapped) -> None:
    nodes = state.get("nodes")
    _demand(made, is_array(nodes, "V"))
    _bounds(made, nodes, None)


def _bounds(made: Instance, nodes: Instance, features: int | None) -> None:
    kind, shape, raw, _ = nodes.attributes
    if len(shape) != 1 or not isinstance(raw, Raw) or leads_out(kind, raw.view, features):
        raise Unread("out_of_bounds", f"A tree of '{made.of.name}' leads out of its array.")


class Booster(NamedTuple):
    """A model of histogram boosting as it was built; lists in it may still grow.

    Args:
        of: its name.
        predictors: what stands for its trees.
        features: how many columns it demands of rows, if it says so.
    """

    of: Instance
    predictors: Any
    features: Any


def booster(made: Instance) -> Booster:
    return Booster(made, made.attributes.get("_predictors"), made.attributes.get("n_features_in_"))


def check_features(whole: Booster, reading: FileReading, at: int) -> None:
    """Find the trees of histogram boosting that ask for a feature beyond those that rows have."""
    waiting, seen = [whole.predictors], set[int]()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        reading.opcodes -= 1
        if isinstance(part, tuple | Listed):
            waiting += part if isinstance(part, tuple) else part.items
        elif isinstance(part, Instance) and part.of.name == "TreePredictor" and part.built:
            kind, _, raw, _ = part.attributes.get("nodes").attributes
            if not is_whole(whole.features, 1) or leads_out(kind, raw.view, whole.features):
                reading.add("out_of_bounds", f"A tree of '{whole.of.of.name}' asks for a feature that isn't there.", at)
                return


def _tree(made: Instance, state: Any) -> None:
    _demand(made, isinstance(state, Mapped))
    nodes, values = state.get("nodes"), state.get("values")
    _demand(made, is_array(nodes, "V") and is_array(values, "f"))
    _demand(made, len(values.attributes[1]) == 3 and nodes.attributes[1] == values.attributes[1][:1])
    _demand(made, nodes.attributes[1] == (state.get("node_count"),))
    _bounds(made, nodes, made.attributes[0])
    made.attributes = (made.attributes, Mapped(list(state.pairs)))


def _array(made: Instance, state: Any) -> None:
    _demand(made, isinstance(state, tuple) and len(state) == 5 and state[0] in (1, 2) and type(state[3]) in (bool, int))
    _filled(made, *state[1:5])


def _masked(made: Instance, state: Any) -> None:
    _demand(made, isinstance(state, tuple) and len(state) == 7 and state[0] in (1, 2) and type(state[3]) in (bool, int))
    count = _filled(made, *state[1:5])
    _demand(made, isinstance(state[5], Raw) and len(state[5].view) == count)


def _filled(made: Instance, shape: Any, of: Any, by_column: bool, content: Any) -> int:
    kind, count = settled_type(of), item_count(shape)
    if kind is None or count is None:
        raise refused(made, "is given a state that models don't give it")
    if kind.kind == "O":
        _demand(made, isinstance(content, Listed) and len(content.items) == count)
    else:
        _demand(made, isinstance(content, Raw) and len(content.view) == count * kind.size)
    made.attributes = (kind, shape, content, bool(by_column))
    return count


def _dtype(made: Instance, state: Any) -> None:
    kind = made.attributes
    _demand(made, isinstance(kind, ItemType) and isinstance(state, tuple) and len(state) in (8, 9))
    version, order, inner, names, fields, size, alignment, flags, *metadata = state
    _demand(made, version in (3, 4) and order in ("<", ">", "|", "=") and inner is None)
    _demand(made, all(is_whole(one, -1, 1 << 20) for one in (size, alignment, flags)))
    _demand(made, not metadata or (kind.kind in "Mm" and _is_unit(metadata[0])))
    kind.order = order
    if kind.kind == "O":
        # Anything else would make numpy take plain bytes for addresses, or addresses for bytes.
        _demand(made, (names, fields, size, alignment, flags) == (None, None, -1, -1, _OBJECT_FLAGS))
    else:
        _demand(made, not flags & _ADDRESS_FLAGS)
        if kind.kind in "SUV":
            _demand(made, size == kind.size and alignment in _ALIGNMENTS)
        else:
            _demand(made, (size, alignment, flags) == (-1, -1, 0))
        if names is None:
            _demand(made, fields is None)
        else:
            _demand(made, kind.kind == "V")
            kind.fields = _fields(made, kind.size, names, fields)
    kind.settled = True


def _is_unit(value: Any) -> bool:
    """Of a date type: `({}, (b"ns", 1, 1, 1))`."""
    if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[1], tuple) or len(value[1]) != 4:
        return False
    empty = value[0] is None or (isinstance(value[0], Mapped) and not value[0].pairs)
    return empty and isinstance(value[1][0], Raw | str) and all(is_whole(one, 0, 1 << 31) for one in value[1][1:])


def _fields(made: Instance, size: int, names: Any, fields: Any) -> dict[str, tuple[ItemType, int]]:
    _demand(made, isinstance(names, tuple) and isinstance(fields, Mapped) and 0 < len(names) <= 1_000)
    _demand(made, all(type(name) is str for name in names) and len(fields.pairs) == len(names) == len(set(names)))
    found: dict[str, tuple[ItemType, int]] = {}
    _demand(made, all(type(name) is str for name, _ in fields.pairs))
    places = dict(fields.pairs)
    for name in names:
        place = places.get(name)
        if not isinstance(place, tuple) or len(place) != 2:
            raise refused(made, "has a field that models don't have")
        inner, offset = settled_type(place[0]), place[1]
        if inner is None or inner.kind == "O" or inner.fields is not None or not is_whole(offset, 0, size):
            raise refused(made, "has a field that models don't have")
        _demand(made, offset + inner.size <= size)
        found[name] = (inner, offset)
    return found


def _metric(made: Instance, state: Any) -> None:
    _demand(made, isinstance(state, tuple) and 1 <= len(state) <= 4 and _is_plain(state))
    made.attributes = state


def _neighbours(made: Instance, state: Any) -> None:
    _demand(made, isinstance(state, tuple) and len(state) == 13)
    _demand(made, is_array(state[2], "V") and all(is_whole(one) for one in state[4:11]))
    columns = _shape(state[0], "f")
    _demand(made, columns is not None and len(columns) == 2 and min(columns) > 0 and not state[0].attributes[3])
    rows, features = columns or (0, 0)
    nodes = state[6]
    _demand(made, state[4] > 0 and 0 < state[5] < 63 and nodes == 2 ** state[5] - 1)
    _demand(made, _shape(state[1], "i") == (rows,) and state[2].attributes[1] == (nodes,))
    bounds = _shape(state[3], "f")
    _demand(made, bounds in ((1, nodes, features), (2, nodes, features)) and not state[3].attributes[3])
    _demand(made, state[12] is None or _shape(state[12], "f") == (rows,))
    _demand(made, _fits(state[11], features))
    if leads_beyond(state[2].attributes[0], state[2].attributes[2].view, state[1].attributes[2].view, rows):
        raise Unread("out_of_bounds", f"A tree of '{made.of.name}' leads out of its array.")


def _shape(value: Any, kind: str) -> tuple[int, ...] | None:
    """Of an array of 8-byte numbers of a kind, as compiled code takes them; None of others."""
    if not is_array(value, kind) or value.of.rule != "ndarray":
        return None
    of, shape, content, _ = value.attributes
    return shape if of.size == 8 and of.order in "<=" and isinstance(content, Raw) else None


def _fits(metric: Any, features: int) -> bool:
    """Whether a distance has the numbers for rows of so many columns: it reads as many without asking."""
    if not isinstance(metric, Instance) or metric.of.rule != "metric" or not metric.built:
        return False
    name = metric.of.name.removesuffix("64").removesuffix("32").removesuffix("Distance")
    vector, matrix = (*metric.attributes[1:3], None, None)[:2]
    if name == "SEuclidean":
        return _shape(vector, "f") == (features,)
    if name == "Mahalanobis":
        return _shape(matrix, "f") == (features, features)
    if name == "Minkowski":
        return _shape(vector, "f") in ((0,), (features,))
    return name != "Haversine" or features == 2


def _plain(made: Instance, state: Any) -> None:
    _demand(made, _is_plain(state))


def _generator(made: Instance, state: Any) -> None:
    """The state of a random generator; its place in the numbers is a place in memory."""
    _demand(made, _is_plain(state))
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], Mapped):
        state = state[0]  # beside it is the seed
    if isinstance(state, tuple):
        # As a RandomState was kept by numpy before 1.17.
        _demand(made, len(state) in (3, 5) and state[0] == "MT19937" and is_place("pos", state[2]))
        return
    _demand(made, isinstance(state, Mapped))
    inner = state.get("state")
    for name, value in state.pairs + (inner.pairs if isinstance(inner, Mapped) else []):
        _demand(made, is_place(name, value))
        _demand(made, name != "state" or isinstance(value, Mapped | int))


def is_place(name: str, value: Any) -> bool:
    """Whether a number of a random generator's state is a place within its numbers, if it's one at all."""
    return name not in PLACES or is_whole(value, 0, PLACES[name])


def _is_plain(value: Any, seen: set[int] | None = None) -> bool:
    """Whether a value is made of numbers, text, arrays and a few containers of these."""
    seen = set() if seen is None else seen
    if isinstance(value, tuple | Listed | Mapped):
        # Each once: what holds itself, or one list many times over, would take for ever.
        if id(value) in seen:
            return True
        seen.add(id(value))
        names: list[Any] = []
        if isinstance(value, Mapped):
            names, items = [name for name, _ in value.pairs], [one for _, one in value.pairs]
        else:
            items = list(value if isinstance(value, tuple) else value.items)
        return (
            len(items) <= 1_000
            and len(seen) <= _MOST_PLAIN
            and all(type(name) is str and not name.startswith("__") for name in names)
            and all(_is_plain(one, seen) for one in items)
        )
    if isinstance(value, Instance):
        return value.of.rule in ("scalar", "seed_sequence") or is_array(value)
    return value is None or isinstance(value, bool | int | float | str | Raw)


def _partial(made: Instance, state: Any) -> None:
    _demand(made, isinstance(state, tuple) and len(state) == 4 and state[0] is made.attributes and state[1] == ())
    _demand(made, isinstance(state[2], Mapped) and state[3] is None)
    for name, value in state[2].pairs:
        _demand(made, type(name) is str and (_is_plain(value) or _is_type_list(value)))


def _is_type_list(value: Any) -> bool:
    items = value.items if isinstance(value, Listed) else [value]
    return all(isinstance(one, Named) and one.rule == "type" for one in items)


def _loss(made: Instance, state: Any) -> None:
    empty = state is None or (isinstance(state, Mapped) and not state.pairs)
    _demand(made, empty or is_loss_state(made.of, state))


_RULES: dict[str, Callable[[Instance, Any], None]] = {
    "object": _object,
    "bunch": _bunch,
    "wrapper": _wrapper,
    "tree": _tree,
    "ndarray": _array,
    "masked": _masked,
    "dtype": _dtype,
    "metric": _metric,
    "neighbours": _neighbours,
    "partial": _partial,
    "bit_generator": _generator,
    "generator": _generator,
    "random_state": _generator,
    "seed_sequence": _plain,
    "loss": _loss,
}
