"""Downloads as the tests run them: watched, killed at a chosen moment, run again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from reelin.contracts.jobs import Phase
from reelin.contracts.media import Downloaded
from reelin.contracts.options import Options
from reelin.engine.pool import EnginePool
from reelin.engine.seam import DownloadTask, Engine, Report
from reelin.errors import MediaFailure
from reelin.origin.server import Origin
from tests.waiting import slowdown

STALL_SECONDS = 3.0

Moment = Callable[[Report], bool]


def task_for(url: str, folder: Path, preset: str = "best", **options: Any) -> DownloadTask:
    return DownloadTask(job_id=folder.name, url=url, scratch_dir=str(folder), preset=preset, options=Options(**options))


class Watched:
    """A download that is under way, and what it has reported."""

    def __init__(self, pool: EnginePool, task: DownloadTask, engine: Engine | None = None) -> None:
        self.reports: list[Report] = []
        self._pool = pool
        self._job_id = task.job_id
        self._waiting: list[tuple[Moment, asyncio.Future[Report]]] = []
        self.outcome = asyncio.create_task((engine or pool).download(task, self._note))

    @property
    def phases(self) -> list[Phase]:
        return list(dict.fromkeys(report.phase for report in self.reports))

    def _note(self, report: Report) -> None:
        self.reports.append(report)
        for moment, reached in self._waiting:
            if not reached.done() and moment(report):
                reached.set_result(report)

    async def reaches(self, moment: Moment) -> Report:
        """Until a report says so. Raises what ended the download before."""
        reached: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._waiting.append((moment, reached))
        await asyncio.wait({reached, self.outcome}, return_when=asyncio.FIRST_COMPLETED)
        if not reached.done():
            raise AssertionError(f"it ended before that moment: {self.outcome}")
        return reached.result()

    @property
    def pid(self) -> int:
        return self._pool.running_pids[self._job_id]


async def kill_at(pool: EnginePool, task: DownloadTask, moment: Moment) -> Report:
    """Start the task and kill -9 its child, and nothing else, at that moment."""
    watched = Watched(pool, task)
    report = await watched.reaches(moment)
    os.kill(watched.pid, signal.SIGKILL)
    with pytest.raises(MediaFailure, match=r"The engine's process ended"):
        await watched.outcome
    return report


def bytes_reach(count: int) -> Moment:
    return lambda report: report.progress.downloaded_bytes >= count


def phase_is(phase: Phase) -> Moment:
    return lambda report: report.phase is phase


def media_of(downloaded: Downloaded, folder: Path) -> bytes:
    return (folder / downloaded.files[0].name).read_bytes()


def parts(folder: Path, pattern: str) -> list[Path]:
    """What is on its way in a scratch folder."""
    return sorted((folder / "parts").glob(pattern))


def only(folder: Path, pattern: str) -> Path:
    (path,) = parts(folder, pattern)
    return path


def rewrite(record: Path, **changes: Any) -> None:
    record.write_text(json.dumps({**json.loads(record.read_text()), **changes}))


def blank(path: Path, begin: int) -> None:
    """What a power loss may leave behind the last byte that was synced: a length, and nothing behind it."""
    length = path.stat().st_size - begin
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(bytes(length))


class Undisturbed:
    """What a download makes when nothing goes wrong, fetched once for each path."""

    def __init__(self, pool: EnginePool, origin: Origin, folder: Path) -> None:
        self._pool = pool
        self._origin = origin
        self._folder = folder
        self._known: dict[str, bytes] = {}

    async def __call__(self, path: str) -> bytes:
        if path not in self._known:
            folder = self._folder / str(len(self._known))
            task = task_for(self._origin.url_for(path), folder)
            self._known[path] = media_of(await self._pool.download(task, ignore), folder)
        return self._known[path]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def ignore(report: Report) -> None:
    del report


def group(pid: int) -> list[int]:
    """The processes of this process group that still run (a zombie does not)."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


async def gone_within(seconds: float, *pids: int) -> bool:
    """Every process of these groups, in so many seconds of a machine that does nothing else."""
    deadline = asyncio.get_running_loop().time() + seconds * slowdown()
    while any(group(pid) for pid in pids):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
