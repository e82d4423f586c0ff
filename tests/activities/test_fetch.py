"""The fetch activity with a real library and a scripted engine: run again, run late, run for nothing."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from reelin.activities import FetchActivity, Places, RecordActivities, Scratch, SiteDesk, publish
from reelin.activities.marker import MARKER
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase, Progress, State
from reelin.contracts.media import Downloaded, Extracted, Metadata, Role, ScratchFile
from reelin.contracts.progress import BusEvent, JobTouched, ProgressEvent
from reelin.contracts.work import Attempt, FailureReport, FetchResult, JobRequest
from reelin.engine.seam import DownloadTask, ExpandTask, ExtractTask, Listing, Report, ReportSink
from reelin.errors import MediaFailure
from reelin.library import Library, Publication
from reelin.progress import MemoryBus
from reelin.temporal import connect
from tests.library.samples import new_job
from tests.media import THREADS, adopted, media_folder


class ScriptedEngine:
    """Leaves one file in the scratch folder, or fails as told."""

    def __init__(self) -> None:
        self.tasks: list[DownloadTask] = []
        self.content = b"a film"
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.first_bytes: asyncio.Event | None = None

    async def download(self, task: DownloadTask, report: ReportSink) -> Downloaded:
        self.tasks.append(task)
        report(Report(phase=Phase.DOWNLOADING, progress=Progress(percent=50), title="A film"))
        if self.first_bytes is not None:
            await self.first_bytes.wait()
            report(Report(phase=Phase.DOWNLOADING, progress=Progress(downloaded_bytes=5)))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        (Path(task.scratch_dir) / "media.mp4").write_bytes(self.content)
        file = ScratchFile(
            name="media.mp4", role=Role.MEDIA, suffix=".mp4", size_bytes=len(self.content), sha256="0" * 64
        )
        metadata = Metadata(url=task.url, title="A film", extractor="generic", extractor_id="1")
        return Downloaded(metadata=metadata, files=(file,))

    async def extract(self, task: ExtractTask, report: ReportSink) -> Extracted:
        raise NotImplementedError

    async def expand(self, task: ExpandTask, report: ReportSink) -> Listing:
        raise NotImplementedError


class Silence:
    """No batch listens."""

    async def item_changed(self, job_id: str) -> None:
        pass


class Bench:
    def __init__(self, library: Library, folder: Path, client: Client) -> None:
        self.library = library
        self.engine = ScriptedEngine()
        self.events: list[BusEvent] = []
        self.media = folder / "media"
        self.media.mkdir()
        self.scratch_dir = self.media / ".scratch"
        bus = MemoryBus()
        bus.subscribe(self.events.append)
        scratch = Scratch(self.scratch_dir, THREADS)
        desk = SiteDesk(client=client, library=library, unlimited=["example.org"], max_at_once=4)
        self.activity = FetchActivity(
            engine=self.engine,
            library=library,
            bus=bus,
            scratch=scratch,
            media=media_folder(library, self.media, scratch=".scratch"),
            bell=Silence(),
            desk=desk,
            places=Places(16),
        )
        self.record = RecordActivities(library=library, bus=bus, scratch=scratch, bell=Silence(), desk=desk)

    async def submit(self, *, force: bool = False) -> JobRequest:
        return (await self.library.jobs.submit(new_job(force=force))).job.request()

    async def fetch(self, job: JobRequest, number: int = 1, *, fresh: bool = False) -> FetchResult:
        return await ActivityEnvironment().run(self.activity.fetch, Attempt(job=job, number=number, fresh=fresh))

    async def fails(self, job: JobRequest) -> FailureReport:
        with pytest.raises(ApplicationError) as raised:
            await self.fetch(job)
        assert raised.value.non_retryable
        report = FailureReport.model_validate(raised.value.details[0])
        assert raised.value.type == report.kind
        return report

    def files(self) -> dict[str, bytes]:
        """Without the folder's marker."""
        files = (path for path in self.media.iterdir() if path.is_file() and path.name != MARKER)
        return {path.name: path.read_bytes() for path in files}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    library = Library(f"sqlite:///{tmp_path / 'reelin.db'}")
    await library.open()
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = f"127.0.0.1:{unused.getsockname()[1]}"
    bench = Bench(library, tmp_path, await connect(nobody, lazy=True))
    await adopted(library, bench.media, scratch=".scratch")
    yield bench
    await library.close()


