"""A playlist taken apart: looked at once, its entries written as lines for the worker to read page by page."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase, Progress
from reelin.engine.child.channel import Outlet
from reelin.engine.child.downloader import Downloader, IsPlaylist
from reelin.engine.child.egress import Egress
from reelin.engine.child.entries import Info, entry_of, line_of, title_of, unfolded, uploader_of
from reelin.engine.child.failures import translate
from reelin.engine.child.feeddates import read_feed_dates_at_once
from reelin.engine.child.fetched import Fetched
from reelin.engine.child.parameters import parameters
from reelin.engine.child.ranges import Ranges
from reelin.engine.child.records import read_record, write_record
from reelin.engine.child.scratch import held
from reelin.engine.child.task import Log
from reelin.engine.child.tools import Tools
from reelin.engine.seam import Entry, ExpandTask, ExtractTask, Listing, Report
from reelin.engine.wire import Alive, Reported
from reelin.errors import MediaFailure

NAME = "listing.jsonl"
_RECORD = "listing.json"
_ALIVE_SECONDS = 1.0


def run_expand(task: ExpandTask, outlet: Outlet, tools: Tools) -> Listing:
    """Raises MediaFailure for whatever goes wrong outside this package."""
    outlet.say(Reported(report=Report(phase=Phase.EXTRACTING, progress=Progress())))
    folder, log, egress = Path(task.scratch_dir), Log(), Egress(tools.guard)
    try:
        with held(folder):
            return _found(task, folder) or _look(task, outlet, tools, log, egress)
    except MediaFailure:
        raise
    except Exception as error:
        raise egress.explain(translate(error, extracted=False, messages=log.errors)) from error


def _look(task: ExpandTask, outlet: Outlet, tools: Tools, log: Log, egress: Egress) -> Listing:
    read_feed_dates_at_once()
    look = ExtractTask(job_id=task.job_id, url=task.url, scratch_dir=task.scratch_dir, options=task.options)
    chosen = parameters(look, ffmpeg=tools.ffmpeg, cookies=tools.cookies)
    with Downloader(
        {**chosen, "logger": log, **egress.parameters()},
        extractors=tools.extractors,
        fetched=Fetched(Path(task.scratch_dir)),
        on_video=lambda _: None,
        on_wait=lambda seconds: outlet.say(Alive(for_seconds=seconds)),
        egress=egress,
    ) as downloader:
        # Within the block: extractors ask the site for further pages while the entries are being written.
        return write_listing(_listing(downloader, task.url), task, _signs_of_life(outlet))


def _listing(downloader: Downloader, url: str) -> Info:
    try:
        info = downloader.extract_info(url, download=False)
    except IsPlaylist as found:
        return found.listing
    if not info:
        raise MediaFailure(FailureKind.UNSUPPORTED_URL, "There is no video at this URL.")
    return {"title": info.get("title"), "entries": [{**info, "_type": "url", "url": url}], "single": True}


def write_listing(listing: Info, task: ExpandTask, on_entry: Callable[[str | None], None]) -> Listing:
    """The entries that the options choose, written while they are found: no more of them than that are asked for.

    `on_entry` hears the playlist's title, entry by entry.
    """
    folder, title = Path(task.scratch_dir), title_of(listing)
    chosen = _Chosen(listing, task)
    total = _write(folder, _telling(chosen, on_entry, title), task)
    written = Listing(
        path=NAME,
        total=total,
        truncated=chosen.truncated,
        title=title,
        uploader=uploader_of(listing),
        single=listing.get("single") is True,
    )
    _vouch(task, folder, written)
    return written


class _Chosen:
    """The wanted entries, in the playlist's order. `truncated` is known once they have been walked through."""

    def __init__(self, listing: Info, task: ExpandTask) -> None:
        self._listing = listing
        self._ranges = Ranges(task.options.items)
        self._limit = task.limit
        self._enough = None if task.options.reverse or task.options.only_new else task.options.max_items
        self.truncated = False

    def __iter__(self) -> Iterator[Entry]:
        chosen = (self._entry(raw, index) for index, raw in self._numbered() if index in self._ranges)
        return islice(chosen, self._enough)

    def _entry(self, raw: object, index: int) -> Entry:
        return entry_of(raw, index, self._listing)

    def _numbered(self) -> Iterator[tuple[int, object]]:
        for index, raw in enumerate(islice(unfolded(self._listing), self._ranges.last), start=1):
            if index > self._limit:
                self.truncated = True
                return
            yield index, raw


def _telling(entries: Iterable[Entry], on_entry: Callable[[str | None], None], title: str | None) -> Iterator[Entry]:
    for entry in entries:
        on_entry(title)
        yield entry


def _signs_of_life(outlet: Outlet) -> Callable[[str | None], None]:
    """A long playlist takes minutes, without a byte of video. Its title is known from the first entry on."""
    next_at = 0.0

    def on_entry(title: str | None) -> None:
        nonlocal next_at
        if not next_at:
            outlet.say(Reported(report=Report(phase=Phase.EXTRACTING, progress=Progress(), title=title)))
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + _ALIVE_SECONDS
            outlet.say(Alive())

    return on_entry


def _write(folder: Path, entries: Iterable[Entry], task: ExpandTask) -> int:
    """A rename at the end: whoever finds the file finds all of it. Returns the number of lines."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{NAME}.new"
    with draft.open("wb+") as file:
        starts = _write_lines(file, entries)
        if task.options.reverse:
            at_most = None if task.options.only_new else task.options.max_items
            starts = starts[::-1][:at_most]
            _write_backwards(file, starts, folder / f"{NAME}.turned")
        file.flush()
        os.fsync(file.fileno())
    (folder / f"{NAME}.turned" if task.options.reverse else draft).replace(folder / NAME)
    draft.unlink(missing_ok=True)
    return len(starts)


def _write_lines(file: BinaryIO, entries: Iterable[Entry]) -> list[int]:
    """Returns where each line begins."""
    starts = []
    for entry in entries:
        starts.append(file.tell())
        file.write(line_of(entry))
    return starts


def _write_backwards(file: BinaryIO, starts: Iterable[int], target: Path) -> None:
    with target.open("wb") as turned:
        for start in starts:
            file.seek(start)
            turned.write(file.readline())
        turned.flush()
        os.fsync(turned.fileno())


def _vouch(task: ExpandTask, folder: Path, listing: Listing) -> None:
    record: dict[str, Any] = {"task": _identity(task), "bytes": (folder / NAME).stat().st_size}
    write_record(folder / _RECORD, {**record, "listing": listing.model_dump(mode="json")})


def _found(task: ExpandTask, folder: Path) -> Listing | None:
    """What an earlier run of the same task wrote."""
    record = read_record(folder / _RECORD)
    if record is None or record.get("task") != _identity(task):
        return None
    try:
        listing = Listing.model_validate(record.get("listing"))
        whole = (folder / NAME).stat().st_size == record.get("bytes")
    except (ValidationError, OSError):
        return None
    return listing.model_copy(update={"fresh": False}) if whole else None


def _identity(task: ExpandTask) -> str:
    return hashlib.sha256(task.model_dump_json(exclude={"scratch_dir"}).encode()).hexdigest()
