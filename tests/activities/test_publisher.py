"""Publishing where something is in the way: it ends, it says what is wrong, and it holds up nobody else."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from reelin.activities import publish, publisher
from reelin.activities.moving import NameTaken
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import State
from reelin.contracts.options import Options
from reelin.contracts.work import Attempt, FailureReport, FetchResult, JobRequest
from tests.activities.test_fetch import Bench, bench
from tests.library.samples import new_job

__all__ = ["bench"]


async def a_job(bench: Bench, name: str = "one", **options: object) -> JobRequest:
    new = dataclasses.replace(new_job(name), options=Options.model_validate(options))
    return (await bench.library.jobs.submit(new)).job.request()


def _a_file(path: Path) -> None:
    path.write_bytes(b"not a folder")


def _a_link_that_leads_nowhere(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def _a_link_in_a_circle(path: Path) -> None:
    path.symlink_to(path)


def _a_link_to_a_file(path: Path) -> None:
    path.with_name("a file").write_bytes(b"")
    path.symlink_to("a file")


def _a_link_out_of_the_media_folder(path: Path) -> None:
    path.symlink_to("/tmp")


@pytest.mark.parametrize("folder", ["taken", "taken/further/down", "above/taken"])
@pytest.mark.parametrize(
    "obstacle",
    [
        _a_file,
        _a_link_that_leads_nowhere,
        _a_link_in_a_circle,
        _a_link_to_a_file,
        _a_link_out_of_the_media_folder,
    ],
)
async def test_what_is_in_the_way_of_a_folder_fails_the_job_at_once_and_no_other(
    bench: Bench, obstacle: Callable[[Path], None], folder: str
) -> None:
    (bench.media / "above").mkdir()
    obstacle(bench.media / folder.partition("/further")[0])
    job, other = await a_job(bench, folder=folder), await a_job(bench, "two")
    async with asyncio.timeout(10):
        report, result = await asyncio.gather(bench.fails(job), bench.fetch(other))
    assert report.kind is FailureKind.BAD_OPTIONS
    assert "options.folder" in report.message and "taken" in report.message and "media folder" in report.message
    assert str(bench.media) not in report.message
    assert bench.engine.tasks[0].job_id == other.job_id and len(bench.engine.tasks) == 1, "nothing was fetched for it"
    assert result.state is State.COMPLETED


async def test_a_folder_that_is_taken_during_the_download_fails_the_job_and_a_retry_publishes_what_was_fetched(
    bench: Bench,
) -> None:
    job = await a_job(bench, folder="shows")
    bench.engine.gate = asyncio.Event()
    fetching = asyncio.create_task(bench.fails(job))
    while not bench.engine.tasks:
        await asyncio.sleep(0.01)
    (bench.media / "shows").write_bytes(b"")
    bench.engine.gate.set()
    assert (await fetching).kind is FailureKind.BAD_OPTIONS
    (bench.media / "shows").unlink()
    assert (await bench.fetch(job, number=2)).state is State.COMPLETED
    assert (bench.media / "shows" / "A film [1].mp4").read_bytes() == b"a film"
    assert len(bench.engine.tasks) == 1


async def test_a_sub_folder_that_is_only_read_fails_the_job_and_does_not_make_it_wait(
    bench: Bench, mounted: Callable[[str], Path]
) -> None:
    disk = mounted("1m")
    (disk / "shows").mkdir()
    (bench.media / "below").mkdir()
    subprocess.run(["mount", "--bind", str(disk), str(bench.media / "below")], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(bench.media / "below")], check=True)
        for name, folder in (("one", "below"), ("two", "below/shows"), ("three", "below/new")):
            report = await bench.fails(await a_job(bench, name, folder=folder))
            assert report.kind is FailureKind.BAD_OPTIONS and "below" in report.message, report
    finally:
        subprocess.run(["umount", "-l", str(bench.media / "below")], check=True)


@pytest.mark.parametrize("obstacle", [Path.mkdir, _a_link_that_leads_nowhere, _a_link_in_a_circle])
async def test_what_is_in_the_way_of_a_file_keeps_its_name(bench: Bench, obstacle: Callable[[Path], None]) -> None:
    obstacle(bench.media / "A film [1].mp4")
    async with asyncio.timeout(10):
        assert (await bench.fetch(await bench.submit())).state is State.COMPLETED
    assert (bench.media / "A film [1] (2).mp4").read_bytes() == b"a film"


@pytest.mark.parametrize("obstacle", [Path.mkdir, _a_link_that_leads_nowhere])
async def test_what_took_an_earlier_files_place_keeps_it_too(bench: Bench, obstacle: Callable[[Path], None]) -> None:
    await bench.fetch(await bench.submit())
    (bench.media / "A film [1].mp4").unlink()
    obstacle(bench.media / "A film [1].mp4")
    async with asyncio.timeout(10):
        assert (await bench.fetch(await bench.submit(force=True))).state is State.COMPLETED
    assert (bench.media / "A film [1] (2).mp4").read_bytes() == b"a film"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENAMETOOLONG, FailureKind.BAD_OPTIONS),
        (errno.EINVAL, FailureKind.BAD_OPTIONS),
        (errno.EIO, FailureKind.STORAGE_UNAVAILABLE),
        (errno.ESTALE, FailureKind.STORAGE_UNAVAILABLE),
        (errno.ENOSPC, FailureKind.DISK_FULL),
    ],
)
async def test_what_the_disk_says_of_a_move_is_told_as_what_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, kind: FailureKind
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(source), None, str(target))

    monkeypatch.setattr(os, "link", refuse)
    report = await bench.fails(await bench.submit())
    assert report.kind is kind
    assert str(bench.media) not in report.message


async def test_choosing_names_ends_and_holds_up_nobody(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = publish.carry_out, 0

    def unlucky(plan: publish.Plan, scratch: Path, media_dir: Path, own: frozenset[str]) -> None:
        nonlocal tries
        if scratch.name != "video-one":
            return real(plan, scratch, media_dir, own)
        tries += 1
        raise NameTaken("A film [1].mp4")

    monkeypatch.setattr(publisher, "carry_out", unlucky)
    job, other = await bench.submit(), await a_job(bench, "two")
    report, result = await asyncio.gather(bench.fails(job), bench.fetch(other))
    assert (report.kind, tries) == (FailureKind.INTERNAL, publisher.MOST_TRIES)
    assert result.state is State.COMPLETED


async def test_jobs_that_choose_one_name_at_once_lose_nothing(bench: Bench) -> None:
    jobs = [await a_job(bench, f"same-{number}", filename="{preset}") for number in range(8)]
    results = await asyncio.gather(*(bench.fetch(job) for job in jobs))
    assert [result.state for result in results] == [State.COMPLETED] * 8
    assert len(bench.files()) == 8
    paths = {result.result["files"][0]["path"] for result in results if result.result}
    assert paths == {"best.mp4", *(f"best ({number}).mp4" for number in range(2, 9))}


# A folder that is not as it should be.


async def waits(bench: Bench, job: JobRequest, number: int = 1) -> FailureReport:
    report = await bench.fails(job)
    assert report.kind is FailureKind.STORAGE_UNAVAILABLE, report
    return report


async def test_nothing_is_fetched_into_an_empty_mount_point(bench: Bench) -> None:
    job = await bench.submit()
    disk = bench.media.rename(bench.media.with_name("unplugged"))
    bench.media.mkdir()
    assert "not mounted" in (await waits(bench, job)).message
    assert list(bench.media.iterdir()) == [] and not bench.engine.tasks
    bench.media.rmdir()
    disk.rename(bench.media)
    assert (await bench.fetch(job, number=2)).state is State.COMPLETED


async def test_a_disk_that_goes_during_the_download_is_a_pause(bench: Bench) -> None:
    job = await bench.submit()
    bench.engine.gate = asyncio.Event()
    fetching = asyncio.create_task(waits(bench, job))
    while not bench.engine.tasks:
        await asyncio.sleep(0.01)
    disk = bench.media.rename(bench.media.with_name("unplugged"))
    bench.media.mkdir()
    bench.engine.gate.set()
    await fetching
    assert list(bench.media.iterdir()) == []
    bench.media.rmdir()
    disk.rename(bench.media)
    assert (await bench.fetch(job, number=2)).state is State.COMPLETED


async def test_a_disk_that_goes_between_download_and_publication_loses_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, unplugged = await bench.submit(), bench.media.with_name("unplugged")
    real = bench.library.videos.files_of_job

    async def meanwhile(job_id: str) -> object:
        if not unplugged.exists() and bench.engine.tasks:
            bench.media.rename(unplugged)
            bench.media.mkdir()
        return await real(job_id)

    monkeypatch.setattr(bench.library.videos, "files_of_job", meanwhile)
    await waits(bench, job)
    assert list(bench.media.iterdir()) == []
    monkeypatch.undo()
    bench.media.rmdir()
    unplugged.rename(bench.media)
    (unplugged_part,) = (bench.scratch_dir / job.job_id).glob("media.mp4")
    assert unplugged_part.read_bytes() == b"a film"
    assert (await bench.fetch(job, number=2)).state is State.COMPLETED


async def test_a_cancel_is_recorded_whatever_the_disk_does(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await bench.submit()
    await bench.library.jobs.begin(job.job_id, job.run, 1)

    def hang(*_: object, **__: object) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "The disk does not answer")

    monkeypatch.setattr("reelin.activities.scratch.plan_of", hang)
    await ActivityEnvironment().run(bench.record.record_cancelled, job)
    assert (await bench.library.jobs.get(job.job_id)).state is State.CANCELLED


async def test_a_missing_file_is_fetched_again_to_its_own_path(bench: Bench) -> None:
    first = await bench.fetch(await bench.submit())
    path = bench.media / "A film [1].mp4"
    path.unlink()
    record = await bench.library.videos.files_of_job("video-one")
    await bench.library.shelf.note_looked_for(
        gone=record, back=[], looked_at=record[0].published_at.replace(year=record[0].published_at.year + 1)
    )
    again = await bench.submit()
    assert again.run == 2
    result: FetchResult = await ActivityEnvironment().run(bench.activity.fetch, Attempt(job=again, number=1))
    assert result.result == first.result and path.read_bytes() == b"a film"
    (row,) = await bench.library.videos.files_of_job("video-one")
    assert row.missing_since is None and not row.unverified
    assert sorted(bench.files()) == ["A film [1].mp4"]


async def test_an_engine_that_fails_of_itself_is_not_blamed_on_the_disk(bench: Bench) -> None:
    bench.engine.error = ValueError("a fault")
    with pytest.raises(ApplicationError) as raised:
        await bench.fetch(await bench.submit())
    assert raised.value.type == FailureKind.INTERNAL