async def test_a_fetch_publishes_records_and_tidies_up(bench: Bench) -> None:
    job = await bench.submit()
    result = await bench.fetch(job)
    assert (result.state, result.title) == (State.COMPLETED, "A film")
    assert bench.files() == {"A film [1].mp4": b"a film"}
    row = await bench.library.jobs.get(job.job_id)
    assert (row.state, row.result) == (State.COMPLETED, result.result)
    assert not (bench.scratch_dir / job.job_id).exists()
    assert isinstance(bench.events[0], JobTouched) and isinstance(bench.events[-1], JobTouched)
    phases = [event.phase for event in bench.events if isinstance(event, ProgressEvent)]
    assert phases == [Phase.DOWNLOADING, Phase.PUBLISHING]


async def test_a_second_run_after_a_lost_answer_returns_what_is_there(bench: Bench) -> None:
    job = await bench.submit()
    first = await bench.fetch(job)
    assert await bench.fetch(job, number=2) == first
    assert len(bench.engine.tasks) == 1
    assert len(bench.files()) == 1


async def test_two_attempts_at_once_download_once(bench: Bench) -> None:
    job = await bench.submit()
    bench.engine.gate = asyncio.Event()
    both = [asyncio.create_task(bench.fetch(job)) for _ in range(2)]
    while not bench.engine.tasks:
        await asyncio.sleep(0.01)
    bench.engine.gate.set()
    first, second = await asyncio.gather(*both)
    assert first == second
    assert len(bench.engine.tasks) == 1


async def test_a_job_that_was_cancelled_while_nobody_listened_is_not_begun(bench: Bench) -> None:
    job = await bench.submit()
    await bench.library.jobs.mark_dispatched([(job.job_id, job.run)])
    await bench.library.jobs.request_cancel(job.job_id, keep_partial=False)
    assert (await bench.fetch(job)).state is State.CANCELLED
    assert (await bench.library.jobs.get(job.job_id)).state is State.CANCELLED
    assert not bench.engine.tasks


async def test_a_forgotten_job_and_an_old_run_are_not_begun(bench: Bench) -> None:
    job = await bench.submit()
    newer = job.model_copy(update={"run": 0})
    assert (await bench.fetch(newer)).state is State.CANCELLED
    await bench.library.jobs.forget(job.job_id)
    assert (await bench.fetch(job)).state is State.CANCELLED
    assert not bench.engine.tasks


async def test_a_forced_run_downloads_again_even_when_the_last_one_could_not_tidy_up(bench: Bench) -> None:
    first = await bench.submit()
    await bench.fetch(first)
    leftover = bench.scratch_dir / first.job_id
    leftover.mkdir(parents=True)
    plan = publish.Plan(
        run=1,
        downloaded=await ScriptedEngine().download(_task(first, leftover), lambda _: None),
        moves=(),
    )
    publish.write_plan(plan, leftover)
    bench.engine.content = b"the new version"
    forced = await bench.submit(force=True)
    assert (await bench.fetch(forced)).state is State.COMPLETED
    assert bench.files() == {"A film [1].mp4": b"the new version"}


def _task(job: JobRequest, scratch: Path) -> DownloadTask:
    return DownloadTask(
        job_id=job.job_id, url=job.url, scratch_dir=str(scratch), preset=job.preset, options=job.options
    )


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (MediaFailure("rate_limited", "Slow down.", retry_after_seconds=7), FailureKind.RATE_LIMITED, "Slow down."),
        (OSError(errno.ENOSPC, "No space left on device"), FailureKind.DISK_FULL, "no space"),
        (OSError(errno.EMFILE, "Too many open files"), FailureKind.RESOURCES_EXHAUSTED, "Too many open files"),
        (OSError(errno.ENFILE, "Too many open files in system"), FailureKind.RESOURCES_EXHAUSTED, "in system"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), FailureKind.RESOURCES_EXHAUSTED, "allocate memory"),
        (MemoryError(), FailureKind.RESOURCES_EXHAUSTED, "out of memory"),
        (RuntimeError("can't start new thread"), FailureKind.RESOURCES_EXHAUSTED, "new thread"),
        (OSError(errno.EACCES, "Permission denied"), FailureKind.INTERNAL, "Permission denied"),
        (KeyError("/secret/path"), FailureKind.INTERNAL, "inside Reelin"),
    ],
)
async def test_whatever_goes_wrong_reaches_the_workflow_as_data(
    bench: Bench, error: Exception, kind: FailureKind, said: str
) -> None:
    bench.engine.error = error
    job = await bench.submit()
    report = await bench.fails(job)
    assert report.kind is kind
    assert said in report.message
    assert "/secret" not in report.message and str(bench.media) not in report.message
    assert report.retry_after_seconds == getattr(error, "retry_after_seconds", None)
    assert (await bench.library.jobs.get(job.job_id)).title == "A film"


