"""The expand activity with a real library: run again, run late, killed between pages; and once with everything real."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from reelin.activities import ExpandActivity, Presence, Scratch, SiteDesk
from reelin.activities.listed import Items
from reelin.contracts.failures import Failure, FailureKind
from reelin.contracts.jobs import Kind, Phase, Progress, State
from reelin.contracts.media import Downloaded, Extracted
from reelin.contracts.options import Options
from reelin.contracts.work import Attempt, Expansion, FailureReport, JobRequest
from reelin.engine.pool import EnginePool
from reelin.engine.seam import DownloadTask, Engine, Entry, ExpandTask, ExtractTask, Listing, Report, ReportSink
from reelin.errors import Unavailable
from reelin.library import PAGE, JobFilter, JobRecord, Library, NewBatch, NewJob
from reelin.origin.server import Origin
from reelin.progress import MemoryBus
from tests.library.samples import begun, publish
from tests.media import THREADS, adopted, media_folder

FEED = "https://example.org/feed"
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


class ScriptedEngine:
    """Writes the entries down as an engine does, or finds them again."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.tasks: list[ExpandTask] = []
        self.single = False
        self.truncated = False

    async def download(self, task: DownloadTask, report: ReportSink) -> Downloaded:
        raise NotImplementedError

    async def extract(self, task: ExtractTask, report: ReportSink) -> Extracted:
        raise NotImplementedError

    async def expand(self, task: ExpandTask, report: ReportSink) -> Listing:
        report(Report(phase=Phase.EXTRACTING, progress=Progress(), title="A list"))
        file = Path(task.scratch_dir) / "listing.jsonl"
        fresh = not file.exists()
        if fresh:
            file.write_text("".join(entry.model_dump_json(exclude_defaults=True) + "\n" for entry in self.entries))
        self.tasks.append(task)
        return Listing(
            path=file.name,
            total=len(self.entries),
            title="A list",
            single=self.single,
            truncated=self.truncated,
            fresh=fresh,
        )


