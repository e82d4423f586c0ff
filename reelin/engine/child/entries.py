"""What a playlist says of its entries, in whatever shape an extractor gives it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from yt_dlp.utils import sanitize_url, unsmuggle_url

from reelin.engine.child.description import (
    MAX_NAME_LENGTH,
    MAX_TITLE_LENGTH,
    PLAYLIST_TYPES,
    amount,
    first_line,
    one_line,
    thumbnail,
    web_address,
)
from reelin.engine.seam import Entry

Info = Mapping[str, Any]

#: A line of a listing is no longer, unless its address alone is.
MAX_LINE_BYTES = 4096
#: What gives way in a line that would be longer, first to last.
_GIVES_WAY = ("thumbnail", "uploader", "id", "title")
#: Playlists written out within playlists.
_MAX_NESTING = 3
_OUTER_NAMES = ("title", "uploader", "thumbnail", "timestamp")
_NO_ADDRESS = "The playlist gives no address for this entry."
_NOT_THERE = "The playlist has nothing at this position."


def title_of(listing: Info) -> str | None:
    return first_line(listing, ("title", "playlist_title"))


def uploader_of(listing: Info) -> str | None:
    return first_line(listing, ("uploader", "channel", "creator", "uploader_id", "channel_id"))


def count_of(listing: Info) -> int | None:
    """What is known without asking the site for more."""
    entries, announced = listing.get("entries"), amount(listing.get("playlist_count"))
    return int(announced) if announced else len(entries) if isinstance(entries, list) else None


def unfolded(listing: Info, nesting: int = 0) -> Iterator[object]:
    """The entries, as the extractor finds them. A playlist among them that has no address is replaced by its own."""
    entries = listing.get("entries")
    for raw in entries if isinstance(entries, Iterable) else ():
        inner = isinstance(raw, Mapping) and raw.get("_type") in PLAYLIST_TYPES
        if inner and nesting < _MAX_NESTING and _page(raw, _addresses(listing)) is None:
            yield from unfolded(raw, nesting + 1)
        else:
            yield raw


def entry_of(raw: object, index: int, listing: Info) -> Entry:
    if not isinstance(raw, Mapping):
        return Entry(playlist_index=index, reason=_NOT_THERE)
    reference = raw.get("_type") in ("url", "url_transparent")
    plain, named = _unsmuggled(raw.get("url"))
    url = _reference(plain, raw) if reference else _video(raw, plain, _addresses(listing))
    identifier = one_line(raw.get("id") or named, MAX_NAME_LENGTH)
    return Entry(
        playlist_index=index,
        url=url,
        reason=None if url else _NO_ADDRESS,
        transparent=raw.get("_type") != "url",
        title=one_line(raw.get("title"), MAX_TITLE_LENGTH),
        # Entries of some feeds have the id of the feed: it tells nothing apart.
        id=None if identifier == one_line(listing.get("id"), MAX_NAME_LENGTH) else identifier,
        ie_key=one_line(raw.get("ie_key"), MAX_NAME_LENGTH) if reference else None,
        uploader=uploader_of(raw),
        duration=amount(raw.get("duration")),
        thumbnail=thumbnail(raw),
        timestamp=amount(raw.get("timestamp")),
    )


def line_of(entry: Entry) -> bytes:
    """Bounded, whatever a site writes into a title."""
    for name in (None, *_GIVES_WAY):
        if name is not None:
            entry = entry.model_copy(update={name: None})
        line = entry.model_dump_json(exclude_defaults=True).encode() + b"\n"
        if len(line) <= MAX_LINE_BYTES:
            break
    return line


def result_of(said: Info, url: str, extractors: Collection[str]) -> dict[str, Any]:
    """What yt-dlp would make of the entry while it walks through the playlist. `said` is `Entry.said`."""
    transparent = said.get("transparent") is True
    result = {name: said.get(name) for name in (*_OUTER_NAMES, "playlist_index")} if transparent else {}
    key = said.get("ie_key")
    # The extractor may have had another name in the version that listed the playlist: then the address decides.
    known = key if key in extractors else None
    return {**result, "_type": "url_transparent" if transparent else "url", "url": url, "ie_key": known}


def _unsmuggled(value: object) -> tuple[object, object]:
    """The address without what yt-dlp hides behind it for itself, and the id that was hidden there.

    Who writes a feed can write that too, so nothing else of it is taken over.
    """
    if not isinstance(value, str):
        return None, None
    try:
        plain, data = unsmuggle_url(value, {})
    except (ValueError, KeyError, TypeError):
        return None, None
    return plain, data.get("force_videoid") if isinstance(data, Mapping) else None


def _reference(plain: object, raw: Info) -> str | None:
    address = web_address(sanitize_url(plain, scheme="https")) if isinstance(plain, str) else None
    if address is None and raw.get("ie_key") == "Youtube":
        # The one site whose entries are often nothing but an id.
        identifier = one_line(raw.get("id") or plain, MAX_NAME_LENGTH)
        address = web_address(f"https://www.youtube.com/watch?v={identifier}") if identifier else None
    return address


def _video(raw: Info, plain: object, taken: Collection[str]) -> str | None:
    """The address of a video that the extractor has described already: its page, else its manifest, else its file."""
    found = raw.get("formats")
    formats = [each for each in found if isinstance(each, Mapping)] if isinstance(found, list | tuple) else []
    manifests = {each.get("manifest_url") for each in formats}
    files = (each.get("url") for each in reversed(formats))  # the best one is the last
    candidates = (plain, *(manifests if len(manifests) == 1 else ()), *files)
    addresses = (web_address(each) for each in candidates)
    return _page(raw, taken) or next((each for each in addresses if each and each not in taken), None)


def _page(raw: Info, taken: Collection[str]) -> str | None:
    pages = (web_address(raw.get(name)) for name in ("webpage_url", "original_url"))
    return next((page for page in pages if page and page not in taken), None)


def _addresses(listing: Info) -> frozenset[str]:
    return frozenset(str(listing.get(name)) for name in ("webpage_url", "original_url", "url", "id"))