async def test_a_fresh_attempt_drops_the_partial_files_and_any_other_keeps_them(bench: Bench) -> None:
    job = await bench.submit()
    partial = bench.scratch_dir / job.job_id / "media.mp4.part"
    seen: list[bool] = []
    bench.engine.error = MediaFailure("network", "The line went dead.")
    original: Callable[..., object] = bench.engine.download

    async def looking(task: DownloadTask, report: ReportSink) -> Downloaded:
        seen.append(partial.exists())
        return await original(task, report)  # type: ignore[misc, no-any-return]

    bench.engine.download = looking  # type: ignore[method-assign]
    for fresh in (False, True):
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(b"half")
        with pytest.raises(ApplicationError):
            await bench.fetch(job, fresh=fresh)
    assert seen == [True, False]


@pytest.mark.parametrize("keep", [True, False])
async def test_a_cancelled_job_keeps_its_partial_files_only_when_asked_to(bench: Bench, keep: bool) -> None:
    job = await bench.submit()
    await bench.library.jobs.mark_dispatched([(job.job_id, job.run)])
    folder = bench.scratch_dir / job.job_id
    folder.mkdir(parents=True)
    await bench.library.jobs.request_cancel(job.job_id, keep_partial=keep)
    await ActivityEnvironment().run(bench.record.record_cancelled, job)
    assert (await bench.library.jobs.get(job.job_id)).state is State.CANCELLED
    assert folder.exists() is keep


async def test_a_fresh_attempt_that_runs_again_after_a_crash_keeps_what_it_fetched(bench: Bench) -> None:
    job = await bench.submit()
    bench.engine.error = MediaFailure("network", "The line went dead.")
    with pytest.raises(ApplicationError):
        await bench.fetch(job, number=2, fresh=True)
    partial = bench.scratch_dir / job.job_id / "media.mp4.part"
    partial.write_bytes(b"half")
    with pytest.raises(ApplicationError):
        await bench.fetch(job, number=2, fresh=True)
    assert partial.exists()
    with pytest.raises(ApplicationError):
        await bench.fetch(job, number=3, fresh=True)
    assert not partial.exists()


async def test_a_job_that_is_forgotten_while_it_downloads_leaves_no_file(bench: Bench) -> None:
    job = await bench.submit()
    bench.engine.gate = asyncio.Event()
    fetching = asyncio.create_task(bench.fetch(job))
    while not bench.engine.tasks:
        await asyncio.sleep(0.01)
    await bench.library.jobs.forget(job.job_id)
    bench.engine.gate.set()
    assert (await fetching).state is State.CANCELLED
    assert bench.files() == {}


async def test_what_another_worker_recorded_meanwhile_is_not_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await bench.submit()
    publish_once = bench.library.videos.publish

    async def overtaken(publication: Publication) -> dict[str, Any] | None:
        await publish_once(publication)
        return await publish_once(publication)

    monkeypatch.setattr(bench.library.videos, "publish", overtaken)
    await bench.fetch(job)
    assert (await bench.library.jobs.get(job.job_id)).state is State.COMPLETED
    assert bench.files() == {"A film [1].mp4": b"a film"}


async def test_the_sweep_drops_what_is_done_with_and_leaves_what_is_in_use_or_strange(bench: Bench) -> None:
    job = await bench.submit()
    await bench.library.jobs.cancel(job.job_id, job.run)
    scratch = Scratch(bench.scratch_dir, THREADS)
    stranger, mine = await scratch.folder("video-of-another-installation"), await scratch.folder(job.job_id)
    with (mine / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert await scratch.sweep(bench.library) == 0
    assert await scratch.sweep(bench.library) == 1
    assert stranger.exists() and not mine.exists()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(stranger, (long_ago, long_ago))
    assert await scratch.sweep(bench.library) == 1
