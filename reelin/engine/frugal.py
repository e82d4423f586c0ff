"""An engine that fetches only what the disk has room for, beside what other downloads have been promised."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase
from reelin.contracts.media import Downloaded, Extracted
from reelin.engine.claims import Claim, Ledger, NoRoom
from reelin.engine.disk import Disk, Room, amount
from reelin.engine.filethreads import FileThreads
from reelin.engine.seam import DownloadTask, Engine, ExpandTask, ExtractTask, Listing, Report, ReportSink
from reelin.errors import MediaFailure

_SECONDS_BETWEEN_LOOKS = 1.0


class FrugalEngine:
    """Implements `seam.Engine` on top of another one, which it cancels for want of room (`disk_full`)."""

    def __init__(self, engine: Engine, disk: Disk, ledger: Ledger, threads: FileThreads) -> None:
        self._engine = engine
        self._threads = threads
        self._disk = disk
        self._ledger = ledger

    async def download(self, task: DownloadTask, report: ReportSink) -> Downloaded:
        watch = _Watch(Path(task.scratch_dir), self._disk, self._ledger.claim(), self._threads)

        def sink(news: Report) -> None:
            report(news)
            watch.note(news)

        running = asyncio.create_task(self._engine.download(task, sink))
        watching = asyncio.create_task(watch.run())
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                watching.result()  # Raises what it refused; else everything has arrived.
            return await running
        finally:
            running.cancel()
            watching.cancel()
            await asyncio.gather(running, watching, return_exceptions=True)
            await watch.release()

    async def extract(self, task: ExtractTask, report: ReportSink) -> Extracted:
        return await self._engine.extract(task, report)

    async def expand(self, task: ExpandTask, report: ReportSink) -> Listing:
        return await self._engine.expand(task, report)


class _Watch:
    """Looks at the disk when a download begins, when its size becomes known, and every second."""

    def __init__(self, folder: Path, disk: Disk, claim: Claim, threads: FileThreads) -> None:
        self._threads = threads
        self._folder = folder
        self._disk = disk
        self._claim = claim
        self._newest: Report | None = None
        self._news = asyncio.Event()

    def note(self, report: Report) -> None:
        known = self._newest
        self._newest = report
        if known is None or _worth_a_look(known, report):
            self._news.set()

    async def run(self) -> None:
        """Until the files are whole: a rename takes no room. Raises MediaFailure for want of it, OSError where the
        disk cannot be looked at."""
        await self._news.wait()
        while self._newest is not None and self._newest.phase is not Phase.PUBLISHING:
            self._news.clear()
            await self._threads.run(self._look, self._newest.space_bytes)
            try:
                async with asyncio.timeout(_SECONDS_BETWEEN_LOOKS):
                    await self._news.wait()
            except TimeoutError:
                pass  # Bytes arrive without a word that is worth waking up for.
        await self.release()

    async def release(self) -> None:
        """Also where the disk does not answer: then as soon as it does. Whoever adds up next does the rest."""
        with contextlib.suppress(OSError):
            await self._threads.run(self._claim.release)

    def _look(self, space_bytes: int | None) -> None:
        room = self._disk.room()
        if room.low:
            raise MediaFailure(FailureKind.DISK_FULL, _too_low(room))
        if space_bytes is None:
            return
        missing = max(0, space_bytes - _used(self._folder))
        try:
            self._claim.resize(missing, self._disk.room)
        except NoRoom as refusal:
            raise MediaFailure(FailureKind.DISK_FULL, _too_large(missing, refusal.usable)) from None


def _worth_a_look(known: Report, report: Report) -> bool:
    return known.phase is not report.phase or (known.space_bytes is None) != (report.space_bytes is None)


def _used(folder: Path) -> int:
    """What the job's files take up already. A stream that is kept has two names, and counts once."""
    sizes: dict[int, int] = {}
    for parent, _, names in os.walk(folder):  # unlike rglob, it takes folders that go meanwhile as empty
        for name in names:
            try:
                status = Path(parent, name).lstat()
            except FileNotFoundError:
                continue  # Renamed or deleted meanwhile.
            sizes[status.st_ino] = status.st_size
    return sum(sizes.values())


def _too_low(room: Room) -> str:
    return f"Only {amount(room.free)} are free on the disk, and downloads leave {amount(room.low_water)} free."


def _too_large(missing: int, usable: int) -> str:
    return (
        f"The download needs {amount(missing)} more on the disk, and there are {amount(usable)} beside what is kept "
        "free and what other downloads have claimed."
    )
