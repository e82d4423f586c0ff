"""Tables. Every cell is a Text of harmless characters, so nothing in it is read as markup."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console, OverflowMethod
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from reelin.cli import describe
from reelin.cli.client import LibraryVideo, SiteEntry
from reelin.cli.text import clean, duration, moment, short_id, size
from reelin.contracts.jobs import Job, State
from reelin.contracts.media import Extracted, Format

#: Columns that give way, and how they share what is left. A path is folded and not cut: people copy it.
_FLEXIBLE = {"title": 3, "file": 4, "uploader": 1, "note": 1, "waits": 4}
#: Less of a title than this says nothing.
_LEAST = 8
_GAP = 2
_UNLIMITED = 100_000


def jobs_table(jobs: Iterable[Job], *, wide: bool, positions: bool = False) -> Table:
    """`wide` for a pipe; a person is served with the beginning of the ids, which every command understands.

    An id begins with the kind of its job. `positions`: they are the items of one batch. What they wait for is a
    column where any does.
    """
    shown = list(jobs)
    waits = {job.id: describe.standstill(job) for job in shown}
    place, why = ("#",) if positions else (), ("waits",) if any(waits.values()) else ()
    table = _table(*place, "id", "state", "title", *(("site",) if wide else ()), "done", "submitted", *why)
    for job in shown:
        _add(
            table,
            *((_position(job),) if positions else ()),
            clean(job.id if wide else short_id(job.id)),
            Text(_state(job), style=describe.STYLES[job.state]),
            describe.name(job),
            *((clean(job.site or "–"),) if wide else ()),
            _done(job),
            moment(job.submitted_at),
            *((waits[job.id],) if why else ()),
        )
    return table


def preview_table(items: Iterable[Job]) -> Table:
    """What a playlist lists, before anything is downloaded."""
    table = _table("#", "title", "length", "in library")
    for item in items:
        there = _state(item) if item.state is State.FAILED else "yes" if describe.was_there(item) else "–"
        _add(table, _position(item), describe.name(item), duration(item.duration_seconds), there)
    return table


def _position(job: Job) -> str:
    return "–" if job.position is None else str(job.position)


def _state(job: Job) -> str:
    if describe.was_there(job):
        return "skipped"
    return f"{job.state}: {job.failure.kind}" if job.failure and job.state is State.FAILED else job.state.value


def _done(job: Job) -> str:
    published = describe.files(job)
    if published:
        return size(sum(file.size_bytes for file in published))
    if job.counts:
        return f"{describe.settled(job.counts):,}/{job.counts.total:,}"
    done = describe.percent(job)
    return "–" if done is None else f"{done:.0f} %"


def videos_table(videos: Iterable[LibraryVideo]) -> Table:
    table = _table("title", "uploader", "length", "state", "file", "size")
    for video in videos:
        _add(
            table,
            clean(video.title or video.url or video.id),
            clean(video.uploader or "–"),
            duration(video.duration_seconds),
            clean(video.state),
            "\n".join(clean(file.path) for file in video.files) or "–",
            "\n".join(size(file.size_bytes) for file in video.files) or "–",
        )
    return table


def sites_table(sites: Iterable[SiteEntry]) -> Table:
    table = _table("site", "at once", "an hour", "in use", "waiting", "shut until", "after")
    for site in sites:
        _add(
            table,
            clean(site.site),
            _limit(site.max_at_once),
            _limit(site.requests_per_hour),
            str(site.in_use),
            str(site.waiting),
            moment(site.cooldown_until) if site.cooldown_until else "–",
            clean(site.reason or "–"),
        )
    return table


def _limit(number: int | None) -> str:
    return "no limit" if number is None else str(number)


def facts_table(facts: Iterable[tuple[str, str | Text]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in facts:
        _add(table, label, value)
    return table


def metadata_facts(found: Extracted) -> list[tuple[str, str]]:
    metadata = found.metadata
    facts = [
        ("title", metadata.title),
        ("uploader", metadata.uploader),
        ("length", duration(metadata.duration_seconds) if metadata.duration_seconds else None),
        ("uploaded", metadata.uploaded_on.isoformat() if metadata.uploaded_on else None),
        ("url", metadata.url),
        ("id", f"{metadata.extractor_id} ({metadata.extractor})"),
        ("live", "yes" if found.is_live else None),
        ("items", str(found.entries) if found.entries is not None else None),
        ("chapters", str(found.chapters) if found.chapters else None),
        ("subtitles", ", ".join(found.subtitles) or None),
        ("description", metadata.description),
    ]
    return [(label, clean(value, limit=500)) for label, value in facts if value]


def formats_table(formats: Iterable[Format]) -> Table:
    table = _table("format", "ext", "picture", "fps", "video", "audio", "bit/s", "size", "protocol", "note")
    for each in formats:
        cells = (
            each.format_id,
            each.ext,
            f"{each.width}×{each.height}" if each.width and each.height else None,
            f"{each.frames_per_second:g}" if each.frames_per_second else None,
            each.video_codec,
            each.audio_codec,
            f"{each.bits_per_second / 1000:.0f}k" if each.bits_per_second else None,
            ("~" if each.size_is_estimate else "") + size(each.size_bytes),
            each.protocol,
            each.note,
        )
        _add(table, *(clean(cell or "–") for cell in cells))
    return table


def print_table(console: Console, table: Table) -> None:
    """Where the screen is too narrow, titles and the like give way; ids and figures keep their width. Where those alone
    do not fit, each row becomes a paragraph."""
    unlimited = console.options.update(max_width=_UNLIMITED)
    table.expand = Measurement.get(console, unlimited, table).maximum > console.width
    if table.expand and not _make_fit(table, console.width):
        _print_rows(console, table)
    else:
        console.print(table)


def _make_fit(table: Table, width: int) -> bool:
    flexible = [column for column in table.columns if column.ratio]
    rigid = (
        max(cell_len(str(cell)) for cell in (column.header, *column.cells))
        for column in table.columns
        if not column.ratio
    )
    share = (width - sum(rigid) - _GAP * len(table.columns)) // max(len(flexible), 1)
    for column in flexible:
        column.min_width = min(column.min_width or share, share)
    return share >= (_LEAST if flexible else 0)


def _print_rows(console: Console, table: Table) -> None:
    labels = [str(column.header) for column in table.columns]
    for number, cells in enumerate(zip(*(column.cells for column in table.columns), strict=True)):
        if number:
            console.print()
        texts = (cell if isinstance(cell, Text) else Text(str(cell)) for cell in cells)
        console.print(facts_table(zip(labels, texts, strict=True)))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for column in columns:
        flexible = column in _FLEXIBLE
        overflow: OverflowMethod = "fold" if column == "file" else "ellipsis"
        table.add_column(
            column, no_wrap=column != "file", overflow=overflow, ratio=_FLEXIBLE.get(column), min_width=8 * flexible
        )
    return table


def _add(table: Table, *cells: str | Text) -> None:
    table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