class Bench:
    def __init__(self, library: Library, folder: Path, engine: Engine) -> None:
        self.library = library
        self.rung: list[str] = []
        self.media = media_folder(library, folder / "media")
        self.scratch_dir = self.media.scratch_dir
        self.activity = ExpandActivity(
            engine=engine,
            library=library,
            bus=MemoryBus(),
            scratch=Scratch(self.scratch_dir, THREADS),
            # No site complains here, so nobody is told anything.
            desk=SiteDesk(client=cast("Client", None), library=library, unlimited=(), max_at_once=4),
            ring=lambda job_id: self.rung.append(job_id),
            presence=Presence(self.media),
            media=self.media,
            allowed=(LOOPBACK,),
        )

    async def submit(self, url: str = FEED, kind: Kind = Kind.PLAYLIST, **options: Any) -> JobRequest:
        new = NewJob(
            id="playlist-one",
            kind=kind,
            url=url,
            site="example.org",
            owner="local",
            preset="best",
            options=Options(**options),
        )
        await adopted(self.library, self.media.media_dir)
        return (await self.library.jobs.submit(new)).job.request()

    async def expand(self, job: JobRequest, number: int = 1) -> Expansion:
        return await ActivityEnvironment().run(self.activity.expand, Attempt(job=job, number=number))

    async def fails(self, job: JobRequest) -> FailureReport:
        with pytest.raises(ApplicationError) as raised:
            await self.expand(job)
        return FailureReport.model_validate(raised.value.details[0])

    async def items(self, job_id: str = "playlist-one") -> list[JobRecord]:
        found: list[JobRecord] = []
        cursor: str | None = None
        while True:
            page = await self.library.jobs.page(JobFilter(parent=job_id), sort="position", limit=500, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found


def entries(count: int) -> list[Entry]:
    return [
        Entry(playlist_index=n, url=f"https://example.org/{n}", title=f"Film {n}", transparent=True)
        for n in range(1, count + 1)
    ]


async def test_a_playlists_entries_become_items_in_their_order(library: Library, tmp_path: Path) -> None:
    bench = Bench(library, tmp_path, ScriptedEngine(entries(3)))
    job = await bench.submit(max_items=3, filename="{index} {title}")
    assert await bench.expand(job) == Expansion(total=3, title="A list")
    items = await bench.items()
    assert [(item.position, item.url, item.title) for item in items] == [
        (n, f"https://example.org/{n}", f"Film {n}") for n in (1, 2, 3)
    ]
    assert {(item.state, item.held, item.depth, item.kind) for item in items} == {(State.QUEUED, True, 1, Kind.AUTO)}
    assert items[1].entry == {"playlist_index": 2, "title": "Film 2", "transparent": True}
    assert items[0].options == {"filename": "{index} {title}"}
    row = await library.jobs.get(job.job_id)
    assert (row.state, row.title) == (State.RUNNING, "A list")
    assert not (bench.scratch_dir / job.job_id).exists()


async def test_a_batch_hears_of_each_page_so_that_its_items_can_go(library: Library, tmp_path: Path) -> None:
    bench = Bench(library, tmp_path, ScriptedEngine(entries(PAGE + 1)))
    job = await bench.submit()
    await bench.expand(job)
    assert bench.rung == [job.job_id] * 2
    listed = await _submitted_list(library, 2 * PAGE + 1)
    bench.rung.clear()
    await bench.expand(listed)
    assert bench.rung == ["bulk-one"] * 2, "the first page is there from the submission on"


@pytest.mark.parametrize("kind", [Kind.PLAYLIST, Kind.BULK])
async def test_listing_that_was_given_up_is_not_taken_up_again_by_the_next_history(
    library: Library, tmp_path: Path, kind: Kind
) -> None:
    engine = ScriptedEngine(entries(1))
    bench = Bench(library, tmp_path, engine)
    job = await bench.submit() if kind is Kind.PLAYLIST else await _submitted_list(library, PAGE + 1)
    if kind is Kind.PLAYLIST:
        await library.batches.open(job.job_id, job.run)
        entry = Items(job, (), single=False).job_of(entries(1)[0].model_dump_json().encode())
        await library.batches.store_page(job.job_id, job.run, [entry], start=0)
    why = Failure(kind=FailureKind.NOT_FOUND, message="Gone.", remedy="", retryable=False)
    await library.batches.give_up(job.job_id, job.run, failure=why)
    before = await bench.items(job.job_id)
    assert (await bench.expand(job)).state is State.RUNNING
    assert (await bench.items(job.job_id), engine.tasks) == (before, [])


async def test_a_second_run_finds_it_done_and_asks_nobody(library: Library, tmp_path: Path) -> None:
    engine = ScriptedEngine(entries(3))
    bench = Bench(library, tmp_path, engine)
    job = await bench.submit()
    first, rows = await bench.expand(job), await bench.items()
    assert await bench.expand(job) == first
    assert (await bench.items(), len(engine.tasks)) == (rows, 1)


@pytest.mark.parametrize("lost", [False, True], ids=["same machine", "its scratch folder is lost"])
async def test_a_crash_between_pages_goes_on_and_doubles_nothing(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    count = 3 * PAGE + 7
    engine = ScriptedEngine(entries(count))
    bench = Bench(library, tmp_path, engine)
    job = await bench.submit()
    starts: list[int] = []
    store = library.batches.store_page

    async def crashing(job_id: str, run: int, page: Sequence[NewJob], *, start: int) -> int:
        starts.append(start)
        if start == 2 * PAGE and starts.count(start) == 1:
            raise Unavailable("the database", "it crashed")
        return await store(job_id, run, page, start=start)

    monkeypatch.setattr(library.batches, "store_page", crashing)
    with pytest.raises(Unavailable):
        await bench.expand(job)
    assert len(await bench.items()) == 2 * PAGE
    if lost:
        (bench.scratch_dir / job.job_id / "listing.jsonl").unlink()
    assert (await bench.expand(job)).total == count
    items = await bench.items()
    assert [item.position for item in items] == list(range(1, count + 1))
    assert [item.url for item in items] == [entry.url for entry in engine.entries]
    again = [0, PAGE, 2 * PAGE, 3 * PAGE] if lost else [2 * PAGE, 3 * PAGE]
    assert starts == [0, PAGE, 2 * PAGE, *again]


async def test_what_cannot_be_a_job_is_listed_as_failed_at_its_position(library: Library, tmp_path: Path) -> None:
    odd = [
        Entry(playlist_index=1, url="https://example.org/1"),
        Entry(playlist_index=2, reason="No address.", title="Gone"),
        Entry(playlist_index=3, url="http://10.1.2.3/x"),
        Entry(playlist_index=4, url="http://2130706434:8080/x"),
        Entry(playlist_index=5, url="ftp://example.org/x"),
        Entry(playlist_index=6, url="http://user:secret@example.org/x"),
        Entry(playlist_index=7, url="https://example.org/x#__youtubedl_smuggle=1"),
        Entry(playlist_index=8, url="http://[bad"),
        Entry(playlist_index=9, url="http://127.0.0.9/opened"),
    ]
    bench = Bench(library, tmp_path, ScriptedEngine(odd))
    job = await bench.submit()
    await bench.expand(job)
    items = await bench.items()
    bad, blocked = FailureKind.INVALID_URL, FailureKind.BLOCKED_ADDRESS
    expected = [None, bad, blocked, None, bad, bad, bad, bad, None]
    assert [item.failure_kind for item in items] == expected
    assert [item.state is State.FAILED for item in items] == [kind is not None for kind in expected]
    assert (items[1].title, items[1].url, items[1].failure and items[1].failure["message"]) == (
        "Gone",
        None,
        "No address.",
    )
    assert "secret" not in str(items[5])
    counts, _ = await library.batches.count(job.job_id)
    assert (counts.total, counts.failed, counts.queued) == (9, 6, 3)
    released = await library.window.release(job.job_id, at_once=50, limit_of=lambda _: None)
    assert [each.id for each in released.jobs] == [items[0].id, items[3].id, items[8].id]
    assert not [each.id for each in await library.jobs.undispatched() if each.state is State.FAILED]


async def test_a_playlist_of_nothing_but_dead_entries_fails_with_their_reason(library: Library, tmp_path: Path) -> None:
    bench = Bench(library, tmp_path, ScriptedEngine([Entry(playlist_index=1, reason="No address.")]))
    job = await bench.submit()
    for _ in range(2):  # run anew, it is the same
        await bench.expand(job)
        assert await library.window.finish(job.job_id, job.run) is State.FAILED
        row = await library.jobs.get(job.job_id)
        assert row.failure_kind == FailureKind.INVALID_URL
        assert [item.state for item in await bench.items()] == [State.FAILED]
        job = await bench.submit()


async def test_duplicates_are_one_job_at_several_positions(library: Library, tmp_path: Path) -> None:
    twice = [*entries(2), Entry(playlist_index=3, url="https://EXAMPLE.org:443/1")]
    bench = Bench(library, tmp_path, ScriptedEngine(twice))
    await bench.expand(await bench.submit())
    items = await bench.items()
    assert [item.position for item in items] == [1, 2, 3]
    assert items[0].id == items[2].id


async def test_a_playlist_that_holds_itself_is_left_out(library: Library, tmp_path: Path) -> None:
    loop = [*entries(1), Entry(playlist_index=2, url=FEED), Entry(playlist_index=3, url=f"{FEED}#top")]
    bench = Bench(library, tmp_path, ScriptedEngine(loop))
    await bench.expand(await bench.submit(items="1-3"))
    assert [item.url for item in await bench.items()] == ["https://example.org/1"]


async def test_a_playlist_that_is_one_video_has_it_as_its_item(library: Library, tmp_path: Path) -> None:
    engine = ScriptedEngine([Entry(playlist_index=1, url=FEED, title="Solo")])
    engine.single = True
    bench = Bench(library, tmp_path, engine)
    await bench.expand(await bench.submit())
    assert [(item.url, item.kind) for item in await bench.items()] == [(FEED, Kind.VIDEO)]


async def test_a_url_submitted_as_auto_becomes_a_playlist(library: Library, tmp_path: Path) -> None:
    engine = ScriptedEngine(entries(1))
    engine.truncated = True
    bench = Bench(library, tmp_path, engine)
    job = await bench.submit(kind=Kind.AUTO)
    assert (await bench.expand(job)).truncated
    assert (await library.jobs.get(job.job_id)).kind is Kind.PLAYLIST
    found = await library.batches.find(job.job_id)
    assert found is not None and found.truncated and found.expanded


async def test_a_third_level_is_refused_with_the_way_out(library: Library, tmp_path: Path) -> None:
    engine = ScriptedEngine(entries(1))
    bench = Bench(library, tmp_path, engine)
    job = (await bench.submit()).model_copy(update={"depth": 2})
    report = await bench.fails(job)
    assert report.kind is FailureKind.UNSUPPORTED_URL
    assert "two deep" in report.message and "kind=playlist" in report.message
    assert not engine.tasks


async def test_what_stood_too_deep_may_be_taken_apart_when_someone_asks_for_it(
    library: Library, tmp_path: Path
) -> None:
    outer = Bench(library, tmp_path, ScriptedEngine([Entry(playlist_index=1, url="https://example.org/inner")]))
    await outer.expand(await outer.submit())
    [inner] = await outer.items()
    assert inner.depth == 1
    by_itself = NewJob(
        id=inner.id,
        kind=Kind.AUTO,
        url="https://example.org/inner",
        site="example.org",
        owner="local",
        preset="best",
        options=Options(),
    )
    assert (await library.jobs.submit(by_itself)).job.depth == 0


async def test_what_somebody_deleted_by_hand_is_not_skipped(library: Library, tmp_path: Path) -> None:
    engine = ScriptedEngine(entries(2))
    bench = Bench(library, tmp_path, engine)
    await bench.expand(await bench.submit())
    for item in await bench.items():
        await publish(library, item.id)
    kept, _ = await bench.items()
    (tmp_path / "media" / f"{kept.id}.mp4").write_bytes(b"x")
    await begun(library, "playlist-one")
    await library.window.finish("playlist-one", 1)
    await bench.expand(await bench.submit())
    assert [(item.state, item.skipped) for item in await bench.items()] == [
        (State.COMPLETED, True),
        (State.QUEUED, False),
    ]


async def test_a_cancelled_or_newer_run_is_left_alone(library: Library, tmp_path: Path) -> None:
    engine = ScriptedEngine(entries(1))
    bench = Bench(library, tmp_path, engine)
    job = await bench.submit()
    old = job.model_copy(update={"run": 0})
    assert (await bench.expand(old)).state is State.CANCELLED
    await library.jobs.mark_dispatched([(job.job_id, job.run)])
    await library.jobs.request_cancel(job.job_id, keep_partial=False)
    assert (await bench.expand(job)).state is State.CANCELLED
    assert not engine.tasks


async def test_the_rest_of_a_submitted_list_becomes_items(library: Library, tmp_path: Path) -> None:
    bench = Bench(library, tmp_path, ScriptedEngine([]))
    job = await _submitted_list(library, PAGE + 3)
    assert (await bench.expand(job)).total == PAGE + 3
    assert (await bench.expand(job)).total == PAGE + 3
    assert [item.url for item in await bench.items("bulk-one")] == [f"https://example.org/{n}" for n in range(PAGE + 3)]


@pytest.mark.parametrize("kind", [Kind.PLAYLIST, Kind.BULK])
async def test_a_batch_that_ends_meanwhile_is_not_called_expanded(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    bench = Bench(library, tmp_path, ScriptedEngine(entries(3 * PAGE)))
    job = await bench.submit() if kind is Kind.PLAYLIST else await _submitted_list(library, 3 * PAGE)
    store = library.batches.store_page

    async def ending(job_id: str, run: int, page: Sequence[NewJob], *, start: int) -> int:
        if start == 2 * PAGE:
            await library.jobs.cancel(job_id, run)
        return await store(job_id, run, page, start=start)

    monkeypatch.setattr(library.batches, "store_page", ending)
    assert (await bench.expand(job)).state is State.CANCELLED
    found = await library.batches.find(job.job_id)
    assert found is not None and (found.expanded, found.cursor) == (False, 2 * PAGE)


async def _submitted_list(library: Library, count: int) -> JobRequest:
    urls = tuple(f"https://example.org/{n}" for n in range(count))
    new = NewJob(id="bulk-one", kind=Kind.BULK, url="", site="", owner="local", preset="best", options=Options())
    return (await library.batches.submit(NewBatch(job=new, urls=urls))).job.request()


async def test_a_listing_behind_a_link_is_not_read(library: Library, tmp_path: Path) -> None:
    engine = ScriptedEngine(entries(1))
    bench = Bench(library, tmp_path, engine)
    job = await bench.submit()
    secret = tmp_path / "secret"
    secret.write_text('{"playlist_index": 1, "url": "https://example.org/secret"}\n')
    folder = bench.scratch_dir / job.job_id
    folder.mkdir(parents=True)
    (folder / "listing.jsonl").symlink_to(secret)
    assert (await bench.fails(job)).kind is FailureKind.INTERNAL
    assert await bench.items() == []


async def test_a_real_feed_of_ten_thousand_is_stored_while_heartbeats_go_on(
    library: Library, tmp_path: Path, origin: Origin
) -> None:
    engine = EnginePool(cookies_dir=tmp_path, max_children=1, idle_children=1)
    await engine.start()
    try:
        bench = Bench(library, tmp_path, engine)
        url = origin.url_for("/feed/10000.rss", name="many", odd=1)
        job = await bench.submit(url=url)
        beats: list[float] = []
        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda *_: beats.append(time.monotonic())
        began = time.monotonic()
        expansion = await environment.run(bench.activity.expand, Attempt(job=job, number=1))
        print(f"10,000 entries: {time.monotonic() - began:.1f} s")
        assert len(expansion.model_dump_json()) < 1000
        counts, _ = await library.batches.count(job.job_id)
        assert (counts.total, counts.queued, counts.failed) == (10_005, 10_000, 5)
        # A worker that is silent for 6 s has lost the job.
        moments = [began, *beats, time.monotonic()]
        assert max(later - sooner for sooner, later in itertools.pairwise(moments)) < 6
        [request] = [each.request() for each in await bench.items() if each.position == 10_000]
        assert len(request.model_dump_json()) < 10_000
    finally:
        await asyncio.shield(engine.close())
