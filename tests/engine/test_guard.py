"""The egress guard, with real children, yt-dlp and ffmpeg: what is not allowed is never even connected to."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import os
import signal
import socket
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from yt_dlp.networking import Request
from yt_dlp.networking.exceptions import TransportError

from reelin.contracts.failures import FailureKind
from reelin.contracts.options import Options
from reelin.contracts.urls import IPAddress, reachable
from reelin.engine.child.downloader import Downloader
from reelin.engine.child.egress import Egress
from reelin.engine.child.extractors import Extractors
from reelin.engine.child.fetched import Fetched
from reelin.engine.environment import environment
from reelin.engine.guard.dial import Dialer, DialFailed
from reelin.engine.guard.heads import BadRequest, answer_for_client, request_of
from reelin.engine.guard.process import GuardProcess
from reelin.engine.guard.proxy import Proxy
from reelin.engine.pool import EnginePool
from reelin.engine.seam import ExtractTask
from reelin.errors import MediaFailure
from reelin.origin.server import Origin
from tests.engine.attacks import Attacker, Victim, routes
from tests.engine.running import (
    STALL_SECONDS,
    Watched,
    bytes_reach,
    gone_within,
    ignore,
    media_of,
    task_for,
)
from tests.waiting import eventually

LOOPBACK_ONE = (ipaddress.ip_network("127.0.0.1/32"),)
SECRET = b"a secret of this machine"
SECTION = {"sections": [{"start_seconds": 0, "end_seconds": 2}]}


@pytest_asyncio.fixture(scope="module")
async def guard() -> GuardProcess:
    return GuardProcess(LOOPBACK_ONE)


@pytest_asyncio.fixture(scope="module")
async def guarded(guard: GuardProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnginePool]:
    hostile = {"NO_PROXY": "*", "no_proxy": "*", "HTTPS_PROXY": "http://127.0.0.2:9", "ftp_proxy": "http://127.0.0.2:9"}
    pool = EnginePool(
        cookies_dir=tmp_path_factory.mktemp("cookies"),
        stall_seconds=STALL_SECONDS,
        guard=guard,
        environment=hostile,
        scratch_root=tmp_path_factory.getbasetemp(),
    )
    await pool.start()
    yield pool
    await pool.close()


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with Victim() as started:
        yield started


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "secret.ts"
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def attacker(victim: Victim, origin: Origin, secret: Path) -> Iterator[Attacker]:
    with Attacker(routes(victim.url, origin.url, origin.reference("/clip.mp4"), str(secret))) as started:
        yield started


async def attack(pool: EnginePool, url: str, folder: Path, **options: object) -> str:
    """How it ended: a failure's kind, or `done`."""
    try:
        await pool.download(task_for(url, folder, **options), ignore)
    except MediaFailure as failure:
        if failure.kind == FailureKind.BLOCKED_ADDRESS:
            assert "is or leads to a private or reserved address" in failure.message
        return str(FailureKind(failure.kind).value)
    return "done"


SPELLINGS = {
    "dotted": "127.0.0.2",
    "with a dot at its end": "127.0.0.2.",
    "decimal": "2130706434",
    "hex": "0x7f000002",
    "hex in parts": "0x7f.0x0.0x0.0x2",
    "octal": "0177.0.0.02",
    "short": "127.2",
    "IPv6-mapped": "[::ffff:127.0.0.2]",
    "IPv6-mapped in hex": "[::ffff:7f00:2]",
    "IPv4-compatible": "[::127.0.0.2]",
    "IPv4-translated": "[::ffff:0:127.0.0.2]",
    "6to4": "[2002:7f00:2::1]",
    "NAT64": "[64:ff9b::7f00:2]",
    "NAT64 of its own": "[64:ff9b:1::7f00:2]",
    "Teredo": "[2001:0:7f00:2::1]",
    "this host": "0.0.0.0",
    "IPv6 loopback": "[::1]",
    "link-local": "[fe80::1]",
    "a cloud's metadata": "169.254.169.254",
    "Oracle's metadata": "192.0.0.192",
    "Azure's platform": "168.63.129.16",
}


@pytest.mark.parametrize("host", SPELLINGS.values(), ids=SPELLINGS)
async def test_an_address_is_blocked_however_it_is_spelt(
    guarded: EnginePool, victim: Victim, tmp_path: Path, host: str
) -> None:
    assert await attack(guarded, f"http://{host}:{victim.port}/x.mp4", tmp_path) == "blocked_address"
    assert victim.connections == 0


