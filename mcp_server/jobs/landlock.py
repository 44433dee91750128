"""Landlock: a Linux process gives up, for good, every file that it wasn't allowed.

Source: linux/landlock.h and Documentation/userspace-api/landlock.rst. Needs Linux 5.13 and no privilege.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

_long = ctypes.c_long  # an int argument of a variadic function leaves half of its register undefined

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_RULE_PATH_BENEATH = 1
_VERSION_FLAG = 1
_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_TCP_BIND_AND_CONNECT = 0b11

# Where libraries, time zones and the numbers of the processors are; nobody's own files.
_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/localtime", "/etc/timezone", "/sys"),
    *("/proc/cpuinfo", "/proc/meminfo", "/dev/urandom"),
)


def confine(*, writes: Sequence[Path], reads: Sequence[Path] | None) -> bool:
    """Let this process write below `writes` only, and read nothing but them, the system's own files and `reads`.

    It holds for the calling thread and every thread and process that it starts later, so it comes before any.
    TCP is refused too, from Linux 6.7 on.

    Args:
        writes: folders that exist.
        reads: files or folders; None leaves reading open.
    Returns:
        whether the kernel holds to it; False where there's no Landlock.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_long(_CREATE_RULESET), None, _long(0), _long(_VERSION_FLAG))
    if version < 1:
        return False
    writing = _WRITE_FILE | _REMOVE_AND_MAKE | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    handled = writing | (_READ if reads is not None else 0)
    ruleset = struct.pack("=QQ", handled, _TCP_BIND_AND_CONNECT) if version >= 4 else struct.pack("=Q", handled)
    descriptor = libc.syscall(_long(_CREATE_RULESET), ruleset, _long(len(ruleset)), _long(0))
    if descriptor < 0:
        return False
    try:
        for folder in (*writes, Path("/dev/null")):
            _allow(libc, descriptor, folder, (writing | _READ) & handled)
        for path in _readable(reads) if reads is not None else ():
            _allow(libc, descriptor, path, _READ)
        if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            return False
        return bool(libc.syscall(_long(_RESTRICT_SELF), _long(descriptor), _long(0)) == 0)
    finally:
        os.close(descriptor)


def _readable(reads: Iterable[Path]) -> Iterable[Path]:
    yield from reads
    for text in (*_SYSTEM, f"/proc/{os.getpid()}", sys.prefix, sys.base_prefix, *sys.path):
        # A folder that is given up here is at most a library that can't be read: an error, not a hole.
        if text and os.path.exists(text):
            yield Path(text)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _ON_FILES
        rule = struct.pack("=Qi", access, descriptor)
        if libc.syscall(_long(_ADD_RULE), _long(ruleset), _long(_RULE_PATH_BENEATH), rule, _long(0)) != 0:
            raise OSError(ctypes.get_errno(), "landlock_add_rule")
    finally:
        os.close(descriptor)
