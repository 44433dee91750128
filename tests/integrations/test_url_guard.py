"""Which addresses are read: every odd form is refused before anything is connected to."""

from __future__ import annotations

import ipaddress
import os
import socket
import unicodedata
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.loopback import answer, as_libc, recorded_connects, served
from mcp_server.errors import DataRejected
from mcp_server.integrations.download import fetch
from mcp_server.integrations.url_guard import UrlGuard, WebAddress, is_public, system_resolver
from mcp_server.settings import Settings, load
from mcp_server.workflows.remote import url_guard

pytestmark = pytest.mark.anyio

# Names that answer with what isn't public, as a hostile name server would.
NAMES = {
    "localhost": "127.0.0.1",
    "localhost.": "127.0.0.1",
    "127.0.0.1.example.test": "127.0.0.1",
    "metadata.example.test": "169.254.169.254",
    "intranet": "10.0.0.5",
    "translated.example.test": "64:ff9b::7f00:1",
}
FORMS = [
    "file:///etc/passwd",
    "ftp://example.org/a.csv",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/stat",
    "data:text/csv,a%0A1",
    "jar:https://example.org/a.jar!/a.csv",
    "s3://bucket/a.csv",
    "unix:/var/run/docker.sock",
    "ldap://127.0.0.1/",
    "\\\\127.0.0.1\\share\\a.csv",
    "//127.0.0.1/a.csv",
    "https:/127.0.0.1/a.csv",
    "https:///a.csv",
    "http://example.org/a.csv",
    "https://localhost/",
    "https://localhost./",
    "https://intranet/",
    "https://127.0.0.1/",
    "https://127.0.0.1./",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7F.0.0.1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://198.18.0.1/",
    "https://192.88.99.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "https://[127.0.0.1]/",
    "https://[dead.beef]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[fec0::1]/",
    "https://[fd00::1]/",
    "https://[ff02::1]/",
    "https://127.0.0.1.example.test/",
    "https://metadata.example.test/",
    "https://translated.example.test/",
    "https://１２７.０.０.１/",
    "https://127。0。0。1/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "https://example.org@127.0.0.1/",
    "https://user:word@example.org/a.csv",
    "https://127.0.0.1#@example.org/",
    "https://example.org/a.csv#part",
    "https://example.org\\@127.0.0.1/",
    "https://127.0.0.1\0.example.org/",
    "https://127.0.0.1%00.example.org/",
    "https://127.0.0.1%2f.example.org/",
    "https://example.org/\r\nX-Injected: 1",
    "https://exa mple.org/",
    "https://127.0.0.1\t/",
    "https://example.org:22/",
    "https://example.org:0/",
    "https://example.org:99999/",
    "https://example.org:80/",
    "",
    "https://" + "a" * 5_000 + ".org/",
    "https://example.org/" + "a" * 5_000,
    "https://example.org/a\\b.csv",
]


async def as_hostile(host: str, port: int) -> list[str]:
    """Resolve as the C library would, and names as a hostile name server would."""
    found = NAMES.get(host) or as_libc(host)
    if found is None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    return [found]


def test_there_are_at_least_the_forms_that_are_known_to_fool_guards() -> None:
    assert len(set(FORMS)) == len(FORMS) >= 48


@pytest.mark.parametrize("form", FORMS, ids=[ascii(form)[1:60] for form in FORMS])
async def test_a_form_that_leads_inside_is_refused_before_anything_is_connected_to(form: str, tmp_path: Path) -> None:
    guard = UrlGuard(resolve=as_hostile)
    with recorded_connects() as connects, pytest.raises(DataRejected) as caught:
        await fetch(form, tmp_path / "file", guard=guard, most_bytes=1_000)
    assert caught.value.code == "E_URL"
    assert caught.value.hint
    assert connects == []
    assert os.listdir(tmp_path) == []


async def test_the_control_a_list_of_names_and_is_global_lets_many_forms_in_and_does_connect() -> None:
    reached = []
    async with served({"/": answer(b"inside")}, tls=None) as inside:
        with recorded_connects() as connects:
            for form in FORMS:
                if (address := naive(form)) and address.startswith("127."):
                    with socket.create_connection((address, inside.port), timeout=5):
                        reached.append(form)
    assert len(reached) >= 10
    assert len(connects) == len(reached)
    assert {"https://2130706433/", "https://127.1/", "https://127.0.0.1.example.test/"} <= set(reached)


def naive(form: str) -> str | None:
    """A guard as it's often written; the address that it would connect to, or None."""
    try:
        parts = urlsplit(unicodedata.normalize("NFKC", form).replace("。", "."))
        host = parts.hostname or ""
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or host in ("localhost", "127.0.0.1", "0.0.0.0", "169.254.169.254", "::1"):
        return None
    try:
        return host if ipaddress.ip_address(host).is_global else None
    except ValueError:
        return NAMES.get(host) or as_libc(host)


