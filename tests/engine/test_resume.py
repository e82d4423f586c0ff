"""Killed at any moment, a download ends with the bytes that an undisturbed one has, and fetches little of it twice.

Each test names a state that a killed or interfered-with attempt leaves on disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reelin.contracts.failures import FailureKind
from reelin.engine.pool import EnginePool
from reelin.errors import MediaFailure
from reelin.origin.server import Origin
from tests.engine.running import (
    Undisturbed,
    Watched,
    blank,
    bytes_reach,
    ignore,
    kill_at,
    media_of,
    only,
    rewrite,
    task_for,
)

FILE_BYTES = 600_000
RATE = 600_000


def resumed_at(origin: Origin, url: str) -> list[int]:
    """Where the ranges that were asked for began."""
    ranges = [record.range for record in origin.requests(url) if record.range]
    return [int(each.removeprefix("bytes=").partition("-")[0]) for each in ranges]


def leave_part(folder: Path, content: bytes) -> None:
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "media.mp4.part").write_bytes(content)


def etag_of(folder: Path) -> str:
    return str(json.loads(only(folder, "*.part.json").read_text())["version"]["etag"])


# Direct files


async def test_a_killed_direct_download_goes_on_where_it_was(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/halfway.mp4", rate=RATE), tmp_path)
    report = await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    (begin,) = resumed_at(origin, task.url)
    assert begin >= report.progress.downloaded_bytes


async def test_a_resume_of_a_direct_file_is_one_request_for_the_rest(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/once.mp4", rate=RATE), tmp_path)
    report = await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    assert downloaded.metadata.uploaded_on is not None, "the part tells as much of the file as the whole does"
    begun, rest = origin.requests(task.url)
    assert (begun.range, rest.status) == (None, 206)
    assert rest.bytes_sent == FILE_BYTES - resumed_at(origin, task.url)[0]
    assert rest.bytes_sent <= FILE_BYTES - report.progress.downloaded_bytes


async def test_a_file_behind_a_redirect_is_not_asked_for_twice_when_it_is_resumed(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    target = f"/file/{FILE_BYTES}/behind.mp4?rate={RATE}"
    task = task_for(origin.url_for("/redirect", to=target), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    before = len(origin.requests(target))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(target)
    # One by the redirect, which yt-dlp then looks at again by its own address.
    assert [record.status for record in origin.requests(target)][before:] == [200, 206]


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


async def test_a_complete_part_of_unknown_length_is_taken_when_the_server_has_no_more(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/unknown.mp4", rate=RATE), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    only(tmp_path, "*.part").write_bytes(origin.reference(task.url))
    rewrite(only(tmp_path, "*.part.json"), version={"etag": etag_of(tmp_path)})
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    assert [record.status for record in origin.requests(task.url) if record.range] == [416]


async def test_a_server_that_ignores_ranges_sends_it_all_again(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/norange.mp4", rate=RATE, ignore_range=1), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)


@pytest.mark.parametrize(
    ("validators", "answers"),
    # With a validator the server itself sends the new file; without one it sends the rest, which does not fit.
    [("etag", [200]), ("date", [200]), ("none", [206, 200])],
)
async def test_a_file_that_changed_meanwhile_is_fetched_afresh_and_never_spliced(
    pool: EnginePool, origin: Origin, tmp_path: Path, validators: str, answers: list[int]
) -> None:
    # One request in the first attempt; whatever the second one asks for has changed.
    path = f"/file/{FILE_BYTES}/changed-{validators}.mp4"
    task = task_for(origin.url_for(path, rate=RATE, changed_after=1, validators=validators), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url, generation=1)
    assert [record.status for record in origin.requests(path)][1:] == answers


@pytest.mark.parametrize("validators", ["etag", "date", "none"])
async def test_a_file_that_did_not_change_is_resumed_whatever_names_its_version(
    pool: EnginePool, origin: Origin, tmp_path: Path, validators: str
) -> None:
    path = f"/file/{FILE_BYTES}/unchanged-{validators}.mp4"
    task = task_for(origin.url_for(path, rate=RATE, validators=validators), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    assert [record.status for record in origin.requests(path)][1:] == [206]
    (begin,) = resumed_at(origin, task.url)
    assert begin >= FILE_BYTES // 2 - RATE // 4


BAD_RECORDS: dict[str, str | None] = {
    "missing": None,
    "empty": "",
    "truncated": '{"version": {"etag": "x"',
    "garbage": "\x00\xff\x00 not a record",
    "nested without end": "[" * 100_000,
    "a list": "[1, 2, 3]",
    "wrong types": '{"identity": 3, "boot": [], "synced": "all", "version": "1"}',
    "a version of wrong types": '{"version": {"etag": 5, "last_modified": [], "total": "many", "encoded": "no"}}',
    "unknown fields": '{"version": {"colour": "blue"}}',
}


@pytest.mark.parametrize("record", BAD_RECORDS.values(), ids=BAD_RECORDS)
async def test_bytes_that_no_sound_record_vouches_for_are_worth_nothing(
    pool: EnginePool, origin: Origin, tmp_path: Path, record: str | None
) -> None:
    task = task_for(origin.url_for("/file/200000/unvouched.mp4"), tmp_path)
    leave_part(tmp_path, b"other bytes" * 1000)
    if record is not None:
        (tmp_path / "parts" / "media.mp4.part.json").write_text(record, encoding="latin-1")
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)


@pytest.mark.parametrize(
    "version",
    [
        {"etag": 5},
        {"etag": '"a"\r\nX-Evil: 1'},
        {"last_modified": ["yesterday"]},
        {"total": "600000"},
        {"total": -1},
        {"total": 1e300},
        {"total": 10**40},
        {"total": True},
        {"encoded": "no"},
    ],
    ids=str,
)
async def test_an_absurd_version_in_an_otherwise_sound_record_is_not_believed(
    pool: EnginePool, origin: Origin, tmp_path: Path, version: dict[str, Any]
) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/absurd.mp4", rate=RATE), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 4))
    record = only(tmp_path, "*.part.json")
    rewrite(record, version={**json.loads(record.read_text())["version"], **version})
    os.truncate(only(tmp_path, "*.part"), 50_000)
    with only(tmp_path, "*.part").open("ab") as part:
        part.write(b"other bytes" * 1000)
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)


async def test_a_part_with_holes_counts_as_far_as_it_was_synced(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/sparse.mp4", rate=RATE), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    rewrite(only(tmp_path, "*.part.json"), synced=200_000)
    part = only(tmp_path, "*.part")
    os.truncate(part, 300_000)
    os.truncate(part, FILE_BYTES)  # Of the right size, as a downloader leaves it that fills a file from several ends.
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    assert resumed_at(origin, task.url) == [200_000]


async def test_after_a_power_loss_a_part_counts_as_far_as_it_was_synced(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/powerless.mp4", rate=RATE), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    rewrite(only(tmp_path, "*.part.json"), synced=200_000, boot="an earlier one")
    blank(only(tmp_path, "*.part"), 200_000)
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    assert resumed_at(origin, task.url) == [200_000]


async def test_a_kill_after_a_power_loss_costs_no_more_than_any_other(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/twice.mp4", rate=RATE), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 3))
    rewrite(only(tmp_path, "*.part.json"), synced=100_000, boot="an earlier one")
    report = await kill_at(pool, task, bytes_reach(FILE_BYTES * 2 // 3))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    first, second = resumed_at(origin, task.url)
    assert first == 100_000
    assert second >= report.progress.downloaded_bytes


async def test_a_part_longer_than_its_file_is_worth_nothing(pool: EnginePool, origin: Origin, tmp_path: Path) -> None:
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/longer.mp4", rate=RATE), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    with only(tmp_path, "*.part").open("ab") as part:
        part.write(b"more than there is" * 50_000)
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"/file/{FILE_BYTES}/one.mp4", f"/file/{FILE_BYTES}/another.mp4"),
        (f"/file/{FILE_BYTES}/one.mp4", "/hls/plain/master.m3u8"),
        ("/hls/plain/master.m3u8", f"/file/{FILE_BYTES}/another.mp4"),
        ("/hls/plain/master.m3u8", "/hls/plain/180p.m3u8"),
        ("/hls/plain/master.m3u8", "/hls/aes/master.m3u8"),
        ("/dash/manifest.mpd", "/hls/av/master.m3u8"),
    ],
)
async def test_what_another_url_or_format_has_left_is_not_taken_for_ones_own(
    pool: EnginePool, origin: Origin, tmp_path: Path, undisturbed: Undisturbed, before: str, after: str
) -> None:
    expected = await undisturbed(after)
    faults: dict[str, Any] = {"rate": RATE, "validators": "none", "seg_rate": RATE}
    await kill_at(pool, task_for(origin.url_for(before, **faults), tmp_path / "job"), bytes_reach(FILE_BYTES // 4))
    downloaded = await pool.download(task_for(origin.url_for(after, validators="none"), tmp_path / "job"), ignore)
    assert media_of(downloaded, tmp_path / "job") == expected


async def test_what_another_format_of_the_same_address_has_left_is_not_taken_for_ones_own(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    url = origin.url_for("/hls/plain/master.m3u8", seg_rate=RATE)
    alone = await pool.download(task_for(url, tmp_path / "alone", preset="smallest"), ignore)
    await kill_at(pool, task_for(url, tmp_path / "job"), bytes_reach(FILE_BYTES // 4))
    downloaded = await pool.download(task_for(url, tmp_path / "job", preset="smallest"), ignore)
    assert media_of(downloaded, tmp_path / "job") == media_of(alone, tmp_path / "alone")


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
    # The first request after the kill fails: then what the file is, is asked for plainly, and its rest once more.
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/hiccup.mp4", rate=RATE, fail="503x1", skip=1), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    assert [record.status for record in origin.requests(task.url)] == [200, 503, 200, 206]
    assert len(resumed_at(origin, task.url)) == 2


async def test_a_server_error_while_the_rest_is_fetched_is_tried_again(
    pool: EnginePool, origin: Origin, tmp_path: Path
) -> None:
    # The address is another one than before, as where it is signed afresh: a look, and then the rest, which fails.
    task = task_for(origin.url_for(f"/file/{FILE_BYTES}/signed.mp4", rate=RATE, fail="503x1", skip=2), tmp_path)
    await kill_at(pool, task, bytes_reach(FILE_BYTES // 2))
    rewrite(only(tmp_path, "*.part.json"), url_sha256="0" * 64)
    downloaded = await pool.download(task, ignore)
    assert media_of(downloaded, tmp_path) == origin.reference(task.url)
    assert [record.status for record in origin.requests(task.url)] == [200, 200, 503, 206]


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


# Whatever the moment


@pytest.mark.parametrize("seed", range(3))
async def test_killed_at_random_moments_every_file_comes_out_right(
    pool: EnginePool, origin: Origin, tmp_path: Path, undisturbed: Undisturbed, seed: int
) -> None:
    paths = ["/hls/plain/master.m3u8", "/hls/aes/master.m3u8", "/hls/av/master.m3u8", "/dash/manifest.mpd"]
    expected = {path: await undisturbed(path) for path in paths}
    urls = {path: origin.url_for(path, seg_rate=600_000) for path in paths}
    urls["direct"] = origin.url_for(f"/file/{FILE_BYTES}/random{seed}.mp4", rate=RATE)
    expected["direct"] = origin.reference(urls["direct"])

    async def torture(name: str, url: str) -> None:
        dice = random.Random(f"{seed} {name}")
        folder = tmp_path / f"job{name.replace('/', '')}"
        for _ in range(5):
            if await _interrupted(pool, url, folder, dice.uniform(0.05, 0.6)):
                continue
            break
        downloaded = await pool.download(task_for(url, folder), ignore)
        assert media_of(downloaded, folder) == expected[name], name

    await asyncio.gather(*(torture(name, url) for name, url in urls.items()))


async def _interrupted(pool: EnginePool, url: str, folder: Path, seconds: float) -> bool:
    """False if it was done before, or killed so early that the pool ran it again by itself."""
    order = task_for(url, folder)
    task = asyncio.create_task(pool.download(order, ignore))
    while order.job_id not in pool.running_pids and not task.done():
        await asyncio.sleep(0.001)
    await asyncio.wait({task}, timeout=seconds)
    if task.done():
        task.result()
        return False
    os.kill(pool.running_pids[order.job_id], signal.SIGKILL)
    try:
        await task
    except MediaFailure as failure:
        assert failure.message.startswith("The engine's process ended")
        return True
    return False
