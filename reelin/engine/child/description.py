"""What a site says of a video, from yt-dlp's info dict. Neither its types nor its sizes can be relied on."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any
from urllib.parse import unquote, urlsplit

from reelin.contracts.media import Extracted, Format, Metadata

MAX_TITLE_LENGTH = 500
MAX_DESCRIPTION_LENGTH = 10_000
MAX_NAME_LENGTH = 200
MAX_URL_LENGTH = 4096
MAX_FORMATS = 1000
MAX_LANGUAGES = 500
MAX_ENTRIES = 100_000

#: Marks that turn the direction of text round: a title that holds them can disguise what follows it.
_DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
PLAYLIST_TYPES = frozenset({"playlist", "multi_video", "compat_list"})

Info = Mapping[str, Any]


def describe(info: Info, url: str) -> Metadata:
    """The metadata of a video or a playlist; `url` is the address that the client gave."""
    identifier = one_line(info.get("id"), MAX_NAME_LENGTH)
    file_name = _file_name(url)
    return Metadata(
        url=url,
        title=first_line(info, ("title", "fulltitle", "alt_title")) or file_name or identifier or "untitled",
        extractor=first_line(info, ("extractor_key", "extractor", "ie_key")) or "Generic",
        extractor_id=identifier or file_name or "unknown",
        uploader=first_line(info, ("uploader", "channel", "creator", "artist", "uploader_id", "channel_id")),
        duration_seconds=amount(info.get("duration")),
        uploaded_on=_uploaded_on(info),
        thumbnail_url=thumbnail(info),
        description=_paragraphs(info.get("description"), MAX_DESCRIPTION_LENGTH),
    )


def extracted(info: Info, url: str) -> Extracted:
    """What a look at `url` found.

    A playlist's entries are counted; a generator of them is used up by it, to at most 100,000.
    """
    return Extracted(
        metadata=describe(info, url),
        formats=tuple(_format(each) for each in _dicts(info.get("formats"), MAX_FORMATS)),
        subtitles=_languages(info.get("subtitles")),
        chapters=sum(1 for _ in _dicts(info.get("chapters"), MAX_ENTRIES)),
        is_live=info.get("is_live") is True or info.get("live_status") == "is_live",
        entries=_entries(info) if info.get("_type") in PLAYLIST_TYPES else None,
    )


def _entries(info: Info) -> int:
    entries = info.get("entries")
    if isinstance(entries, list | tuple):
        return len(entries)
    if (announced := _whole(info.get("playlist_count"))) is not None:
        return announced
    return sum(1 for _ in islice(entries, MAX_ENTRIES)) if isinstance(entries, Iterable) else 0


def _format(raw: Info) -> Format:
    exact, estimate = _whole(raw.get("filesize")), _whole(raw.get("filesize_approx"))
    kilobits = amount(raw.get("tbr"))
    return Format(
        format_id=one_line(raw.get("format_id"), MAX_NAME_LENGTH) or "unknown",
        ext=one_line(raw.get("ext"), 20),
        width=_whole(raw.get("width")),
        height=_whole(raw.get("height")),
        frames_per_second=amount(raw.get("fps")),
        video_codec=_codec(raw.get("vcodec")),
        audio_codec=_codec(raw.get("acodec")),
        size_bytes=estimate if exact is None else exact,
        size_is_estimate=exact is None and estimate is not None,
        bits_per_second=None if kilobits is None else kilobits * 1000,
        protocol=one_line(raw.get("protocol"), 50),
        note=one_line(raw.get("format_note"), MAX_NAME_LENGTH),
    )


def _codec(value: object) -> str | None:
    codec = one_line(value, 50)
    return None if codec == "none" else codec


def _languages(value: object) -> tuple[str, ...]:
    if not isinstance(value, Mapping):
        return ()
    # yt-dlp lists the chat of a live stream among the subtitles.
    names = (one_line(name, 50) for name, tracks in value.items() if tracks and name != "live_chat")
    return tuple(sorted({name for name in names if name}))[:MAX_LANGUAGES]


def _dicts(value: object, limit: int) -> Iterable[Info]:
    return [each for each in value[:limit] if isinstance(each, Mapping)] if isinstance(value, list | tuple) else []


def _uploaded_on(info: Info) -> date | None:
    days = (_day(info.get(key)) for key in ("upload_date", "release_date"))
    moments = (_moment(info.get(key)) for key in ("timestamp", "release_timestamp"))
    return next((day for day in (*days, *moments) if day), None)


def _day(value: object) -> date | None:
    """A date written 20240131, as yt-dlp does."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{8}", value):
        return None
    try:
        return date(int(value[:4]), int(value[4:6]), int(value[6:]))
    except ValueError:
        return None


def _moment(value: object) -> date | None:
    seconds = _number(value)
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC).date()
    except (ValueError, OverflowError, OSError):
        return None


def thumbnail(info: Info) -> str | None:
    thumbnails = _dicts(info.get("thumbnails"), MAX_FORMATS)
    # The list is sorted with the best last.
    candidates = (info.get("thumbnail"), *(each.get("url") for each in reversed(list(thumbnails))))
    return next((url for url in map(web_address, candidates) if url), None)


def web_address(value: object) -> str | None:
    address = value.strip() if isinstance(value, str) else ""
    fits = len(address) <= MAX_URL_LENGTH and not re.search(r"[\s\x00-\x20\x7f\ud800-\udfff]", address)
    return address if fits and re.match(r"https?://[^/]", address) else None


def _file_name(url: str) -> str | None:
    """The last part of the address's path, decoded, without what looks like an extension."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    last = unquote(parts.path.rstrip("/").rpartition("/")[2], errors="replace")
    return one_line(re.sub(r"\.\w{1,5}$", "", last) or last or parts.hostname, MAX_NAME_LENGTH)


def first_line(info: Info, keys: tuple[str, ...]) -> str | None:
    lines = (one_line(info.get(key), MAX_TITLE_LENGTH) for key in keys)
    return next((line for line in lines if line), None)


def one_line(value: object, limit: int) -> str | None:
    """One line of text: no control characters, no marks of direction, no runs of white space."""
    text = _paragraphs(value, limit)
    return " ".join(text.split()) if text else None


def _paragraphs(value: object, limit: int) -> str | None:
    """Text in which newlines are kept. Numbers become text; anything else is not text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value)[: limit * 4].replace("\r\n", "\n")
    clean = "".join(_clean(character) for character in text).strip()
    return clean[:limit].rstrip() or None


def _clean(character: str) -> str:
    if character == "\n" or unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp", "Cf"):
        return character
    if unicodedata.category(character) == "Cf":
        # Joiners stay: scripts and emoji are written with them.
        return "" if character in _DIRECTION_MARKS else character
    return " " if character.isspace() else ""


def amount(value: object) -> float | None:
    """A finite number from 0 on."""
    number = _number(value)
    return number if number is not None and number >= 0 else None


def _whole(value: object) -> int | None:
    number = amount(value)
    return None if number is None else int(number)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
