from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from yt_dlp import YoutubeDL
from yt_dlp.globals import plugin_dirs
from yt_dlp.postprocessor import FFmpegPostProcessor

from reelin.contracts.options import PRESETS, Options
from reelin.engine.child.parameters import parameters
from reelin.engine.cookies import read_jar
from reelin.engine.seam import DownloadTask, ExtractTask
from reelin.errors import MediaFailure

#: Every parameter that Reelin ever hands to yt-dlp. A new one is added here on purpose or not at all.
ALLOWED = frozenset(
    re.findall(
        r"\w+",
        """
    allow_playlist_files allowed_extractors cachedir color concurrent_fragment_downloads continuedl cookiefile
    download_ranges enable_file_urls external_downloader external_downloader_args extract_flat extractor_retries
    ffmpeg_location
    file_access_retries final_ext fixup force_keyframes_at_cuts format format_sort fragment_retries hls_prefer_native
    ignoreerrors lazy_playlist merge_output_format no_warnings nopart noplaylist noprogress outtmpl overwrites paths
    postprocessors prefer_free_formats quiet ratelimit remote_components retries retry_sleep_functions
    skip_download skip_unavailable_fragments socket_timeout subtitleslangs subtitlesformat updatetime usenetrc
    writeautomaticsub writesubtitles writethumbnail
    """,
    )
)
FFMPEG = "/opt/ffmpeg/ffmpeg"
EVERYTHING: dict[str, Any] = {
    "format": "bv*[height<=720]+ba/b",
    "container": "mkv",
    "subtitles": {"languages": ["en", "pt-BR"], "automatic": True, "embed": True},
    "write_thumbnail": True,
    "embed_thumbnail": True,
    "embed_metadata": True,
    "embed_chapters": True,
    "sponsorblock": {"mark": ["intro"], "remove": ["sponsor", "selfpromo"]},
    "max_bytes": 1_000_000,
    "rate_limit_bytes_per_second": 65_536,
    "concurrent_fragments": 8,
    "folder": "shows/news",
    "filename": "{uploader} - {title}",
    "items": "1-3",
    "max_items": 2,
    "reverse": True,
    "only_new": True,
}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def made(scratch: Path, *, preset: str = "best", **options: Any) -> dict[str, Any]:
    task = DownloadTask(
        job_id="video-1",
        url="https://example.org/v",
        scratch_dir=str(scratch),
        preset=preset,
        options=Options.model_validate(options),
    )
    return parameters(task, ffmpeg=FFMPEG)


def steps(params: dict[str, Any]) -> list[str]:
    return [step["key"] for step in params["postprocessors"]]


def step(params: dict[str, Any], key: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in params["postprocessors"] if each["key"] == key)
    return found


def test_no_parameter_is_outside_the_allow_list(scratch: Path) -> None:
    looking = ExtractTask(job_id="info-1", url="https://example.org/v", scratch_dir=str(scratch), options=Options())
    seen = set(parameters(looking, ffmpeg=FFMPEG))
    seen |= made(scratch, **EVERYTHING).keys() | made(scratch, container="webm").keys()
    seen |= made(scratch, sections=[{"start_seconds": 1, "end_seconds": 2}]).keys()
    assert seen | {"cookiefile"} == ALLOWED


@pytest.mark.parametrize("preset", PRESETS)
def test_a_real_downloader_can_be_built_from_every_preset(scratch: Path, preset: str) -> None:
    with YoutubeDL(made(scratch, preset=preset), auto_init=False) as downloader:
        assert downloader.params["format"] == PRESETS[preset]
        assert callable(downloader.format_selector)


def test_a_real_downloader_takes_every_option_at_once_and_builds_its_postprocessors(scratch: Path) -> None:
    with YoutubeDL(made(scratch, **EVERYTHING), auto_init=False) as downloader:
        assert {when: len(each) for when, each in downloader._pps.items() if each} == {
            "after_filter": 1,
            "before_dl": 1,
            "post_process": 5,
        }


def test_postprocessors_come_in_the_order_of_ytdlps_command_line(scratch: Path) -> None:
    assert steps(made(scratch, **EVERYTHING)) == [
        "SponsorBlock",
        "FFmpegThumbnailsConvertor",
        "FFmpegVideoRemuxer",
        "FFmpegEmbedSubtitle",
        "ModifyChapters",
        "FFmpegMetadata",
        "EmbedThumbnail",
    ]


def test_by_default_nothing_is_embedded_converted_or_written_beside_the_media(scratch: Path) -> None:
    params = made(scratch)
    assert params["postprocessors"] == []
    assert not params["writethumbnail"]
    assert params.keys().isdisjoint({"merge_output_format", "final_ext", "writesubtitles", "download_ranges"})


def test_names_of_files_hold_no_metadata(scratch: Path) -> None:
    for params in (made(scratch), made(scratch, **EVERYTHING)):
        assert set(params["outtmpl"].values()) == {"media.%(ext)s", ""}
    hostile = {"id": "../../x", "title": "/etc/passwd", "ext": "mp4", "extractor": "~/$HOME", "playlist": ".."}
    with YoutubeDL(made(scratch), auto_init=False) as downloader:
        for kind in ("", "temp", "subtitle", "thumbnail"):
            assert downloader.prepare_filename(hostile, kind) == str(scratch / "media.mp4")