@pytest.mark.parametrize("url", ["https://127.0.0.2:{port}/x", "https://[::ffff:127.0.0.2]:{port}/x"])
async def test_a_tunnel_is_refused_like_a_plain_request(
    guarded: EnginePool, victim: Victim, tmp_path: Path, url: str
) -> None:
    assert await attack(guarded, url.format(port=victim.port), tmp_path) == "blocked_address"
    assert victim.connections == 0


BLOCKED = [
    *("/redirect301", "/redirect302", "/redirect307", "/redirect308", "/redirect-tls", "/redirect-scheme-relative"),
    *("/redirect-decimal", "/chain1", "/refresh", "/second-time.mp4"),
    *("/segment.m3u8", "/later-segment.m3u8", "/segment-redirect.m3u8", "/segment-tls.m3u8", "/key.m3u8", "/map.m3u8"),
    *("/master.m3u8", "/dash.mpd", "/content-url", "/video-tag", "/og-video"),
]


@pytest.mark.parametrize("path", BLOCKED)
async def test_what_a_site_leads_to_is_blocked_and_named(
    guarded: EnginePool, attacker: Attacker, victim: Victim, tmp_path: Path, path: str
) -> None:
    assert await attack(guarded, attacker.url + path, tmp_path) == "blocked_address"
    assert victim.connections == 0


@pytest.mark.parametrize(
    "path", ["/segment.m3u8", "/later-segment.m3u8", "/segment-redirect.m3u8", "/segment-tls.m3u8", "/key.m3u8",
             "/map.m3u8", "/second-time.mp4"],
)  # fmt: skip
async def test_ffmpeg_is_blocked_too_when_it_downloads_by_itself(
    guarded: EnginePool, attacker: Attacker, victim: Victim, tmp_path: Path, path: str
) -> None:
    assert await attack(guarded, attacker.url + path, tmp_path, **SECTION) == "blocked_address"
    assert victim.connections == 0


@pytest.mark.parametrize("options", [{}, SECTION], ids=["yt-dlp", "ffmpeg"])
@pytest.mark.parametrize(
    "path",
    ["/file-segment.m3u8", "/path-segment.m3u8", "/concat-segment.m3u8", "/tcp-segment.m3u8", "/rtmp-segment.m3u8",
     "/subfile-segment.m3u8", "/rtsp-tag", "/smil", "/audio.m3u8"],
)  # fmt: skip
async def test_other_protocols_lead_nowhere(
    guarded: EnginePool, attacker: Attacker, victim: Victim, tmp_path: Path, path: str, options: dict[str, object]
) -> None:
    await attack(guarded, attacker.url + path, tmp_path, **options)
    assert victim.connections == 0
    assert not any(SECRET in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("path", "options"),
    [("/thumbnail", {"write_thumbnail": True}), ("/thumbnail-redirect", {"embed_thumbnail": True}),
     ("/subtitles", {"subtitles": {"languages": ["en"]}})],
)  # fmt: skip
async def test_what_comes_with_a_video_is_not_fetched_from_there_either(
    guarded: EnginePool, attacker: Attacker, victim: Victim, tmp_path: Path, path: str, options: dict[str, object]
) -> None:
    assert await attack(guarded, attacker.url + path, tmp_path, **options) in ("done", "blocked_address")
    assert victim.connections == 0


@pytest.mark.parametrize("path", ["/redirect302", "/master.m3u8", "/chain1", "/feed", "/content-url"])
async def test_a_mere_look_is_guarded_as_well(
    guarded: EnginePool, attacker: Attacker, victim: Victim, tmp_path: Path, path: str
) -> None:
    task = ExtractTask(job_id="look", url=attacker.url + path, scratch_dir=str(tmp_path), options=Options())
    try:
        await guarded.extract(task, ignore)
    except MediaFailure as failure:
        assert failure.kind == FailureKind.BLOCKED_ADDRESS
    assert victim.connections == 0


