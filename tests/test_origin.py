"""The local media server: what it serves, how it misbehaves, and that the real yt-dlp takes all of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import imageio_ffmpeg
import pytest
import yt_dlp

from reelin.origin.content import CHUNK_BYTES, Padded
from reelin.origin.delivery import parse_range
from reelin.origin.faults import Faults, plan
from reelin.origin.log import answers
from reelin.origin.media import MediaNotMade, make_media
from reelin.origin.pages import ODD_LINKS
from reelin.origin.process import OriginProcess
from reelin.origin.server import Origin
from reelin.origin.shaping import Pace
from reelin.origin.turnstile import Turnstile
from tests.origin.fixtures import media_folder
from tests.waiting import PATIENCE, promised, until

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


# Direct files


def test_a_direct_file_arrives_whole_with_length_and_validators(origin: Origin) -> None:
    answer = httpx.get(origin.url_for("/clip.mp4"))
    assert answer.status_code == 200
    assert answer.content == origin.reference("/clip.mp4")
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["last-modified"] == "Thu, 01 Jan 2015 00:00:00 GMT"


def test_head_tells_the_length_and_sends_no_body(origin: Origin) -> None:
    path = "/file/300000/head.mp4"
    answer = httpx.head(origin.url_for(path, rate=1000))
    assert (answer.headers["content-length"], answer.content) == ("300000", b"")
    assert [(record.method, record.bytes_sent) for record in origin.requests(path)] == [("HEAD", 0)]


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=10-", (10, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=100-", (100, 100)),
        ("bytes=500-600", (100, 100)),
        ("bytes=-0", (100, 100)),
        ("bytes=9-5", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("items=0-1", None),
        (None, None),
    ],
)
def test_a_range_header_is_read_as_the_standard_says(header: str | None, span: tuple[int, int] | None) -> None:
    assert parse_range(header, 100) == span


@pytest.mark.parametrize("path", ["/clip.mp4", "/file/2000000/range.mp4"])
@pytest.mark.parametrize("span", [(0, 1), (1, 30_000), (700_000, 1_055_736), (65_521, 131_042)])
def test_a_range_is_that_part_of_the_file(origin: Origin, path: str, span: tuple[int, int]) -> None:
    start, stop = span
    reference = origin.reference(path)
    answer = httpx.get(origin.url_for(path), headers={"Range": f"bytes={start}-{stop - 1}"})
    assert answer.status_code == 206
    assert answer.content == reference[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(reference)}"


def test_a_range_behind_the_end_is_refused(origin: Origin) -> None:
    answer = httpx.get(origin.url_for("/clip.mp4"), headers={"Range": "bytes=1055736-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */1055736"


def test_if_range_gives_the_part_only_while_the_file_is_the_same(origin: Origin) -> None:
    url = origin.url_for("/clip.mp4")
    known = httpx.head(url).headers
    for validator, status in [
        (known["etag"], 206),
        (known["last-modified"], 206),
        ('"another"', 200),
        ("Fri, 02 Jan 2015 00:00:00 GMT", 200),
    ]:
        answer = httpx.get(url, headers={"Range": "bytes=5-", "If-Range": validator})
        assert answer.status_code == status


def test_files_of_any_size_differ_by_name_and_play(origin: Origin, tmp_path: Path) -> None:
    first, second = (httpx.get(origin.url_for(f"/file/200000/{name}.mp4")).content for name in ("a", "b"))
    assert len(first) == len(second) == 200_000
    assert first != second
    assert first == origin.reference("/file/200000/a.mp4")
    (tmp_path / "a.mp4").write_bytes(first)
    probe = subprocess.run(
        [FFMPEG, "-v", "error", "-xerror", "-i", tmp_path / "a.mp4", "-f", "null", "-"], capture_output=True
    )
    assert (probe.returncode, probe.stderr) == (0, b"")


def test_a_large_file_is_made_on_the_way_and_its_parts_fit_together() -> None:
    content = Padded(b"b" * 1000, 5 * 2**32, "huge.mp4")
    assert sum(len(chunk) for chunk in content.chunks(0, 3 * CHUNK_BYTES + 7)) == 3 * CHUNK_BYTES + 7
    tail = b"".join(content.chunks(5 * 2**32 - 100_000, 5 * 2**32))
    assert tail[-50_000:] == b"".join(content.chunks(5 * 2**32 - 50_000, 5 * 2**32))
    whole = b"".join(content.chunks(0, 300_000))
    assert whole[123:200_123] == b"".join(content.chunks(123, 200_123))


def test_a_file_too_small_to_play_is_not_found_and_the_answer_says_why(origin: Origin) -> None:
    answer = httpx.get(origin.url_for("/file/10/a.mp4"))
    assert answer.status_code == 404
    assert "at least" in answer.text


# Faults


@pytest.mark.parametrize("rate", [400_000, 4_000_000])
def test_at_no_moment_has_more_arrived_than_the_rate_allows(origin: Origin, rate: int) -> None:
    n_bytes, received, parts = rate // 2, 0, 0
    began = time.monotonic()
    with httpx.stream("GET", origin.url_for(f"/file/{n_bytes}/rate.mp4", rate=rate)) as answer:
        for part in answer.iter_raw():
            received, parts = received + len(part), parts + 1
            assert received <= rate * (time.monotonic() - began) + 1
    assert (received, parts >= 10) == (n_bytes, True)


def test_a_body_flows_evenly_at_its_rate() -> None:
    pace = Pace(1_000_000)
    assert pace.slice_bytes == 20_000
    now, sent = 100.0, []
    for _ in range(50):
        now = pace.next_at(pace.slice_bytes, now)
        sent.append(now)
    assert sent == pytest.approx([100 + 0.02 * number for number in range(1, 51)])


def test_what_a_busy_machine_held_up_is_caught_up_with_and_a_long_pause_is_not() -> None:
    pace = Pace(1_000_000)
    first = pace.next_at(20_000, 100.0)
    assert first == pytest.approx(100.02)
    late = first + 0.2
    caught_up = [pace.next_at(20_000, late) for _ in range(10)]
    assert max(caught_up) == pytest.approx(late), "as if nothing had held it up"
    assert pace.next_at(20_000, late) == pytest.approx(late + 0.02)
    much_later = late + 60
    at_once = 0
    while pace.next_at(20_000, much_later) <= much_later:
        at_once += 20_000
    assert at_once == pytest.approx(250_000, abs=20_000), "a link gives no more than its rate"


def test_latency_delays_the_answer(origin: Origin) -> None:
    began = time.monotonic()
    assert httpx.get(origin.url_for("/text.txt", latency_ms=150)).status_code == 200
    assert time.monotonic() - began >= 0.15


def test_fail_answers_so_often_and_then_succeeds(origin: Origin) -> None:
    url = origin.url_for("/clip.mp4", fail="503x2", retry_after=7)
    answers = [httpx.get(url) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["retry-after"] == "7"


def test_each_key_is_counted_for_itself(origin: Origin) -> None:
    urls = [origin.url_for("/text.txt", fail="404x1") for _ in range(2)]
    assert urls[0] != urls[1]
    assert [httpx.get(url).status_code for url in [*urls, *urls]] == [404, 404, 200, 200]


def test_skip_spares_the_first_requests(origin: Origin) -> None:
    url = origin.url_for("/text.txt", fail="403x1", skip=1)
    assert [httpx.get(url).status_code for _ in range(3)] == [200, 403, 200]


def test_drop_closes_the_connection_after_exactly_so_many_bytes(origin: Origin) -> None:
    path = "/file/200000/drop.mp4"
    url = origin.url_for(path, drop_after=70_001, drop_times=2)
    for _ in range(2):
        received = 0
        with pytest.raises(httpx.RemoteProtocolError), httpx.stream("GET", url) as answer:
            for part in answer.iter_raw():
                received += len(part)
        assert received == 70_001
    assert httpx.get(url).content == origin.reference(path)
    assert [record.bytes_sent for record in origin.requests(path)] == [70_001, 70_001, 200_000]
    assert [record.finished for record in origin.requests(path)] == [False, False, True]


def test_stall_sends_so_much_and_then_nothing(origin: Origin) -> None:
    path = "/file/200000/stall.mp4"
    url = origin.url_for(path, stall_after=1000)
    received = 0
    with pytest.raises(httpx.ReadTimeout), httpx.stream("GET", url, timeout=0.3) as answer:
        for part in answer.iter_raw():
            received += len(part)
    assert received == 1000
    assert httpx.get(url).content == origin.reference(path)


def test_faults_come_one_after_the_other() -> None:
    faults = Faults.parse({"fail": "503x1", "drop_after": "10", "stall_after": "20", "skip": "1"})
    plans = [plan(faults, number) for number in range(1, 6)]
    assert [(one.fail_status, one.drop_after, one.stall_after) for one in plans] == [
        (None, None, None),
        (503, None, None),
        (None, 10, None),
        (None, None, 20),
        (None, None, None),
    ]


def test_ignore_range_always_sends_everything(origin: Origin) -> None:
    answer = httpx.get(origin.url_for("/clip.mp4", ignore_range=1), headers={"Range": "bytes=100-"})
    assert answer.status_code == 200
    assert answer.content == origin.reference("/clip.mp4")


@pytest.mark.parametrize(("validators", "sent"), [("etag", {"etag"}), ("date", {"last-modified"}), ("none", set())])
def test_a_server_may_name_a_files_version_in_one_way_or_in_none(
    origin: Origin, validators: str, sent: set[str]
) -> None:
    headers = httpx.get(origin.url_for("/clip.mp4", validators=validators)).headers
    assert {name for name in ("etag", "last-modified") if name in headers} == sent


def test_no_length_sends_chunks(origin: Origin) -> None:
    answer = httpx.get(origin.url_for("/clip.mp4", no_length=1, rate=10_000_000), headers={"Range": "bytes=100-"})
    assert answer.status_code == 200
    assert "content-length" not in answer.headers
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.content == origin.reference("/clip.mp4")


@pytest.mark.parametrize("path", ["/clip.mp4", "/file/200000/changed.mp4"])
def test_changed_content_has_the_same_length_and_other_validators(origin: Origin, path: str) -> None:
    url = origin.url_for(path, changed_after=1)
    before, after = httpx.get(url), httpx.get(url)
    assert before.content == origin.reference(path)
    assert after.content == origin.reference(path, generation=1) != before.content
    assert len(after.content) == len(before.content)
    assert after.headers["etag"] != before.headers["etag"]
    assert after.headers["last-modified"] != before.headers["last-modified"]
    stale = httpx.get(url, headers={"Range": "bytes=10-", "If-Range": before.headers["etag"]})
    assert stale.status_code == 200


def test_faults_combine(origin: Origin) -> None:
    path = "/file/100000/combined.mp4"
    url = origin.url_for(path, rate=200_000, drop_after=40_000, fail="500x1", latency_ms=20)
    assert httpx.get(url).status_code == 500
    began = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url)
    assert time.monotonic() - began >= 0.2 + 0.02
    resumed = httpx.get(url, headers={"Range": "bytes=40000-"})
    assert resumed.content == origin.reference(path)[40_000:]


@pytest.mark.parametrize("query", ["rate=fast", "rate=0", "fail=x", "fail=99x1", "drop_after=-1"])
def test_a_fault_that_cannot_be_read_is_refused(origin: Origin, query: str) -> None:
    assert httpx.get(f"{origin.url}/clip.mp4?{query}").status_code == 400


def test_a_misspelt_fault_is_refused_where_the_url_is_made(origin: Origin) -> None:
    with pytest.raises(ValueError, match="drop_afer"):
        origin.url_for("/clip.mp4", drop_afer=3)


# Manifests, feeds, pages


@pytest.mark.parametrize("kind", ["plain", "aes", "av"])
def test_hls_hands_faults_down_to_its_fragments(origin: Origin, kind: str) -> None:
    master = origin.url_for(f"/hls/{kind}/master.m3u8", seg_fail="503x1", key="a b")
    child = httpx.URL(master).join(_uris(httpx.get(master).text)[0])
    assert "seg_fail=503x1" in str(child)
    media = httpx.get(child)
    assert media.status_code == 200
    fragments = [child.join(uri) for uri in _uris(media.text)]
    assert len(fragments) == 15
    assert fragments[0].params["fail"] == "503x1"
    assert fragments[0].params["key"] == "a b"
    assert [httpx.get(fragments[0]).status_code for _ in range(2)] == [503, 200]
    for uri in re.findall(r'URI="([^"]+)"', media.text):
        assert httpx.get(child.join(uri)).content == origin.reference("/hls/aes/media.key")


def test_dash_hands_faults_down_to_its_fragments(origin: Origin) -> None:
    manifest = httpx.get(origin.url_for("/dash/manifest.mpd", seg_rate=5000, seg_key="k"))
    templates = ElementTree.fromstring(manifest.text).findall(".//{*}SegmentTemplate")
    assert len(templates) == 3
    for template in templates:
        assert template.get("media") == "$RepresentationID$-$Number%02d$.m4s?rate=5000&key=k"
        assert template.get("initialization") == "$RepresentationID$-init.m4s?rate=5000&key=k"


def test_a_manifest_without_parameters_is_the_stored_one(origin: Origin) -> None:
    for path in ("/hls/plain/master.m3u8", "/dash/manifest.mpd"):
        assert httpx.get(origin.url_for(path)).content == origin.reference(path)


def test_a_feed_lists_distinct_files(origin: Origin) -> None:
    answer = httpx.get(origin.url_for("/feed/3.rss", size=50_000, name="show", title="A <b> & \x01c", seg_rate=10**6))
    assert answer.headers["content-type"].startswith("application/rss+xml")
    items = ElementTree.fromstring(answer.text).findall("channel/item")
    assert [item.findtext("title") for item in items] == [f"A <b> & c {number}" for number in (1, 2, 3)]
    assert [item.findtext("guid") for item in items] == ["show-1", "show-2", "show-3"]
    urls = [item.find("enclosure").attrib["url"] for item in items]  # type: ignore[union-attr]
    assert urls[1] == origin.url_for("/file/50000/show-2.mp4", rate=10**6)
    assert httpx.get(urls[1]).content == origin.reference(urls[1])
    assert httpx.get(items[0].findtext("link") or "").status_code == 200


@pytest.mark.parametrize("title", ["Plain", "</script><b>&amp;\"'", "../../../etc/passwd", "ünï\u2028中 🐰\n\t%(id)s"])
def test_a_page_carries_any_title_unharmed(origin: Origin, title: str) -> None:
    answer = httpx.get(origin.url_for("/page/one", title=title, key="7"))
    [script] = re.findall(r'<script type="application/ld\+json">(.*?)</script>', answer.text, re.DOTALL)
    data = json.loads(script)
    assert data["name"] == title
    assert data["contentUrl"] == f"{origin.url}/clip.mp4?key=7"
    assert httpx.get(data["thumbnailUrl"]).content[:3] == b"\xff\xd8\xff"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/plain", 200),
        ("/text.txt", 200),
        ("/login", 401),
        ("/status/451", 451),
        ("/status/204", 204),
        ("/status/42", 400),
        ("/redirect", 302),
        ("/nothing", 404),
        ("/hls/../../secret", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
    ],
)
def test_the_other_addresses_answer(origin: Origin, path: str, status: int) -> None:
    answer = httpx.get(origin.url + path)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


# Log, start, stop


def test_the_log_counts_what_was_sent(tmp_path: Path) -> None:
    with Origin(media_folder()) as origin:
        httpx.get(origin.url_for("/clip.mp4", key="q"), headers={"Range": "bytes=0-99"})
        httpx.get(origin.url_for("/text.txt"))
        [record] = origin.requests("/clip.mp4")
        assert (record.range, record.status, record.bytes_sent, record.query) == ("bytes=0-99", 206, 100, "key=q")
        assert origin.bytes_sent("/clip") == 100
        assert origin.bytes_sent() == 100 + len(b"This is text, not a video.\n")
        assert len(httpx.get(f"{origin.url}/_log").json()) == 2
        assert httpx.delete(f"{origin.url}/_log").status_code == 204
        assert origin.log == []


def test_a_client_that_leaves_early_is_not_charged_for_the_rest(origin: Origin) -> None:
    path = "/file/500000000/left.mp4"
    with httpx.stream("GET", origin.url_for(path)) as answer:
        next(answer.iter_raw())
    time.sleep(0.1)  # in which it would go on
    assert origin.bytes_sent(path) < 50_000_000


def test_stopping_hangs_up_at_once_on_open_slow_stalled_and_waiting_connections() -> None:
    origin = Origin(media_folder())
    origin.start()
    paths = [
        "/file/100000/a.mp4?stall_after=10",
        "/file/100000/a.mp4?rate=100",
        "/text.txt?latency_ms=60000",
        "/file/90000000/b.mp4",
        "/text.txt",
    ]
    address = ("127.0.0.1", httpx.URL(origin.url).port or 0)
    connections = [socket.create_connection(address) for _ in [*paths, "silent"]]
    for connection, path in zip(connections, paths, strict=False):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    until(lambda: len(origin.log) == len(paths))
    with promised(1):  # 0.2 on an idle machine
        origin.stop()
    for connection in connections:
        connection.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{address[1]}/")


def test_a_process_of_its_own_serves_the_same_and_its_log_is_read_over_http() -> None:
    with OriginProcess(media_folder()) as origin:
        path = "/file/100000/process.mp4"
        assert httpx.get(origin.url_for(path)).content == origin.reference(path)
        assert [record.bytes_sent for record in origin.requests(path)] == [100_000]
        origin.clear_log()
        assert origin.log == []


def test_a_process_ends_with_whoever_started_it() -> None:
    command = [sys.executable, "-m", "reelin.origin", "--folder", str(media_folder()), "--until-stdin-closes"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert httpx.get(json.loads(process.stdout.readline())["url"]).status_code == 200
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_media_are_made_once_and_the_same_every_time(tmp_path: Path) -> None:
    media = make_media(tmp_path / "media")
    known = make_media(media_folder())
    assert media.files == known.files
    for path in media.files:
        assert (media.folder / path).read_bytes() == (known.folder / path).read_bytes(), path


def test_an_empty_folder_is_not_taken_for_finished_media(tmp_path: Path) -> None:
    with OriginProcess(tmp_path) as origin:
        assert httpx.get(origin.url_for("/clip.mp4")).content == origin.reference("/clip.mp4")
    assert make_media(tmp_path).files == make_media(media_folder()).files


def test_a_folder_with_other_files_is_left_as_it_is_and_named(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"mine")
    command = [sys.executable, "-m", "reelin.origin", "--folder", str(tmp_path)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 2
    assert f"--folder: {tmp_path} is not empty" in refused.stderr and "Traceback" not in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]


def test_media_of_which_some_are_gone_are_not_served_in_part(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    shutil.copytree(media_folder(), folder)
    (folder / "hls/plain/master.m3u8").unlink()
    with pytest.raises(MediaNotMade, match=r"hls/plain/master\.m3u8 is not in it"):
        make_media(folder)


async def test_many_clients_are_served_at_their_rate_at_once(origin: Origin) -> None:
    urls = [origin.url_for(f"/file/100000/many-{number}.mp4", rate=200_000) for number in range(20)]
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        began = time.monotonic()
        answers = await asyncio.gather(*(client.get(url) for url in urls))
        took = time.monotonic() - began
    assert {len(answer.content) for answer in answers} == {100_000}
    assert 0.5 <= took < 20 * 0.5 / 2, "half of what they would take one after the other"


# The real yt-dlp

Download = Callable[..., Path]


@pytest.fixture
def download(tmp_path: Path) -> Download:
    def run(url: str, **options: Any) -> Path:
        parameters = {
            "quiet": True,
            "no_warnings": True,
            "noprogress": True,
            "paths": {"home": str(tmp_path)},
            "outtmpl": "out.%(ext)s",
            "ffmpeg_location": FFMPEG,
            "skip_unavailable_fragments": False,
            "retries": 3,
            "fragment_retries": 3,
            "proxy": "",
            **options,
        }
        with yt_dlp.YoutubeDL(parameters) as client:
            information = client.extract_info(url)
        return Path(information["requested_downloads"][0]["filepath"])

    return run


@pytest.mark.parametrize("path", ["/clip.mp4", "/file/200000/direct.mp4", "/audio.m4a"])
def test_yt_dlp_downloads_a_direct_file_byte_for_byte(origin: Origin, download: Download, path: str) -> None:
    assert download(origin.url_for(path)).read_bytes() == origin.reference(path)


def test_yt_dlp_resumes_a_dropped_file_byte_for_byte(origin: Origin, download: Download) -> None:
    path = "/file/300000/resumed.mp4"
    file = download(origin.url_for(path, drop_after=100_000, skip=1))
    assert file.read_bytes() == origin.reference(path)
    start = re.fullmatch(r"bytes=(\d+)-", origin.requests(path)[-1].range or "")
    assert start is not None
    assert 0 < int(start[1]) <= 100_000


def test_yt_dlp_downloads_the_video_of_a_page(origin: Origin, download: Download) -> None:
    file = download(origin.url_for("/page/one", title="A title", seg_fail="503x1", seg_skip=1))
    assert file.read_bytes() == origin.reference("/clip.mp4")


@pytest.mark.parametrize("kind", ["hls/plain/master.m3u8", "hls/aes/master.m3u8", "dash/manifest.mpd"])
def test_yt_dlp_downloads_every_fragment(origin: Origin, download: Download, kind: str) -> None:
    url = origin.url_for(f"/{kind}", seg_fail="503x1", key=f"fragments {kind}")
    file = download(url, retry_sleep_functions={"fragment": lambda n: 0})
    assert _decoded_frames(file) == 15 * 15


def test_yt_dlp_downloads_separate_sound_and_subtitles(origin: Origin, download: Download) -> None:
    file = download(origin.url_for("/hls/av/master.m3u8"), writesubtitles=True, subtitleslangs=["en"])
    assert _decoded_frames(file) == 15 * 15
    subtitles = file.with_name("out.en.vtt").read_text()
    assert subtitles.count("-->") == 15
    assert "Second 14 of the test pattern" in subtitles


def test_yt_dlp_reads_a_page_completely(origin: Origin) -> None:
    with yt_dlp.YoutubeDL({"quiet": True, "proxy": ""}) as client:
        information = client.extract_info(origin.url_for("/page/one", title="<b>&</b>", uploader="Me"), download=False)
    assert information["title"] == "<b>&</b>"
    assert information["uploader"] == "Me"
    assert information["duration"] == 5
    assert information["upload_date"] == "20150101"
    assert information["thumbnails"][0]["url"] == f"{origin.url}/thumbnail.jpg"
    assert [chapter["title"] for chapter in information["chapters"]] == ["The meadow", "The bunny"]


def test_a_feed_can_repeat_itself_lead_to_itself_and_hold_what_nobody_can_download(origin: Origin) -> None:
    url = origin.url_for("/feed/2.rss", repeat=2, odd=1, loop=1)
    items = ElementTree.fromstring(httpx.get(url).content).findall("./channel/item")
    enclosed = [item.find("enclosure") for item in items]
    addresses = [found.attrib["url"] for found in enclosed if found is not None]
    assert len(addresses) == 4 and len(set(addresses)) == 2
    links = [item.findtext("link") for item, found in zip(items, enclosed, strict=True) if found is None]
    assert links == [*ODD_LINKS, url]


def test_a_feed_of_feeds_leads_to_feeds_with_files_of_their_own(origin: Origin) -> None:
    outer = ElementTree.fromstring(httpx.get(origin.url_for("/feeds/2.rss", items=3, size=50_000)).content)
    inner = [httpx.get(str(link.text)).text for link in outer.findall("./channel/item/link")]
    files = [set(re.findall(r'enclosure url="([^"]+)"', text)) for text in inner]
    assert [len(each) for each in files] == [3, 3] and not files[0] & files[1]


def test_numbers_in_a_feeds_address_must_be_numbers(origin: Origin) -> None:
    for path, name in (("/feed/2.rss", "repeat"), ("/feeds/2.rss", "items"), ("/feed/2.xspf", "size")):
        assert httpx.get(f"{origin.url}{path}?{name}=many").status_code == 400


def test_yt_dlp_reads_xspf_as_a_playlist(origin: Origin) -> None:
    with yt_dlp.YoutubeDL({"quiet": True, "extract_flat": True, "proxy": ""}) as client:
        information = client.extract_info(origin.url_for("/feed/4.xspf"), download=False)
    assert information["_type"] == "playlist"
    assert [entry["title"] for entry in information["entries"]][:2] == ["Video item 1", "Video item 2"]


def test_yt_dlp_reads_a_feed_as_a_playlist(origin: Origin) -> None:
    with yt_dlp.YoutubeDL({"quiet": True, "extract_flat": True, "proxy": ""}) as client:
        information = client.extract_info(origin.url_for("/feed/25.rss"), download=False)
    assert information["_type"] == "playlist"
    assert [entry["title"] for entry in information["entries"]][:2] == ["Video item 1", "Video item 2"]
    assert len({entry["url"] for entry in information["entries"]}) == 25


def _uris(playlist: str) -> list[str]:
    return [line for line in playlist.splitlines() if line and not line.startswith("#")]


def _decoded_frames(file: Path) -> int:
    command = [FFMPEG, "-v", "error", "-xerror", "-i", file, "-map", "0:v", "-map", "0:a", "-f", "null"]
    done = subprocess.run([*command, "-progress", "-", "-"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return int(re.findall(r"^frame=(\d+)$", done.stdout, re.MULTILINE)[-1])


# A site that has had enough


def test_beyond_a_rate_it_answers_429_with_retry_after_until_a_second_has_passed(origin: Origin) -> None:
    urls = [origin.url_for(f"/file/100000/rate-{number}.mp4", max_rate=1, retry_after=3, key="rate") for number in "ab"]
    began = time.time()
    with httpx.Client() as client:
        said: list[httpx.Response] = []

        def answered(url: str, status: int) -> bool:
            said.append(client.head(url))
            return said[-1].status_code == status

        until(lambda: answered(urls[0], 429))
        assert said[-1].headers["retry-after"] == "3"
        assert answered(origin.url_for("/file/100000/a.mp4", max_rate=1, key="another"), 200)
        until(lambda: answered(urls[1], 200))
    records = [record for record in origin.log if "key=rate" in record.query]
    let_in = [record.started_at for record in records if record.status == 200]
    assert all(later - sooner > 0.8 for sooner, later in itertools.pairwise(let_in))
    counted = answers(records, since=began)
    assert counted == {200: len(let_in), 429: len(records) - len(let_in)}


def test_a_rate_counts_those_who_were_let_in_within_the_last_second() -> None:
    now = 0.0
    turnstile, faults = Turnstile(clock=lambda: now), Faults.parse({"max_rate": "5"})

    def passes() -> bool:
        with turnstile.passing(faults) as let_in:
            return let_in

    assert [passes() for _ in range(8)] == [True] * 5 + [False] * 3
    now = 0.99
    assert not passes()
    now = 1.0
    assert [passes() for _ in range(6)] == [True] * 5 + [False], "those that were refused did not count"


async def test_beyond_so_many_connections_it_answers_429(origin: Origin) -> None:
    limits = {"max_connections": 2, "key": "connections", "rate": 200_000}
    urls = [origin.url_for(f"/file/100000/connections-{number}.mp4", **limits) for number in range(5)]
    async with httpx.AsyncClient(timeout=20) as client:
        said = await asyncio.gather(*(client.get(url) for url in urls))
        assert sorted(answer.status_code for answer in said) == [200, 200, 429, 429, 429]
        assert (await client.get(urls[0])).status_code == 200
