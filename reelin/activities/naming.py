"""The name of a published file, from a template and metadata that may be hostile. Pure: it touches no file.

A name is one part of a path, is good on Linux, macOS and Windows, and stays within the bytes that file systems allow.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Mapping

from reelin.contracts.failures import FailureKind
from reelin.contracts.media import Metadata
from reelin.contracts.options import DEFAULT_FILENAME, RESERVED_NAME
from reelin.errors import MediaFailure

MAX_STEM_BYTES = 180
UNKNOWN = "unknown"
#: To look for a free name among more of them takes seconds for each file.
MAX_NAMESAKES = 10_000

#: What some system reads as a separator, a wildcard, a stream, a redirection or a variable.
_REPLACED = str.maketrans({**dict.fromkeys('/\\:*?"<>|', "_"), "$": "_", "%": "_", "`": "_"})
_JOINER = "\u200d"
_ADDED_ID_ROOM = 24


def published_stem(
    metadata: Metadata, template: str, *, preset: str, index: int | None, max_bytes: int = MAX_STEM_BYTES
) -> str:
    """The file name for `metadata`, without its suffix: safe, never empty, at most `max_bytes` of UTF-8.

    `template` is one that `contracts.options.check_filename` took; `index` is the position in a batch, from 1.
    """
    fields = _fields(metadata, preset, index)
    room = max_bytes - len(_filled(template, {**fields, "title": ""}).encode())
    if "{title}" in template and room >= _ADDED_ID_ROOM:
        # The title gives way first, so that what tells two videos apart (the id, above all) stays whole.
        fields["title"] = _cut(fields["title"], room // template.count("{title}"))
    elif template == DEFAULT_FILENAME:
        fields = {**fields, "title": _cut(fields["title"], _ADDED_ID_ROOM), "id": _cut(fields["id"], max_bytes // 2)}
    return _safe(_cut(_filled(template, fields), max_bytes), max_bytes)


def relative_path(folder: str | None, stem: str, suffix: str, taken: Callable[[str], bool]) -> str:
    """The first free path below the media folder: `stem` itself, then `stem (2)`, `stem (3)` and so on.

    `folder` is one that `contracts.options.check_folder` took; `suffix` begins with its dot (`.mp4`, `.en.vtt`).
    Raises MediaFailure where too many of that name are there.
    """
    prefix = f"{folder}/" if folder else ""
    if not taken(f"{prefix}{stem}{suffix}"):
        return f"{prefix}{stem}{suffix}"
    numbered = (f"{prefix}{stem} ({number}){suffix}" for number in range(2, MAX_NAMESAKES + 1))
    free = next((path for path in numbered if not taken(path)), None)
    if free is None:
        raise MediaFailure(
            FailureKind.BAD_OPTIONS,
            f"options.filename: there are {MAX_NAMESAKES:,} files named {stem!r} already. "
            "Choose a template with {id}.",
        )
    return free


def _fields(metadata: Metadata, preset: str, index: int | None) -> dict[str, str]:
    raw = {
        "title": metadata.title,
        "id": metadata.extractor_id,
        "uploader": metadata.uploader or "",
        "date": metadata.uploaded_on.isoformat() if metadata.uploaded_on else "",
        "preset": preset,
    }
    # A video outside a batch has no position: an empty text reads better than "unknown".
    return {name: _plain(text) or UNKNOWN for name, text in raw.items()} | {
        "index": "" if index is None else str(index)
    }


def _filled(template: str, fields: Mapping[str, str]) -> str:
    parts = string.Formatter().parse(template)
    return "".join(literal + (fields[name] if name else "") for literal, name, _, _ in parts)


def _plain(text: str) -> str:
    """`text` without control and format characters, and without what has a meaning in paths, shells or templates."""
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(_visible(composed, at) for at in range(len(composed)))
    return " ".join(kept.translate(_REPLACED).split())


def _visible(text: str, at: int) -> str:
    character = text[at]
    if character == _JOINER and 0 < at < len(text) - 1 and unicodedata.category(text[at + 1]) == "So":
        return character  # within an emoji
    category = unicodedata.category(character)
    if category.startswith("Z") or character.isspace():
        return " "
    return "" if category.startswith("C") else character


def _cut(text: str, max_bytes: int) -> str:
    """As much of `text` as fits, in whole characters: no half of a code point, of an emoji or of an accent."""
    if len(text.encode()) <= max_bytes:
        return text
    end = len(text.encode()[: max(max_bytes, 0)].decode(errors="ignore"))
    while end and _continues(text, end):
        end -= 1
    return text[:end].rstrip()


def _continues(text: str, at: int) -> bool:
    """Whether the character at `at` belongs to the one before it."""
    return text[at] == _JOINER or text[at - 1] == _JOINER or unicodedata.category(text[at]) in ("Mn", "Me", "Mc", "Sk")


def _safe(name: str, max_bytes: int) -> str:
    stem = _plain(name).lstrip(" .~-").rstrip(" .")
    if RESERVED_NAME.match(stem):
        stem = f"_{stem}"
    return _cut(stem, max_bytes).rstrip(" .") or UNKNOWN
