"""Typed options translated into a parameter dict for YoutubeDL: fresh for every task, and an allow-list.

No text of a client reaches a path, another program's arguments, a plugin or a config file: the format selector, checked
here, is the only one that yt-dlp sees. Hooks, the logger and the proxy are the caller's to add.

`max_bytes` is not translated. yt-dlp's own `max_filesize` counts each HLS fragment by itself and ends a direct
download as if it had succeeded, so the caller enforces the limit over the whole file in a progress hook.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Callable, Iterator
from typing import Any

from yt_dlp import YoutubeDL
from yt_dlp.globals import plugin_dirs
from yt_dlp.postprocessor import FFmpegPostProcessor
from yt_dlp.utils import download_range_func

from reelin.contracts.failures import FailureKind
from reelin.contracts.options import AUDIO_CONTAINERS, PRESETS, Container, Options
from reelin.engine.child.egress import FFMPEG_PROTOCOLS
from reelin.engine.seam import DownloadTask, ExtractTask
from reelin.errors import MediaFailure

Parameters = dict[str, Any]

#: Any format will do when nothing is fetched; `all` takes in pages that offer storyboards only.
_ANY_FORMAT = "b*/all"


def _backoff_seconds(n: int) -> float:
    return float(min(20, 2**n))


def _base() -> Parameters:
    """What every task has in common. The command line's defaults and the API's differ: nothing is left to chance."""
    return {
        # Silent on the terminal, and deaf to the machine's configuration.
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "never",
        "cachedir": False,
        "usenetrc": False,
        "enable_file_urls": False,
        "remote_components": [],
        "allowed_extractors": ["default"],
        # Short retries only: long waits belong to the workflow.
        "retries": 3,
        "fragment_retries": 5,
        "extractor_retries": 2,
        "file_access_retries": 3,
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "file_access", "extractor"), _backoff_seconds),
        "socket_timeout": 15,
        # Errors are raised, and a lost fragment is one.
        "ignoreerrors": False,
        "skip_unavailable_fragments": False,
        # Playlists are listed, their entries left alone.
        "noplaylist": False,
        "extract_flat": "in_playlist",
        "lazy_playlist": False,
        "allow_playlist_files": False,
    }


def parameters(task: DownloadTask | ExtractTask, *, ffmpeg: str, cookies: str | None = None) -> Parameters:
    """The parameters of a YoutubeDL for `task`. `ffmpeg` is the program's path, `cookies` the text of a jar.

    yt-dlp writes its cookies back, and gets a stream to do so: they are in no file. Raises MediaFailure of the kind
    `bad_options`.
    """
    settle_process(ffmpeg)
    chosen = _downloading(task) if isinstance(task, DownloadTask) else _looking()
    jar = {} if cookies is None else {"cookiefile": io.StringIO(cookies)}
    return {**_base(), **chosen, **jar, "ffmpeg_location": ffmpeg}


def settle_process(ffmpeg: str) -> None:
    """What yt-dlp keeps per process and not per YoutubeDL: no plugins, and where ffmpeg is.

    Call it before the first YoutubeDL of a process, which would load plugins from the home folder. ffmpeg as a
    downloader (live streams, sections) does not read the parameter `ffmpeg_location`.
    """
    plugin_dirs.value = []
    FFmpegPostProcessor._ffmpeg_location.set(ffmpeg)


def _looking() -> Parameters:
    return {"skip_download": True, "format": _ANY_FORMAT}


def _downloading(task: DownloadTask) -> Parameters:
    options = task.options
    container = options.container_for(task.preset)
    _refuse_contradictions(options, container)
    return {
        "format": _selector(options, task.preset),
        **_files(task.scratch_dir, options),
        **_transfer(options),
        **_container(container),
        **_subtitles(options),
        **_sections(options),
        "writethumbnail": options.write_thumbnail or options.embed_thumbnail,
        "postprocessors": list(_postprocessors(options, container)),
    }


def _files(scratch_dir: str, options: Options) -> Parameters:
    """Fixed names: no metadata in a path, ever. A section's number is yt-dlp's own counter."""
    media = "media-%(section_number)03d.%(ext)s" if len(options.sections) > 1 else "media.%(ext)s"
    own = dict.fromkeys(("default", "subtitle", "thumbnail", "chapter"), media)
    none = dict.fromkeys(("description", "infojson", "link"), "")
    of_playlist = dict.fromkeys(("pl_thumbnail", "pl_description", "pl_infojson", "pl_video"), "")
    return {
        "paths": {"home": scratch_dir, "temp": scratch_dir},
        "outtmpl": {**own, **none, **of_playlist},
        "updatetime": False,
        # A finished file left by an attempt that was killed is not trusted; partial files are still resumed.
        "overwrites": True,
        "continuedl": True,
        "nopart": False,
    }


def _transfer(options: Options) -> Parameters:
    return {
        "concurrent_fragment_downloads": options.concurrent_fragments,
        "ratelimit": options.rate_limit_bytes_per_second,
        "hls_prefer_native": True,
        "external_downloader": {"default": "native"},
        "external_downloader_args": {"ffmpeg_i": ["-protocol_whitelist", FFMPEG_PROTOCOLS]},
        # After HLS even when the download was complete before this attempt began: else the file stays MPEG-TS.
        "fixup": "force",
    }


def _container(container: Container) -> Parameters:
    if container == "original":
        return {}
    if container in AUDIO_CONTAINERS:
        return {"final_ext": container}
    # Streams that WebM cannot hold would fail in ffmpeg, so those that it can come first.
    fitting = {"prefer_free_formats": True, "format_sort": ["ext"]} if container == "webm" else {}
    return {"final_ext": container, "merge_output_format": container, **fitting}


def _subtitles(options: Options) -> Parameters:
    if options.subtitles is None:
        return {}
    return {
        "writesubtitles": True,
        "writeautomaticsub": options.subtitles.automatic,
        "subtitleslangs": list(options.subtitles.languages),
        "subtitlesformat": "vtt/best",
    }


def _sections(options: Options) -> Parameters:
    if not options.sections:
        return {}
    ranges = download_range_func(None, [(section.start_seconds, section.end_seconds) for section in options.sections])

    def numbered(info: dict[str, Any], downloader: YoutubeDL) -> Iterator[dict[str, Any]]:
        # yt-dlp numbers chapters only; the number keeps the sections' files apart.
        return ({**section, "index": number} for number, section in enumerate(ranges(info, downloader), start=1))

    return {"download_ranges": numbered, "force_keyframes_at_cuts": False}


def _postprocessors(options: Options, container: Container) -> Iterator[Parameters]:
    """In the order of yt-dlp's own command line: each step relies on what the ones before it did."""
    yield from _sponsorblock_lookup(options)
    yield from _thumbnail_conversion(options)
    yield from _conversion(container)
    yield from _subtitle_embedding(options)
    yield from _chapter_changes(options)
    yield from _metadata(options)
    yield from _thumbnail_embedding(options)


