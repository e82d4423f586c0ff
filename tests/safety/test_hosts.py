"""A page whose own name resolves to this machine (DNS rebinding) reaches nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import websockets

from reelin.api import hosts
from reelin.api.server import check_exposure
from reelin.errors import SettingsError, StartupError
from reelin.settings import Settings, load_settings
from tests.api.service import Api, api_in_memory, api_on_a_socket

PATHS = ("/api/jobs", "/api/videos", "/api/events", "/api/jobs/x/events", "/docs", "/openapi.json", "/metrics", "/")
OURS = [
    b"localhost",
    b"localhost:8484",
    b"LocalHost",
    b"localhost.",
    b"127.0.0.1",
    b"127.0.0.1:1",
    b"127.8.9.10",
    b"[::1]",
    b"[::1]:8484",
    b"[0:0:0:0:0:0:0:1]",
]
OTHERS = [
    b"evil.example",
    b"evil.example:8484",
    b"EVIL.EXAMPLE.",
    b"localhost.evil.example",
    b"127.0.0.1.evil.example",
    b"evil.example@127.0.0.1",
    b"127.0.0.1@evil.example",
    b"user:word@localhost",
    b"localhost/",
    b"localhost..",
    b"localhost:port",
    b"localhost, evil.example",
    b"local host",
    b"127.0.0.1%00.evil.example",
    b"192.168.1.1",
    b"8.8.8.8",
    b"[::2]",
    b"[fe80::1]",
    b"::1",
    b"[::1",
    b"[evil.example]",
    b".",
    b"\xc4\xb1ocalhost",
    b"",
]


async def ask(api: Api, *host_headers: bytes, request: bytes = b"GET /api/jobs HTTP/1.1") -> tuple[int, dict[str, Any]]:
    """The status and the problem that come back for exactly these header lines."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    lines = [request, *host_headers, b"Connection: close", b"", b""]
    writer.write(b"\r\n".join(lines))
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    status = int(head.split()[1])
    return status, json.loads(body) if b"application/problem+json" in head.lower() else {}


async def test_every_name_of_this_machine_itself_is_answered(served: Api) -> None:
    for host in OURS:
        assert (await ask(served, b"Host: " + host))[0] == 200, host


async def test_any_other_host_is_refused_with_its_name_and_the_remedy(served: Api) -> None:
    for host in OTHERS:
        status, problem = await ask(served, b"Host: " + host)
        assert (status, problem["status"], problem["errors"][0]["field"]) == (421, 421, "Host"), host
        assert repr(host.decode("latin-1")) in problem["errors"][0]["message"]
        assert "REELIN_ALLOWED_HOSTS" in problem["errors"][0]["remedy"]


async def test_a_request_without_a_host_or_with_two_is_refused(served: Api) -> None:
    for lines in ((), (b"Host: localhost", b"Host: evil.example"), (b"Host: localhost", b"host: localhost")):
        status, problem = await ask(served, *lines)
        assert status in (400, 421), lines
        assert not problem or problem["errors"][0]["field"] == "Host"
    assert (await ask(served, request=b"GET /api/jobs HTTP/1.0"))[0] == 421


async def test_every_path_is_guarded_alike(served: Api) -> None:
    for path in PATHS:
        assert (await ask(served, b"Host: evil.example", request=f"GET {path} HTTP/1.1".encode()))[0] == 421, path


async def test_a_submission_over_a_foreign_name_stores_nothing(served: Api) -> None:
    foreign = {"Host": "evil.example:8484", "Origin": "http://evil.example:8484", "Sec-Fetch-Site": "same-origin"}
    answer = await served.client.post("/api/jobs", json={"url": "https://example.org/"}, headers=foreign)
    assert (answer.status_code, await served.stored()) == (421, 0)


async def test_a_websocket_over_a_foreign_name_is_not_opened(served: Api) -> None:
    port = int(served.url.rpartition(":")[2])
    name = f"ws://evil.example:{port}/api/ws"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(name, host="127.0.0.1", port=port, origin=f"http://evil.example:{port}")  # type: ignore[arg-type]
    assert refused.value.response.status_code == 421


@pytest.fixture
async def listed(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_on_a_socket(tmp_path, allowed_hosts="nas.example.org, Media") as api:
        yield api


async def test_names_that_were_allowed_are_answered(listed: Api) -> None:
    for host in (b"nas.example.org", b"NAS.example.org:443", b"nas.example.org.", b"media:8484", b"localhost"):
        assert (await ask(listed, b"Host: " + host))[0] == 200, host
    for host in (b"example.org", b"x.nas.example.org", b"nas.example.org.evil.example"):
        assert (await ask(listed, b"Host: " + host))[0] == 421, host


def without_asking(folder: Path, **settings: object) -> AbstractAsyncContextManager[Api]:
    """As after `reelin up --host 0.0.0.0 --no-auth`."""
    return api_on_a_socket(folder, host="0.0.0.0", **settings)


async def test_off_loopback_addresses_and_the_machines_own_name_are_answered_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts.socket, "gethostname", lambda: "NAS")
    async with without_asking(tmp_path, allowed_hosts="video.example.org") as api:
        for host in (b"192.168.1.5:8484", b"[fd00::5]", b"nas:8484", b"video.example.org", b"localhost"):
            assert (await ask(api, b"Host: " + host))[0] == 200, host
        for host in (b"evil.example", b"nas.evil.example", b"192.168.1.5.evil.example", b""):
            assert (await ask(api, b"Host: " + host))[0] == 421, host


async def test_with_a_token_any_name_will_do_since_a_foreign_page_does_not_know_it(tmp_path: Path) -> None:
    async with api_in_memory(tmp_path, api_token="a-long-secret") as api:
        foreign = {"Host": "video.example.org"}
        assert (await api.client.get("/api/jobs", headers=foreign)).status_code == 401
        known = {**foreign, "Authorization": "Bearer a-long-secret"}
        assert (await api.client.get("/api/jobs", headers=known)).status_code == 200


@pytest.mark.parametrize("hosts", ["http://nas", "nas:8484", "nas/x", "*", "user@nas"])
def test_what_is_no_host_is_refused_as_a_setting(hosts: str) -> None:
    with pytest.raises(SettingsError, match="REELIN_ALLOWED_HOSTS"):
        load_settings(allowed_hosts=hosts)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "nas.example.org", "::ffff:192.168.1.5"])
def test_off_loopback_nothing_starts_without_a_token(host: str) -> None:
    with pytest.raises(StartupError, match=r"REELIN_API_TOKEN.*--no-auth"):
        check_exposure(Settings(host=host), no_auth=False)
    check_exposure(Settings(host=host, api_token="a-long-secret"), no_auth=False)
    check_exposure(Settings(host=host), no_auth=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_no_token_is_needed(host: str) -> None:
    check_exposure(Settings(host=host), no_auth=False)
