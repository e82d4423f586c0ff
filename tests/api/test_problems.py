"""Every error is a problem that says what to do; none says anything of this machine."""

from __future__ import annotations

import httpx
import pytest
from structlog.testing import capture_logs

from reelin.errors import Unavailable
from tests.api.service import Api


def _is_problem(answer: httpx.Response, status: int) -> None:
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert problem["status"] == status
    assert problem["title"] and problem["detail"] and problem["instance"] and problem["type"]
    assert isinstance(problem["errors"], list)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/jobs/none", 404),
        ("GET", "/api/videos/none", 404),
        ("GET", "/api/videos/none/files/none", 404),
        ("PUT", "/api/jobs", 405),
        ("POST", "/api/jobs/none/pause", 404),
        ("PUT", "/api/videos", 405),
        ("GET", "/api/jobs?limit=501", 422),
        ("POST", "/api/jobs", 422),
        ("POST", "/api/jobs/none/retry", 404),
    ],
)
async def test_every_error_is_a_problem(api: Api, method: str, path: str, status: int) -> None:
    _is_problem(await api.client.request(method, path), status)


async def test_a_fault_tells_the_log_and_not_the_client(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fault(*_: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(api.library.jobs, "get", fault)
    with capture_logs() as logged:
        answer = await api.client.get("/api/jobs/video-1")
    _is_problem(answer, 500)
    assert "secret" not in answer.text and "RuntimeError" not in answer.text
    assert logged[0]["log_level"] == "error" and logged[0]["exc_info"]


async def test_a_part_that_does_not_answer_is_a_503_with_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("The database", "locked")

    monkeypatch.setattr(api.library.jobs, "get", away)
    answer = await api.client.get("/api/jobs/video-1")
    _is_problem(answer, 503)
    assert answer.headers["retry-after"] == "5"


async def test_a_misspelt_filter_is_told_the_fields_that_there_are(api: Api) -> None:
    answer = await api.client.post("/api/jobs/retry", json={"staet": "failed"})
    assert "Did you mean state?" in answer.json()["errors"][0]["remedy"]
