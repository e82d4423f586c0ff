"""How fast and how large is the engine?

    python bench/engine.py [--small 100] [--megabytes 500] [--rounds 3] [--at-once 50]

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
import functools
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
FRESH_AT_ONCE = 5
MB = 1_000_000


@dataclass(frozen=True)
class Amounts:
    """How much of everything; the targets are for the defaults."""

    small: int = 100
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


async def memory(downloads: Downloads, this: Engine) -> list[Figure]:
    """Called before any of its children has worked."""
    unused = max(map(pss_bytes, this.pool.idle_pids)) / MB
    server = pss_bytes(this.pool.fork_server_pid or 0) / MB
    for _ in range(5):
        await asyncio.gather(*(downloads.one(this.pool, SMALL) for _ in this.pool.idle_pids))
    await settled(this.pool, 2)
    used = max(map(pss_bytes, this.pool.idle_pids)) / MB
    return [
        Figure("PSS of an idle child", unused, "MB", 30, note="the larger of two"),
        Figure("  after five downloads", used, "MB", note="replaced by a fresh one within 10 s"),
        Figure("  the fork server beside them", server, "MB"),
    ]


async def settled(pool: EnginePool, children: int) -> None:
    """While some work the pool forks others, and ends them seconds later; memory divided among more looks like less."""
    async with asyncio.timeout(60):
        while not 0 < len(pool.idle_pids) <= children:
            await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Small:
    """Downloads of 200 KB, one after the other: milliseconds each took, and milliseconds of CPU for one."""

    walls: list[float]
    cpu: Cpu


async def small(downloads: Downloads, this: Engine, count: int) -> Small:
    """Waits each time until a child is there, so that none waits for a fork."""
    await downloads.one(this.pool, SMALL)
    await warm(this.pool, 1)
    before, walls = Cpu.of(this.pool, this.guard), []
    for _ in range(count):
        began = time.perf_counter()
        await downloads.one(this.pool, SMALL)
        walls.append((time.perf_counter() - began) * 1000)
        await warm(this.pool, 1)
    spent = Cpu.of(this.pool, this.guard).since(before)
    each = (seconds / count * 1000 for seconds in (spent.children, spent.fork_server, spent.guard, spent.parent))
    return Small(walls, Cpu(*each))


def start(first: Small, again: Small) -> list[Figure]:
    return [
        figure
        for child, found in (("child that never worked", first), ("child used again", again))
        for figure in (
            Figure(f"200 KB, {child}, p50", percentile(found.walls, 50), "ms", 120),
            Figure("  longest", max(found.walls), "ms", note=f"{len(found.walls)} downloads"),
        )
    ]


def cpu_of_small(first: Small, again: Small) -> list[Figure]:
    """A child that works once only costs more: its fork, and its first touch of what it shares."""
    in_child = again.cpu.children + again.cpu.fork_server
    return [
        Figure("CPU of 200 KB, child used again", again.cpu.total, "ms"),
        Figure("  in the child: extract, request, write, check", in_child, "ms", note="bench/steps.py"),
        Figure("  in the guard", again.cpu.guard, "ms"),
        Figure("  in the worker: order, reports", again.cpu.parent, "ms", note="with this program"),
        Figure(
            "  more by a child that never worked", first.cpu.total - again.cpu.total, "ms", note="fork, first touch"
        ),
    ]


async def large_file(downloads: Downloads, this: Engine, amounts: Amounts) -> list[Figure]:
    size = amounts.megabytes * MB
    bare, guarded = "Reelin without the guard", "Reelin with it"
    async with engine(downloads.folder, guarded=False) as unguarded:
        race = large.Race(downloads.origin, downloads.folder, size)
        found = await race.run({bare: unguarded.pool, guarded: this.pool}, amounts.rounds)
    return large.figures(found, {bare: 0.95, guarded: 0.8}, size)


async def many_at_once(downloads: Downloads, this: Engine, amounts: Amounts) -> list[Figure]:
    """Once for time and CPU, most children still to be forked; and once more for the memory, which costs CPU to see."""
    count = amounts.at_once
    before, began = Cpu.of(this.pool, this.guard), time.perf_counter()
    await together(downloads, this, count)
    wall, cpu = time.perf_counter() - began, Cpu.of(this.pool, this.guard).since(before)
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


async def freshness(downloads: Downloads, this: Engine) -> list[Figure]:
    seen: list[list[tuple[float, int]]] = [[] for _ in range(FRESH_AT_ONCE)]

    def sink(looks: list[tuple[float, int]]) -> ReportSink:
        def note(report: Report) -> None:
            looks.append((time.time(), report.progress.downloaded_bytes))

        return note

    downloads.origin.clear_log()
    names = await asyncio.gather(*(downloads.one(this.pool, FRESH, sink(looks), f"?rate={RATE}") for looks in seen))
    started = {each.path.rpartition("/")[2]: each.started_at for each in downloads.origin.log if each.finished}
    found = [age for name, looks in zip(names, seen, strict=True) for age in ages(looks, started[name], FRESH)]
    label = f"age of what the worker knows ({FRESH_AT_ONCE} × 3 MB at 500 KB/s), p50"
    return [
        Figure(label, percentile(found, 50), "ms", 100),
        Figure("  p99", percentile(found, 99), "ms", note=f"{len(found)} looks"),
    ]


async def measure(origin: OriginProcess, folder: Path, amounts: Amounts) -> dict[str, list[Figure]]:
    """The tables, by title."""
    downloads, say = Downloads(origin, folder), functools.partial(console.print, style="dim")
    say("small downloads, by a new child each …")
    async with engine(folder, jobs=1) as fresh:
        first = await small(downloads, fresh, amounts.small)
    at_once = max(amounts.at_once, FRESH_AT_ONCE)
    async with engine(folder, idle=2, at_once=at_once, jobs=sys.maxsize) as this:
        found = {"memory": await memory(downloads, this)}
        say("small downloads, by one child …")
        again = await small(downloads, this, amounts.small)
        found["start of a small download, from a warm pool"] = start(first, again)
        found["CPU of a small download"] = cpu_of_small(first, again)
        say("a large file, in turn with yt-dlp …")
        title = f"one file of {amounts.megabytes} MB on loopback, {amounts.rounds} rounds"
        found[title] = await large_file(downloads, this, amounts)
        say("many at once …")
        found["many at once"] = await many_at_once(downloads, this, amounts)
        found["progress"] = await freshness(downloads, this)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Amounts()
    parser.add_argument("--small", type=int, default=usual.small, help="downloads of 200 KB, each way")
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
