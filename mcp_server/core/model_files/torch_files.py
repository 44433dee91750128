"""PyTorch's zip files of tensors: one pickle, whose persistent ids stand for members."""

from __future__ import annotations

import math
from typing import Any

from mcp_server.core.model_files.archive import Archive
from mcp_server.core.model_files.arrays import item_count
from mcp_server.core.model_files.calls import call
from mcp_server.core.model_files.machine import Machine
from mcp_server.core.model_files.opcodes import Content
from mcp_server.core.model_files.report import FileReading, Unread, quoted
from mcp_server.core.model_files.values import Instance, Mapped, Named, is_whole

PICKLE = "data.pkl"

_SIZES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
_ALLOWED = {
    **{("torch", name): "storage_type" for name in _SIZES},
    ("torch._utils", "_rebuild_tensor_v2"): "tensor",
    ("torch._utils", "_rebuild_parameter"): "parameter",
    ("collections", "OrderedDict"): "ordered",
}
_PLAIN = {"version", ".data/serialization_id", "byteorder", ".format_version", ".storage_alignment"}


def is_torch(archive: Archive) -> bool:
    return any(name == PICKLE or name.endswith(f"/{PICKLE}") for name in archive.members)


def read_torch(archive: Archive, reading: FileReading) -> None:
    """Follow the pickle, and see that every storage has its member.

    Raises:
        Unread: it can't be followed, is a program, or has members that tensors don't need.
    """
    (pickle, *others) = [name for name in archive.members if name == PICKLE or name.endswith(f"/{PICKLE}")]
    if others:
        raise Unread("second_content", "It has two pickles.", quoted(others[0]))
    root = pickle.removesuffix(PICKLE)
    folder = f"{root}data/"
    for name in archive.members:
        if "/code/" in f"/{name}" or name.endswith("constants.pkl"):
            raise Unread("runs_code", "It's TorchScript, which is a program.", quoted(name))
        if name != pickle and not name.startswith(folder) and name.removeprefix(root) not in _PLAIN:
            raise Unread("unknown_part", "It has a member that tensors don't need.", quoted(name))

    def storage(key: Any) -> Instance:
        named = isinstance(key, tuple) and len(key) == 5 and key[0] == "storage" and isinstance(key[1], Named)
        if not named or key[1].rule != "storage_type" or type(key[2]) is not str or not is_whole(key[4], 0):
            raise Unread("foreign_reference", "A persistent id isn't a tensor's storage.")
        member = archive.members.get(folder + key[2])
        if member is None or member.size != key[4] * _SIZES[key[1].name]:
            raise Unread("damaged", "A storage has no member of its size.")
        return Instance(key[1], built=True, attributes=key[4])

    machine = _TensorMachine(Content(archive.read(pickle)), reading, allowed=_ALLOWED, persistent=storage)
    machine.run()
    machine.end()


class _TensorMachine(Machine):
    """A pickle machine that knows how tensors are put together."""

    def _called(self, of: Any, arguments: Any, how: Any) -> None:
        if isinstance(of, Named) and of.rule in ("tensor", "parameter") and isinstance(arguments, tuple):
            self._stack.append(_tensor(of, arguments))
        else:
            super()._called(of, arguments, call if how is call else how)

    def end(self) -> None:
        self._reading.counts["streams"] += 1
        if self._content.at != self._content.end:
            raise Unread("second_content", "Bytes follow the end of the pickle.", self._content.at)


def _tensor(of: Named, given: tuple[Any, ...]) -> Instance:
    if of.rule == "parameter":
        fine = len(given) == 3 and isinstance(given[0], Instance) and given[0].of.rule == "tensor"
        fine = fine and type(given[1]) is bool and _is_empty(given[2])
    else:
        fine = len(given) in (6, 7) and isinstance(given[0], Instance) and given[0].of.rule == "storage_type"
        fine = fine and _fits(given) and type(given[4]) is bool and all(map(_is_empty, given[5:]))
    if not fine:
        raise Unread("foreign_call", f"'{of.module}.{of.name}' is called with arguments that tensors don't give it.")
    return Instance(of, built=True)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, Mapped) and not value.pairs)


def _fits(given: tuple[Any, ...]) -> bool:
    """Whether offset, size and stride stay within the storage."""
    storage, offset, size, stride = given[:4]
    count = item_count(size)
    if count is None or not isinstance(stride, tuple) or len(stride) != len(size) or not is_whole(offset, 0):
        return False
    if not all(is_whole(step, 0) for step in stride):
        return False
    reach = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    return not count or (reach < storage.attributes and math.prod(size) <= storage.attributes)