def test_all_work_is_done_in_the_scratch_folder(scratch: Path) -> None:
    assert made(scratch)["paths"] == {"home": str(scratch), "temp": str(scratch)}


def test_two_tasks_share_no_part_of_their_parameters(scratch: Path) -> None:
    first = made(scratch)
    first["outtmpl"]["default"] = "changed"
    first["remote_components"].append("changed")
    assert made(scratch)["outtmpl"]["default"] == "media.%(ext)s"
    assert made(scratch)["remote_components"] == []


def test_errors_are_never_passed_over_in_silence(scratch: Path) -> None:
    params = made(scratch)
    assert params["ignoreerrors"] is False
    assert params["skip_unavailable_fragments"] is False
    assert "max_filesize" not in made(scratch, max_bytes=10)


def test_retries_are_few_and_wait_longer_each_time(scratch: Path) -> None:
    params = made(scratch)
    assert [params[key] for key in ("retries", "fragment_retries", "extractor_retries", "file_access_retries")] == [
        3, 5, 2, 3,
    ]  # fmt: skip
    waits = params["retry_sleep_functions"]
    assert set(waits) == {"http", "fragment", "file_access", "extractor"}
    assert [waits["http"](n=n) for n in range(7)] == [1, 2, 4, 8, 16, 20, 20]


def test_the_machines_own_configuration_is_left_alone(scratch: Path) -> None:
    params = made(scratch)
    assert [params[key] for key in ("cachedir", "usenetrc", "enable_file_urls")] == [False, False, False]
    assert plugin_dirs.value == []
    assert FFmpegPostProcessor._ffmpeg_location.get() == params["ffmpeg_location"] == FFMPEG


def test_a_selector_overrides_the_presets(scratch: Path) -> None:
    assert made(scratch, preset="720p", format="ba")["format"] == "ba"


@pytest.mark.parametrize(
    "selector",
    ["bv*[height<", "((b", "b[height<=abc]", "+", "b]", "-", "a,b", "all", "b/all", "(" * 400, "[)", "x[fps=1]all"],
)
def test_a_selector_that_cannot_be_used_is_refused_before_anything_is_fetched(scratch: Path, selector: str) -> None:
    with pytest.raises(MediaFailure) as caught:
        made(scratch, format=selector)
    assert caught.value.kind == "bad_options"
    assert "options.format" in caught.value.message


@pytest.mark.parametrize(
    "selector", ["bestvideo+bestaudio/best", "137+140", "b[format_note*='a,b']", "hls-all-1", "b.2"]
)
def test_an_ordinary_selector_is_taken(scratch: Path, selector: str) -> None:
    assert made(scratch, format=selector)["format"] == selector


@pytest.mark.parametrize("container", ["mp4", "mkv", "webm"])
def test_a_video_container_is_merged_into_and_remuxed_to(scratch: Path, container: str) -> None:
    params = made(scratch, container=container)
    assert params["merge_output_format"] == params["final_ext"] == container
    assert params["postprocessors"] == [{"key": "FFmpegVideoRemuxer", "preferedformat": container}]


def test_webm_prefers_streams_that_it_can_hold(scratch: Path) -> None:
    params = made(scratch, container="webm")
    assert (params["prefer_free_formats"], params["format_sort"]) == (True, ["ext"])


@pytest.mark.parametrize(
    ("preset", "options", "codec"),
    [
        ("audio-mp3", {}, "mp3"),
        ("audio-m4a", {}, "m4a"),
        ("audio-opus", {}, "opus"),
        ("best", {"container": "mp3"}, "mp3"),
    ],
)
def test_an_audio_container_is_extracted(scratch: Path, preset: str, options: dict[str, Any], codec: str) -> None:
    params = made(scratch, preset=preset, **options)
    assert params["postprocessors"] == [{"key": "FFmpegExtractAudio", "preferredcodec": codec}]
    assert "merge_output_format" not in params


def test_subtitles_are_written_in_the_asked_languages(scratch: Path) -> None:
    params = made(scratch, subtitles={"languages": ["en", "de"]})
    assert (params["writesubtitles"], params["writeautomaticsub"]) == (True, False)
    assert params["subtitleslangs"] == ["en", "de"]
    assert steps(params) == []


def test_embedded_subtitles_do_not_stay_beside_the_video(scratch: Path) -> None:
    params = made(scratch, subtitles={"languages": ["en"], "automatic": True, "embed": True})
    assert params["writeautomaticsub"] is True
    assert step(params, "FFmpegEmbedSubtitle")["already_have_subtitle"] is False


@pytest.mark.parametrize("also_written", [True, False])
def test_an_embedded_thumbnail_stays_only_if_it_was_to_be_written_too(scratch: Path, also_written: bool) -> None:
    params = made(scratch, embed_thumbnail=True, write_thumbnail=also_written)
    assert params["writethumbnail"] is True
    assert step(params, "EmbedThumbnail")["already_have_thumbnail"] is also_written


