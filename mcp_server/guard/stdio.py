"""Standard input and output as a wire that nothing else can touch.

Each line is checked before the protocol library sees it, in bounded memory; a line that's refused is answered, not met
with silence. While the wire is held, descriptor 0 is the null device and descriptor 1 is standard error, so a print, a
library or a child process can't put a byte between two messages.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from mcp_server.guard.wire import MAX_BYTES, PARSE_ERROR, WireError, check_message

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

CHUNK = 64 * 1024
MOST_WAITING = 8 * 1024 * 1024
"""Bytes of checked lines that may wait for the event loop; beyond that the client's own pipe fills."""

LAST_SECONDS = 1.0
"""How long answers may still be sent after the input has ended."""


class OutgoingLines:
    """Whole lines to one descriptor, in order, whoever writes them.

    Args:
        fd: a blocking descriptor: pipe, socket, terminal or file.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = asyncio.Lock()
        self._written: list[bytes] = []
        self._poll = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(fd, select.POLLOUT)
        self._ready: asyncio.Future[None] | None = None
        self.closed = asyncio.Event()

    def close(self) -> None:
        """Drop whatever can't be sent: nobody reads it."""
        self.closed.set()
        self._go_on()

    async def write(self, text: str) -> None:
        """Keep text for the next `flush`."""
        self._written.append(text.encode("utf-8", "backslashreplace"))

    async def flush(self) -> None:
        """Send what was written; silently nothing once the reader has gone."""
        async with self._lock:
            data = b"".join(self._written)
            self._written.clear()
            await self._send(data)

    async def reply(self, line: bytes) -> None:
        """Send one line of our own between the protocol library's."""
        async with self._lock:
            await self._send(line + b"\n")

    async def _send(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view and not self.closed.is_set():
                if self._poll is None:
                    view = view[await asyncio.to_thread(os.write, self._fd, view) :]
                    continue
                # A descriptor that polls as writable takes this much without blocking, so no thread is needed.
                if not self._poll.poll(0):
                    await self._until_writable()
                    continue
                view = view[os.write(self._fd, view[: select.PIPE_BUF]) :]
        except OSError:
            self.close()

    async def _until_writable(self) -> None:
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        loop.add_writer(self._fd, self._go_on)
        try:
            await self._ready
        finally:
            loop.remove_writer(self._fd)
            self._ready = None

    def _go_on(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)


class IncomingLines:
    """The checked lines of one descriptor: an async iterator that ends with the input, or when nobody reads answers.

    Args:
        fd: a blocking descriptor. It's read by a daemon thread, which a blocked read never holds up at exit.
        outgoing: where a refused line is answered.
    """

    def __init__(self, fd: int, outgoing: OutgoingLines) -> None:
        self._fd = fd
        self._outgoing = outgoing
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[str | WireError | None, int]] = asyncio.Queue()
        self._room = threading.Condition()
        self._waiting = 0
        self._stopped = False
        self._broken = self._loop.create_task(self._end_when_unread())
        threading.Thread(target=self._read, name="courtside-stdin", daemon=True).start()

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while True:
            item, size = await self._queue.get()
            with self._room:
                self._waiting -= size
                self._room.notify()
            if item is None:
                self._loop.call_later(LAST_SECONDS, self._outgoing.close)
                raise StopAsyncIteration
            if isinstance(item, str):
                return item
            await self._outgoing.reply(item.reply())

    def stop(self) -> None:
        """Let the reading thread end once its read returns."""
        self._broken.cancel()
        with self._room:
            self._stopped = True
            self._room.notify()

    async def _end_when_unread(self) -> None:
        await self._outgoing.closed.wait()
        self._queue.put_nowait((None, 0))

    def _read(self) -> None:
        line = bytearray()
        overlong = False
        while chunk := self._chunk():
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                if overlong or len(line) + len(end) > MAX_BYTES:
                    self._post(WireError(PARSE_ERROR, f"The line is longer than {MAX_BYTES // 2**20} MiB."), 0)
                else:
                    self._check(bytes(line) + end)
                line.clear()
                overlong = False
            line += rest
            if len(line) > MAX_BYTES:
                line.clear()
                overlong = True
        if line:
            self._check(bytes(line))
        self._post(None, 0)

    def _chunk(self) -> bytes:
        try:
            return b"" if self._stopped else os.read(self._fd, CHUNK)
        except OSError:
            return b""

    def _check(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            check_message(line)
        except WireError as refused:
            self._post(refused, 0)
        else:
            self._post(line.decode(), len(line))

    def _post(self, item: str | WireError | None, size: int) -> None:
        with self._room:
            # One refusal costs some hundred bytes to keep: it has to count as well.
            size = max(size, 512)
            while self._waiting and self._waiting + size > MOST_WAITING and not self._stopped:
                self._room.wait()
            self._waiting += size
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, (item, size))
        except RuntimeError:
            self._stopped = True  # the event loop is closed: nobody will ask again


@contextmanager
def held_wire() -> Iterator[tuple[int, int]]:
    """Take standard input and output away from everything else.

    Yields:
        the descriptors of the wire. On leaving, 0 and 1 are what they were; the private ones stay open, because a
        thread may still be blocked on them and a recycled number would feed it another file.
    """
    sys.stdout.flush()
    wire_in, wire_out = _duplicate(0), _duplicate(1)
    null = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(null, 0)
        try:
            os.dup2(2, 1)
        except OSError:  # started without a standard error
            os.dup2(null, 1)
        _rebind_handles()
        yield wire_in, wire_out
    finally:
        os.close(null)
        sys.stdout.flush()
        os.dup2(wire_in, 0)
        os.dup2(wire_out, 1)
        _rebind_handles()


@asynccontextmanager
async def stdio_streams(fds: tuple[int, int] | None = None) -> AsyncIterator[tuple[IncomingLines, OutgoingLines]]:
    """The two streams that `mcp.server.stdio.stdio_server` takes.

    Args:
        fds: descriptors to read from and write to; standard input and output, held, when None.
    """
    if fds is None:
        with held_wire() as held:
            async with stdio_streams(held) as streams:
                yield streams
        return
    outgoing = OutgoingLines(fds[1])
    incoming = IncomingLines(fds[0], outgoing)
    try:
        yield incoming, outgoing
    finally:
        incoming.stop()


async def serve_stdio(server: MCPServer[Any]) -> None:
    """Serve one client over standard input and output until the input ends or nobody reads the output."""
    from mcp.server.stdio import stdio_server

    lowlevel = server._lowlevel_server
    async with stdio_streams() as (incoming, outgoing):
        streams: Any = (incoming, outgoing)  # the library asks for two files, and uses only what these have
        async with stdio_server(*streams) as (read_stream, write_stream):
            await lowlevel.run(read_stream, write_stream, lowlevel.create_initialization_options())


def _duplicate(fd: int) -> int:
    if sys.platform == "win32":
        return os.dup(fd)
    import fcntl

    # Never 0, 1 or 2, even where one of them is closed; not inherited by children.
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def _rebind_handles() -> None:
    """Windows keeps handles of its own for the standard streams, which children inherit."""
    if sys.platform == "win32":
        from mcp.os.win32.utilities import rebind_std_handle_to_fd

        rebind_std_handle_to_fd(0)
        rebind_std_handle_to_fd(1)
