"""One file from servers of every kind: with and without versions, ranges and lengths."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from yt_dlp import YoutubeDL
from yt_dlp.networking.exceptions import HTTPError

from reelin.contracts.failures import FailureKind
from reelin.engine.child.direct import DirectFD
from reelin.engine.child.partial import Partial
from reelin.engine.child.transfer import Transfer
from reelin.engine.child.validator import Version
from reelin.errors import MediaFailure

OLD = random.Random("old").randbytes(200_000)
NEW = random.Random("new").randbytes(200_000)
HALF = 100_000
OVERLAP = 16 * 1024


@dataclass
class Site:
    """What the server has, and how it behaves."""

    body: bytes = OLD
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    shifted_by: int = 0
    if_range: bool = True
    length: bool = True
    compress: bool = False
    status: int | None = None
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/file.mp4"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            site.asked.append(asked)
            condition = self.headers.get("If-Range")
            if site.status:
                self._send(site.status, b"", {})
            elif asked and site.ranges and not (site.if_range and condition and condition != site.headers.get("ETag")):
                self._part(asked)
            else:
                body = gzip.compress(site.body) if site.compress else site.body
                self._send(200, body, {"Content-Encoding": "gzip"} if site.compress else {})

        def _part(self, asked: str) -> None:
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
            assert found
            begin, end = int(found[1]) + site.shifted_by, int(found[2] or len(site.body) - 1)
            if begin >= len(site.body):
                self._send(416, b"", {"Content-Range": f"bytes */{len(site.body)}"})
                return
            end = min(end, len(site.body) - 1)
            headers = {"Content-Range": f"bytes {begin}-{end}/{len(site.body)}"}
            self._send(206, site.body[begin : end + 1], headers)

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            length = {"Content-Length": str(len(body))} if site.length else {}
            for name, value in {**site.headers, **length, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def transfer(site: Site, folder: Path, **info: Any) -> bytes:
    path = folder / "media.mp4.part"
    params = {"quiet": True, "retries": 1}
    with YoutubeDL(params, auto_init=False) as downloader:
        fd = DirectFD(downloader, downloader.params)
        asked = {"url": site.url, **info}
        Transfer(fd, Partial(path), asked, on_bytes=lambda *_: None, on_wait=lambda _: None).run()
    return path.read_bytes()


def leave_half(folder: Path, version: Version, have: bytes = OLD[:HALF]) -> None:
    """As a killed attempt does."""
    path = folder / "media.mp4.part"
    path.write_bytes(have)
    Partial(path).adopt(version)


def test_with_an_etag_exactly_the_rest_is_asked_for(tmp_path: Path) -> None:
    leave_half(tmp_path, Version(etag='"1"', total=len(OLD)))
    with serving(Site(headers={"ETag": '"1"'})) as site:
        assert transfer(site, tmp_path) == OLD
    assert site.asked == [f"bytes={HALF}-"]


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"1"'}])
def test_without_a_strong_version_the_last_bytes_are_compared(tmp_path: Path, headers: dict[str, str]) -> None:
    leave_half(tmp_path, Version(etag=headers.get("ETag"), total=len(OLD)))
    with serving(Site(headers=headers)) as site:
        assert transfer(site, tmp_path) == OLD
    assert site.asked == [f"bytes={HALF - OVERLAP}-"]


def test_other_bytes_at_the_seam_mean_another_file(tmp_path: Path) -> None:
    leave_half(tmp_path, Version(total=len(OLD)))
    with serving(Site(body=NEW)) as site:
        assert transfer(site, tmp_path) == NEW
    assert site.asked == [f"bytes={HALF - OVERLAP}-", None]


def test_a_server_that_disregards_if_range_is_seen_through(tmp_path: Path) -> None:
    leave_half(tmp_path, Version(etag='"1"', total=len(OLD)))
    with serving(Site(body=NEW, headers={"ETag": '"2"'}, if_range=False)) as site:
        assert transfer(site, tmp_path) == NEW


def test_another_length_means_another_file(tmp_path: Path) -> None:
    leave_half(tmp_path, Version(total=len(OLD)))
    with serving(Site(body=OLD[:-1])) as site:
        assert transfer(site, tmp_path) == OLD[:-1]


def test_a_complete_part_of_unknown_length_is_recognised_by_the_refusal(tmp_path: Path) -> None:
    leave_half(tmp_path, Version(etag='"1"'), have=OLD)
    with serving(Site(headers={"ETag": '"1"'})) as site:
        assert transfer(site, tmp_path) == OLD
    assert site.asked == [f"bytes={len(OLD)}-"]


def test_a_file_that_became_shorter_than_the_part_is_fetched_afresh(tmp_path: Path) -> None:
    leave_half(tmp_path, Version(etag='"1"'), have=OLD)
    with serving(Site(body=NEW[:HALF], headers={"ETag": '"1"'})) as site:
        assert transfer(site, tmp_path) == NEW[:HALF]
    assert site.asked == [f"bytes={len(OLD)}-", None]


def test_a_body_without_a_length_ends_where_it_ends(tmp_path: Path) -> None:
    with serving(Site(length=False)) as site:
        assert transfer(site, tmp_path) == OLD


def test_what_came_compressed_is_never_resumed(tmp_path: Path) -> None:
    with serving(Site(compress=True)) as site:
        assert transfer(site, tmp_path) == OLD
        leave_half(tmp_path, Version(encoded=True))
        assert transfer(site, tmp_path) == OLD
    assert site.asked == [None, None]


def test_a_site_that_wants_small_requests_gets_them(tmp_path: Path) -> None:
    with serving(Site(headers={"ETag": '"1"'})) as site:
        assert transfer(site, tmp_path, downloader_options={"http_chunk_size": 90_000}) == OLD
    assert site.asked == ["bytes=0-89999", "bytes=90000-179999", "bytes=180000-269999"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_range_of_a_file_is_that_range_whatever_the_server_sends(tmp_path: Path, ranges: bool) -> None:
    with serving(Site(ranges=ranges)) as site:
        assert transfer(site, tmp_path, http_headers={"Range": "bytes=1000-50999"}) == OLD[1000:51000]


def test_a_range_is_resumed_within_itself(tmp_path: Path) -> None:
    leave_half(tmp_path, Version(etag='"1"', total=50_000), have=OLD[1000:21000])
    with serving(Site(headers={"ETag": '"1"'})) as site:
        assert transfer(site, tmp_path, http_headers={"Range": "bytes=1000-50999"}) == OLD[1000:51000]
    assert site.asked == ["bytes=21000-50999"]


def test_a_refusal_is_not_asked_for_twice(tmp_path: Path) -> None:
    with serving(Site(status=403)) as site, pytest.raises(HTTPError):
        transfer(site, tmp_path)
    assert len(site.asked) == 1


def test_a_server_error_is_tried_again_and_then_raised_as_it_is(tmp_path: Path) -> None:
    with serving(Site(status=502)) as site, pytest.raises(HTTPError) as error:
        transfer(site, tmp_path)
    assert (len(site.asked), error.value.status) == (2, 502)


def test_another_part_of_the_file_is_neither_the_rest_nor_the_whole(tmp_path: Path) -> None:
    leave_half(tmp_path, Version(etag='"1"', total=len(OLD)))
    with serving(Site(headers={"ETag": '"1"'}, shifted_by=1000)) as site:
        assert transfer(site, tmp_path) == OLD
        assert site.asked == [f"bytes={HALF}-", None]
        (tmp_path / "media.mp4.part").unlink()
        with pytest.raises(MediaFailure, match="another part of the file"):
            transfer(site, tmp_path, http_headers={"Range": "bytes=1000-50999"})


def test_an_empty_file_is_no_file(tmp_path: Path) -> None:
    with serving(Site(body=b"")) as site, pytest.raises(MediaFailure) as failure:
        transfer(site, tmp_path)
    assert failure.value.kind == FailureKind.SITE_ERROR