def test_a_thumbnail_that_is_only_written_stays_as_the_site_served_it(scratch: Path) -> None:
    params = made(scratch, write_thumbnail=True)
    assert (params["writethumbnail"], steps(params)) == (True, [])


@pytest.mark.parametrize(
    ("options", "metadata", "chapters"),
    [
        ({"embed_metadata": True}, True, False),
        ({"embed_chapters": True}, False, True),
        ({"sponsorblock": {"mark": ["intro"]}}, False, True),
    ],
)
def test_metadata_and_chapters_are_embedded_each_by_its_own_option(
    scratch: Path, options: dict[str, Any], metadata: bool, chapters: bool
) -> None:
    made_step = step(made(scratch, **options), "FFmpegMetadata")
    assert (made_step["add_metadata"], made_step["add_chapters"]) == (metadata, chapters)
    assert made_step["add_infojson"] is False


def test_sponsorblock_asks_for_both_lists_and_cuts_only_one(scratch: Path) -> None:
    params = made(scratch, sponsorblock={"mark": ["intro"], "remove": ["sponsor"]})
    assert step(params, "SponsorBlock")["categories"] == ["intro", "sponsor"]
    assert step(params, "ModifyChapters")["remove_sponsor_segments"] == {"sponsor"}
    assert steps(made(scratch, sponsorblock={})) == []


def test_sections_are_numbered_so_that_each_has_its_own_file(scratch: Path) -> None:
    sections = [{"start_seconds": 1, "end_seconds": 2.5}, {"start_seconds": 10, "end_seconds": 20}]
    params = made(scratch, sections=sections)
    with YoutubeDL(params, auto_init=False) as downloader:
        ranges = list(params["download_ranges"]({"id": "x", "duration": 60}, downloader))
        names = [
            downloader.prepare_filename({"id": "x", "ext": "mp4", "section_number": each["index"]}) for each in ranges
        ]
    assert [(each["start_time"], each["end_time"]) for each in ranges] == [(1, 2.5), (10, 20)]
    assert [Path(name).name for name in names] == ["media-001.mp4", "media-002.mp4"]
    assert params["force_keyframes_at_cuts"] is False
    assert made(scratch, sections=sections[:1])["outtmpl"]["default"] == "media.%(ext)s"


def test_speed_options_are_passed_on(scratch: Path) -> None:
    params = made(scratch, rate_limit_bytes_per_second=65_536, concurrent_fragments=8)
    assert (params["ratelimit"], params["concurrent_fragment_downloads"]) == (65_536, 8)
    assert made(scratch)["ratelimit"] is None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"container": "mp3", "subtitles": {"languages": ["en"], "embed": True}}, "options.subtitles.embed"),
        ({"container": "webm", "embed_thumbnail": True}, "options.embed_thumbnail"),
        (
            {"sections": [{"start_seconds": 0, "end_seconds": 1}], "sponsorblock": {"remove": ["sponsor"]}},
            "options.sections",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused_by_name(
    scratch: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(MediaFailure, match=named) as caught:
        made(scratch, **options)
    assert caught.value.kind == "bad_options"


def test_ytdlp_gets_cookies_in_a_stream_of_its_own_and_no_file_holds_them(scratch: Path) -> None:
    jar = "# Netscape HTTP Cookie File\n.example.org\tTRUE\t/\tFALSE\t4102444800\tname\tvalue\n"
    task = ExtractTask(job_id="x", url="https://example.org/v", scratch_dir=str(scratch), options=Options())
    params = parameters(task, ffmpeg=FFMPEG, cookies=jar)
    with YoutubeDL(params) as downloader:
        assert [(cookie.name, cookie.value) for cookie in downloader.cookiejar] == [("name", "value")]
    assert "name\tvalue" in params["cookiefile"].getvalue()
    assert list(scratch.iterdir()) == []


def test_a_missing_cookie_jar_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(MediaFailure, match=r"'work'.*Export.*work\.txt") as caught:
        read_jar(tmp_path, "work")
    assert caught.value.kind == "bad_options"
    assert str(tmp_path) not in caught.value.message


def test_a_cookie_jar_that_is_not_text_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "work.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MediaFailure, match=r"'work' cannot be read") as caught:
        read_jar(tmp_path, "work")
    assert caught.value.kind == "bad_options"


def test_a_look_fetches_nothing_and_takes_any_format(scratch: Path) -> None:
    options = Options(format="-", container="webm", embed_thumbnail=True)
    task = ExtractTask(job_id="info-1", url="https://example.org/v", scratch_dir=str(scratch), options=options)
    params = parameters(task, ffmpeg=FFMPEG)
    assert (params["skip_download"], params["extract_flat"]) == (True, "in_playlist")
    assert "postprocessors" not in params
    with YoutubeDL(params, auto_init=False) as downloader:
        assert callable(downloader.format_selector)
