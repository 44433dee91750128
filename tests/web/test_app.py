"""The probes tell the truth, and metrics are for those with a key."""

from __future__ import annotations

import asyncio

import pytest

from mcp_server.errors import StorageFailed
from mcp_server.web import app
from web.live import Running, running


def test_a_server_without_dependencies_is_ready(web: Running) -> None:
    assert web.request("GET", "/readyz").json() == {"status": "ready"}


def test_a_failing_dependency_is_named() -> None:
    async def readiness() -> dict[str, str | None]:
        return {"database": "It doesn't answer.", "artefacts": None}

    with running(readiness=readiness) as here:
        answer = here.request("GET", "/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"status": "not ready", "reasons": {"database": "It doesn't answer."}}
        assert here.request("GET", "/livez").status_code == 200


def test_an_error_of_ours_is_the_reason() -> None:
    async def readiness() -> dict[str, str | None]:
        raise StorageFailed("The database is locked.")

    with running(readiness=readiness) as here:
        assert here.request("GET", "/readyz").json()["reasons"] == {"readiness": "The database is locked."}


def test_a_dependency_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "READINESS_SECONDS", 0.05)

    async def readiness() -> dict[str, str | None]:
        await asyncio.Event().wait()
        return {}

    with running(readiness=readiness) as here:
        assert here.request("GET", "/readyz").status_code == 503


def test_startup_is_over_once_it_was_ready() -> None:
    answers = iter([{"database": "It's being opened."}, {}])

    async def readiness() -> dict[str, str | None]:
        return next(answers)

    with running(readiness=readiness) as here:
        assert [here.request("GET", "/startupz").status_code for _ in range(3)] == [503, 200, 200]


def test_metrics_are_in_the_prometheus_format(web: Running) -> None:
    answer = web.request("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE courtside_calls_total counter" in answer.text


def test_an_unknown_path_is_not_found(web: Running) -> None:
    assert web.request("GET", "/nothing").status_code == 404


def test_a_path_is_never_redirected(web: Running) -> None:
    assert web.rpc("tools/list").status_code == 200
    assert web.request("POST", "/mcp/").status_code == 404
