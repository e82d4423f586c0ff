"""How fast and how large is the engine?

    python bench/engine.py [--small 60] [--items 200] [--megabytes 500] [--rounds 3] [--at-once 50]

The pool runs in this process as in a worker, with the egress guard, against a media server on loopback; Temporal,
the database and the API take no part (`bench/submit.py` and `bench/progress.py` measure those).

- Start: a download of 200 KB from the call to its checked file, by a child that never worked and by one that did.
- Memory: of an idle child, what is shared divided among those who share it (PSS).
- One large file, in turn with the yt-dlp command line: the transfer by the origin's clock, and everything. After the
  transfer Reelin opens and hashes the file and waits for the disk; yt-dlp does none of that.
- Many at once: so many downloads of 2 MB, each at 500 KB/s.
- Freshness: five downloads at 500 KB/s. Every 20 ms: how long ago had the server sent as much as the worker knows of?
- CPU of a small download: in all, and where it goes (`bench/steps.py` looks inside the child).

The exit status is 1 if a target is missed. The server, yt-dlp, the engine and this program share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import large
from harness import console, percentile
from progress import RATE, ages
from targets import Figure, print_figures
from usage import Cpu, child_pids, pss_bytes, pss_of_all

from reelin.contracts.options import Options
from reelin.engine.guard.process import GuardProcess
from reelin.engine.pool import EnginePool
from reelin.engine.seam import DownloadTask, Report, ReportSink
from reelin.origin.process import OriginProcess

SMALL = 200_000
MEDIUM = 2_000_000
FRESH = 3_000_000
MB = 1_000_000


@dataclass(frozen=True)
class Amounts:
    """How much of everything; the targets are for the defaults."""

    small: int = 60
    items: int = 200
    megabytes: int = 500
    rounds: int = 3
    at_once: int = 50


class Downloads:
    """Into folders of their own, under names of their own."""

    def __init__(self, origin: OriginProcess, folder: Path) -> None:
        self.origin = origin
        self.folder = folder
        self._number = 0

    async def one(self, pool: EnginePool, size: int, report: ReportSink = lambda _: None, query: str = "") -> str:
        """The name in its URL."""
        self._number += 1
        name = f"engine-{self._number}.mp4"
        url, scratch = f"{self.origin.url}/file/{size}/{name}{query}", str(self.folder / name)
        task = DownloadTask(job_id=name, url=url, scratch_dir=scratch, preset="best", options=Options())
        downloaded = await pool.download(task, report)
        if downloaded.files[0].size_bytes != size:
            raise RuntimeError(f"{url}: {downloaded.files[0]}")
        return name

    async def timed(self, pool: EnginePool, size: int) -> float:
        """Milliseconds."""
        began = time.perf_counter()
        await self.one(pool, size)
        return (time.perf_counter() - began) * 1000


@dataclass(frozen=True)
class Engine:
    pool: EnginePool
    guard: GuardProcess | None

    def pids(self) -> list[int]:
        """All processes but this one."""
        found = [*child_pids(self.pool), self.pool.fork_server_pid or 0]
        return [*found, self.guard.pid] if self.guard else found


@contextlib.asynccontextmanager
async def engine(
    folder: Path, *, guarded: bool = True, idle: int = 1, at_once: int = 2, jobs: int = 50
) -> AsyncIterator[Engine]:
    guard = GuardProcess((ipaddress.ip_network("127.0.0.1/32"),)) if guarded else None
    pool = EnginePool(cookies_dir=folder, idle_children=idle, max_children=at_once, recycle_after=jobs, guard=guard)
    await pool.start()
    try:
        await warm(pool, idle)
        yield Engine(pool, guard)
    finally:
        await pool.close()


async def warm(pool: EnginePool, children: int) -> None:
    """The pool forks its idle children by itself."""
    async with asyncio.timeout(30):
        while len(pool.idle_pids) < children:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # What a child does before its first task is no part of it.


async def start(downloads: Downloads, amounts: Amounts) -> list[Figure]:
    async with engine(downloads.folder, jobs=1) as fresh:
        first = []
        for _ in range(amounts.small):
            await warm(fresh.pool, 1)
            first.append(await downloads.timed(fresh.pool, SMALL))
    async with engine(downloads.folder) as used:
        await downloads.one(used.pool, SMALL)
        again = [await downloads.timed(used.pool, SMALL) for _ in range(amounts.small)]
    return [
        figure
        for child, took in (("child that never worked", first), ("child used again", again))
        for figure in (
            Figure(f"200 KB, {child}, p50", percentile(took, 50), "ms", 120),
            Figure("  longest", max(took), "ms", note=f"{len(took)} downloads"),
        )
    ]


async def memory(downloads: Downloads) -> list[Figure]:
    async with engine(downloads.folder, idle=2) as two:
        unused = max(map(pss_bytes, two.pool.idle_pids)) / MB
        server = pss_bytes(two.pool.fork_server_pid or 0) / MB
        # At once, so that each child gets some; several, since the first ones make it grow.
        for _ in range(5):
            await asyncio.gather(*(downloads.one(two.pool, SMALL) for _ in range(2)))
        used = max(map(pss_bytes, two.pool.idle_pids)) / MB
    return [
        Figure("PSS of an idle child, unused", unused, "MB", 30, note="the larger of two"),
        Figure("  after five downloads", used, "MB", 30),
        Figure("  the fork server beside them", server, "MB"),
    ]


async def large_file(downloads: Downloads, amounts: Amounts) -> list[Figure]:
    size = amounts.megabytes * MB
    bare, guarded = "Reelin without the guard", "Reelin with it"
    async with engine(downloads.folder, guarded=False) as one, engine(downloads.folder) as other:
        race = large.Race(downloads.origin, downloads.folder, size)
        found = await race.run({bare: one.pool, guarded: other.pool}, amounts.rounds)
    return large.figures(found, {bare: 0.95, guarded: 0.8}, size)


async def many_at_once(downloads: Downloads, amounts: Amounts) -> list[Figure]:
    """Once for time and CPU, and once more for the memory: looking at it costs CPU."""
    count = amounts.at_once
    async with engine(downloads.folder, idle=2, at_once=count) as this:
        before, began = Cpu.of(this.pool, this.guard), time.perf_counter()
        await together(downloads, this, count)
        wall, cpu = time.perf_counter() - began, Cpu.of(this.pool, this.guard).since(before)
    async with engine(downloads.folder, idle=2, at_once=count) as this:
        running = asyncio.create_task(together(downloads, this, count))
        await asyncio.sleep(MEDIUM / RATE / 2)
        memory = pss_of_all(this.pids())
        await running
    parts = f"children {cpu.children + cpu.fork_server:.2f}, guard {cpu.guard:.2f}, worker {cpu.parent:.2f}"
    return [
        Figure(f"{count} × 2 MB at 500 KB/s each, wall", wall, "s", 6, note=f"at least {MEDIUM / RATE:.0f} s"),
        Figure("  CPU", cpu.total, "s", 10, note=parts),
        Figure("  PSS of all processes but the worker", memory / MB, "MB", 1500, note="in the middle of it"),
    ]


async def together(downloads: Downloads, this: Engine, count: int) -> None:
    await asyncio.gather(*(downloads.one(this.pool, MEDIUM, query=f"?rate={RATE}") for _ in range(count)))


async def freshness(downloads: Downloads) -> list[Figure]:
    seen: list[list[tuple[float, int]]] = [[] for _ in range(5)]

    def sink(looks: list[tuple[float, int]]) -> ReportSink:
        def note(report: Report) -> None:
            looks.append((time.time(), report.progress.downloaded_bytes))

        return note

    downloads.origin.clear_log()
    async with engine(downloads.folder, idle=5, at_once=5) as this:
        names = await asyncio.gather(*(downloads.one(this.pool, FRESH, sink(looks), f"?rate={RATE}") for looks in seen))
    started = {each.path.rpartition("/")[2]: each.started_at for each in downloads.origin.log if each.finished}
    found = [age for name, looks in zip(names, seen, strict=True) for age in ages(looks, started[name], FRESH)]
    return [
        Figure("age of what the worker knows (5 × 3 MB at 500 KB/s), p50", percentile(found, 50), "ms", 100),
        Figure("  p99", percentile(found, 99), "ms", note=f"{len(found)} looks"),
    ]


async def small_items(downloads: Downloads, amounts: Amounts) -> list[Figure]:
    """One after the other by one child; what a child costs that works once only is measured too, and subtracted."""
    async with engine(downloads.folder, jobs=10**6) as used:
        for _ in range(10):
            await downloads.one(used.pool, SMALL)
        again = await each(downloads, used, amounts.items)
    async with engine(downloads.folder, jobs=1) as fresh:
        await downloads.one(fresh.pool, SMALL)
        first = await each(downloads, fresh, amounts.items)
    return [
        Figure("CPU of 200 KB, child used again", again.total, "ms"),
        Figure("  in the child: extract, request, write, check", again.children, "ms", note="bench/steps.py"),
        Figure("  in the guard", again.guard, "ms"),
        Figure("  in the worker: order, reports", again.parent, "ms", note="with this program"),
        Figure("  more by a child that never worked: fork and first touch", first.total - again.total, "ms"),
    ]


async def each(downloads: Downloads, this: Engine, count: int) -> Cpu:
    """Milliseconds for one of them."""
    await warm(this.pool, 1)
    before = Cpu.of(this.pool, this.guard)
    for _ in range(count):
        await downloads.one(this.pool, SMALL)
    await warm(this.pool, 1)
    spent = Cpu.of(this.pool, this.guard).since(before)
    return Cpu(*(seconds / count * 1000 for seconds in (spent.children, spent.fork_server, spent.guard, spent.parent)))


async def measure(origin: OriginProcess, folder: Path, amounts: Amounts) -> dict[str, list[Figure]]:
    """The tables, by title."""
    downloads = Downloads(origin, folder)
    found = {}
    for title, work in (
        ("start of a small download, from a warm pool", start(downloads, amounts)),
        ("memory", memory(downloads)),
        (f"one file of {amounts.megabytes} MB on loopback, {amounts.rounds} rounds", large_file(downloads, amounts)),
        ("many at once", many_at_once(downloads, amounts)),
        ("progress", freshness(downloads)),
        (f"CPU of a small download, mean of {amounts.items}", small_items(downloads, amounts)),
    ):
        console.print(f"{title} …", style="dim")
        found[title] = await work
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Amounts()
    parser.add_argument("--small", type=int, default=usual.small, help="downloads of 200 KB, timed")
    parser.add_argument("--items", type=int, default=usual.items, help="downloads of 200 KB, for their CPU")
    parser.add_argument("--megabytes", type=int, default=usual.megabytes, help="size of the large file")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="of the large file, each way")
    parser.add_argument("--at-once", type=int, default=usual.at_once, help="downloads of 2 MB")
    amounts = Amounts(**vars(parser.parse_args()))
    with (
        tempfile.TemporaryDirectory(prefix="reelin-bench-") as folder,
        OriginProcess(Path(folder) / "origin") as origin,
    ):
        tables = asyncio.run(measure(origin, Path(folder), amounts))
    for title, figures in tables.items():
        print_figures(f"engine: {title}", figures)
    sys.exit(not all(figure.met for figures in tables.values() for figure in figures))


if __name__ == "__main__":
    main()
