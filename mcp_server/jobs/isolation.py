"""ChildLimits that a computing child puts on itself before it imports or reads anything.

Each function says whether the platform holds to the limit; none is assumed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_LINUX = sys.platform.startswith("linux")
_PDEATHSIG = 1
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_RESERVED = 64 * 1024 * 1024 * 1024


def limit_memory(count: int) -> bool:
    """Bound the memory that the process may fill.

    The bound is on private writable memory. Address space, which Polars, OpenBLAS and V8 reserve by the gibibyte and
    never touch, gets a further 64 GiB: it only stops mapping without end.

    Args:
        count: bytes, interpreter and libraries included.
    """
    if not _LINUX:  # macOS accepts these limits and doesn't hold to them
        return False
    import resource

    _limit(resource.RLIMIT_DATA, count, count)
    _limit(resource.RLIMIT_AS, count + _RESERVED, count + _RESERVED)
    return True


def limit_cpu(seconds: int) -> bool:
    """End the process (SIGXCPU, then SIGKILL) when it has computed this long."""
    if sys.platform == "win32":
        return False
    import resource

    _limit(resource.RLIMIT_CPU, seconds, seconds + 1)
    return True


def no_core_dump() -> None:
    """A dump would write the data to disk."""
    if sys.platform != "win32":
        import resource

        _limit(resource.RLIMIT_CORE, 0, 0)


def no_network() -> bool:
    """Move into a network namespace without any interface, and into a user namespace where the kernel lets us.

    In a user namespace even root is nobody outside of it: it can't read its parent's environment.
    """
    if not _LINUX:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_NEW_USER | _NEW_NET) != 0:
        return bool(libc.unshare(_NEW_NET) == 0)
    # Without a mapping the process would see itself as "nobody"; files stay its own either way.
    with contextlib.suppress(OSError):
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    return True


def end_with_parent(parent: int) -> bool:
    """Have the kernel end this process when its parent ends, however that ends.

    Args:
        parent: the parent's process id; if it is gone already, this process exits.
    """
    if not _LINUX:
        return False
    held = ctypes.CDLL(None, use_errno=True).prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) == 0
    if os.getppid() != parent:
        os._exit(0)
    return bool(held)


def _limit(kind: int, soft: int, hard: int) -> None:
    import resource

    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        hard = min(hard, most)
    resource.setrlimit(kind, (min(soft, hard), hard))
