"""Passes faults on from a manifest, a feed or a page to what it names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlencode
from xml.sax.saxutils import escape

PREFIX = "seg_"
MANIFEST_SUFFIXES = (".m3u8", ".mpd")
_HLS_URI = re.compile(r'URI="([^"]+)"')
_DASH_URI = re.compile(r'\b(?:media|initialization|sourceURL)="([^"]+)"|<BaseURL>([^<]+)</BaseURL>')


class Inherited:
    """The parameters that what a manifest names gets from the manifest's own query.

    `seg_rate=1000` becomes `rate=1000`; another manifest keeps the prefix, and its children lose it. `key` goes all
    the way down; `seg_key` overrides it at the bottom. An AES key is no fragment: it is not disturbed, since yt-dlp
    asks for it only once.
    """

    def __init__(self, query: Iterable[tuple[str, str]]) -> None:
        passed_on = [(name, value) for name, value in query if name.startswith(PREFIX) or name == "key"]
        bottom = {name.removeprefix(PREFIX): value for name, value in passed_on if name == "key"}
        bottom |= {name.removeprefix(PREFIX): value for name, value in passed_on if name != "key"}
        self._for_manifests = urlencode(passed_on)
        self._for_files = urlencode(bottom)
        self._for_keys = urlencode({name: value for name, value in bottom.items() if name == "key"})

    def __bool__(self) -> bool:
        return bool(self._for_manifests)

    def link(self, uri: str) -> str:
        if uri.endswith(MANIFEST_SUFFIXES):
            query = self._for_manifests
        else:
            query = self._for_keys if uri.endswith(".key") else self._for_files
        separator = "&" if "?" in uri else "?"
        return f"{uri}{separator}{query}" if query else uri


def rewrite(name: str, text: str, inherited: Inherited) -> str:
    """The manifest `text` with every URI in it linked."""
    return _rewrite_dash(text, inherited) if name.endswith(".mpd") else _rewrite_hls(text, inherited)


def _rewrite_hls(text: str, inherited: Inherited) -> str:
    def line(text: str) -> str:
        if text.startswith("#"):
            return _HLS_URI.sub(lambda found: f'URI="{inherited.link(found[1])}"', text)
        return inherited.link(text) if text else text

    return "\n".join(line(one) for one in text.split("\n"))


def _rewrite_dash(text: str, inherited: Inherited) -> str:
    def linked(found: re.Match[str]) -> str:
        uri = found[1] or found[2]
        return found[0].replace(uri, escape(inherited.link(uri)))

    return _DASH_URI.sub(linked, text)