NOT_PUBLIC = [
    *("0.1.2.3", "10.1.1.1", "100.127.255.255", "127.255.255.254", "169.254.0.1", "172.31.255.255", "192.0.0.1"),
    *("192.0.2.1", "192.88.99.1", "192.168.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "239.1.1.1"),
    *("240.0.0.1", "255.255.255.255", "168.63.129.16", "::", "::1", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::808:808"),
    *(
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:808:808::",
        "3fff::1",
        "3ffe::1",
    ),
    *(
        "5f00::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "",
        "x",
        "1",
        "010.1.1.1",
    ),
]
PUBLIC = ["8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_for_special_purposes_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_ordinary_address_is_public(address: str) -> None:
    assert is_public(address)


def test_the_control_the_standard_library_calls_some_of_these_global() -> None:
    wrong = [text for text in NOT_PUBLIC if text[:1] not in ("", "x") and _is_global(text)]
    assert {"64:ff9b::808:808", "fec0::1", "192.88.99.1", "2002:808:808::"} <= set(wrong)


def _is_global(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


@given(st.ip_addresses())
def test_what_the_standard_library_calls_private_or_local_is_never_public(address) -> None:
    inside = address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
    assert not (is_public(str(address)) and (inside or address.is_reserved or address.is_unspecified))


@given(st.text(max_size=60))
def test_no_text_passes_but_an_https_address_of_a_full_name_or_a_number(text: str) -> None:
    for form in (text, f"https://{text}", f"https://{text}/a.csv"):
        read, refusal = looked_at(form)
        if read is None:
            assert refusal is not None
            assert refusal.code == "E_URL"
            assert len(text) < 3 or text not in refusal.message
        else:
            assert (read.scheme, read.port) == ("https", 443)
            assert urlsplit(read.text).hostname == read.host
            assert "@" not in read.text.split("/")[2]


@given(st.text(max_size=60) | st.from_regex(r"(https?:)?//[\[\]:.0-9a-f@#?%\\]{0,30}(/.*)?", fullmatch=True))
def test_no_redirect_leads_anywhere_but_to_such_an_address(text: str) -> None:
    read, refusal = looked_at(text, UrlGuard().read("https://example.org/a/b?c"))
    assert (read is None) is (refusal is not None)
    if read is not None:
        assert (read.scheme, read.port) == ("https", 443)
        assert urlsplit(read.text).hostname == read.host


def looked_at(form: str, base: WebAddress | None = None) -> tuple[WebAddress | None, DataRejected | None]:
    try:
        return UrlGuard().read(form, base=base), None
    except DataRejected as refusal:
        return None, refusal


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("https://example.org", "https://example.org/"),
        ("HTTPS://Example.ORG:443/A.csv?x=1", "https://example.org/A.csv?x=1"),
        ("https://example.org?x=1", "https://example.org/?x=1"),
        ("https://xn--bcher-kva.example/a%20b.csv", "https://xn--bcher-kva.example/a%20b.csv"),
        ("https://[2606:4700::1111]/a.csv", "https://[2606:4700::1111]/a.csv"),
        ("https://93.184.216.34/a.csv", "https://93.184.216.34/a.csv"),
        ("https://example.org/@user/a.csv", "https://example.org/@user/a.csv"),
    ],
)
def test_an_ordinary_address_is_read_as_it_is(form: str, text: str) -> None:
    assert UrlGuard().read(form).text == text


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("https://e.org/a.csv?season=1985&page=2", "https://e.org/a.csv?season=1985&page=2"),
        ("https://e.org/a.csv?access_token=abc&x=1", "https://e.org/a.csv?access_token=***&x=1"),
        ("https://e.org/a.csv?X-Amz-Signature=ab%3D&x=1", "https://e.org/a.csv?X-Amz-Signature=***&x=1"),
        ("https://e.org/a.csv?" + "c" * 40, "https://e.org/a.csv?***"),
        ("https://e.org/a.csv?download", "https://e.org/a.csv?download"),
        ("https://e.org/a.csv?jwt=eyJh&t=eyJhbGciOiJIUzI1NiJ9.e30", "https://e.org/a.csv?jwt=***&t=***"),
        ("https://e.org/a.csv?hash=ab&hmac=cd&Policy=ef", "https://e.org/a.csv?hash=***&hmac=***&Policy=***"),
        ("https://e.org/a.csv?t%6Fken=abc&%74%256Fken=d", "https://e.org/a.csv?***=***&***=***"),
        ("https://e.org/a.csv?a=1;token=abc;b=2", "https://e.org/a.csv?a=1;token=***;b=2"),
        ("https://e.org/a.csv?a=b=c&d=%41&" + "e" * 21 + "=", "https://e.org/a.csv?a=***&d=***&***="),
    ],
)
def test_what_is_stored_of_an_address_holds_no_credential(form: str, shown: str) -> None:
    assert UrlGuard().read(form).public_text == shown