@pytest.mark.parametrize(
    ("path", "options"),
    [("/redirect302", {}), ("/key.m3u8", {}), ("/thumbnail", {"write_thumbnail": True}),
     ("/later-segment.m3u8", SECTION)],
)  # fmt: skip
async def test_without_the_guard_these_attacks_work(
    pool: EnginePool, origin: Origin, secret: Path, tmp_path: Path, path: str, options: dict[str, object]
) -> None:
    with (
        Victim() as victim,
        Attacker(routes(victim.url, origin.url, origin.reference("/clip.mp4"), str(secret))) as attacker,
    ):
        download = asyncio.create_task(attack(pool, attacker.url + path, tmp_path, **options))
        while not download.done() and not victim.connections:
            await asyncio.sleep(0.02)
        download.cancel()
        await asyncio.gather(download, return_exceptions=True)
        assert victim.connections > 0


# Names


class Names(GuardProcess):
    """The proxy in this process, with a name server of its own: each lookup of a name takes its next answer."""

    def __init__(self, answers: dict[str, list[Sequence[str]]]) -> None:
        super().__init__(LOOPBACK_ONE)
        self.asked: list[str] = []
        self._answers = answers

    async def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        proxy = Proxy(Dialer(LOOPBACK_ONE, self._resolve), self.token)
        self._serving = asyncio.create_task(proxy.serve(self._listener))

    async def close(self) -> None:
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        assert self._listener is not None
        self._listener.close()

    async def _resolve(self, host: str) -> Sequence[IPAddress]:
        self.asked.append(host)
        if host not in self._answers:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        answers = self._answers[host]
        return [ipaddress.ip_address(text) for text in (answers.pop(0) if len(answers) > 1 else answers[0])]


@pytest_asyncio.fixture(scope="module")
async def names() -> Names:
    return Names(
        {
            "private.test": [["127.0.0.2"]],
            "private6.test": [["::ffff:127.0.0.2"]],
            "mixed.test": [["127.0.0.1", "127.0.0.2"]],
            "mixed6.test": [["127.0.0.1", "::1"]],
            "rebinding.test": [["127.0.0.1"], ["127.0.0.2"]],
            "good.test": [["127.0.0.1"]],
        }
    )


@pytest_asyncio.fixture(scope="module")
async def named(names: Names, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnginePool]:
    pool = EnginePool(cookies_dir=tmp_path_factory.mktemp("cookies"), stall_seconds=STALL_SECONDS, guard=names)
    await pool.start()
    yield pool
    await pool.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["private.test", "private6.test", "mixed.test", "mixed6.test"])
async def test_a_name_with_any_private_address_is_blocked_and_named(
    named: EnginePool, victim: Victim, tmp_path: Path, host: str, scheme: str
) -> None:
    with pytest.raises(MediaFailure, match=host) as caught:
        await named.download(task_for(f"{scheme}://{host}:{victim.port}/x.mp4", tmp_path), ignore)
    assert caught.value.kind == FailureKind.BLOCKED_ADDRESS
    assert victim.connections == 0


async def test_a_name_that_turns_private_after_the_first_look_is_blocked_then(
    named: EnginePool, names: Names, origin: Origin, victim: Victim, tmp_path: Path
) -> None:
    """DNS rebinding: the first connection goes to the address that was checked, the next lookup is checked anew."""
    url = origin.url_for("/hls/plain/master.m3u8").replace("127.0.0.1", "rebinding.test")
    assert await attack(named, url, tmp_path) == "blocked_address"
    assert names.asked.count("rebinding.test") == 2
    assert victim.connections == 0
    assert origin.requests(url)


async def test_one_connection_is_one_lookup(victim: Victim) -> None:
    names = Names({"turning.test": [["127.0.0.1"], ["127.0.0.2"]]})
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = await Dialer(LOOPBACK_ONE, names._resolve).connect("turning.test", server.getsockname()[1])
        with connection:
            assert connection.getpeername() == server.getsockname()
    assert names.asked == ["turning.test"]


async def test_a_name_that_does_not_exist_is_a_dns_failure(named: EnginePool, tmp_path: Path) -> None:
    for scheme in ("http", "https"):
        with pytest.raises(MediaFailure, match=r"unknown\.test") as caught:
            await named.download(task_for(f"{scheme}://unknown.test/x.mp4", tmp_path / scheme), ignore)
        assert caught.value.kind == FailureKind.DNS


