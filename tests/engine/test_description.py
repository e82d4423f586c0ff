from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from reelin.engine.child.description import MAX_DESCRIPTION_LENGTH, MAX_TITLE_LENGTH, describe, extracted

URL = "https://example.org/clips/big%20buck.mp4?x=1"


def described(**info: Any) -> Any:
    return describe({"id": "a1", "title": "A title", "extractor_key": "Example", **info}, URL)


def test_an_ordinary_video_is_described_in_full() -> None:
    metadata = described(
        uploader="Someone",
        duration=12.5,
        upload_date="20240229",
        thumbnail="https://example.org/t.jpg",
        description="First line\nSecond line",
    )
    assert metadata.model_dump() == {
        "url": URL,
        "title": "A title",
        "extractor": "Example",
        "extractor_id": "a1",
        "uploader": "Someone",
        "duration_seconds": 12.5,
        "uploaded_on": date(2024, 2, 29),
        "thumbnail_url": "https://example.org/t.jpg",
        "description": "First line\nSecond line",
    }


@pytest.mark.parametrize(
    ("info", "url", "title"),
    [
        ({"title": None, "fulltitle": "Full"}, URL, "Full"),
        ({"title": ""}, URL, "big buck"),
        ({"title": " \x00\n "}, URL, "big buck"),
        ({"title": {"hostile": 1}}, URL, "big buck"),
        ({"title": 2024}, URL, "2024"),
        ({"title": None, "id": "a1"}, "https://example.org/", "example.org"),
        ({"title": None, "id": "a1"}, "not a url", "not a url"),
        ({"title": None, "id": None}, "http://[", "untitled"),
    ],
)
def test_a_video_without_a_title_is_still_called_something(info: dict[str, Any], url: str, title: str) -> None:
    assert describe(info, url).title == title


def test_an_empty_info_dict_makes_a_whole_description() -> None:
    metadata = describe({}, URL)
    assert (metadata.title, metadata.extractor, metadata.extractor_id) == ("big buck", "Generic", "big buck")


def test_texts_are_one_line_without_control_characters_or_marks_of_direction() -> None:
    assert described(title="a\x00b\x1b[31m\tc\u202egpj.exe\nd\ud800").title == "ab[31m cgpj.exe d"


def test_joiners_stay_because_scripts_and_emoji_are_written_with_them() -> None:
    assert described(title="👩\u200d🚀 می\u200cخواهم").title == "👩\u200d🚀 می\u200cخواهم"


def test_a_description_keeps_its_lines_and_nothing_else_that_is_invisible() -> None:
    assert described(description="one\r\n\r\ntwo\x07\u2028three").description == "one\n\ntwo three"


def test_texts_have_a_length_limit() -> None:
    metadata = described(title="x" * 10_000, description="y" * 100_000, id="z" * 10_000)
    assert len(metadata.title) == MAX_TITLE_LENGTH
    assert len(metadata.description) == MAX_DESCRIPTION_LENGTH
    assert len(metadata.extractor_id) == 200


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "long", True, None, [1]])
def test_a_strange_duration_is_no_duration(value: object) -> None:
    assert described(duration=value).duration_seconds is None


@pytest.mark.parametrize(
    ("info", "day"),
    [
        ({"upload_date": "20241301", "timestamp": 0}, date(1970, 1, 1)),
        ({"upload_date": 20240101, "release_date": "20240102"}, date(2024, 1, 2)),
        ({"release_timestamp": "1704067200"}, date(2024, 1, 1)),
        ({"timestamp": 1e30}, None),
        ({"upload_date": "²0240101"}, None),
        ({}, None),
    ],
)
def test_the_date_comes_from_what_can_be_read_as_one(info: dict[str, Any], day: date | None) -> None:
    assert described(**info).uploaded_on == day


