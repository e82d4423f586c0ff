"""A program that hangs costs its job some seconds, and no other job anything."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase
from reelin.engine.child import movement
from reelin.engine.child.movement import Movement, Sight
from reelin.engine.pool import EnginePool
from reelin.engine.programs import find_ffmpeg
from reelin.errors import MediaFailure
from reelin.origin.server import Origin
from tests.engine.running import Watched, group, ignore, media_of, task_for
from tests.waiting import promised

#: The real ffmpeg, except that it hangs in the way that the job's folder is named after. `$progress` is the file that
#: it reports to, `$output` what it should write. The processes that it starts hang with it.
_HANGING = """#!/bin/bash
all="$*"; progress="${all#*-progress }"; progress="${progress%% *}"; output="${!#}"; output="${output#file:}"
case "$all" in
  *-protocol_whitelist\\ file\\ -i*/opening/*) sleep 600 ;;
  *-y\\ *silent*) sleep 600 ;;
  *-y\\ *stands-still*) while :; do echo out_time_us=500000 >> "$progress"; sleep 0.2; done ;;
  *-y\\ *trickles*) while :; do printf x >> "$output"; sleep 0.2; done ;;
  *-y\\ *rewrites*) while :; do printf x 1<> "$output"; sleep 0.2; done ;;
esac
exec REAL "$@"
"""
_JOBS: dict[str, tuple[str, str, dict[str, Any], Phase]] = {
    "merge-silent": ("/hls/av/master.m3u8", "best", {}, Phase.MERGING),
    "merge-trickles": ("/dash/manifest.mpd", "best", {}, Phase.MERGING),
    "fixup-stands-still": ("/hls/plain/master.m3u8", "best", {}, Phase.PROCESSING),
    "convert-silent": ("/audio.m4a", "audio-mp3", {}, Phase.PROCESSING),
    "convert-rewrites": ("/clip.mp4", "best", {"container": "mkv"}, Phase.PROCESSING),
    "opening": ("/clip.mp4", "best", {"container": "mkv"}, Phase.PUBLISHING),
}


@pytest.fixture
async def hanging(tmp_path: Path) -> AsyncIterator[EnginePool]:
    script = tmp_path / "hanging-ffmpeg"
    script.write_text(_HANGING.replace("REAL", str(find_ffmpeg())))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    pool = EnginePool(cookies_dir=tmp_path, ffmpeg=script, max_children=len(_JOBS), idle_children=0, stall_seconds=10)
    await pool.start()
    yield pool
    await pool.close()


async def _hangs(pool: EnginePool, origin: Origin, folder: Path) -> None:
    path, preset, options, phase = _JOBS[folder.name]
    watched = Watched(pool, task_for(origin.url_for(path), folder, preset, **options))
    await watched.reaches(lambda report: report.phase is phase)
    pid, began = watched.pid, time.monotonic()
    with promised(25), pytest.raises(MediaFailure, match="Processing did not move for 10 s") as failure:
        await watched.outcome
    assert failure.value.kind == FailureKind.PROCESSING
    assert time.monotonic() - began > 9
    assert not group(pid)
    assert folder.name not in pool.running_pids


async def test_programs_that_hang_give_their_slots_back(hanging: EnginePool, origin: Origin, tmp_path: Path) -> None:
    stuck = [asyncio.create_task(_hangs(hanging, origin, tmp_path / name)) for name in _JOBS]
    await asyncio.sleep(0)
    queued = task_for(origin.url_for("/file/200000/queued"), tmp_path / "queued")
    downloaded = await hanging.download(queued, ignore)
    assert media_of(downloaded, tmp_path / "queued") == origin.reference("/file/200000/queued")
    await asyncio.gather(*stuck)
    assert hanging.running_pids == {}


class Files:
    """What a program does to its files, at times of the test's choosing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.n_bytes = 100_000_000
        self.touched = 0
        self.position = 0.0
        self.movement = Movement()
        monkeypatch.setattr(movement.time, "monotonic", lambda: self.now)

    def moves(self, *, seconds: float = 0.5, n_bytes: int = 0, touched: bool = False, position: float = 0) -> bool:
        self.now += seconds
        self.n_bytes += n_bytes
        self.touched += touched or bool(n_bytes)
        self.position += position
        return self.movement.note(Sight(self.n_bytes, self.touched, self.position))


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    made = Files(monkeypatch)
    made.moves()
    return made


def test_what_grows_or_advances_moves(files: Files) -> None:
    assert files.moves(n_bytes=100_000)
    assert files.moves(position=2)
    assert not files.moves()
    assert [files.moves(position=0.25) for _ in range(4)] == [False, False, False, True]
    assert files.moves(n_bytes=-5_000_000)


def test_an_index_may_be_moved_for_as_long_as_a_slow_disk_needs(files: Files) -> None:
    assert all(files.moves(touched=True) for _ in range(49))
    assert not any(files.moves(touched=True) for _ in range(200))
    assert files.moves(n_bytes=100_000)
    assert files.moves(touched=True)


def test_a_byte_now_and_then_moves_no_more_than_that(files: Files) -> None:
    assert not any(files.moves(seconds=30, n_bytes=1) for _ in range(1000))
