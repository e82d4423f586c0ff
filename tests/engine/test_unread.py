"""The extractor's own request is the download, where that is safe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from yt_dlp import YoutubeDL
from yt_dlp.networking import Request, Response

from reelin.engine.child.unread import Unread
from reelin.engine.pool import EnginePool
from reelin.origin.server import Origin
from tests.engine.running import ignore, media_of, task_for

SIZE = 900_000


@pytest.fixture
def site() -> Iterator[YoutubeDL]:
    with YoutubeDL({"quiet": True, "proxy": ""}) as downloader:
        yield downloader


def noted(site: YoutubeDL, url: str) -> tuple[Unread, Response]:
    unread, request = Unread(), Request(url)
    answer = site.urlopen(request)
    unread.note(request, answer)
    return unread, answer


async def test_a_direct_file_is_asked_for_once(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    url = origin.url_for(f"/file/{SIZE}/asked-for-once.mp4")
    downloaded = await pool.download(task_for(url, tmp_path), ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(url)
    (request,) = origin.requests(url)
    assert request.bytes_sent == SIZE


async def test_a_redirect_to_a_file_leads_to_one_request_for_it(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    target = f"/file/{SIZE}/redirected-to.mp4"
    downloaded = await pool.download(task_for(origin.url_for("/redirect", to=target), tmp_path), ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(target)
    # One by the redirect, which yt-dlp then looks at again by its own address.
    assert len(origin.requests(target)) == 2


def test_an_untouched_answer_is_taken_once(site: YoutubeDL, origin: Origin) -> None:
    url = origin.url_for("/tiny.mp4")
    unread, answer = noted(site, url)
    assert unread.take(Request(url)) is answer
    assert unread.take(Request(url)) is None
    assert answer.read() == origin.reference(url)


def test_an_answer_that_was_read_from_is_asked_for_again(site: YoutubeDL, origin: Origin) -> None:
    url = origin.url_for("/tiny.mp4")
    unread, answer = noted(site, url)
    assert len(answer.read(1)) == 1
    assert unread.take(Request(url)) is None
    assert answer.closed


@pytest.mark.parametrize(
    "headers", [{"Range": "bytes=9-"}, {"range": "bytes=9-"}, {"If-Range": '"a"'}], ids=["Range", "range", "If-Range"]
)
def test_a_part_of_the_file_is_another_request(site: YoutubeDL, origin: Origin, headers: dict[str, str]) -> None:
    url = origin.url_for("/tiny.mp4")
    unread, answer = noted(site, url)
    assert unread.take(Request(url, headers=headers)) is None
    assert answer.closed


def test_another_address_is_another_request(site: YoutubeDL, origin: Origin) -> None:
    unread, answer = noted(site, origin.url_for("/tiny.mp4"))
    assert unread.take(Request(origin.url_for("/clip.mp4"))) is None
    assert answer.closed


def test_a_page_is_never_kept(site: YoutubeDL, origin: Origin) -> None:
    url = origin.url_for("/page/one")
    unread, answer = noted(site, url)
    assert unread.take(Request(url)) is None
    assert not answer.closed
    answer.close()


def test_what_nobody_takes_is_closed(site: YoutubeDL, origin: Origin) -> None:
    unread, answer = noted(site, origin.url_for("/tiny.mp4"))
    unread.drop()
    assert answer.closed
