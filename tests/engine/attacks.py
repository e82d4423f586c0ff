"""A site that tries to lead a download into the network of its worker, and the victim that must never hear of it."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

#: Allowed is 127.0.0.1 alone, so this one is as private as any.
VICTIM = "127.0.0.2"


class Victim:
    """Counts who connects."""

    def __init__(self) -> None:
        self._listener = socket.create_server((VICTIM, 0))
        self.url = f"http://{VICTIM}:{self.port}"
        self.connections = 0
        self._thread = threading.Thread(target=self._count, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


Answer = tuple[int, dict[str, str], bytes]


class Attacker:
    """Serves `routes[path](times)`; `times` is how often the path was asked for before."""

    def __init__(self, routes: Callable[[str], dict[str, Callable[[int], Answer]]]) -> None:
        asked: Counter[str] = Counter()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                status, headers, body = table[path](asked[path]) if path in table else (404, {}, b"")
                asked[path] += 1
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        table = routes(self.url)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _always(status: int, headers: dict[str, str], text: str | bytes) -> Callable[[int], Answer]:
    body = text if isinstance(text, bytes) else text.encode()
    return lambda _: (status, headers, body)


def _redirect(to: str, status: int = 302) -> Callable[[int], Answer]:
    return _always(status, {"Location": to}, b"")


def _hls(*lines: str) -> Callable[[int], Answer]:
    return _always(200, {"Content-Type": "application/vnd.apple.mpegurl"}, "\n".join(("#EXTM3U", *lines, "")))


def _segments(*urls: str, before: str = "") -> Callable[[int], Answer]:
    listed = [line for url in urls for line in ("#EXTINF:1,", url)]
    head = ("#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2", "#EXT-X-MEDIA-SEQUENCE:0")
    return _hls(*head, *([before] if before else []), *listed, "#EXT-X-ENDLIST")


def _page(body: str) -> Callable[[int], Answer]:
    return _always(200, {"Content-Type": "text/html"}, f"<html><head><title>x</title></head><body>{body}</body></html>")


def _json_ld(**fields: str) -> Callable[[int], Answer]:
    listed = ", ".join(f'"{name}": "{value}"' for name, value in fields.items())
    return _page(
        '<script type="application/ld+json">{"@context": "https://schema.org", "@type": "VideoObject", '
        f'"name": "x", {listed}}}</script>'
    )


def _dash(base: str) -> Callable[[int], Answer]:
    text = f"""<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"
 mediaPresentationDuration="PT4S" profiles="urn:mpeg:dash:profile:isoff-main:2011"><BaseURL>{base}/</BaseURL><Period>
<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000" width="64" height="64" codecs="avc1.4d400d">
<SegmentTemplate media="$Number$.m4s" initialization="i.mp4" startNumber="1" duration="2" timescale="1"/>
</Representation></AdaptationSet></Period></MPD>"""
    return _always(200, {"Content-Type": "application/dash+xml"}, text)


def routes(victim: str, origin: str, clip: bytes, secret: str) -> Callable[[str], dict[str, Callable[[int], Answer]]]:
    """`secret` is a file of this machine, `origin` an allowed media server, `clip` a playable file."""
    v, good = victim, f"{origin}/clip.mp4"
    v_tls = v.replace("http:", "https:")
    segment = f"{origin}/hls/plain/360p-00.ts"

    def second_time(times: int) -> Answer:
        # Not named a video, it has to be looked into, and is asked for once more.
        first = (200, {"Content-Type": "application/octet-stream"}, clip)
        return first if not times else (302, {"Location": f"{v}/x.mp4"}, b"")

    def table(own: str) -> dict[str, Callable[[int], Answer]]:
        return {
            "/redirect301": _redirect(f"{v}/x.mp4", 301),
            "/redirect302": _redirect(f"{v}/x.mp4"),
            "/redirect307": _redirect(f"{v}/x.mp4", 307),
            "/redirect308": _redirect(f"{v}/x.mp4", 308),
            "/redirect-tls": _redirect(f"{v_tls}/x.mp4"),
            "/redirect-scheme-relative": _redirect(v.removeprefix("http:") + "/x.mp4"),
            "/redirect-decimal": _redirect(v.replace("127.0.0.2", "2130706434")),
            "/chain1": _redirect(f"{own}/chain2"),
            "/chain2": _redirect(f"{own}/redirect302"),
            "/refresh": _always(200, {"Refresh": f"0; url={v}/", "Content-Type": "text/html"}, "<html></html>"),
            "/second-time.mp4": second_time,
            "/segment.m3u8": _segments(f"{v}/1.ts"),
            "/later-segment.m3u8": _segments(segment, f"{v}/1.ts"),
            "/segment-redirect.m3u8": _segments(f"{own}/redirect.ts"),
            "/redirect.ts": _redirect(f"{v}/1.ts"),
            "/segment-tls.m3u8": _segments(f"{v_tls}/1.ts"),
            "/key.m3u8": _segments(segment, before=f'#EXT-X-KEY:METHOD=AES-128,URI="{v}/key"'),
            "/map.m3u8": _segments(segment, before=f'#EXT-X-MAP:URI="{v}/init.mp4"'),
            "/master.m3u8": _hls("#EXT-X-STREAM-INF:BANDWIDTH=1000", f"{v}/child.m3u8"),
            "/audio.m3u8": _hls(
                f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",URI="{v}/audio.m3u8"',
                '#EXT-X-STREAM-INF:BANDWIDTH=1000,AUDIO="a",CODECS="avc1.4d400d"',
                f"{origin}/hls/av/360p.m3u8",
            ),
            "/file-segment.m3u8": _segments(f"file://{secret}"),
            "/path-segment.m3u8": _segments(secret),
            "/concat-segment.m3u8": _segments(f"concat:{segment}|{secret}"),
            "/tcp-segment.m3u8": _segments(v.replace("http:", "tcp:")),
            "/rtmp-segment.m3u8": _segments(v.replace("http:", "rtmp:")),
            "/subfile-segment.m3u8": _segments(f"subfile,,start,0,end,9,,:{secret}"),
            "/dash.mpd": _dash(v),
            "/content-url": _json_ld(contentUrl=f"{v}/x.mp4"),
            "/video-tag": _page(f'<video src="{v}/x.mp4"></video>'),
            "/rtsp-tag": _page(f'<video src="{v.replace("http:", "rtsp:")}/x.mp4"></video>'),
            "/og-video": _page(f'<meta property="og:video" content="{v}/x.mp4">'),
            "/thumbnail": _json_ld(contentUrl=good, thumbnailUrl=f"{v}/t.jpg"),
            "/thumbnail-redirect": _json_ld(contentUrl=good, thumbnailUrl=f"{own}/redirect302"),
            "/subtitles": _page(f'<video src="{good}"><track kind="subtitles" srclang="en" src="{v}/s.vtt"></video>'),
            "/feed": _always(
                200,
                {"Content-Type": "application/rss+xml"},
                '<rss version="2.0"><channel><title>x</title><item><title>y</title>'
                f'<enclosure url="{v}/x.mp4" type="video/mp4"/></item></channel></rss>',
            ),
            "/smil": _always(
                200,
                {"Content-Type": "application/smil+xml"},
                f'<?xml version="1.0"?><smil xmlns="http://www.w3.org/2001/SMIL20/Language"><body>'
                f'<video src="{v}/x.mp4"/></body></smil>',
            ),
        }

    return table
