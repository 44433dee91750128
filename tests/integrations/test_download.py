"""Downloads from a loopback server that misbehaves in every way that a server can."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import socket
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from integrations.loopback import answer, certificate, raw, served, trusting
from integrations.place import MOST, TABLE, Place
from mcp_server.errors import DataRejected
from mcp_server.integrations.download import Fetched, Known, Pace, fetch
from mcp_server.integrations.url_guard import UrlGuard

pytestmark = pytest.mark.anyio


async def endless(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1000\r\n" + b"1,2\n" * 1_024 + b"\r\n")
        await writer.drain()


async def dripping(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1")
        await writer.drain()
        await asyncio.sleep(0.005)


async def silent(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
    await writer.wait_closed()


async def test_a_file_arrives_whole_with_what_identifies_it(place: Place) -> None:
    place.server.scripts["/a%20b.csv"] = [answer(TABLE, etag='"v1"', last_modified="Mon, 02 Mar 2026 00:00:00 GMT")]
    found = await place.fetch(place.url("/a%20b.csv?x=1"))
    assert found == Fetched(
        hashlib.sha256(TABLE).hexdigest(), len(TABLE), "a b.csv", '"v1"', "Mon, 02 Mar 2026 00:00:00 GMT"
    )
    assert place.file.read_bytes() == TABLE
    assert place.file.stat().st_mode & 0o777 == 0o600
    _, headers = place.server.asked[0]
    assert headers["host"] == f"data.test:{place.server.port}"
    assert {"authorization", "cookie", "referer"} & headers.keys() == set()


async def test_no_proxy_of_the_environment_is_used(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    place.server.scripts["/a"] = [answer(TABLE)]
    assert await place.fetch(place.url("/a"))
    assert place.connects == [("127.0.0.1", place.server.port)]


async def test_an_address_that_does_not_answer_gives_way_to_the_next(place: Place) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.3", 0))
        place.answers["data.test"] = [["127.0.0.3", "127.0.0.1"]]
        place.server.scripts["/a"] = [answer(TABLE)]
        guard = UrlGuard(
            resolve=place.resolve,
            exempt=frozenset({("127.0.0.1", place.server.port), ("127.0.0.3", place.server.port)}),
        )
        found = await fetch(place.url("/a"), place.file, guard=guard, most_bytes=MOST, tls=trusting(place.trust))
    assert found is not None
    assert place.resolved == ["data.test"]


async def test_an_ipv6_address_is_connected_to_with_its_name_kept(tmp_path: Path, identity) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback address")

    async def resolve(host: str, port: int) -> list[str]:
        return ["::1"]

    async with served({"/a": answer(TABLE)}, tls=identity[0], host="::1") as server:
        guard = UrlGuard(resolve=resolve, exempt=frozenset({("::1", server.port)}))
        url = f"https://data.test:{server.port}/a"
        assert await fetch(url, tmp_path / "file", guard=guard, most_bytes=MOST, tls=trusting(identity[1]))
        assert server.asked[0][1]["host"] == f"data.test:{server.port}"


# Answers that aren't a file ----------------------------------------------------------------------------------------

ANSWERS = [
    ("204 No Content", {}, b"", "E_EMPTY"),
    ("200 OK", {}, b"", "E_EMPTY"),
    ("206 Partial Content", {"content_range": "bytes 0-10/20"}, TABLE, "E_IO"),
    ("304 Not Modified", {}, b"", "E_IO"),
    ("200 OK", {"content_type": "text/html; charset=utf-8"}, b"<html>Sign in</html>", "E_FORMAT"),
    ("200 OK", {"content_type": "Application/XHTML+XML"}, b"<html/>", "E_FORMAT"),
    ("200 OK", {"content_encoding": "br"}, b"xx", "E_FORMAT"),
    ("200 OK", {"content_encoding": "gzip, gzip"}, b"xx", "E_FORMAT"),
    ("401 Unauthorized", {}, b"", "E_PERMISSION"),
    ("403 Forbidden", {}, b"", "E_PERMISSION"),
    ("404 Not Found", {}, b"", "E_NOT_FOUND"),
    ("410 Gone", {}, b"", "E_NOT_FOUND"),
    ("418 Teapot", {}, b"", "E_IO"),
    ("300 Choices", {}, b"", "E_IO"),
]


@pytest.mark.parametrize(("status", "headers", "body", "code"), ANSWERS, ids=[f"{a[0]} {a[3]}" for a in ANSWERS])
async def test_what_is_not_a_whole_file_is_refused_at_once(place: Place, status, headers, body, code) -> None:
    script = answer(body, status, **headers)
    if status.startswith(("204", "304")):
        script = raw(f"HTTP/1.1 {status}\r\n\r\n".encode())
    place.server.scripts["/a"] = [script]
    error = await place.refused(place.url("/a"))
    assert error.code == code
    assert error.hint
    assert place.slept == []
    assert len(place.server.asked) == 1


async def test_a_compressed_file_stays_compressed(place: Place) -> None:
    packed = gzip.compress(b"1" * 10_000_000)
    place.server.scripts["/a"] = [answer(packed, content_encoding="gzip")]
    found = await place.fetch(place.url("/a"))
    assert found is not None
    assert place.file.read_bytes() == packed
    assert place.server.asked[0][1]["accept-encoding"] == "identity"


# Sizes and lengths -------------------------------------------------------------------------------------------------


async def test_a_body_without_end_is_cut_at_the_limit(place: Place) -> None:
    place.server.scripts["/a"] = [endless]
    assert (await place.refused(place.url("/a"))).code == "E_SIZE"


@pytest.mark.parametrize(("size", "code"), [(MOST, None), (MOST + 1, "E_SIZE")])
async def test_the_limit_itself_is_allowed_and_one_byte_more_is_not(place: Place, size: int, code: str | None) -> None:
    place.server.scripts["/a"] = [raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"1" * size)]
    if code is None:
        assert await place.fetch(place.url("/a"))
    else:
        assert (await place.refused(place.url("/a"))).code == code


async def test_a_stated_length_over_the_limit_is_refused_before_the_body(place: Place) -> None:
    place.server.scripts["/a"] = [raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n")]
    assert (await place.refused(place.url("/a"))).code == "E_SIZE"


async def test_a_length_that_is_too_small_takes_that_much_and_no_more(place: Place) -> None:
    place.server.scripts["/a"] = [raw(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n" + TABLE)]
    found = await place.fetch(place.url("/a"))
    assert found is not None
    assert place.file.read_bytes() == TABLE[:8]


async def test_a_length_that_is_too_large_is_a_broken_file_not_a_short_one(place: Place) -> None:
    place.server.scripts["/a"] = [raw(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + TABLE)]
    error = await place.refused(place.url("/a"))
    assert error.code == "E_TRANSIENT"
    assert len(place.server.asked) == 3


@pytest.mark.parametrize("length", [b"-1", b"1, 2", b"x", b"0x10"])
async def test_a_length_that_is_no_number_is_refused(place: Place, length: bytes) -> None:
    place.server.scripts["/a"] = [raw(b"HTTP/1.1 200 OK\r\ncontent-length: " + length + b"\r\n\r\n" + TABLE)]
    assert (await place.refused(place.url("/a"))).code in ("E_IO", "E_TRANSIENT")


@pytest.mark.parametrize("garbage", [b"", b"\x00\x01\x02\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
async def test_what_is_not_http_is_refused(place: Place, garbage: bytes) -> None:
    place.server.scripts["/a"] = [raw(garbage)]
    assert (await place.refused(place.url("/a"))).code in ("E_IO", "E_TRANSIENT")


# Time --------------------------------------------------------------------------------------------------------------


async def test_a_server_that_drips_is_left(place: Place) -> None:
    place.server.scripts["/a"] = [dripping]
    error = await place.refused(place.url("/a"), pace=Pace(slowest=10_000.0, window=0.1))
    assert error.code == "E_DEADLINE"
    assert place.slept == []


async def test_a_server_that_says_nothing_is_asked_three_times(place: Place) -> None:
    place.server.scripts["/a"] = [silent]
    error = await place.refused(place.url("/a"), pace=Pace(silence=0.05))
    assert error.code == "E_TRANSIENT"
    assert len(place.server.asked) == 3


async def test_all_attempts_together_have_one_time_limit(place: Place) -> None:
    place.server.scripts["/a"] = [silent]
    assert (await place.refused(place.url("/a"), pace=Pace(total=0.1))).code == "E_DEADLINE"
    assert len(place.server.asked) == 1


async def test_a_name_that_takes_for_ever_to_resolve_is_given_up(place: Place) -> None:
    async def never(host: str, port: int) -> list[str]:
        return await asyncio.get_running_loop().create_future()

    with pytest.raises(DataRejected) as caught:
        await fetch(
            "https://data.test/a",
            place.file,
            guard=UrlGuard(resolve=never),
            most_bytes=MOST,
            pace=Pace(connect=0.02),
            sleep=place.sleep,
        )
    assert caught.value.code == "E_TRANSIENT"


async def test_a_cancelled_download_leaves_nothing(place: Place) -> None:
    arrived = asyncio.Event()

    async def noticed(writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        arrived.set()
        await dripping(writer, headers)

    place.server.scripts["/a"] = [noticed]
    task = asyncio.create_task(place.fetch(place.url("/a")))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not place.file.exists()


# Again -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["429 Slow Down", "500 Oops", "502 Bad", "503 Busy", "504 Late"])
async def test_what_may_pass_is_tried_twice_more(place: Place, status: str) -> None:
    place.server.scripts["/a"] = [answer(status=status), answer(status=status), answer(TABLE)]
    assert await place.fetch(place.url("/a"))
    first, second = place.slept
    assert 0.5 <= first <= 0.55
    assert 1.0 <= second <= 1.1


async def test_what_does_not_pass_is_given_up_after_three_attempts(place: Place) -> None:
    place.server.scripts["/a"] = [answer(status="503 Busy")]
    error = await place.refused(place.url("/a"))
    assert (error.code, error.transient) == ("E_TRANSIENT", False), "the guard of calls must not multiply the attempts"
    assert len(place.server.asked) == 3


async def test_a_refused_connection_is_tried_again(place: Place) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        guard = UrlGuard(resolve=place.resolve, exempt=frozenset({("127.0.0.1", port)}))
        with pytest.raises(DataRejected) as caught:
            await fetch(f"https://data.test:{port}/", place.file, guard=guard, most_bytes=1, sleep=place.sleep)
    assert caught.value.code == "E_TRANSIENT"
    assert len(place.slept) == 2


async def test_a_host_that_does_not_exist_is_not_asked_for_again(place: Place) -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with pytest.raises(DataRejected) as caught:
        await fetch("https://data.test/", place.file, guard=UrlGuard(resolve=unknown), most_bytes=1, sleep=place.sleep)
    assert (caught.value.code, place.slept) == ("E_NOT_FOUND", [])


HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\naccept-ranges: bytes\r\netag: %s\r\n\r\n" + TABLE[:5]


async def test_a_broken_download_goes_on_where_it_stopped(place: Place) -> None:
    rest = raw(b'HTTP/1.1 206 Partial\r\ncontent-range: bytes 5-11/12\r\netag: "v1"\r\n\r\n' + TABLE[5:])
    place.server.scripts["/a"] = [raw(HALF % b'"v1"', between=0.05, cut=True), rest]
    found = await place.fetch(place.url("/a"))
    assert found is not None
    assert place.file.read_bytes() == TABLE
    assert found.digest == hashlib.sha256(TABLE).hexdigest()
    assert place.server.asked[1][1]["range"] == "bytes=5-"
    assert place.server.asked[1][1]["if-range"] == '"v1"'


async def test_a_file_that_changed_meanwhile_begins_again(place: Place) -> None:
    place.server.scripts["/a"] = [raw(HALF % b'"v1"', between=0.05, cut=True), answer(b"c\n9\n", etag='"v2"')]
    assert await place.fetch(place.url("/a"))
    assert place.file.read_bytes() == b"c\n9\n"


@pytest.mark.parametrize("told", [b'bytes 5-11/12\r\netag: "v2"', b'bytes 4-11/12\r\netag: "v1"'])
async def test_a_rest_of_something_else_is_refused(place: Place, told: bytes) -> None:
    rest = raw(b"HTTP/1.1 206 Partial\r\ncontent-range: " + told + b"\r\n\r\n" + TABLE[5:])
    place.server.scripts["/a"] = [raw(HALF % b'"v1"', between=0.05, cut=True), rest]
    assert (await place.refused(place.url("/a"))).code == "E_CHANGED"


async def test_without_a_strong_tag_a_broken_download_begins_again(place: Place) -> None:
    place.server.scripts["/a"] = [raw(HALF % b'W/"v1"', between=0.05, cut=True), answer(TABLE)]
    assert await place.fetch(place.url("/a"))
    assert "range" not in place.server.asked[1][1]
    assert place.file.read_bytes() == TABLE


async def test_an_unchanged_file_is_not_sent_again(place: Place) -> None:
    place.server.scripts["/a"] = [raw(b"HTTP/1.1 304 Not Modified\r\n\r\n")]
    known = Known('"v1"', "Mon, 02 Mar 2026 00:00:00 GMT")
    assert await place.fetch(place.url("/a"), known=known) is None
    assert place.server.asked[0][1]["if-none-match"] == '"v1"'
    assert place.server.asked[0][1]["if-modified-since"] == "Mon, 02 Mar 2026 00:00:00 GMT"
    assert not place.file.exists()


# Encryption --------------------------------------------------------------------------------------------------------

BROKEN = [
    (["wrong.test"], {}, "is for another host"),
    (["data.test"], {"begins": timedelta(days=-3), "ends": timedelta(days=-2)}, "has expired"),
    (["data.test"], {"begins": timedelta(days=2), "ends": timedelta(days=3)}, "isn't valid yet"),
]


@pytest.mark.parametrize(("names", "dates", "message"), BROKEN, ids=[b[2] for b in BROKEN])
async def test_a_certificate_that_is_not_good_is_refused_with_the_reason(tmp_path: Path, names, dates, message) -> None:
    tls, trust = certificate(tmp_path, names, **dates)
    (tmp_path / "download").mkdir()
    async with served({"/a": answer(TABLE)}, tls=tls) as server:
        place = Place(server, trust, tmp_path / "download")
        error = await place.refused(place.url("/a"))
        assert error.code == "E_URL"
        assert message in error.message
        assert place.slept == []
        assert server.asked == []


async def test_a_certificate_of_an_unknown_authority_is_refused(place: Place) -> None:
    error = await place.refused(place.url("/a"), tls=ssl.create_default_context())
    assert error.code == "E_URL"
    assert "self-signed" in error.message or "authority" in error.message


async def test_a_server_without_encryption_at_an_https_address_is_refused(place: Place) -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        place.server.port = server.sockets[0].getsockname()[1]
        error = await place.refused(place.url("/a"))
    assert error.code == "E_URL"
    assert "encrypted connection" in error.message


async def test_a_host_that_is_named_for_it_is_read_over_http(tmp_path: Path, identity) -> None:
    (tmp_path / "download").mkdir()
    async with served({"/a": answer(TABLE)}, tls=None) as server:
        place = Place(server, identity[1], tmp_path / "download")
        assert await place.fetch(place.url("/a", "plain.test", "http"))
