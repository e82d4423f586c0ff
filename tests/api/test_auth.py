"""The token, and pages of other origins."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import websockets

from reelin.api import auth
from tests.api.service import Api, api_in_memory, api_on_a_socket

TOKEN = "a-long-secret-ö"


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in_memory(tmp_path, api_token=TOKEN) as api:
        yield api


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong-secret"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
@pytest.mark.parametrize("path", ["/api/jobs", "/api/videos", "/api/events", "/api/jobs/x/events", "/api/nothing"])
async def test_without_the_token_nothing_is_answered(guarded: Api, headers: dict[str, str], path: str) -> None:
    answer = await guarded.client.get(path, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "REELIN_API_TOKEN" in answer.json()["errors"][0]["remedy"]


async def test_the_token_opens_by_header_and_by_query(guarded: Api) -> None:
    for headers, params in (({"Authorization": f"Bearer {TOKEN}".encode()}, {}), ({}, {"access_token": TOKEN})):
        answer = await guarded.client.get("/api/jobs", headers=headers, params={"limit": 1, **params})
        assert answer.status_code == 200, answer.text
        assert answer.request.url.params["limit"] == "1"
    assert (await guarded.client.get("/api/jobs", params={"access_token": "wrong"})).status_code == 401


async def test_a_submission_without_the_token_is_not_even_read(guarded: Api) -> None:
    assert (await guarded.client.post("/api/jobs", content=b"{")).status_code == 401
    assert await guarded.stored() == 0


async def test_a_token_is_compared_in_constant_time(guarded: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, known: bytes) -> bool:
        compared.append((given, known))
        return hmac.compare_digest(given, known)

    monkeypatch.setattr(auth, "hmac", SimpleNamespace(compare_digest=compare))
    for wrong in ("x", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper()):
        assert (await guarded.client.get("/api/jobs", params={"access_token": wrong})).status_code == 401
        assert compared.pop() == (wrong.encode(), TOKEN.encode())
    assert not compared


async def test_what_says_how_the_service_is_stays_open(guarded: Api) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        assert (await guarded.client.get(path)).status_code == 200


async def test_without_a_token_set_everything_is_open_and_one_that_is_sent_does_no_harm(api: Api) -> None:
    assert (await api.client.get("/api/jobs", params={"access_token": "x"})).status_code == 200


async def test_a_websocket_needs_the_token(tmp_path: Path) -> None:
    async with api_on_a_socket(tmp_path, api_token="plain-secret") as served:
        url = served.url.replace("http", "ws") + "/api/ws"
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(url)
        assert refused.value.response.status_code == 401
        async with websockets.connect(f"{url}?access_token=plain-secret") as socket:
            assert "connected" in str(await socket.recv())


async def test_a_page_of_another_origin_cannot_open_a_websocket(served: Api) -> None:
    url = served.url.replace("http", "ws") + "/api/ws"
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(url, origin=origin)  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
    async with websockets.connect(url, origin=served.url) as socket:  # type: ignore[arg-type]
        assert "connected" in str(await socket.recv())


async def test_a_page_of_another_site_cannot_change_anything(api: Api) -> None:
    job = await api.submit()
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert (await api.client.post(f"{job.links.self}/cancel", headers=foreign)).status_code == 403
    assert (await api.client.delete(job.links.self, headers=foreign)).status_code == 403
    assert (await api.client.get(job.links.self, headers=foreign)).json()["state"] == "queued"
    own = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}
    assert (await api.client.post(f"{job.links.self}/cancel", headers=own)).status_code == 202


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://localhost.evil.example"]
)
async def test_a_form_of_another_origin_submits_nothing(api: Api, kind: str, origin: str) -> None:
    body = b'{"url": "https://example.org/one", "x": "=y"}'
    answer = await api.client.post("/api/jobs", content=body, headers={"Content-Type": kind, "Origin": origin})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (403, "Origin")
    assert await api.stored() == 0
