"""The engine as the rest of Reelin uses it: real children, a real media server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase
from reelin.contracts.media import Role
from reelin.contracts.options import Options
from reelin.engine.pool import EnginePool
from reelin.engine.programs import find_ffmpeg
from reelin.engine.seam import ExtractTask
from reelin.errors import MediaFailure, StartupError
from reelin.origin.server import Origin
from tests.engine.running import (
    STALL_SECONDS,
    Watched,
    bytes_reach,
    gone_within,
    group,
    ignore,
    kill_at,
    media_of,
    phase_is,
    sha256,
    task_for,
)
from tests.waiting import eventually, promised


async def test_a_direct_file_arrives_byte_for_byte(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    url = origin.url_for("/file/300000/direct.mp4")
    downloaded = await pool.download(task_for(url, tmp_path), ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(url)
    assert [file.sha256 for file in downloaded.files] == [origin.sha256(url)]


@pytest.mark.parametrize(
    ("path", "suffix", "phases"),
    [
        ("/clip.mp4", ".mp4", ["extracting", "downloading", "publishing"]),
        ("/audio.m4a", ".m4a", ["extracting", "downloading", "publishing"]),
        ("/hls/plain/master.m3u8", ".mp4", ["extracting", "downloading", "processing", "publishing"]),
        ("/hls/aes/master.m3u8", ".mp4", ["extracting", "downloading", "processing", "publishing"]),
        ("/hls/av/master.m3u8", ".mp4", ["extracting", "downloading", "merging", "publishing"]),
        ("/dash/manifest.mpd", ".mp4", ["extracting", "downloading", "merging", "publishing"]),
        ("/page/kinds", ".mp4", ["extracting", "downloading", "publishing"]),
    ],
)
async def test_every_kind_of_media_becomes_one_file(
    pool: EnginePool, origin: Origin, tmp_path: Path, path: str, suffix: str, phases: list[str]
) -> None:
    watched = Watched(pool, task_for(origin.url_for(path), tmp_path))
    (file,) = (await watched.outcome).files
    assert (file.suffix, file.role) == (suffix, Role.MEDIA)
    assert sha256((tmp_path / file.name).read_bytes()) == file.sha256
    assert watched.phases == [Phase(phase) for phase in phases]


async def test_subtitles_and_thumbnail_come_beside_the_video(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    with_subtitles = task_for(origin.url_for("/hls/av/master.m3u8"), tmp_path / "a", subtitles={"languages": ["en"]})
    with_thumbnail = task_for(origin.url_for("/page/pictured"), tmp_path / "b", write_thumbnail=True)
    subtitled, pictured = await asyncio.gather(
        pool.download(with_subtitles, ignore), pool.download(with_thumbnail, ignore)
    )
    assert [(file.role, file.suffix) for file in subtitled.files] == [(Role.MEDIA, ".mp4"), (Role.SUBTITLE, ".en.vtt")]
    assert [(file.role, file.suffix) for file in pictured.files] == [(Role.MEDIA, ".mp4"), (Role.THUMBNAIL, ".jpg")]
    assert pictured.metadata.title == "The video pictured"


async def test_progress_grows_by_bytes_and_ends_at_a_hundred(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    url = origin.url_for("/file/1000000/steady.mp4", rate=800_000)
    watched = Watched(pool, task_for(url, tmp_path))
    await watched.outcome
    downloading = [report.progress for report in watched.reports if report.phase is Phase.DOWNLOADING]
    assert 8 <= len(downloading) <= 17
    assert all(earlier.downloaded_bytes <= later.downloaded_bytes for earlier, later in pairwise(downloading))
    assert downloading[-1].percent == 100
    assert downloading[-1].downloaded_bytes == downloading[-1].total_bytes == 1_000_000
    middle = downloading[len(downloading) // 2]
    assert middle.bytes_per_second == pytest.approx(800_000, rel=0.35)
    assert watched.reports[1].title == "steady"


async def test_a_merge_adds_up_its_streams(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    url = origin.url_for("/dash/manifest.mpd", seg_rate=400_000)
    watched = Watched(pool, task_for(url, tmp_path))
    await watched.outcome
    downloading = [report.progress for report in watched.reports if report.phase is Phase.DOWNLOADING]
    assert {progress.streams for progress in downloading} == {2}
    assert [progress.stream for progress in downloading if progress.stream][:: len(downloading) - 2] == [1, 2]
    assert all((earlier.percent or 0) <= (later.percent or 0) for earlier, later in pairwise(downloading))
    assert downloading[-1].percent == 100
    assert downloading[-1].fragment == downloading[-1].fragments


async def test_a_playlist_is_refused_with_its_length(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(MediaFailure, match="a playlist of 7 entries") as failure:
        await pool.download(task_for(origin.url_for("/feed/7.rss"), tmp_path), ignore)
    assert failure.value.kind == FailureKind.UNSUPPORTED_URL


async def test_a_playlist_is_counted_and_its_entries_are_left_alone(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    url = origin.url_for("/feed/7.rss", key="counted")
    task = ExtractTask(job_id="x", url=url, scratch_dir=str(tmp_path), options=Options())
    extracted = await pool.extract(task, ignore)
    assert extracted.entries == 7
    assert not [record for record in origin.log if "key=counted" in record.query and "feed" not in record.path]


async def test_a_video_is_described_without_being_fetched(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    url = origin.url_for("/page/described")
    task = ExtractTask(job_id="x", url=url, scratch_dir=str(tmp_path), options=Options())
    extracted = await pool.extract(task, ignore)
    assert (extracted.metadata.title, extracted.entries) == ("The video described", None)
    assert extracted.formats


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/login", FailureKind.LOGIN_REQUIRED),
        ("/status/404", FailureKind.NOT_FOUND),
        ("/plain", FailureKind.UNSUPPORTED_URL),
        ("/text.txt", FailureKind.UNSUPPORTED_URL),
    ],
)
async def test_a_failure_has_its_kind_and_leaves_the_child_in_service(
    pool: EnginePool, origin: Origin, tmp_path: Path, path: str, kind: FailureKind
) -> None:
    watched = Watched(pool, task_for(origin.url_for(path), tmp_path))
    await asyncio.sleep(0)
    with pytest.raises(MediaFailure) as failure:
        await watched.outcome
    assert failure.value.kind == kind
    assert str(tmp_path) not in failure.value.message


@pytest.mark.parametrize("path", ["/file/900000/large.mp4", "/hls/plain/master.m3u8", "/dash/manifest.mpd"])
async def test_a_download_larger_than_allowed_is_refused(
    pool: EnginePool, origin: Origin, tmp_path: Path, path: str
) -> None:
    with pytest.raises(MediaFailure) as failure:
        await pool.download(task_for(origin.url_for(path), tmp_path, max_bytes=500_000), ignore)
    assert failure.value.kind == FailureKind.TOO_LARGE
    assert not list(tmp_path.glob("media*"))


async def test_the_size_limit_counts_all_streams_of_a_merge(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    video, audio = (
        sum(len(origin.reference(f"/{name}")) for name in origin.media.files if name.startswith(f"dash/{stream}-"))
        for stream in (0, 2)
    )
    task = task_for(origin.url_for("/dash/manifest.mpd"), tmp_path / "over", max_bytes=video + audio // 2)
    with pytest.raises(MediaFailure) as failure:
        await pool.download(task, ignore)
    assert failure.value.kind == FailureKind.TOO_LARGE
    await pool.download(task_for(task.url, tmp_path / "just", max_bytes=video + audio), ignore)


async def test_a_finished_task_is_not_fetched_again(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    task = task_for(origin.url_for("/file/200000/once.mp4"), tmp_path)
    first = await pool.download(task, ignore)
    requests = len(origin.requests(task.url))
    assert await pool.download(task, ignore) == first
    assert len(origin.requests(task.url)) == requests


async def test_a_direct_file_that_turns_out_to_be_forbidden_is_not_called_expired(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    # One request before the kill, and after it one for the rest of the file.
    url = origin.url_for("/file/900000/forbidden-after-the-probe", rate=500_000, fail="403x9", skip=1)
    task = task_for(url, tmp_path)
    await kill_at(pool, task, bytes_reach(200_000))
    with pytest.raises(MediaFailure) as raised:
        await pool.download(task, ignore)
    assert raised.value.kind == FailureKind.FORBIDDEN


async def test_a_stall_is_ended_and_called_by_its_name(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    url = origin.url_for("/file/900000/stalls.mp4", stall_after=300_000, stall_times=9)
    watched = Watched(pool, task_for(url, tmp_path))
    await watched.reaches(bytes_reach(100_000))
    pid = watched.pid
    with promised(STALL_SECONDS + 1), pytest.raises(MediaFailure, match="No byte arrived for 3 s") as failure:
        await watched.outcome
    assert failure.value.kind == FailureKind.NETWORK
    assert not group(pid)


async def test_a_cancel_ends_the_child_within_half_a_second(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    watched = Watched(pool, task_for(origin.url_for("/file/900000/slow.mp4", rate=100_000), tmp_path))
    await watched.reaches(bytes_reach(20_000))
    pid = watched.pid
    with promised(0.5):
        watched.outcome.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watched.outcome
        assert not group(pid)


@pytest.fixture
def slow_ffmpeg(tmp_path: Path) -> Path:
    """The real one, but whatever it should write takes a minute first."""
    script = tmp_path / "slow-ffmpeg"
    script.write_text(f'#!/bin/sh\ncase "$*" in *" -y "*|"-y "*) sleep 60 ;; esac\nexec {find_ffmpeg()} "$@"\n')
    script.chmod(0o755)
    return script


async def test_a_cancel_ends_ffmpeg_too(origin: Origin, tmp_path: Path, slow_ffmpeg: Path) -> None:
    pool = EnginePool(cookies_dir=tmp_path, idle_children=0, ffmpeg=slow_ffmpeg)
    await pool.start()
    try:
        watched = Watched(pool, task_for(origin.url_for("/hls/plain/master.m3u8"), tmp_path / "job"))
        await watched.reaches(phase_is(Phase.PROCESSING))
        pid = watched.pid
        while len(group(pid)) < 3:  # The child, the script, its sleep.
            await asyncio.sleep(0.01)
        with promised(0.5):
            watched.outcome.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watched.outcome
            assert not group(pid)
    finally:
        await pool.close()


async def test_a_child_is_used_again_until_it_has_done_its_share(origin: Origin, tmp_path: Path) -> None:
    pool = EnginePool(cookies_dir=tmp_path, idle_children=1, max_children=1, recycle_after=2)
    await pool.start()
    pids = []
    try:
        for number in range(4):
            url = origin.url_for(f"/file/100000/share{number}.mp4")
            watched = Watched(pool, task_for(url, tmp_path / str(number)))
            await watched.reaches(phase_is(Phase.EXTRACTING))
            pids.append(watched.pid)
            await watched.outcome
    finally:
        await pool.close()
    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_a_child_that_has_worked_and_rests_gives_way_to_a_fresh_one(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelin.engine.pool._SURPLUS_SECONDS", 0.2)
    pool = EnginePool(cookies_dir=tmp_path, idle_children=1, max_children=1)
    await pool.start()
    try:
        watched = Watched(pool, task_for(origin.url_for("/file/100000/rests.mp4"), tmp_path / "job"))
        await watched.reaches(phase_is(Phase.EXTRACTING))
        worked = watched.pid
        await watched.outcome
        await eventually(lambda: pool.idle_pids and worked not in pool.idle_pids)
        await eventually(lambda: not group(worked))
    finally:
        await pool.close()


async def test_no_more_children_run_at_once_than_allowed(origin: Origin, tmp_path: Path) -> None:
    pool = EnginePool(cookies_dir=tmp_path, max_children=2, idle_children=0)
    await pool.start()
    most = 0

    def count(_: object) -> None:
        nonlocal most
        most = max(most, len(pool.running_pids))

    try:
        tasks = [task_for(origin.url_for(f"/file/60000/c{n}.mp4", rate=200_000), tmp_path / f"c{n}") for n in range(5)]
        await asyncio.gather(*(pool.download(task, count) for task in tasks))
    finally:
        await pool.close()
    assert most == 2


async def test_a_lost_fork_server_is_replaced_and_its_tasks_go_on(origin: Origin, tmp_path: Path) -> None:
    pool = EnginePool(cookies_dir=tmp_path, idle_children=1)
    await pool.start()
    try:
        url = origin.url_for("/file/600000/survives.mp4", rate=400_000)
        watched = Watched(pool, task_for(url, tmp_path / "job"))
        await watched.reaches(bytes_reach(100_000))
        pid, lost = watched.pid, pool.fork_server_pid
        assert lost is not None
        os.kill(lost, signal.SIGKILL)
        downloaded = await watched.outcome
        assert media_of(downloaded, tmp_path / "job") == origin.reference(url)
        assert pool.fork_server_pid != lost
        assert not group(pid)
    finally:
        await pool.close()


async def test_a_child_that_died_while_idle_costs_no_task(origin: Origin, tmp_path: Path) -> None:
    pool = EnginePool(cookies_dir=tmp_path, idle_children=1)
    await pool.start()
    try:
        await eventually(lambda: pool.idle_pids)
        os.kill(pool.idle_pids[0], signal.SIGKILL)
        task = task_for(origin.url_for("/file/100000/idle.mp4"), tmp_path / "job")
        assert media_of(await pool.download(task, ignore), tmp_path / "job") == origin.reference(task.url)
    finally:
        await pool.close()


_WORKER = """
import asyncio, sys
from pathlib import Path
from reelin.engine.pool import EnginePool
from tests.engine.running import Watched, bytes_reach, task_for

