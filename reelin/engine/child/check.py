"""What a download has left, looked at before anyone calls it done."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from yt_dlp.utils import MEDIA_EXTENSIONS

from reelin.contracts.failures import FailureKind
from reelin.contracts.media import Role, ScratchFile
from reelin.engine.child.boxes import look_at_boxes
from reelin.engine.child.length import Promise, refuse_short
from reelin.errors import MediaFailure

_READ_BYTES = 1024 * 1024
#: A slow disk with much to write may need so long before the last byte is on it.
_SYNC_SECONDS = 120.0

_MEDIA = frozenset({*MEDIA_EXTENSIONS.video, *MEDIA_EXTENSIONS.audio, "mpeg", "mpe", "mxf", "mts", "m2ts", "ts", "vob"})
_SUBTITLES = frozenset({*MEDIA_EXTENSIONS.subtitles, "ssa", "ttml", "dfxp", "scc", "srv1", "srv2", "srv3", "json3"})
_PICTURES = frozenset({*MEDIA_EXTENSIONS.thumbnails, "jpeg", "gif", "avif", "heic", "bmp"})
#: yt-dlp's word for a file that is neither a page nor of a type or a name that it knows.
_UNKNOWN = "unknown_video"
_EXTENSIONS = {Role.MEDIA: _MEDIA, Role.SUBTITLE: _SUBTITLES, Role.THUMBNAIL: _PICTURES}

OnHashed = Callable[[float], None]
OnWait = Callable[[float], None]


def check(
    info: dict[str, Any],
    folder: Path,
    ffmpeg: str,
    *,
    on_hashed: OnHashed,
    on_wait: OnWait,
    promised: Sequence[Promise] = (),
) -> tuple[ScratchFile, ...]:
    """The files of a finished download: there, of an allowed kind, openable, as long as promised, on disk. The media
    come first.

    `on_hashed` hears how much of all bytes has been read, in percent; `on_wait` each step, and for how many seconds it
    may be silent. A program that hangs is the caller's to notice. Raises MediaFailure.
    """
    found = [*_media(info), *_subtitles(info), *_thumbnails(info)]
    for path, role, _ in found:
        refuse_unsafe(path.suffix.lower().lstrip("."), role)
        _refuse_empty(path, role)
        if role is Role.MEDIA:
            refuse_short(_opened(path, ffmpeg, timed=bool(promised)), promised)
            on_wait(0)
    meter = _Meter(sum(path.stat().st_size for path, _, _ in found), on_hashed, on_wait)
    return tuple(_seal(path, role, suffix, folder, meter) for path, role, suffix in found)


_Found = tuple[Path, Role, str]


def _media(info: dict[str, Any]) -> list[_Found]:
    """A download in sections makes a file for each of them, `.1.mp4` and so on."""
    paths = [Path(each["filepath"]) for each in info.get("requested_downloads") or [] if each.get("filepath")]
    if not paths:
        raise MediaFailure(FailureKind.PROCESSING, "The download ended without a file.")
    numbers = [""] if len(paths) == 1 else [f".{number}" for number in range(1, len(paths) + 1)]
    return [(path, Role.MEDIA, f"{number}{path.suffix.lower()}") for path, number in zip(paths, numbers, strict=True)]


def _subtitles(info: dict[str, Any]) -> list[_Found]:
    """Embedded ones are inside the media file, and their own files are gone."""
    return [
        (path, Role.SUBTITLE, f".{_safe_language(language)}{path.suffix.lower()}")
        for language, subtitle in (info.get("requested_subtitles") or {}).items()
        if (path := _moved(info, subtitle)) is not None
    ]


def _thumbnails(info: dict[str, Any]) -> list[_Found]:
    paths = [_moved(info, thumbnail) for thumbnail in info.get("thumbnails") or []]
    return [(path, Role.THUMBNAIL, path.suffix.lower()) for path in paths[::-1] if path is not None][:1]


def _moved(info: dict[str, Any], item: dict[str, Any]) -> Path | None:
    """yt-dlp moves these beside the media file at the end, and does not always note it."""
    if not item.get("filepath"):
        return None
    written = Path(item["filepath"])
    final = Path(info["requested_downloads"][0]["filepath"]).parent / written.name
    return next((path for path in (final, written) if path.is_file()), None)


def _safe_language(language: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "", language)[:30] or "und"


def refuse_unsafe(extension: str, role: Role = Role.MEDIA) -> None:
    """Also asked before the first byte is fetched."""
    if extension == _UNKNOWN:
        raise MediaFailure(FailureKind.UNSUPPORTED_URL, "What this URL leads to is not a media file.")
    if extension not in _EXTENSIONS[role]:
        raise MediaFailure(FailureKind.UNSAFE_FILE, f"The site gave a file of the kind {extension[:20]!r}.")


def _refuse_empty(path: Path, role: Role) -> None:
    if not path.is_file() or path.is_symlink() or not path.stat().st_size:
        raise MediaFailure(FailureKind.PROCESSING, f"The {role.value} file is missing or empty.")


def _opened(path: Path, ffmpeg: str, *, timed: bool) -> float | None:
    """How many seconds it lasts, where it says so; only looked for if `timed`."""
    boxes = look_at_boxes(path)
    if boxes.cut_off:
        raise MediaFailure(FailureKind.RESUME_CONFLICT, "The file ends before its index says that it does.")
    if boxes.whole and (boxes.seconds or not timed):
        return boxes.seconds
    header = _header(path, ffmpeg)
    if not re.search(rb"Stream #\d+.*: (Video|Audio): ", header):
        raise MediaFailure(
            FailureKind.PROCESSING,
            "What was fetched is not a media file that can be opened.",
            detail=header.decode(errors="replace")[-2000:],
        )
    return _seconds(header)


def _header(path: Path, ffmpeg: str) -> bytes:
    """ffmpeg reads the headers only; without an output it always "fails", so what it lists is the answer."""
    command = [ffmpeg, "-hide_banner", "-nostdin", "-protocol_whitelist", "file", "-i", f"file:{path}"]
    return subprocess.run(command, capture_output=True, check=False).stderr


def _seconds(header: bytes) -> float | None:
    """What is only estimated from the bit rate is no ground for a refusal."""
    found = re.search(rb"^  Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", header, re.MULTILINE)
    if found is None or b"Estimating duration from bitrate" in header:
        return None
    hours, minutes, seconds = (float(each) for each in found.groups())
    return hours * 3600 + minutes * 60 + seconds


class _Meter:
    def __init__(self, total_bytes: int, on_hashed: OnHashed, on_wait: OnWait) -> None:
        self._total_bytes = total_bytes
        self.on_wait = on_wait
        self._on_hashed = on_hashed
        self._read_bytes = 0

    def add(self, size: int) -> None:
        self._read_bytes += size
        self._on_hashed(100 * self._read_bytes / self._total_bytes)


def _seal(path: Path, role: Role, suffix: str, folder: Path, meter: _Meter) -> ScratchFile:
    """Hashed, and on the disk itself rather than in memory."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while data := file.read(_READ_BYTES):
            digest.update(data)
            meter.add(len(data))
        meter.on_wait(_SYNC_SECONDS)
        os.fsync(file.fileno())
        size = file.tell()
    name = str(path.resolve().relative_to(folder.resolve()))
    return ScratchFile(name=name, role=role, suffix=suffix, size_bytes=size, sha256=digest.hexdigest())
