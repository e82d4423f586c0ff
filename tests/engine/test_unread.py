"""The extractor's own request is the download, where that is safe."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from yt_dlp import YoutubeDL
from yt_dlp.networking import Request, Response
from yt_dlp.networking.exceptions import HTTPError

from reelin.engine.child.partial import Partial
from reelin.engine.child.unread import RestOfFile, Unread
from reelin.engine.child.validator import Version
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


# The rest of a file


ADDRESS = "http://127.0.0.1/film.mp4"
MEDIA = {"Content-Type": "video/mp4", "Last-Modified": "Thu, 01 Jan 2015 00:00:00 GMT"}


class Site:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, status: int = 206, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.headers = MEDIA if headers is None else headers
        self.asked: list[Request] = []
        self.answer: Response | None = None

    def send(self, request: Request) -> Response:
        self.asked.append(request)
        self.answer = Response(io.BytesIO(b"the rest"), request.url, self.headers, self.status)
        if self.status >= 400:
            raise HTTPError(self.answer)
        return self.answer


def left(folder: Path, version: Version, have: int = 40) -> RestOfFile:
    partial = Partial(folder / "media.mp4.part", "film", ADDRESS)
    partial.path.write_bytes(b"x" * have)
    partial.adopt(version)
    return RestOfFile(folder)


WHOLE = Version('"1"', MEDIA["Last-Modified"], 100)


def test_the_first_look_at_a_file_asks_for_what_is_missing_of_it_once(tmp_path: Path) -> None:
    site, rest = Site(), left(tmp_path, WHOLE)
    assert rest.ask(Request("http://127.0.0.1/other.mp4"), site.send) is None and not site.asked
    assert rest.ask(Request(ADDRESS, headers={"Range": "bytes=0-9"}), site.send) is None and not site.asked
    answer = rest.ask(Request(ADDRESS), site.send)
    assert answer is not None and answer is site.answer
    [request] = site.asked
    assert (request.headers["Range"], request.headers["If-Range"]) == ("bytes=40-", '"1"')
    assert rest.ask(Request(ADDRESS), site.send) is None, "a second look is yt-dlp's own"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"Last-Modified": MEDIA["Last-Modified"]}),
        (206, {"Content-Type": "text/html", "Last-Modified": MEDIA["Last-Modified"]}),
        (206, {"Content-Type": "video/mp4"}),
        (204, MEDIA),
        (416, {}),
        (503, {}),
    ],
)
def test_an_answer_that_tells_less_than_a_plain_one_is_closed(
    tmp_path: Path, status: int, headers: dict[str, str]
) -> None:
    site, rest = Site(status, headers), left(tmp_path, WHOLE)
    assert rest.ask(Request(ADDRESS), site.send) is None
    assert len(site.asked) == 1 and site.answer is not None and site.answer.closed


@pytest.mark.parametrize(("status", "headers"), [(403, {}), (404, {}), (429, {}), (503, {"Retry-After": "60"})])
def test_a_refusal_is_the_sites_answer(tmp_path: Path, status: int, headers: dict[str, str]) -> None:
    with pytest.raises(HTTPError):
        left(tmp_path, WHOLE).ask(Request(ADDRESS), Site(status, headers).send)


@pytest.mark.parametrize(
    ("version", "have"),
    [(WHOLE, 0), (WHOLE, 100), (Version('"1"', None, None), 40), (Version('"1"', None, 100, encoded=True), 40)],
    ids=["nothing", "all of it", "unknown length", "encoded"],
)
def test_where_no_rest_is_known_nothing_else_is_asked_for(tmp_path: Path, version: Version, have: int) -> None:
    site = Site()
    assert left(tmp_path, version, have).ask(Request(ADDRESS), site.send) is None
    assert not site.asked


@pytest.mark.parametrize("record", ["", "{", "[]", '{"url_sha256": 7}', '{"identity": ["film"], "version": 1}'])
def test_a_record_that_says_absurd_things_counts_for_nothing(tmp_path: Path, record: str) -> None:
    rest = left(tmp_path, WHOLE)
    (tmp_path / "media.mp4.part.json").write_text(record)
    assert rest.ask(Request(ADDRESS), Site().send) is None
    assert (tmp_path / "media.mp4.part").stat().st_size == 40, "it is the download's to judge"
