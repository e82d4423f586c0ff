"""What the demo shows: single videos, a playlist, and a list with a link that is dead at first.

Each act downloads with live progress, then compares every file with its source, and returns how many there were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reelin.cli.bars import display
from reelin.cli.client import Client
from reelin.cli.console import say
from reelin.cli.demo.proof import Source, Wrong, prove
from reelin.cli.describe import name
from reelin.cli.failures import show_failures
from reelin.cli.text import short_id
from reelin.cli.watch import show_all
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Job, State

if TYPE_CHECKING:
    from reelin.origin.server import Origin

#: The clip has 1 MB: at this rate its progress can be watched.
_CLIP_BYTES_PER_SECOND = 400_000
_SEGMENT_BYTES_PER_SECOND = 150_000
_ITEM_BYTES = 600_000
_ITEM_BYTES_PER_SECOND = 300_000
_EPISODES = 6
#: A list as people have them: the first and the third talk stand in it twice.
_TALKS = (1, 2, 3, 1, 4, 5, 3)
_DEAD_TALK = 5

Act = Callable[[Client, "Origin", Path], int]


class Broken(Exception):
    """Something is not as the demo promises; the text says what."""


def videos(client: Client, origin: Origin, media_dir: Path) -> int:
    _title("Single videos: a file, HLS, encrypted HLS, a page with a player")
    sources = _sources(origin)
    jobs = {job.id: job for job in [client.submit({"url": origin.url + source.path}) for source in sources]}
    show_all(client, jobs, display())
    return _check(client, list(jobs.values()), sources, media_dir)


def _sources(origin: Origin) -> list[Source]:
    from reelin.origin.recipe import DURATION_SECONDS

    clip = origin.reference("/clip.mp4")
    return [
        Source(f"/clip.mp4?rate={_CLIP_BYTES_PER_SECOND}", content=clip),
        Source(
            f"/hls/plain/master.m3u8?seg_rate={_SEGMENT_BYTES_PER_SECOND}", duration_seconds=float(DURATION_SECONDS)
        ),
        Source("/hls/aes/master.m3u8", duration_seconds=float(DURATION_SECONDS)),
        Source("/page/meadow?title=The%20Bunny%20in%20the%20Meadow", content=clip),
    ]


def playlist(client: Client, origin: Origin, media_dir: Path) -> int:
    _title(f"A playlist of {_EPISODES}")
    feed = origin.url_for(
        f"/feed/{_EPISODES}.rss", name="episode", title="Episode", size=_ITEM_BYTES, seg_rate=_ITEM_BYTES_PER_SECOND
    )
    job = _shown(client, client.submit({"url": feed}))
    _expect(job, State.COMPLETED, completed=_EPISODES)
    return _check_items(client, origin, job, media_dir)


def bulk_list(client: Client, origin: Origin, media_dir: Path) -> int:
    _title(f"A list of {len(_TALKS)} URLs: two stand in it twice, one is dead")
    urls = {talk: _talk(origin, talk) for talk in _TALKS}
    job = _shown(client, client.submit_list("\n".join(urls[talk] for talk in _TALKS), {}).job)
    _expect(job, State.PARTIAL, completed=len(_TALKS) - 1, failed=1)
    _expect_failure(client, job)
    _expect_once(origin, [url for talk, url in urls.items() if talk != _DEAD_TALK])
    show_failures(client, job)

    _title(f"The link is alive again: reelin retry {short_id(job.id)}")
    job = _shown(client, client.act("retry", job.id))
    _expect(job, State.COMPLETED, completed=len(_TALKS))
    _expect_once(origin, urls.values())
    return _check_items(client, origin, job, media_dir)


def _talk(origin: Origin, talk: int) -> str:
    faults = {"fail": "404x1"} if talk == _DEAD_TALK else {}
    return origin.url_for(f"/file/{_ITEM_BYTES}/talk-{talk}.mp4", rate=_ITEM_BYTES_PER_SECOND, **faults)


def _shown(client: Client, job: Job) -> Job:
    """The job as it ends, having shown how it got there."""
    last = {job.id: job}
    show_all(client, last, display())
    return last[job.id]


def _expect(job: Job, state: State, *, completed: int, failed: int = 0) -> None:
    counts = job.counts
    if job.state is not state or counts is None or (counts.completed, counts.failed) != (completed, failed):
        raise Broken(f"{name(job)} is {job.state} with {counts}")


def _expect_failure(client: Client, job: Job) -> None:
    failures = [item.failure for item in client.jobs({"parent": job.id, "state": State.FAILED.value})]
    if [failure and failure.kind for failure in failures] != [FailureKind.NOT_FOUND]:
        raise Broken(f"the dead link of {name(job)} is told as {failures}")


def _expect_once(origin: Origin, urls: Iterable[str]) -> None:
    """What stands in the list twice, or was fetched before a retry, is fetched once."""
    for url in urls:
        sent = sum(record.bytes_sent for record in origin.requests(url))
        if sent >= 2 * _ITEM_BYTES:
            raise Broken(f"{url} was fetched more than once: {sent} bytes")


def _check_items(client: Client, origin: Origin, batch: Job, media_dir: Path) -> int:
    """Each file once, at however many positions its job stands."""
    items = {item.id: item for item in client.jobs({"parent": batch.id})}
    sources = [Source(item.url or "", content=origin.reference(item.url or "")) for item in items.values()]
    return _check(client, list(items.values()), sources, media_dir)


def _check(client: Client, jobs: Sequence[Job], sources: Sequence[Source], media_dir: Path) -> int:
    from reelin.engine.programs import find_ffmpeg

    ffmpeg = find_ffmpeg()
    wrong = 0
    say()
    for job, source in zip(jobs, sources, strict=True):
        try:
            say(f"✓ {prove(client, job, source, media_dir, ffmpeg)}")
        except Wrong as error:
            wrong += 1
            say(f"✗ {name(job)}: {error}")
    if wrong:
        raise Broken(f"{wrong} of {len(jobs)} files are wrong")
    return len(jobs)


def _title(text: str) -> None:
    say()
    say(text)
