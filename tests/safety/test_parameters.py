"""No option of a client reaches yt-dlp but as one of these parameters, in one of these shapes."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from reelin.contracts.failures import FailureKind
from reelin.contracts.options import PRESETS, Options
from reelin.contracts.urls import check_url
from reelin.engine.child.parameters import parameters
from reelin.engine.cookies import read_jar
from reelin.engine.seam import DownloadTask, ExtractTask
from reelin.errors import InvalidInput, MediaFailure
from tests.safety.hostile import few_options, options, presets, urls

FFMPEG = "/opt/ffmpeg/ffmpeg"
CONTAINERS = ("mp4", "mkv", "webm")
AUDIO = ("mp3", "m4a", "opus")
CATEGORIES = {"sponsor", "intro", "outro", "selfpromo", "preview", "filler", "interaction", "music_offtopic", "hook"}

Shape = Callable[[Any, Path], bool]


def exactly(*values: Any) -> Shape:
    """One of these, of the same type: 1 is not True."""
    return lambda given, _: any(type(given) is type(value) and given == value for value in values)


def flag(given: Any, _: Path) -> bool:
    return isinstance(given, bool)


def whole(low: int, high: int | None = None) -> Shape:
    return lambda given, _: type(given) is int and low <= given and (high is None or given <= high)


def selector(given: Any, _: Path) -> bool:
    """The one text of a client that yt-dlp sees, and reads as a selector of formats only."""
    return isinstance(given, str) and 0 < len(given) <= 500


def languages(given: Any, _: Path) -> bool:
    return all(re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", each) for each in given)


def sleeps(given: Any, _: Path) -> bool:
    return set(given) == {"http", "fragment", "file_access", "extractor"} and all(map(callable, given.values()))


def names(given: Any, _: Path) -> bool:
    return set(given.values()) <= {"media.%(ext)s", "media-%(section_number)03d.%(ext)s", ""}


def ranges(given: Any, _: Path) -> bool:
    found = list(given({"id": "x", "duration": 1_000_000}, None))
    return all(
        type(each["index"]) is int
        and 0 <= each["start_time"] < each["end_time"] <= 1_000_000
        and not any(isinstance(value, str) for value in each.values())
        for each in found
    )


STEPS: dict[str, dict[str, Shape]] = {
    "SponsorBlock": {"categories": lambda given, _: set(given) <= CATEGORIES, "when": exactly("after_filter")},
    "FFmpegThumbnailsConvertor": {"format": exactly("webp>jpg/avif>jpg/heic>jpg"), "when": exactly("before_dl")},
    "FFmpegExtractAudio": {"preferredcodec": exactly(*AUDIO)},
    "FFmpegVideoRemuxer": {"preferedformat": exactly(*CONTAINERS)},
    "FFmpegEmbedSubtitle": {"already_have_subtitle": exactly(False)},
    "ModifyChapters": {
        "remove_sponsor_segments": lambda given, _: given <= CATEGORIES,
        "force_keyframes": exactly(False),
    },
    "FFmpegMetadata": {"add_metadata": flag, "add_chapters": flag, "add_infojson": exactly(False)},
    "EmbedThumbnail": {"already_have_thumbnail": flag},
}


def steps(given: Any, scratch: Path) -> bool:
    return all(
        step.keys() == STEPS[step["key"]].keys() | {"key"}
        and all(shape(step[name], scratch) for name, shape in STEPS[step["key"]].items())
        for step in given
    )


ALLOWED: dict[str, Shape] = {
    "allow_playlist_files": exactly(False),
    "allowed_extractors": exactly(["default"]),
    "cachedir": exactly(False),
    "color": exactly("never"),
    "concurrent_fragment_downloads": whole(1, 16),
    "continuedl": exactly(True),
    "cookiefile": lambda given, _: isinstance(given, io.StringIO),  # no file at all
    "download_ranges": ranges,
    "enable_file_urls": exactly(False),
    "external_downloader": exactly({"default": "native"}),
    "external_downloader_args": exactly(
        {"ffmpeg_i": ["-protocol_whitelist", "http,https,tcp,tls,crypto,httpproxy,data"]}
    ),
    "extract_flat": exactly("in_playlist"),
    "extractor_retries": exactly(2),
    "ffmpeg_location": exactly(FFMPEG),
    "file_access_retries": exactly(3),
    "final_ext": exactly(*CONTAINERS, *AUDIO),
    "fixup": exactly("force"),
    "force_keyframes_at_cuts": exactly(False),
    "format": selector,
    "format_sort": exactly(["ext"]),
    "fragment_retries": exactly(5),
    "hls_prefer_native": exactly(True),
    "ignoreerrors": exactly(False),
    "lazy_playlist": exactly(False),
    "merge_output_format": exactly(*CONTAINERS),
    "no_warnings": exactly(True),
    "nopart": exactly(False),
    "noplaylist": exactly(False),
    "noprogress": exactly(True),
    "outtmpl": names,
    "overwrites": exactly(True),
    "paths": lambda given, scratch: given == {"home": str(scratch), "temp": str(scratch)},
    "postprocessors": steps,
    "prefer_free_formats": exactly(True),
    "quiet": exactly(True),
    "ratelimit": lambda given, scratch: given is None or whole(1024)(given, scratch),
    "remote_components": exactly([]),
    "retries": exactly(3),
    "retry_sleep_functions": sleeps,
    "skip_download": exactly(True),
    "skip_unavailable_fragments": exactly(False),
    "socket_timeout": exactly(15),
    "subtitleslangs": languages,
    "subtitlesformat": exactly("vtt/best"),
    "updatetime": exactly(False),
    "usenetrc": exactly(False),
    "writeautomaticsub": flag,
    "writesubtitles": exactly(True),
    "writethumbnail": flag,
}


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """With a jar for `cookies=jar`, and none for `cookies=other`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "scratch"
        (Path(place) / "cookies").mkdir()
        (Path(place) / "cookies" / "jar.txt").write_text("# Netscape HTTP Cookie File\n")
        folder.mkdir()
        yield folder


