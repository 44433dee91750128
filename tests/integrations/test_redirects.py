"""Redirects, and names that answer differently the next time: neither leads inside."""

from __future__ import annotations

import httpx
import pytest

from integrations.loopback import answer, redirect, served, trusting
from integrations.place import TABLE, Place

pytestmark = pytest.mark.anyio


async def test_redirects_are_followed_to_another_host_and_to_a_relative_place(place: Place) -> None:
    place.server.scripts |= {
        "/a": [redirect(place.url("/b", "other.test"), "301 Moved")],
        "/b": [redirect("c?x=1", "307 Temporary")],
        "/c": [answer(TABLE)],
    }
    assert await place.fetch(place.url("/a"))
    assert place.resolved == ["data.test", "other.test", "other.test"]
    assert [path for path, _ in place.server.asked] == ["/a", "/b", "/c"]


INSIDE = [
    "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/",
    "https://127.1/",
    "https://10.0.0.1/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "//169.254.169.254/",
    "https://user:word@data.test/",
    "file:///etc/passwd",
    "https://data.test:22/",
    "gopher://127.0.0.1/",
    "https://private.test/",
    "https://mixed.test/",
]


@pytest.mark.parametrize("location", INSIDE)
async def test_a_redirect_leads_no_further_than_an_address_that_may_be_given(place: Place, location: str) -> None:
    place.answers |= {"private.test": [["192.168.0.10"]], "mixed.test": [["93.184.216.34", "10.0.0.1"]]}
    place.server.scripts["/a"] = [redirect(location)]
    error = await place.refused(place.url("/a"))
    assert error.code == "E_URL"
    assert "169.254" not in error.message + error.hint, "what a server sent isn't repeated"


async def test_the_control_a_client_that_follows_redirects_by_itself_is_led_inside(place: Place, identity) -> None:
    tls, trust = identity
    async with served({"/secret": answer(b"inside")}, tls=tls, host="127.0.0.2") as inside:
        place.server.scripts["/a"] = [redirect(f"https://127.0.0.2:{inside.port}/secret")]
        assert (await place.refused(place.url("/a"))).code == "E_URL"
        assert inside.asked == []
        context = trusting(trust)
        context.check_hostname = False
        async with httpx.AsyncClient(verify=context, follow_redirects=True, trust_env=False) as naive:
            found = await naive.get(place.url("/a", "127.0.0.1"))
        assert found.text == "inside"
        assert len(inside.asked) == 1


async def test_redirects_in_a_circle_end(place: Place) -> None:
    place.server.scripts |= {"/a": [redirect("/b")], "/b": [redirect("/a")]}
    assert (await place.refused(place.url("/a"))).code == "E_URL"
    assert len(place.server.asked) == 4


async def test_three_redirects_are_followed_and_four_are_not(place: Place) -> None:
    place.server.scripts |= {f"/{n}": [redirect(f"/{n + 1}")] for n in range(4)} | {"/4": [answer(TABLE)]}
    assert await place.fetch(place.url("/1"))
    place.file.unlink()
    assert "more than 3 redirects" in (await place.refused(place.url("/0"))).message


async def test_a_redirect_from_https_to_http_is_refused_even_to_a_host_that_may_be_read_so(place: Place) -> None:
    place.server.scripts["/a"] = [redirect(place.url("/b", "plain.test", "http"))]
    error = await place.refused(place.url("/a"))
    assert error.code == "E_URL"
    assert "from https to http" in error.message


async def test_a_redirect_without_a_place_is_refused(place: Place) -> None:
    place.server.scripts["/a"] = [answer(status="302 Found")]
    assert (await place.refused(place.url("/a"))).code == "E_IO"


# Names that change -------------------------------------------------------------------------------------------------


async def test_a_name_is_connected_to_where_it_was_checked_whatever_it_answers_next(place: Place, identity) -> None:
    tls, _ = identity
    async with served({"/a": answer(b"inside")}, tls=tls, host="127.0.0.2", port=place.server.port) as inside:
        place.answers["data.test"] = [["127.0.0.1"], ["127.0.0.2"]]
        place.server.scripts["/a"] = [answer(TABLE)]
        assert await place.fetch(place.url("/a"))
        assert place.file.read_bytes() == TABLE
        assert place.resolved == ["data.test"]
        place.file.unlink()
        # The next download asks again, and hears the private address.
        assert (await place.refused(place.url("/a"))).code == "E_URL"
        assert inside.asked == []

        # The control checks one answer and connects to the next.
        place.answers["data.test"] = [["127.0.0.1"], ["127.0.0.2"]]
        checked = await place.resolve("data.test", place.server.port)
        assert checked == ["127.0.0.1"]
        (again,) = await place.resolve("data.test", place.server.port)
        async with httpx.AsyncClient(verify=False, trust_env=False) as naive:
            assert (await naive.get(f"https://{again}:{place.server.port}/a")).text == "inside"
        assert len(inside.asked) == 1


async def test_a_name_that_turns_private_between_two_redirects_is_refused(place: Place) -> None:
    place.answers["data.test"] = [["127.0.0.1"], ["127.0.0.2"]]
    place.server.scripts |= {"/a": [redirect("/b")], "/b": [answer(TABLE)]}
    assert (await place.refused(place.url("/a"))).code == "E_URL"
    assert [path for path, _ in place.server.asked] == ["/a"]


async def test_a_name_that_turns_private_before_the_second_attempt_is_refused(place: Place) -> None:
    place.answers["data.test"] = [["127.0.0.1"], ["10.0.0.1"]]
    place.server.scripts["/a"] = [answer(status="503 Busy"), answer(TABLE)]
    assert (await place.refused(place.url("/a"))).code == "E_URL"


async def test_two_addresses_of_which_one_is_private_are_refused_without_a_connection(place: Place) -> None:
    place.answers["data.test"] = [["127.0.0.1", "127.0.0.2"]]
    assert (await place.refused(place.url("/a"))).code == "E_URL"
    assert place.connects == []
