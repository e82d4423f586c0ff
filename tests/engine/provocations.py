"""What makes the engine fail, kind by kind: faults of the origin, of a site of its own, of the options and the disk."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any

from reelin.contracts.failures import FailureKind
from reelin.origin.server import Origin

ALWAYS = 99
HLS = "/hls/plain/master.m3u8"
FILE = "/file/300000/kind.mp4"


@dataclass(frozen=True)
class Provocation:
    """`path` of the origin with `faults`, or of the `Site`. `resumed`: after a kill in the middle of the file.

    A file that is given directly is asked for once, and what yt-dlp is told first counts as the page's answer; an
    attempt that goes on from bytes that are there asks for the rest at once.
    """

    kind: FailureKind
    path: str
    faults: Mapping[str, str | int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    on_site: bool = False
    resumed: bool = False
    wait: float | None = None
    #: The wait is told as the date on which it ends.
    dated: bool = False

    def url(self, origin: Origin, site: Site) -> str:
        if "://" in self.path:
            return self.path
        if self.on_site:
            return site.url + self.path
        dates = {"retry_after": formatdate(time() + (self.wait or 0), usegmt=True)} if self.dated else {}
        return origin.url_for(self.path, **self.faults, **dates)


def _page(kind: FailureKind, status: int, **faults: str | int) -> Provocation:
    return Provocation(kind, FILE, {"fail": f"{status}x{ALWAYS}", **faults})


def _rest(
    kind: FailureKind, faults: Mapping[str, str | int], *, wait: float | None = None, dated: bool = False
) -> Provocation:
    """Of a file given directly, of which a killed attempt has fetched the beginning by the first request."""
    return Provocation(kind, FILE, {"rate": 300_000, "skip": 1, **faults}, resumed=True, wait=wait, dated=dated)


def _file(kind: FailureKind, status: int) -> Provocation:
    return _rest(kind, {"fail": f"{status}x{ALWAYS}"})


def _led(kind: FailureKind, status: int) -> Provocation:
    """The rest of a file that a page names."""
    faults = {"seg_rate": 300_000, "seg_skip": 1, "seg_fail": f"{status}x{ALWAYS}"}
    return Provocation(kind, "/page/kind", {"media": FILE, **faults}, resumed=True)


def _fragment(kind: FailureKind, status: int) -> Provocation:
    return Provocation(kind, HLS, {"seg_fail": f"{status}x{ALWAYS}"})


_KIND = FailureKind
PROVOCATIONS: dict[str, Provocation] = {
    "429 on the page": _page(_KIND.RATE_LIMITED, 429),
    "429 on the file": _file(_KIND.RATE_LIMITED, 429),
    "429 on a fragment": _fragment(_KIND.RATE_LIMITED, 429),
    "429 with Retry-After in seconds": Provocation(
        _KIND.RATE_LIMITED, FILE, {"fail": f"429x{ALWAYS}", "retry_after": "17"}, wait=17
    ),
    "429 with Retry-After as a date": Provocation(
        _KIND.RATE_LIMITED, FILE, {"fail": f"429x{ALWAYS}"}, wait=600, dated=True
    ),
    "429 on the file with Retry-After as a date": _rest(
        _KIND.RATE_LIMITED, {"fail": f"429x{ALWAYS}"}, wait=600, dated=True
    ),
    "a challenge instead of a page": Provocation(_KIND.BOT_CHECK, "/challenge", on_site=True),
    "500 on the page": _page(_KIND.SITE_ERROR, 500),
    "503 on the page": _page(_KIND.SITE_ERROR, 503),
    "503 on the file": _file(_KIND.SITE_ERROR, 503),
    "503 on the page with Retry-After": Provocation(
        _KIND.SITE_ERROR, FILE, {"fail": f"503x{ALWAYS}", "retry_after": "23"}, wait=23
    ),
    "503 on the file with Retry-After": _rest(
        _KIND.SITE_ERROR, {"fail": f"503x{ALWAYS}", "retry_after": "23"}, wait=23
    ),
    "503 on a file that a page led to": _led(_KIND.SITE_ERROR, 503),
    "503 on a fragment": _fragment(_KIND.SITE_ERROR, 503),
    "408 on the page": _page(_KIND.SITE_ERROR, 408),
    "408 on the file": _file(_KIND.SITE_ERROR, 408),
    "425 on the page": _page(_KIND.SITE_ERROR, 425),
    "425 on the file": _file(_KIND.SITE_ERROR, 425),
    "an empty file": Provocation(_KIND.SITE_ERROR, "/empty.mp4", on_site=True),
    "a reset": Provocation(_KIND.NETWORK, "/reset.mp4", on_site=True),
    "a short read": Provocation(_KIND.NETWORK, FILE, {"drop_after": 1000, "drop_times": ALWAYS}),
    "a short read of the rest": _rest(_KIND.NETWORK, {"drop_after": 1000, "drop_times": ALWAYS}),
    "a short read of a fragment": Provocation(_KIND.NETWORK, HLS, {"seg_drop_after": 1000, "seg_drop_times": ALWAYS}),
    "a stall": Provocation(_KIND.NETWORK, FILE, {"stall_after": 1000, "stall_times": ALWAYS}),
    "a stall of the rest": _rest(_KIND.NETWORK, {"stall_after": 1000, "stall_times": ALWAYS}),
    "a stall of a fragment": Provocation(_KIND.NETWORK, HLS, {"seg_stall_after": 1000, "seg_stall_times": ALWAYS}),
    "nobody listens": Provocation(_KIND.NETWORK, "http://127.0.0.1:1/video.mp4"),
    "a name that does not exist": Provocation(_KIND.DNS, "http://no-such-host.invalid/video.mp4"),
    "403 on a fragment": _fragment(_KIND.EXPIRED_URL, 403),
    # An attempt that goes on asks the page, or the redirect, anew, and then for the rest: that address has not expired.
    "403 on a file that a page led to": _led(_KIND.FORBIDDEN, 403),
    "403 on a file that a redirect led to": Provocation(
        _KIND.FORBIDDEN,
        "/redirect",
        {"to": f"{FILE}?rate=300000&fail=403x{ALWAYS}&skip=3&key=redirected"},
        resumed=True,
    ),
    "416 on the file": _file(_KIND.RESUME_CONFLICT, 416),
    "streams that ffmpeg cannot merge": Provocation(_KIND.PROCESSING, "/dash/manifest.mpd", {"seg_changed_after": 0}),
    "a file that cannot be opened": Provocation(_KIND.PROCESSING, "/clip.mp4", {"changed_after": 0}),
    "404 on the page": _page(_KIND.NOT_FOUND, 404),
    "404 on the file": _file(_KIND.NOT_FOUND, 404),
    "404 on a fragment": _fragment(_KIND.NOT_FOUND, 404),
    "410 on the page": _page(_KIND.NOT_FOUND, 410),
    "403 on the page": _page(_KIND.FORBIDDEN, 403),
    "403 on a file given directly": _file(_KIND.FORBIDDEN, 403),
    "401 on the page": Provocation(_KIND.LOGIN_REQUIRED, "/login"),
    "401 on the file": _file(_KIND.LOGIN_REQUIRED, 401),
    "402 on the page": _page(_KIND.MEMBERS_ONLY, 402),
    "451 on the page": _page(_KIND.GEO_BLOCKED, 451),
    "451 on the file": _file(_KIND.GEO_BLOCKED, 451),
    "a stream with a key of FairPlay": Provocation(_KIND.DRM, "/drm.m3u8", on_site=True),
    "a format that there is not": Provocation(_KIND.FORMAT_UNAVAILABLE, HLS, options={"format": "137"}),
    "a file above max_bytes": Provocation(_KIND.TOO_LARGE, FILE, options={"max_bytes": 100_000}),
    "a stream above max_bytes": Provocation(_KIND.TOO_LARGE, HLS, options={"max_bytes": 100_000}),
    "a page without a video": Provocation(_KIND.UNSUPPORTED_URL, "/plain"),
    "a text": Provocation(_KIND.UNSUPPORTED_URL, "/text.txt"),
    "a program": Provocation(_KIND.UNSUPPORTED_URL, "/file/300000/setup.exe"),
    "a scheme that nobody speaks": Provocation(_KIND.INVALID_URL, "gopher://127.0.0.1/video.mp4"),
    "an address that is not allowed": Provocation(_KIND.BLOCKED_ADDRESS, "http://127.0.0.2/video.mp4"),
    "a page that leads to such an address": Provocation(
        _KIND.BLOCKED_ADDRESS, "/redirect", {"to": "http://127.0.0.2/video.mp4"}
    ),
    "a Flash film": Provocation(_KIND.UNSAFE_FILE, "/file/300000/film.swf"),
    "a picture with scripts in it": Provocation(_KIND.UNSAFE_FILE, "/file/300000/picture.svg"),
    "a page that refuses the request": _page(_KIND.SITE_CHANGED, 400),
    "a cookie jar that is not there": Provocation(_KIND.BAD_OPTIONS, FILE, options={"cookies": "nobody"}),
    "a selector that is none": Provocation(_KIND.BAD_OPTIONS, FILE, options={"format": "best["}),
}


class Site:
    """What the origin does not do: a challenge, protected streams, empty files, resets."""

    _DRM = (
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
        '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://key",KEYFORMAT="com.apple.streamingkeydelivery"\n'
        "#EXTINF:1,\n0.ts\n#EXT-X-ENDLIST\n"
    )

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        drm = self._DRM.encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(ConnectionError):  # yt-dlp's probe hangs up when it has seen enough.
                    self._answer()

            def _answer(self) -> None:
                if self.path == "/challenge":
                    self._send(403, {"cf-mitigated": "challenge"})
                elif self.path == "/drm.m3u8":
                    self._send(200, {"Content-Type": "application/vnd.apple.mpegurl"}, drm)
                elif self.path == "/empty.mp4":
                    self._send(200, {"Content-Type": "video/mp4"})
                else:
                    self._send(200, {"Content-Type": "video/mp4", "Content-Length": "300000"}, bytes(20_000))
                    self._reset()

            def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()

            def _reset(self) -> None:
                """A close that does not linger is a reset."""
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