async def main(folder, url):
    pool = EnginePool(cookies_dir=folder, idle_children=1)
    await pool.start()
    watched = Watched(pool, task_for(url, folder / "job"))
    await watched.reaches(bytes_reach(20_000))
    print(pool.fork_server_pid, *pool.running_pids.values(), *pool.idle_pids, flush=True)
    await watched.outcome

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_nothing_outlives_a_killed_worker(origin: Origin, tmp_path: Path) -> None:
    url = origin.url_for("/file/900000/orphan.mp4", rate=50_000)
    worker = subprocess.Popen([sys.executable, "-c", _WORKER, str(tmp_path), url], stdout=subprocess.PIPE, text=True)
    with worker:
        assert worker.stdout is not None
        pids = [int(pid) for pid in (await asyncio.to_thread(worker.stdout.readline)).split()]
        assert len(pids) >= 2
        worker.kill()
    assert await gone_within(1.0, *pids)


async def test_a_pool_that_is_closed_leaves_no_process(origin: Origin, tmp_path: Path) -> None:
    pool = EnginePool(cookies_dir=tmp_path, idle_children=2)
    await pool.start()
    watched = Watched(pool, task_for(origin.url_for("/file/900000/closing.mp4", rate=50_000), tmp_path / "job"))
    await watched.reaches(bytes_reach(10_000))
    pids = (*pool.running_pids.values(), *pool.idle_pids, pool.fork_server_pid or 0)
    await pool.close()
    with pytest.raises(MediaFailure):
        await watched.outcome
    assert not [pid for pid in pids if group(pid)]


def test_the_worker_itself_never_loads_yt_dlp() -> None:
    code = "import sys, reelin.engine.pool; sys.exit('yt_dlp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_an_engine_that_cannot_start_says_why(tmp_path: Path) -> None:
    pool = EnginePool(cookies_dir=tmp_path, environment={"PYTHONPATH": "", "PYTHONHOME": "/nonexistent"})
    with pytest.raises(StartupError, match="The download engine does not start: "):
        await pool.start()
    await pool.close()