def accepted(wanted: dict[str, Any]) -> Options:
    try:
        return Options.model_validate(wanted)
    except ValidationError:
        assume(False)
        raise


def made(task: DownloadTask | ExtractTask, scratch: Path) -> dict[str, Any]:
    """What yt-dlp would be given; nothing, where the options are refused in a child."""
    try:
        name = task.options.cookies
        cookies = None if name is None else read_jar(scratch.parent / "cookies", name)
        return parameters(task, ffmpeg=FFMPEG, cookies=cookies)
    except MediaFailure as failure:
        assert failure.kind == FailureKind.BAD_OPTIONS
        return {}


def assert_allowed(given: dict[str, Any], scratch: Path) -> None:
    assert given.keys() <= ALLOWED.keys()
    for name, value in given.items():
        assert ALLOWED[name](value, scratch), (name, value)


@given(st.one_of(few_options, few_options, options), presets)
@example({"format": "--exec id"}, "best")
@example({"cookies": "jar", "sections": [{"start_seconds": 1, "end_seconds": 2.5}]}, "best")
@example({"embed_metadata": True, "embed_thumbnail": True, "container": "mkv"}, "720p")
@example({"sponsorblock": {"mark": ["intro"], "remove": ["sponsor"]}, "container": "mp3"}, "audio-mp3")
@example({"subtitles": {"languages": ["en"], "embed": True}, "container": "webm"}, "best")
def test_no_option_reaches_another_parameter_or_another_shape(
    scratch: Path, wanted: dict[str, Any], preset: str
) -> None:
    task = DownloadTask(
        job_id="video-1", url="https://example.org/", scratch_dir=str(scratch), preset=preset, options=accepted(wanted)
    )
    given = made(task, scratch)
    assert_allowed(given, scratch)
    if given:
        assert given["format"] == (task.options.format or PRESETS[preset])


@given(few_options)
def test_a_look_takes_no_option_but_the_cookies(scratch: Path, wanted: dict[str, Any]) -> None:
    task = ExtractTask(job_id="info-1", url="https://example.org/", scratch_dir=str(scratch), options=accepted(wanted))
    given = made(task, scratch)
    assert_allowed(given, scratch)
    assert given.keys().isdisjoint({"outtmpl", "postprocessors", "download_ranges", "external_downloader_args"})


@given(urls)
@example("https://example.org/#__youtubedl_smuggle=%7B%7D")
@example("-https://example.org/")
@example("http://**bold**/")
@example("http://`x`/<b>")
def test_a_url_that_is_taken_is_http_without_anything_that_a_program_or_markup_could_read(url: str) -> None:
    try:
        taken = check_url(url)
    except InvalidInput:
        return
    assert re.match(r"https?://[^/]", taken, re.IGNORECASE)
    assert taken.isprintable() and not re.search(r"\s", taken)
    host = re.split(r"[/?#]", taken.partition("://")[2])[0]
    assert not set(host) & set("*_`<>()!\"'$%&;|{}@^~,\\") - {"_"}, host
