"""Real downloads on real small disks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase
from reelin.engine import frugal
from reelin.engine.child.footprint import copies
from reelin.engine.claims import Ledger
from reelin.engine.disk import Disk
from reelin.engine.frugal import FrugalEngine
from reelin.engine.pool import EnginePool
from reelin.errors import MediaFailure
from reelin.origin.server import Origin
from tests.engine.running import Watched, bytes_reach, ignore, media_of, task_for
from tests.media import THREADS

Mounted = Callable[[str], Path]
MB = 1_000_000


class Frugal:
    """Two engines, as of two workers, on one small disk."""

    def __init__(self, pool: EnginePool, folder: Path, min_free_bytes: int | None = None) -> None:
        self.folder = folder
        self.pool = pool
        self.disk = Disk(folder, min_free_bytes)
        self.engines = [FrugalEngine(pool, self.disk, Ledger(folder / ".claims"), THREADS) for _ in range(2)]

    def claims(self) -> list[int]:
        return sorted(int(path.read_text()) for path in (self.folder / ".claims").glob("claim-*"))


async def refused(running: Watched) -> MediaFailure:
    with pytest.raises(MediaFailure) as failure:
        await running.outcome
    assert failure.value.kind == FailureKind.DISK_FULL
    return failure.value


async def test_the_second_of_two_large_downloads_waits_for_room(
    pool: EnginePool, origin: Origin, mounted: Mounted
) -> None:
    frugal = Frugal(pool, mounted("10m"))
    one, other = frugal.engines
    first_task = task_for(origin.url_for("/file/6000000/first", rate=3 * MB), frugal.folder / "first")
    # At full speed it would fill so small a disk before it is refused.
    second_task = task_for(origin.url_for("/file/6000000/second", rate=3 * MB), frugal.folder / "second")
    first = Watched(pool, first_task, engine=one)
    await first.reaches(bytes_reach(MB))
    failure = await refused(Watched(pool, second_task, engine=other))
    assert "MB more on the disk" in failure.message and "claimed" in failure.message
    assert "second" not in pool.running_pids
    assert media_of(await first.outcome, frugal.folder / "first") == origin.reference("/file/6000000/first")
    assert frugal.claims() == []
    subprocess.run(["mount", "-o", "remount,size=20m", str(frugal.folder)], check=True)
    done = await other.download(second_task, ignore)
    assert media_of(done, frugal.folder / "second") == origin.reference("/file/6000000/second")


async def test_a_claim_shrinks_as_bytes_arrive_and_goes_with_the_task(
    pool: EnginePool, origin: Origin, mounted: Mounted
) -> None:
    frugal = Frugal(pool, mounted("20m"))
    task = task_for(origin.url_for("/file/6000000/shrinks", rate=MB), frugal.folder / "job")
    running = Watched(pool, task, engine=frugal.engines[0])
    await running.reaches(bytes_reach(3 * MB))
    (claimed,) = frugal.claims()
    assert 2 * MB < claimed <= 4.5 * MB
    os.kill(running.pid, signal.SIGKILL)
    with pytest.raises(MediaFailure, match="process ended"):
        await running.outcome
    assert frugal.claims() == []
    again = Watched(pool, task, engine=frugal.engines[1])
    await again.reaches(bytes_reach(4 * MB))
    (claimed,) = frugal.claims()
    assert claimed < 3.5 * MB  # What the first run fetched is not claimed again.
    again.outcome.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again.outcome
    assert frugal.claims() == []


async def test_a_download_of_unknown_length_stops_at_the_low_water_mark(
    pool: EnginePool, origin: Origin, mounted: Mounted
) -> None:
    frugal = Frugal(pool, mounted("20m"), min_free_bytes=12 * MB)
    task = task_for(origin.url_for("/file/19000000/unknown", no_length=1, rate=4 * MB), frugal.folder / "job")
    running = Watched(pool, task, engine=frugal.engines[0])
    failure = await refused(running)
    assert "downloads leave 12.0 MB free" in failure.message
    assert running.reports[-1].progress.total_bytes is None
    assert 12 * MB - 8 * MB < frugal.disk.room().free < 12 * MB


async def test_below_the_low_water_mark_nothing_is_even_asked_for(
    pool: EnginePool, origin: Origin, mounted: Mounted
) -> None:
    frugal = Frugal(pool, mounted("5m"), min_free_bytes=10 * MB)
    task = task_for(origin.url_for("/page/untouched", latency_ms=2000), frugal.folder / "job")
    running = Watched(pool, task, engine=frugal.engines[0])
    await refused(running)
    assert running.phases == [Phase.EXTRACTING]


async def test_what_is_whole_already_needs_no_room(pool: EnginePool, origin: Origin, mounted: Mounted) -> None:
    folder = mounted("5m")
    task = task_for(origin.url_for("/file/300000/whole"), folder / "job")
    first = await Frugal(pool, folder, 0).engines[0].download(task, ignore)
    assert await Frugal(pool, folder, 10 * MB).engines[0].download(task, ignore) == first


async def test_a_merge_claims_room_for_its_streams_and_for_what_it_makes_of_them(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    plain = Watched(pool, task_for(origin.url_for("/clip.mp4"), tmp_path / "plain"))
    merged = Watched(pool, task_for(origin.url_for("/dash/manifest.mpd"), tmp_path / "merged"))
    await asyncio.gather(plain.outcome, merged.outcome)
    for watched, times in ((plain, 1), (merged, 2)):
        last = [report for report in watched.reports if report.phase is Phase.DOWNLOADING][-1]
        assert last.space_bytes == times * (last.progress.total_bytes or 0) > 0


_EMBED, _REMUX = {"key": "EmbedThumbnail"}, {"key": "FFmpegVideoRemuxer", "preferedformat": "mp4"}


@pytest.mark.parametrize(
    ("info", "steps", "times"),
    [
        ({"ext": "mp4"}, [], 1),
        ({"ext": "mp4"}, [_REMUX, {"key": "SponsorBlock"}], 1),
        ({"ext": "webm"}, [_REMUX], 2),
        ({"ext": "mp4", "protocol": "m3u8_native"}, [], 2),
        ({"ext": "mp4", "requested_formats": [{}, {}]}, [_REMUX, _EMBED, {"key": "FFmpegMetadata"}], 3),
        ({"ext": "mp4", "is_live": True}, [], None),
        ({"ext": "mp4", "section_start": 0}, [], None),
    ],
)
def test_the_media_are_counted_as_often_as_they_stand_on_disk(
    info: dict[str, object], steps: list[dict[str, str]], times: int | None
) -> None:
    assert copies(info, steps) == times


def test_folders_that_come_and_go_while_the_files_are_counted_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(b"x" * 1000)
    tidy = "import os, sys\nwhile True: os.mkdir(sys.argv[1]); os.rmdir(sys.argv[1])"
    tidying = subprocess.Popen([sys.executable, "-c", tidy, str(tmp_path / "fetched")])
    try:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            assert frugal._used(tmp_path) == 1000
    finally:
        tidying.kill()
        tidying.wait()