def test_the_address_of_a_file_is_answered_with_what_to_give_instead() -> None:
    _, refusal = looked_at("file:///home/games.csv")
    assert refusal is not None
    assert "plain path" in refusal.hint


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("https://e.org/x/my%20games.csv?a=/b", "my games.csv"),
        ("https://e.org/a%00%1b%e2%80%aeb.csv", "ab.csv"),
        ("https://e.org/x/", ""),
        ("https://e.org/" + "a" * 300, "a" * 255),
    ],
)
def test_a_files_name_is_printable_and_short(form: str, name: str) -> None:
    assert UrlGuard().read(form).name == name


@pytest.mark.parametrize("host", ["data.example.org", "a.b.example.net", "DATA.example.org"])
def test_a_listed_host_is_read(host: str) -> None:
    assert UrlGuard(hosts=("data.example.org", ".example.net")).read(f"https://{host}/").host == host.lower()


@pytest.mark.parametrize(
    "host", ["example.org", "data.example.org.evil.test", "example.net", "evilexample.net", "a.example.net.evil.test"]
)
def test_a_host_that_is_not_listed_is_refused(host: str) -> None:
    with pytest.raises(DataRejected, match="isn't one that may be read"):
        UrlGuard(hosts=("data.example.org", ".example.net")).read(f"https://{host}/")


def test_http_is_read_only_from_the_hosts_that_are_named_for_it() -> None:
    guard = UrlGuard(plain_hosts=("old.example.org",))
    assert guard.read("http://old.example.org/a.csv").port == 80
    with pytest.raises(DataRejected, match="isn't https"):
        guard.read("http://example.org/a.csv")


def test_the_settings_name_hosts_and_nothing_that_is_exempt() -> None:
    guard = url_guard(load({"COURTSIDE_URL_HOSTS": "a.example,.b.example", "COURTSIDE_HTTP_HOSTS": "127.0.0.1"}))
    assert (guard.hosts, guard.plain_hosts) == (("a.example", ".b.example"), ("127.0.0.1",))
    assert guard.exempt == frozenset()
    assert guard.resolve is system_resolver
    exempting = [name for name in Settings.model_fields if "exempt" in name or "private" in name or "loopback" in name]
    assert exempting == []


async def test_a_host_that_is_listed_and_private_is_refused_all_the_same() -> None:
    guard = UrlGuard(hosts=("127.0.0.1",), plain_hosts=("127.0.0.1",))
    for form in ("https://127.0.0.1/", "http://127.0.0.1/"):
        with pytest.raises(DataRejected, match="isn't on the public internet"):
            await guard.addresses(guard.read(form))


@pytest.mark.parametrize(
    "host", ["xn--0.example.org", "xn--.example.org", "xn--zzzzzzzz99.example.org", "a_b.example.org"]
)
async def test_a_name_that_is_no_proper_international_one_is_refused_or_unknown(host: str, tmp_path: Path) -> None:
    with pytest.raises(DataRejected) as caught:
        await fetch(f"https://{host}/", tmp_path / "f", guard=UrlGuard(resolve=as_hostile), most_bytes=9)
    assert caught.value.code in ("E_URL", "E_NOT_FOUND")


@pytest.mark.parametrize("form", ["https://user:word@example.org/", "https://example.org@127.0.0.1/"])
def test_credentials_in_an_address_are_refused_as_such(form: str) -> None:
    with pytest.raises(DataRejected, match="user name or password"):
        UrlGuard().read(form)


async def test_an_exemption_is_for_one_port_of_one_address() -> None:
    guard = UrlGuard(exempt=frozenset({("127.0.0.1", 9)}))
    assert await guard.addresses(guard.read("https://127.0.0.1:9/")) == ("127.0.0.1",)
    for form in ("https://127.0.0.1/", "https://127.0.0.2:9/"):
        with pytest.raises(DataRejected, match="isn't on the public internet"):
            await guard.addresses(guard.read(form))


async def test_one_private_address_among_several_spoils_the_host() -> None:
    async def both(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.1"]

    guard = UrlGuard(resolve=both)
    with pytest.raises(DataRejected, match="isn't on the public internet"):
        await guard.addresses(guard.read("https://example.org/"))


async def test_a_host_is_resolved_once_for_each_look() -> None:
    asked = []

    async def counting(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["93.184.216.34", "93.184.216.34"]

    guard = UrlGuard(resolve=counting)
    assert await guard.addresses(guard.read("https://example.org/a.csv")) == ("93.184.216.34",)
    assert asked == [("example.org", 443)]