@pytest.mark.parametrize(
    ("info", "uploader"),
    [({"channel": "C"}, "C"), ({"uploader": "", "creator": "K"}, "K"), ({"uploader_id": "@u"}, "@u"), ({}, None)],
)
def test_the_uploader_falls_back_to_channel_creator_and_id(info: dict[str, Any], uploader: str | None) -> None:
    assert described(**info).uploader == uploader


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "file:///etc/passwd", "//x/y", "https://a b/", "http:///x", 5]
)
def test_only_a_web_address_is_a_thumbnail(address: object) -> None:
    assert described(thumbnail=address).thumbnail_url is None


def test_the_best_of_the_listed_thumbnails_is_taken() -> None:
    listed = [{"url": "https://example.org/small.jpg"}, {"url": "https://example.org/large.jpg"}, {"url": "data:x"}]
    assert described(thumbnails=listed).thumbnail_url == "https://example.org/large.jpg"


def test_formats_are_told_in_plain_units() -> None:
    raw = {
        "format_id": "137",
        "ext": "mp4",
        "width": 1920,
        "height": 1080,
        "fps": 29.97,
        "vcodec": "avc1.640028",
        "acodec": "none",
        "filesize_approx": 1000.7,
        "tbr": 2500.5,
        "protocol": "https",
        "format_note": "1080p",
    }
    (only,) = extracted({"id": "a1", "formats": [raw]}, URL).formats
    assert only.model_dump() == {
        "format_id": "137",
        "ext": "mp4",
        "width": 1920,
        "height": 1080,
        "frames_per_second": 29.97,
        "video_codec": "avc1.640028",
        "audio_codec": None,
        "size_bytes": 1000,
        "size_is_estimate": True,
        "bits_per_second": 2_500_500.0,
        "protocol": "https",
        "note": "1080p",
    }


def test_an_exact_size_is_no_estimate() -> None:
    (only,) = extracted({"formats": [{"format_id": "1", "filesize": 10, "filesize_approx": 11}]}, URL).formats
    assert (only.size_bytes, only.size_is_estimate) == (10, False)


def test_strange_formats_are_passed_over_or_emptied() -> None:
    found = extracted({"formats": [None, "x", {"width": -5, "filesize": "big", "fps": math.nan}]}, URL)
    (only,) = found.formats
    assert (only.format_id, only.width, only.size_bytes, only.frames_per_second) == ("unknown", None, None, None)
    assert extracted({"formats": "mp4"}, URL).formats == ()


def test_subtitles_are_the_languages_that_have_tracks() -> None:
    subtitles = {"en": [{"ext": "vtt"}], "de": [{"ext": "vtt"}], "fr": [], "live_chat": [{"ext": "json"}]}
    assert extracted({"subtitles": subtitles}, URL).subtitles == ("de", "en")


def test_chapters_and_live_state_are_told() -> None:
    found = extracted({"chapters": [{"title": "a"}, {"title": "b"}], "live_status": "is_live"}, URL)
    assert (found.chapters, found.is_live) == (2, True)
    assert extracted({}, URL).is_live is False


@pytest.mark.parametrize(
    ("info", "count"),
    [
        ({"_type": "playlist", "entries": [{}, None, {}]}, 3),
        ({"_type": "multi_video", "entries": ()}, 0),
        ({"_type": "playlist", "entries": iter([{}, {}])}, 2),
        ({"_type": "playlist", "entries": iter([{}]), "playlist_count": 7}, 7),
        ({"_type": "playlist"}, 0),
        ({"_type": "video"}, None),
        ({}, None),
    ],
)
def test_a_playlist_counts_its_entries_and_a_video_has_none(info: dict[str, Any], count: int | None) -> None:
    assert extracted({"id": "p", "title": "List", **info}, URL).entries == count


def test_an_endless_playlist_is_counted_to_a_limit() -> None:
    endless: Iterator[dict[str, object]] = iter(dict, None)
    assert extracted({"_type": "playlist", "entries": endless}, URL).entries == 100_000