def _sponsorblock_lookup(options: Options) -> Iterator[Parameters]:
    if categories := _sponsorblock_categories(options):
        yield {"key": "SponsorBlock", "categories": categories, "when": "after_filter"}


def _sponsorblock_categories(options: Options) -> list[str]:
    wanted = options.sponsorblock
    return sorted({*wanted.mark, *wanted.remove}) if wanted else []


def _thumbnail_conversion(options: Options) -> Iterator[Parameters]:
    # Only for embedding: a thumbnail that is merely written stays as the site served it.
    if options.embed_thumbnail:
        yield {"key": "FFmpegThumbnailsConvertor", "format": "webp>jpg/avif>jpg/heic>jpg", "when": "before_dl"}


def _conversion(container: Container) -> Iterator[Parameters]:
    if container in AUDIO_CONTAINERS:
        yield {"key": "FFmpegExtractAudio", "preferredcodec": container}
    elif container != "original":
        yield {"key": "FFmpegVideoRemuxer", "preferedformat": container}


def _subtitle_embedding(options: Options) -> Iterator[Parameters]:
    if options.subtitles and options.subtitles.embed:
        # "Already have" would leave them beside the video too: embedded means inside it.
        yield {"key": "FFmpegEmbedSubtitle", "already_have_subtitle": False}


def _chapter_changes(options: Options) -> Iterator[Parameters]:
    if options.sponsorblock and _sponsorblock_categories(options):
        removed = set(options.sponsorblock.remove)
        yield {"key": "ModifyChapters", "remove_sponsor_segments": removed, "force_keyframes": False}


def _metadata(options: Options) -> Iterator[Parameters]:
    marks = bool(options.sponsorblock and options.sponsorblock.mark)
    chapters = options.embed_chapters or marks
    if options.embed_metadata or chapters:
        yield {
            "key": "FFmpegMetadata",
            "add_metadata": options.embed_metadata,
            "add_chapters": chapters,
            "add_infojson": False,
        }


def _thumbnail_embedding(options: Options) -> Iterator[Parameters]:
    if options.embed_thumbnail:
        yield {"key": "EmbedThumbnail", "already_have_thumbnail": options.write_thumbnail}


#: What cannot be done together, and how to say so.
_CONTRADICTIONS: tuple[tuple[Callable[[Options, Container], bool], str], ...] = (
    (
        lambda options, container: container in {"mp3", "opus"} and bool(options.subtitles and options.subtitles.embed),
        "options.subtitles.embed: this audio container cannot hold subtitles. Leave it out, or use m4a or a video.",
    ),
    (
        lambda options, container: container == "webm" and options.embed_thumbnail,
        "options.embed_thumbnail: WebM cannot hold a cover. Use options.container mkv or mp4, or leave it out.",
    ),
    (
        lambda options, _: bool(options.sections) and bool(_sponsorblock_categories(options)),
        "options.sections and options.sponsorblock: SponsorBlock knows the times of the whole video only. "
        "Use one of the two.",
    ),
)


def _refuse_contradictions(options: Options, container: Container) -> None:
    for contradicts, message in _CONTRADICTIONS:
        if contradicts(options, container):
            raise MediaFailure(FailureKind.BAD_OPTIONS, message)


def _selector(options: Options, preset: str) -> str:
    if options.format is None:
        return PRESETS[preset]
    _check_selector(options.format)
    return options.format


def _check_selector(selector: str) -> None:
    bare = re.sub(r"\[[^\]]*\]", " ", selector)
    # A lone "-" makes yt-dlp ask at the terminal; "a,b" and "all" make several files of one name.
    if selector.strip() == "-" or "," in bare or re.search(r"(?<![\w-])all(?![\w-])", bare):
        raise MediaFailure(
            FailureKind.BAD_OPTIONS,
            "options.format: a job makes one file, so '-', 'all' and several formats with ',' cannot be used. "
            "Join streams with '+', and alternatives with '/'.",
        )
    try:
        YoutubeDL({"quiet": True}, auto_init=False).build_format_selector(selector)
    except (SyntaxError, ValueError, TypeError, RecursionError, tokenize.TokenError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it cannot be read"
        raise MediaFailure(
            FailureKind.BAD_OPTIONS, f"options.format is not a format selector of yt-dlp: {reason[:200]}"
        ) from error
