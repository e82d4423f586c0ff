"""What a site says of a video, and what a download left in its scratch folder."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from pydantic import Field

from reelin.contracts.model import Message

#: One part of a path, which is not `.` or `..` or anything hidden.
_PLAIN = r"[^/\x00.][^/\x00]*"


class Metadata(Message):
    """A video's description, as the extractor gave it. Every text in it comes from the net and is hostile."""

    url: str
    title: str
    extractor: str
    extractor_id: str
    uploader: str | None = None
    duration_seconds: float | None = None
    uploaded_on: date | None = None
    thumbnail_url: str | None = None
    description: str | None = None


class Format(Message):
    """One format that a site offers."""

    format_id: str
    ext: str | None = None
    width: int | None = None
    height: int | None = None
    frames_per_second: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    size_bytes: int | None = None
    size_is_estimate: bool = False
    bits_per_second: float | None = None
    protocol: str | None = None
    note: str | None = None


class Role(StrEnum):
    MEDIA = "media"  #: The video or audio itself.
    SUBTITLE = "subtitle"
    THUMBNAIL = "thumbnail"


class ScratchFile(Message):
    """A finished file in a scratch folder: written, checked and fsynced, not yet published.

    `name` is relative to the scratch folder. `suffix` is what follows the stem of the published name:
    `.mp4`, `.en.vtt`, `.jpg`. A child says all this of itself, so neither may lead anywhere else.
    """

    name: str = Field(pattern=rf"^{_PLAIN}(/{_PLAIN})*$")
    role: Role
    suffix: str = Field(pattern=r"^(\.[A-Za-z0-9-]+)*$")
    size_bytes: int
    sha256: str


class Downloaded(Message):
    """What the engine's `download` returns: the media file first."""

    metadata: Metadata
    files: tuple[ScratchFile, ...]


class Extracted(Message):
    """What the engine's `extract` returns. `entries` counts a playlist's items and is None for a single video."""

    metadata: Metadata
    formats: tuple[Format, ...] = ()
    subtitles: tuple[str, ...] = ()
    chapters: int = 0
    is_live: bool = False
    entries: int | None = None
