"""Which stream a file on disk is part of."""

from __future__ import annotations

from typing import Any

_NAMING = ("extractor_key", "id", "format_id", "protocol", "ext", "section_start", "section_end", "filesize")


def stream_identity(info: dict[str, Any]) -> str:
    """The same for every attempt at one stream, although its URL is signed afresh each time."""
    return "|".join(str(info.get(name)) for name in _NAMING)
