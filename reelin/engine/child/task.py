"""A task in named steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yt_dlp.utils.networking import normalize_url

from reelin.contracts.failures import FailureKind
from reelin.contracts.media import Downloaded, Extracted, ScratchFile
from reelin.engine.child.channel import Outlet
from reelin.engine.child.check import check, refuse_unsafe
from reelin.engine.child.description import describe, extracted
from reelin.engine.child.downloader import Downloader, Info, IsPlaylist
from reelin.engine.child.egress import Egress
from reelin.engine.child.entries import count_of, result_of, title_of
from reelin.engine.child.failures import translate
from reelin.engine.child.fetched import Fetched
from reelin.engine.child.footprint import copies
from reelin.engine.child.length import Promise, promises
from reelin.engine.child.parameters import parameters
from reelin.engine.child.progress import Reporter
from reelin.engine.child.scratch import Scratch
from reelin.engine.child.tools import Tools
from reelin.engine.child.unread import RestOfFile
from reelin.engine.child.watch import Watch
from reelin.engine.seam import DownloadTask, ExtractTask
from reelin.errors import MediaFailure, PlaylistFound

#: Entries of a playlist that are counted one by one, where the extractor does not say how many there are.
_MAX_COUNTED = 100_000


def run_download(task: DownloadTask, outlet: Outlet, tools: Tools, *, direct: bool = False) -> Downloaded:
    """Raises MediaFailure for whatever goes wrong outside this package. `direct` passes by the proxy."""
    return DownloadRun(task, outlet, tools, {"proxy": ""} if direct else {}).run()


class DownloadRun:
    """Prepare the scratch folder, extract and download, check, put down that it is done."""

    def __init__(self, task: DownloadTask, outlet: Outlet, tools: Tools, overrides: dict[str, Any]) -> None:
        self._task = task
        self._overrides = overrides
        self._tools = tools
        self._reporter = Reporter(outlet, task.options.max_bytes)
        self._scratch = Scratch(task)
        self._watch = Watch(self._scratch.folder, self._reporter)
        self._log = Log()
        self._egress = Egress(tools.guard)
        self._extracted = False

    def run(self) -> Downloaded:
        with self._translating():
            self._scratch.hold()
            try:
                return self._scratch.done() or self._download()
            finally:
                self._scratch.release()

    def _download(self) -> Downloaded:
        self._reporter.extracting()
        self._scratch.clear_leftovers()
        info, fragments_seconds = self._fetch()
        self._reporter.publishing()
        metadata = describe(info, self._task.url)
        promised = promises(info, self._task.options, metadata.duration_seconds, fragments_seconds)
        downloaded = Downloaded(metadata=metadata, files=self._check(info, promised))
        self._scratch.finish(downloaded)
        return downloaded

    def _fetch(self) -> tuple[Info, float | None]:
        """What yt-dlp says of the finished download, and what the fragments of its playlists add up to in seconds."""
        chosen = self._parameters()
        downloader = Downloader(
            chosen,
            extractors=self._tools.extractors,
            fetched=self._scratch.fetched,
            on_video=lambda info: self._on_video(info, chosen["postprocessors"]),
            on_wait=self._reporter.alive,
            egress=self._egress,
            rest=RestOfFile(self._scratch.parts),
        )
        with self._watch, downloader:
            info = self._start(downloader)
        if not info:
            raise MediaFailure(FailureKind.UNSUPPORTED_URL, "There is no video at this URL.")
        return dict(info), downloader.fragments_seconds

    def _start(self, downloader: Downloader) -> Info | None:
        if self._task.entry is None:
            info: Info | None = downloader.extract_info(self._task.url, download=True)
        else:
            info = downloader.process_ie_result(
                result_of(self._task.entry, self._task.url, self._tools.extractors.by_key)
            )
        return info

    def _no_video(self, listing: Info) -> Exception:
        found = PlaylistFound(title_of(listing), count_of(listing))
        if self._task.may_be_playlist:
            return found
        text = f"This URL is {found}, not one video. Submit it with kind=playlist."
        return MediaFailure(FailureKind.UNSUPPORTED_URL, text)

    def _parameters(self) -> dict[str, Any]:
        chosen = parameters(self._task, ffmpeg=self._tools.ffmpeg, cookies=self._tools.cookies)
        return {
            **chosen,
            "paths": self._scratch.paths,
            "logger": self._log,
            "progress_hooks": [self._reporter.on_progress],
            "postprocessor_hooks": [self._reporter.on_postprocessor],
            "postprocessor_args": {"ffmpeg": self._watch.arguments},
            **self._egress.parameters(),
            **self._overrides,
        }

    def _on_video(self, info: Info, postprocessors: list[dict[str, Any]]) -> None:
        self._extracted = not _is_given_directly(info, self._task.url)
        refuse_unsafe(str(info.get("ext")).lower())
        self._reporter.video(info, describe(info, self._task.url).title, copies(info, postprocessors))
        self._watch.expect(info.get("duration"))

    def _check(self, info: Info, promised: tuple[Promise, ...]) -> tuple[ScratchFile, ...]:
        return check(
            info,
            self._scratch.folder,
            self._tools.ffmpeg,
            on_hashed=self._reporter.at,
            on_wait=self._reporter.alive,
            promised=promised,
        )

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except IsPlaylist as found:
            raise self._no_video(found.listing) from None
        except MediaFailure:
            raise
        except Exception as error:
            failure = translate(error, extracted=self._extracted, messages=self._log.errors)
            raise self._egress.explain(failure) from error


def _is_given_directly(info: Info, url: str) -> bool:
    """Such a file has no other address that a new extraction could find. What yt-dlp had to escape is the same one."""
    return bool(info.get("direct")) and normalize_url(info.get("url") or "") == normalize_url(url)


def run_extract(task: ExtractTask, outlet: Outlet, tools: Tools) -> Extracted:
    """Look, and fetch nothing. A playlist's entries are counted and left alone."""
    Reporter(outlet, None).extracting()
    log, egress = Log(), Egress(tools.guard)
    try:
        return extracted(_look(task, tools, log, egress), task.url)
    except MediaFailure:
        raise
    except Exception as error:
        raise egress.explain(translate(error, extracted=False, messages=log.errors)) from error


def _look(task: ExtractTask, tools: Tools, log: Log, egress: Egress) -> Info:
    folder = Path(task.scratch_dir)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = parameters(task, ffmpeg=tools.ffmpeg, cookies=tools.cookies)
    with Downloader(
        {**chosen, "logger": log, **egress.parameters()},
        extractors=tools.extractors,
        fetched=Fetched(folder),
        on_video=lambda _: None,
        on_wait=lambda _: None,
        egress=egress,
    ) as downloader:
        try:
            info = downloader.extract_info(task.url, download=False)
        except IsPlaylist as found:
            return _with_entries(found.listing)
    if not info:
        raise MediaFailure(FailureKind.UNSUPPORTED_URL, "There is no video at this URL.")
    return dict(info)


def _with_entries(listing: Info) -> Info:
    """Extractors list a playlist's entries page by page, as they are asked for."""
    entries = listing.get("entries") or []
    return {**listing, "entries": list(itertools.islice(entries, _MAX_COUNTED))}


class Log:
    """What yt-dlp says. Its errors help to tell failures apart; the rest is for a terminal."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def debug(self, message: str) -> None:
        """Also what yt-dlp prints as information."""

    def info(self, message: str) -> None:
        pass

    def warning(self, message: str) -> None:
        pass

    def error(self, message: str) -> None:
        self.errors.append(message)
