"""Killed at any moment, a download ends with the bytes that an undisturbed one has, and fetches little of it twice.

Each test names a state that a killed or interfered-with attempt leaves on disk.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase
from reelin.engine.child.records import read_record
from reelin.engine.pool import EnginePool
from reelin.engine.programs import find_ffmpeg
from reelin.errors import MediaFailure
from reelin.origin.server import Origin
from tests.engine.running import Watched, bytes_reach, ignore, kill_at, media_of, phase_is, task_for

FILE_BYTES = 600_000
RATE = 600_000
#: Fragments of one stream of the test media, and threads that fetch them.
THREADS = 4


def parts(folder: Path, pattern: str) -> list[Path]:
    return sorted((folder / "parts").glob(pattern))


def only(folder: Path, pattern: str) -> Path:
    (path,) = parts(folder, pattern)
    return path


def resumed_at(origin: Origin, url: str) -> list[int]:
    """Where the ranges that were asked for began."""
    ranges = [record.range for record in origin.requests(url) if record.range]
    return [int(each.removeprefix("bytes=").partition("-")[0]) for each in ranges]


# Direct files


async def test_a_killed_direct_download_goes_on_where_it_was(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/halfway.mp4", rate=RATE), tmp_path)
    report = await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    (begin,) = resumed_at(origin, task.url)
    assert begin >= report.progress.downloaded_bytes


async def test_a_resume_reports_what_is_there_at_once(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/reports.mp4", rate=RATE), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    watched = Watched(pool, task)
    await watched.outcome
    first = next(report for report in watched.reports if report.progress.total_bytes)
    assert first.progress.downloaded_bytes >= FILE_BYTES // 2
    assert all((report.progress.bytes_per_second or 0) < 2 * RATE for report in watched.reports)


async def test_a_part_that_is_complete_already_is_taken(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/complete.mp4", rate=RATE), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    only(tmp_path, "*.part").write_bytes(origin.reference(task.url))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    assert not resumed_at(origin, task.url)


async def test_a_server_that_ignores_ranges_sends_it_all_again(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/norange.mp4", rate=RATE, ignore_range=1), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)


async def test_a_file_that_changed_meanwhile_is_fetched_afresh(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    # One request in the first attempt; in the second a probe and the download.
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/changed.mp4", rate=RATE, changed_after=2), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url, generation=1)


async def test_without_a_record_a_part_is_worth_nothing(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/unvouched.mp4", rate=RATE), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    only(tmp_path, "*.part.json").write_text("{ half a rec")
    only(tmp_path, "*.part").write_bytes(b"other bytes" * 1000)
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)


async def test_a_dropped_connection_costs_nothing_but_a_request(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    url = origin.url_for(f"/file/{FILE_BYTES}/dropped.mp4", drop_after=150_000, drop_times=2)
    downloaded = await pool.download(task_for(url, tmp_path), ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(url)
    begins = resumed_at(origin, url)
    assert len(begins) >= 2
    assert all(later - earlier >= 100_000 for earlier, later in pairwise(begins))


async def test_a_server_error_in_between_is_tried_again(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    # After the kill a probe and the download, which fails.
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/hiccup.mp4", rate=RATE, fail="503x1", skip=2), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    assert len(resumed_at(origin, task.url)) == 2


async def test_a_media_address_that_has_expired_says_so(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    url = origin.url_for("/hls/plain/master.m3u8", seg_fail="403x99")
    with pytest.raises(MediaFailure) as failure:
        await pool.download(task_for(url, tmp_path), ignore)
    assert failure.value.kind == FailureKind.EXPIRED_URL


async def test_a_truncated_file_of_the_final_name_is_not_believed(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/truncated.mp4", rate=RATE), tmp_path)
    for folder in (tmp_path, tmp_path / "parts"):
        folder.mkdir(exist_ok=True)
        (folder / "media.mp4").write_bytes(origin.reference(task.url)[:100_000])
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)


async def test_a_done_record_without_its_file_is_not_believed(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    task = task_for(origin.url_for("/file/100000/undone.mp4"), tmp_path)
    await pool.download(task, ignore)
    (tmp_path / "media.mp4").write_bytes(b"")
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)


# Streams of fragments


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, bytes]:
    return {}


async def _reference(pool: EnginePool, origin: Origin, folder: Path, path: str, known: dict[str, bytes]) -> bytes:
    if path not in known:
        known[path] = media_of(await pool.download(task_for(origin.url_for(path), folder), ignore), folder)
    return known[path]


Spoil = Callable[[Path], object]


def _append_garbage(folder: Path) -> None:
    with only(folder, "*.mp4.part").open("ab") as part:
        part.write(b"half a fragment" * 5000)


def _lose_the_record(folder: Path) -> None:
    only(folder, "*.ytdl").unlink()


def _corrupt_the_record(folder: Path) -> None:
    only(folder, "*.ytdl").write_text('{"fragments": 3')


def _leave_a_fragment_behind(folder: Path) -> None:
    part = only(folder, "*.mp4.part")
    part.with_name(f"{part.name}-Frag1").write_bytes(b"an old fragment" * 99)
    part.with_name(f"{part.name}-Frag9.part").write_bytes(b"half of one" * 99)


def _shorten_the_part(folder: Path) -> None:
    os.truncate(only(folder, "*.mp4.part"), 1000)


@pytest.mark.parametrize(
    "spoil",
    [_append_garbage, _lose_the_record, _corrupt_the_record, _leave_a_fragment_behind, _shorten_the_part],
)
async def test_whatever_a_killed_hls_download_leaves_no_fragment_is_doubled_or_dropped(
    pool: EnginePool, origin: Origin, tmp_path: Path, undisturbed: dict[str, bytes], spoil: Spoil
) -> None:
    path = "/hls/plain/master.m3u8"
    expected = await _reference(pool, origin, tmp_path / "reference", path, undisturbed)
    task = task_for(origin.url_for(path, seg_rate=500_000), tmp_path / "job")
    await kill_at(pool, task, lambda report: (report.progress.fragment or 0) >= 5)
    spoil(tmp_path / "job")
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path / "job") == expected


@pytest.mark.parametrize("path", ["/hls/plain/master.m3u8", "/hls/aes/master.m3u8", "/dash/manifest.mpd"])
async def test_at_most_one_fragment_for_each_thread_is_fetched_again(
    pool: EnginePool, origin: Origin, tmp_path: Path, undisturbed: dict[str, bytes], path: str
) -> None:
    expected = await _reference(pool, origin, tmp_path / "reference", path, undisturbed)
    key = f"twice{path.replace('/', '')}"
    task = task_for(origin.url_for(path, seg_rate=400_000, seg_key=key), tmp_path / "job", concurrent_fragments=THREADS)
    await kill_at(pool, task, lambda report: (report.progress.fragment or 0) >= 6)
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path / "job") == expected
    fragments = [record.path for record in origin.log if key in record.query and "seg_key" not in record.query]
    keys = [fragment for fragment in fragments if fragment.endswith(".key")]
    again = len(fragments) - len(set(fragments)) - (len(keys) - len(set(keys)))
    assert 0 < again <= THREADS


async def test_a_slow_first_fragment_does_not_cost_those_that_overtook_it(
    pool: EnginePool, origin: Origin, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    path = "/hls/plain/master.m3u8"
    expected = await _reference(pool, origin, tmp_path / "reference", path, undisturbed)
    task = task_for(origin.url_for(path, seg_rate=500_000), tmp_path / "job")
    await kill_at(pool, task, lambda report: (report.progress.fragment or 0) >= 5)
    part = only(tmp_path / "job", "*.mp4.part")
    waiting = [path for path in parts(tmp_path / "job", f"{part.name}-Frag*") if path.suffix not in (".part", ".json")]
    requests = len(origin.log)
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path / "job") == expected
    asked_again = [record.path for record in origin.log[requests:]]
    assert not [path for path in waiting if f"{int(path.name.rpartition('Frag')[2]):03}" in asked_again]


async def test_a_kill_while_ffmpeg_works_costs_no_fetched_byte(
    origin: Origin, tmp_path: Path, undisturbed: dict[str, bytes], pool: EnginePool
) -> None:
    path = "/hls/av/master.m3u8"
    expected = await _reference(pool, origin, tmp_path / "reference", path, undisturbed)
    slow = tmp_path / "slow-ffmpeg"
    slow.write_text(f'#!/bin/sh\ncase "$*" in "-y "*) sleep 60 ;; esac\nexec {find_ffmpeg()} "$@"\n')
    slow.chmod(0o755)
    task = task_for(origin.url_for(path, seg_key="ffmpegkill"), tmp_path / "job")
    first = EnginePool(cookies_dir=tmp_path, idle_children=0, ffmpeg=slow)
    await first.start()
    try:
        await kill_at(first, task, phase_is(Phase.MERGING))
    finally:
        await first.close()
    requests = len(origin.log)
    (tmp_path / "job" / "parts" / "media.temp.mp4").write_bytes(b"half merged")
    (tmp_path / "job" / "parts" / "media.mp4").write_bytes(b"half merged")
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path / "job") == expected
    assert not [record for record in origin.log[requests:] if record.path.endswith((".ts", ".m4s", ".aac"))]


async def test_subtitles_in_fragments_are_merged_even_when_only_the_last_one_is_missing(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    wanted: dict[str, Any] = {"subtitles": {"languages": ["en"]}, "concurrent_fragments": 1}
    path = "/hls/av/master.m3u8"
    undisturbed = await pool.download(task_for(origin.url_for(path), tmp_path / "reference", **wanted), ignore)
    task = task_for(origin.url_for(path, seg_latency_ms=50), tmp_path / "job", **wanted)
    running = asyncio.create_task(pool.download(task, ignore))
    record = tmp_path / "job" / "parts" / "media.en.vtt.ytdl"
    last = len([name for name in origin.media.files if name.startswith("hls/av/") and name.endswith(".vtt")]) - 1
    while (read_record(record) or {}).get("fragments") != last:
        assert not running.done()
        await asyncio.sleep(0.005)
    os.kill(pool.running_pids[task.job_id], signal.SIGKILL)
    with pytest.raises(MediaFailure, match="The engine's process ended"):
        await running
    assert (await pool.download(task, ignore)).files[1].sha256 == undisturbed.files[1].sha256


# Whatever the moment


@pytest.mark.parametrize("seed", range(3))
async def test_killed_at_random_moments_every_file_comes_out_right(
    pool: EnginePool, origin: Origin, tmp_path: Path, undisturbed: dict[str, bytes], seed: int
) -> None:
    paths = ["/hls/plain/master.m3u8", "/hls/aes/master.m3u8", "/hls/av/master.m3u8", "/dash/manifest.mpd"]
    for path in paths:
        await _reference(pool, origin, tmp_path / path.replace("/", ""), path, undisturbed)
    urls = {path: origin.url_for(path, seg_rate=600_000) for path in paths}
    urls["direct"] = origin.url_for(f"/file/{FILE_BYTES}/random{seed}.mp4", rate=RATE)
    undisturbed["direct"] = origin.reference(urls["direct"])

    async def torture(name: str, url: str) -> None:
        dice = random.Random(f"{seed} {name}")
        folder = tmp_path / f"job{name.replace('/', '')}"
        for _ in range(5):
            if await _interrupted(pool, url, folder, dice.uniform(0.05, 0.6)):
                continue
            break
        downloaded = await pool.download(task_for(url, folder), ignore)
        assert media_of(downloaded, folder) == undisturbed[name], name

    await asyncio.gather(*(torture(name, url) for name, url in urls.items()))


async def _interrupted(pool: EnginePool, url: str, folder: Path, seconds: float) -> bool:
    """False if it was done before."""
    task = asyncio.create_task(pool.download(task_for(url, folder), ignore))
    while str(folder) not in pool.running_pids and not task.done():
        await asyncio.sleep(0.001)
    await asyncio.wait({task}, timeout=seconds)
    if task.done():
        task.result()
        return False
    os.kill(pool.running_pids[str(folder)], signal.SIGKILL)
    with pytest.raises(MediaFailure, match="The engine's process ended"):
        await task
    return True
