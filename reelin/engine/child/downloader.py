"""yt-dlp as Reelin runs it: one video per object, nothing crawled, downloads that survive a kill at any moment.

This module and the downloaders that it imports override methods that are not yt-dlp's public interface.
`programs.YT_DLP_CHECKED` names the versions that this was checked with; the tests tell whether a newer one still fits.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yt_dlp import YoutubeDL
from yt_dlp.downloader import DashSegmentsFD, HlsFD, HttpFD, get_suitable_downloader
from yt_dlp.extractor.common import UnsupportedURLIE
from yt_dlp.networking import Request

from reelin.engine.child.description import PLAYLIST_TYPES
from reelin.engine.child.direct import DirectFD
from reelin.engine.child.egress import Egress, without_proxy_headers
from reelin.engine.child.extractors import Extractors
from reelin.engine.child.fetched import Fetched
from reelin.engine.child.foreign import fetch_from_the_start
from reelin.engine.child.fragments import DashFD, NativeHlsFD
from reelin.engine.child.unread import RestOfFile, Unread

_CRASH_SAFE: dict[type, type] = {HttpFD: DirectFD, HlsFD: NativeHlsFD, DashSegmentsFD: DashFD}

Info = dict[str, Any]


class IsPlaylist(Exception):
    """The URL is a playlist: `listing` is what the extractor said, its entries untouched."""

    def __init__(self, listing: Info) -> None:
        super().__init__("a playlist")
        self.listing = listing


class Downloader(YoutubeDL):  # type: ignore[misc]
    """`on_video` is called once the extractor is through, before the first byte is fetched.

    `on_wait` hears for how many seconds the site has asked to wait. `rest` is what an earlier attempt has left to be
    fetched; None where nothing is.
    """

    def __init__(
        self,
        params: dict[str, Any],
        *,
        extractors: Extractors,
        fetched: Fetched,
        on_video: Callable[[Info], None],
        on_wait: Callable[[float], None],
        egress: Egress,
        rest: RestOfFile | None = None,
    ) -> None:
        self.fetched = fetched
        #: Of the longest stream whose playlist or manifest tells.
        self.fragments_seconds: float | None = None
        self.on_wait = on_wait
        self._egress = egress
        self._extractors = extractors
        self._on_video = on_video
        self._unread = Unread()
        self._rest = rest
        self._direct = False
        super().__init__(params)

    def promised(self, seconds: float | None) -> None:
        """By the fragments of one stream."""
        if seconds:
            self.fragments_seconds = max(self.fragments_seconds or 0.0, seconds)

    def add_default_info_extractors(self) -> None:
        """Finding and adding all of them takes 60 ms. They are the same ones every time; what this object makes of
        them goes into a dict of its own."""
        self._ies = ChainMap({}, self._extractors.by_key)
        self.add_info_extractor(UnsupportedURLIE())

    def extract_info(
        self, url: str, download: bool = True, ie_key: str | None = None, *more: Any, **options: Any
    ) -> Any:
        return super().extract_info(url, download, ie_key or self._extractors.key_for(url), *more, **options)

    def process_ie_result(self, ie_result: Info, download: bool = True, extra_info: Info | None = None) -> Any:
        """Every result of an extractor passes here, the inner ones too: stop before a playlist is walked through."""
        if ie_result.get("_type") in PLAYLIST_TYPES:
            raise IsPlaylist(ie_result)
        return super().process_ie_result(ie_result, download, extra_info)

    def process_info(self, info_dict: Info) -> None:
        self._on_video(info_dict)
        self._direct = info_dict.get("direct") is True
        if not self._direct:
            self._unread.drop()
        super().process_info(info_dict)

    def urlopen(self, req: Any) -> Any:
        """Every request of yt-dlp passes here, whatever a site's page made its headers be."""
        if isinstance(req, Request):
            without_proxy_headers(req.headers)
            req.proxies.clear()
            return self._answer(req)
        return super().urlopen(req)

    def _answer(self, request: Request) -> Any:
        """The download of a direct file is its extractor's request, where nothing was read of the answer."""
        if self._direct and (unread := self._unread.take(request)):
            return unread
        if self._rest is not None and (rest := self._rest.ask(request, self._send)):
            return rest
        return self._send(request)

    def _send(self, request: Request) -> Any:
        answer = super().urlopen(request)
        self._unread.note(request, answer)
        return answer

    def close(self) -> None:
        self._unread.drop()
        super().close()

    def _forceprint(self, key: str, info_dict: Info) -> None:
        """yt-dlp's own formats tables of formats here, seven times a video, whether or not anything prints them."""

    def dl(self, name: str, info: Info, subtitle: bool = False, test: bool = False) -> Any:
        """`YoutubeDL.dl`, with Reelin's downloaders in place of yt-dlp's own."""
        if test:
            return super().dl(name, info, subtitle, test)
        if not info.get("url"):
            self.raise_no_formats(info, True)
        theirs = get_suitable_downloader(info, self.params)
        downloader = _CRASH_SAFE.get(theirs, theirs)(self, self.params)
        for hook in [] if subtitle else self._progress_hooks:
            downloader.add_progress_hook(hook)
        own_info = self._copy_infodict(info)
        if own_info.get("http_headers") is None:
            own_info["http_headers"] = self._calc_headers(own_info)
        if theirs in _CRASH_SAFE:
            return downloader.download(name, own_info, subtitle)
        self._egress.forget()
        done = fetch_from_the_start(downloader, Path(name), own_info, subtitle)
        self._egress.raise_refusal()
        return done