async def test_a_server_that_does_not_answer_is_a_network_failure(guarded: EnginePool, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert await attack(guarded, f"https://127.0.0.1:{port}/x.mp4", tmp_path) == "network"


async def test_a_name_that_is_none_is_a_dns_failure() -> None:
    for host in ("a" * 300, "nul\0byte", "-", "a..b"):
        with pytest.raises(DialFailed) as caught:
            await Dialer(()).connect(host, 80)
        assert caught.value.kind == FailureKind.DNS


# What is allowed


@pytest.mark.parametrize(
    "path",
    ["/clip.mp4", "/audio.m4a", "/hls/plain/master.m3u8", "/hls/aes/master.m3u8", "/hls/av/master.m3u8",
     "/dash/manifest.mpd", "/page/kinds"],
)  # fmt: skip
async def test_what_is_allowed_comes_through_unchanged(
    pool: EnginePool, guarded: EnginePool, origin: Origin, tmp_path: Path, path: str
) -> None:
    direct, through = tmp_path / "direct", tmp_path / "through"
    reference = await pool.download(task_for(origin.url_for(path), direct), ignore)
    downloaded = await guarded.download(task_for(origin.url_for(path), through), ignore)
    assert media_of(downloaded, through) == media_of(reference, direct)


async def test_ffmpeg_downloads_sections_through_the_guard(guarded: EnginePool, origin: Origin, tmp_path: Path) -> None:
    downloaded = await guarded.download(task_for(origin.url_for("/hls/aes/master.m3u8"), tmp_path, **SECTION), ignore)
    assert downloaded.files[0].size_bytes > 100_000


async def test_a_cancelled_download_ends_on_the_other_side_of_the_guard_too(
    guarded: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    url = origin.url_for("/file/5000000/cancelled.mp4", rate=500_000)
    watched = Watched(guarded, task_for(url, tmp_path))
    await watched.reaches(bytes_reach(200_000))
    pid = watched.pid
    watched.outcome.cancel()
    await asyncio.gather(watched.outcome, return_exceptions=True)
    assert await gone_within(1, pid)

    async def stands_still() -> bool:
        before = origin.bytes_sent("/file/5000000/cancelled.mp4")
        await asyncio.sleep(0.2)
        return origin.bytes_sent("/file/5000000/cancelled.mp4") == before

    await eventually(stands_still)
    assert not any(record.finished for record in origin.requests(url))


async def test_a_guard_that_is_killed_comes_back_and_downloads_go_on(
    guard: GuardProcess, guarded: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    url = origin.url_for("/file/3000000/killed.mp4", rate=1_000_000)
    watched = Watched(guarded, task_for(url, tmp_path))
    await watched.reaches(bytes_reach(1_000_000))
    killed, address = guard.pid, guard.address
    os.kill(killed, signal.SIGKILL)
    downloaded = await watched.outcome
    assert media_of(downloaded, tmp_path) == origin.reference(url)
    assert guard.pid != killed
    assert guard.address == address


async def test_no_guard_outlives_its_pool(tmp_path: Path) -> None:
    guard = GuardProcess()
    pool = EnginePool(cookies_dir=tmp_path, guard=guard)
    await pool.start()
    pid = guard.pid
    await pool.close()
    assert not Path(f"/proc/{pid}").exists()


async def test_no_guard_outlives_a_worker_that_is_killed() -> None:
    program = """
import asyncio
from reelin.engine.guard.process import GuardProcess
async def main():
    guard = GuardProcess()
    await guard.start()
    print(guard.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    guard = int(await worker.stdout.readline())
    worker.kill()
    await worker.wait()
    assert await gone_within(2, guard)


# The proxy itself


async def ask(guard: GuardProcess, head: str, password: str | None) -> tuple[int, str]:
    """Status and reason."""

    def talk() -> tuple[int, str]:
        with socket.create_connection(("127.0.0.1", int(guard.address.rpartition(":")[2]))) as connection:
            sent = head
            if password is not None:
                sent += f"Proxy-Authorization: Basic {b64encode(f'x:{password}'.encode()).decode()}\r\n"
            connection.sendall(f"{sent}\r\n".encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            answer.read()
            return answer.status, answer.reason

    return await asyncio.to_thread(talk)


@pytest.mark.parametrize("password", [None, "", "wrong"])
async def test_the_guard_serves_nobody_without_its_token(
    guarded: EnginePool, guard: GuardProcess, origin: Origin, password: str | None
) -> None:
    status, _ = await ask(guard, f"GET {origin.url}/clip.mp4 HTTP/1.1\r\nHost: x\r\n", password)
    assert status == 407


async def test_the_guard_speaks_http_and_tunnels_only(guarded: EnginePool, guard: GuardProcess) -> None:
    for line in ("GET ftp://127.0.0.1/x HTTP/1.1", "CONNECT  HTTP/1.1", "GET http:///x HTTP/1.1", "nonsense",
                 "GET http://127.0.0.1:99999/ HTTP/1.1"):  # fmt: skip
        assert await ask(guard, f"{line}\r\n", guard.token) == (400, "Bad request")
    assert await ask(guard, "CONNECT 127.0.0.2:80 HTTP/1.1\r\n", guard.token) == (403, "Blocked address")


def test_a_request_goes_on_without_what_was_meant_for_the_proxy() -> None:
    request = request_of(
        b"GET http://example.org:81/a?b#c HTTP/1.1\r\nHost: private.test\r\nProxy-Authorization: Basic dTpw\r\n"
        b"Proxy-Connection: keep-alive\r\nRange: bytes=1-\r\nConnection: keep-alive\r\n\r\n"
    )
    assert (request.host, request.port, request.user, request.password) == ("example.org", 81, "u", "p")
    assert request.onward == (
        b"GET /a?b HTTP/1.1\r\nHost: example.org:81\r\nRange: bytes=1-\r\nConnection: close\r\n\r\n"
    )
    with pytest.raises(BadRequest):
        request_of(b"GET http://[::1/x HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    ("head", "bodiless", "chunked"),
    [(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nKeep-Alive: x\r\n\r\n", False, False),
     (b"HTTP/1.0 200 OK\n\n", False, True), (b"HTTP/1.0 200 OK\n\n", True, False),
     (b"HTTP/1.1 304 Not Modified\r\n\r\n", False, False)],
)  # fmt: skip
def test_a_body_of_unknown_length_is_sent_in_chunks_so_that_a_broken_one_shows(
    head: bytes, bodiless: bool, chunked: bool
) -> None:
    passed, in_chunks = answer_for_client(head, bodiless=bodiless)
    assert in_chunks == chunked == (b"Transfer-Encoding: chunked" in passed)
    assert passed.endswith(b"Connection: close\r\n\r\n")
    assert b"Keep-Alive" not in passed


def test_no_header_of_a_page_switches_the_proxy_off(origin: Origin, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    downloader = Downloader(
        {"quiet": True, "proxy": nowhere},
        extractors=Extractors(),
        fetched=Fetched(tmp_path),
        on_video=ignore_all,
        on_wait=ignore_all,
        egress=Egress(None),
    )
    url = origin.url_for("/clip.mp4", key="proxy-header")
    for headers in ({"Ytdl-Request-Proxy": "__noproxy__"}, {"ytdl-request-proxy": origin.url}):
        before = len(origin.log)
        with downloader, pytest.raises(TransportError):
            downloader.urlopen(Request(url, headers=headers))
        with downloader, pytest.raises(TransportError):
            downloader.urlopen(Request(url, proxies={"all": None}))
        assert len(origin.log) == before


def ignore_all(_: object) -> None:
    pass


def test_every_way_past_the_guard_leaves_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("FTP_PROXY", "http://elsewhere:1")
    found = environment({"no_proxy": "*", "https_proxy": "http://elsewhere:1"}, "http://guard:1")
    proxies = {name: value for name, value in found.items() if name.lower().endswith("_proxy")}
    assert set(proxies.values()) == {"http://guard:1"}
    assert {name.lower() for name in proxies} == {"http_proxy", "https_proxy", "all_proxy"}


SPECIAL = """
0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.9 192.0.0.192 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1 192.175.48.1
198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::8.8.8.8
::ffff:10.0.0.1 ::ffff:0:10.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::1 100::1 100:0:0:1::1 2001::1 2001:2::1
2001:10::1 2001:20::1 2001:db8::1 2002:a00:1::1 2620:4f:8000::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1
fec0::1 ff02::1
"""


@pytest.mark.parametrize("text", SPECIAL.split())
def test_no_special_address_is_reachable_unless_it_was_opened(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert not reachable(address, ())
    assert reachable(address, (ipaddress.ip_network(text),))


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::1"])
def test_public_addresses_are_reachable(text: str) -> None:
    assert reachable(ipaddress.ip_address(text), ())
