"""How often the media will stand in the scratch folder at once, while ffmpeg makes one file from another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: They write the whole file anew.
_REWRITING = frozenset(
    {"FFmpegExtractAudio", "FFmpegEmbedSubtitle", "ModifyChapters", "FFmpegMetadata", "EmbedThumbnail"}
)
_REMUXER = "FFmpegVideoRemuxer"
#: The streams as they came, kept until the job is done; the last step's file; the one that the next step is writing.
_MOST = 3


def copies(info: Mapping[str, Any], postprocessors: Iterable[Mapping[str, Any]]) -> int | None:
    """1 where nothing is rewritten. None where the size announced is not that of what will be fetched."""
    if info.get("is_live") or info.get("section_start") is not None:
        return None
    steps = [_is_merged(info) or _is_fixed_up(info)]
    steps += [_rewrites(step, info) for step in postprocessors]
    return min(1 + sum(steps), _MOST)


def _is_merged(info: Mapping[str, Any]) -> bool:
    return len(info.get("requested_formats") or ()) > 1


def _is_fixed_up(info: Mapping[str, Any]) -> bool:
    return "m3u8" in str(info.get("protocol")) or info.get("container") == "m4a_dash"


def _rewrites(step: Mapping[str, Any], info: Mapping[str, Any]) -> bool:
    if step["key"] == _REMUXER:
        return bool(step["preferedformat"] != info.get("ext"))
    return step["key"] in _REWRITING
