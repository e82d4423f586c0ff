"""Killed at random moments, does every download still end with the right bytes, and how much is fetched twice?

    python bench/torture.py [--rounds 56] [--kills 3] [--seed 1]

Each round downloads every kind of media once, with one and with four fragment threads where there are fragments. Each
download is killed up to `--kills` times and then left to finish. What is killed: the child's process group, the child
alone, the fork server, or the whole pool, after which a new one goes on in the same scratch folder, as the next worker
does after `kill -9`. Every file is compared with that of an undisturbed download.

Most moments are drawn evenly from 1.2 times what an undisturbed download takes. ffmpeg and the check are over in 60 ms
and would seldom be hit so, hence every fourth kill waits for them to begin.

The exit status is 1 if a file is wrong or a download ends in an error that the workflow would not try again.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any

from harness import console, print_table
from rich.progress import Progress

from reelin.contracts.jobs import Phase
from reelin.contracts.media import Downloaded
from reelin.contracts.options import Options
from reelin.engine.pool import EnginePool
from reelin.engine.seam import DownloadTask, Report
from reelin.errors import MediaFailure
from reelin.origin.any_origin import AnyOrigin
from reelin.origin.log import RequestRecord
from reelin.origin.process import OriginProcess
from reelin.workflows.policy import retryable

LANES = 6
#: The log is read and emptied so often: it is kept in memory, and read as one piece of JSON.
ROUNDS_PER_LOG = 14
FILE_BYTES = 1_500_000
FILE_RATE = 750_000
#: All fragment threads together; the media are 1.5 MB.
STREAM_RATE = 2_000_000
#: Loopback answers at once; a site does not, and extraction is to be hit too.
LATENCY_MS = 50
LAST_STEPS_SECONDS = 0.08
#: Attempts of one download that may fail without having been killed.
MAX_FAILURES = 3
LAST_STEPS = (Phase.MERGING, Phase.PROCESSING, Phase.PUBLISHING)
_PROBES = "probes: all that is not media, per attempt."
#: How the pool words the end of a task whose process, fork server or pool was killed.
EXPECTED = ("The engine's process ended.", "The engine's processes ended.", "The engine is closed.")


class Way(StrEnum):
    """What is killed."""

    GROUP = "process group"
    CHILD = "child alone"
    SERVER = "fork server"
    POOL = "whole pool"


#: Half of the ways need a new fork server, which takes a second of CPU: they come less often.
WAYS = (Way.GROUP, Way.GROUP, Way.CHILD, Way.CHILD, Way.SERVER, Way.POOL)


@dataclass(frozen=True)
class Kind:
    """Something to download. `seconds` is what it takes undisturbed, about."""

    name: str
    path: str
    threads: int = 1
    seconds: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def direct(self) -> bool:
        return self.path.startswith("/file/")

    @property
    def label(self) -> str:
        return f"{self.name}, {self.threads} threads" if self.threads > 1 else self.name

    def url(self, origin: AnyOrigin, key: str) -> str:
        if self.direct:
            return origin.url_for(self.path, rate=FILE_RATE, key=key, latency_ms=LATENCY_MS)
        rate = STREAM_RATE // self.threads
        return origin.url_for(self.path, seg_rate=rate, seg_key=key, latency_ms=LATENCY_MS)

    def task(self, origin: AnyOrigin, key: str, folder: Path) -> DownloadTask:
        options = Options(concurrent_fragments=self.threads, **self.options)
        scratch = str(folder / key)
        return DownloadTask(job_id=key, url=self.url(origin, key), scratch_dir=scratch, preset="best", options=options)


DIRECT = Kind("direct file", f"/file/{FILE_BYTES}/torture.mp4", seconds=FILE_BYTES / FILE_RATE)
FRAGMENTED = (
    Kind("HLS", "/hls/plain/master.m3u8"),
    Kind("HLS, AES-128", "/hls/aes/master.m3u8"),
    Kind("HLS, sound, subs", "/hls/av/master.m3u8", options={"subtitles": {"languages": ["en"]}}),
    Kind("DASH, merged", "/dash/manifest.mpd"),
)
KINDS = (
    DIRECT,
    *(
        Kind(kind.name, kind.path, threads, kind.seconds, kind.options)
        for kind, threads in itertools.product(FRAGMENTED, (1, 4))
    ),
)


@dataclass
class Kill:
    """`after` so many seconds of an attempt, or of its last steps. The rest is noted when it has happened.

    `over` is when the next attempt began: what was asked for before belongs to the attempt that was killed.
    """

    way: Way
    after: float
    late: bool
    phase: Phase | None = None
    over: float = 0
    saved: bool = False  #: The next attempt found bytes of the file on disk.
    again_bytes: int = 0
    #: Of fragments the sum of their parts that were fetched again; of a direct file seconds at its rate.
    again: float = 0

    def __str__(self) -> str:
        where = "the last steps" if self.late else "an attempt"
        return f"{self.way}, {self.after:.3f} s into {where}, while {self.phase}"


def plan(kind: Kind, number: int, kills: int, seed: int) -> list[Kill]:
    """The same for the same seed, whatever else runs."""
    dice = Random(f"{seed} {kind.label} {number}")
    found = []
    for _ in range(kills):
        late = dice.random() < 0.25
        longest = LAST_STEPS_SECONDS if late else 1.2 * kind.seconds
        found.append(Kill(dice.choice(WAYS), dice.uniform(0, longest), late))
    return found


@dataclass
class Run:
    """One download from its first attempt to its end. `files` are role, suffix and hash of each."""

    kind: Kind
    key: str
    kills: list[Kill] = field(default_factory=list)
    failures: list[MediaFailure] = field(default_factory=list)  #: Of attempts that nobody had killed.
    ended_by: MediaFailure | None = None
    files: tuple[tuple[str, str, str], ...] = ()
    seconds: float = 0
    wrong: str = ""
    look_bytes: int = 0  #: Probes, manifests and keys.

    def story(self) -> str:
        kills = "; ".join(map(str, self.kills)) or "no kill"
        failures = "; ".join(f"{failure.kind}: {failure.message} ({failure.detail})" for failure in self.failures)
        return f"{self.key}: {self.wrong or 'right'}. Kills: {kills}. Failures: {failures or 'none'}"


# Downloading and killing


class Lane:
    """A pool of its own for one download at a time: a fork server that is killed disturbs nobody else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closing: set[asyncio.Task[None]] = set()
        self.pool = self._new_pool()

    async def close(self) -> None:
        await asyncio.gather(self.pool.close(), *self._closing)

    async def kill(self, way: Way, pid: int) -> None:
        if way is Way.GROUP:
            os.killpg(pid, signal.SIGKILL)
        elif way is Way.CHILD:
            os.kill(pid, signal.SIGKILL)
        elif way is Way.SERVER:
            os.kill(self.pool.fork_server_pid or 0, signal.SIGKILL)
        else:
            await self._replace_pool()

    async def _replace_pool(self) -> None:
        """The new pool does not wait for the old one, whose control socket ends as with a worker that is killed.

        Unlike such a worker the old pool also kills its children itself: this process is to live on.
        """
        closing = asyncio.create_task(self.pool.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self.pool = self._new_pool()
        await self.pool.start()

    def _new_pool(self) -> EnginePool:
        return EnginePool(
            cookies_dir=self._folder, max_children=2, idle_children=1, stall_seconds=20, scratch_root=self._folder
        )


class Victim:
    """A download that is killed as often as its plan says and then left alone."""

    def __init__(self, lane: Lane, task: DownloadTask, run: Run, kills: Iterable[Kill]) -> None:
        self._lane = lane
        self._task = task
        self._run = run
        self._plan = list(kills)
        self._phase = Phase.EXTRACTING
        self._in_last_steps = asyncio.Event()
        self._killed = 0
        self._outcome: asyncio.Task[Downloaded] | None = None

    async def finish(self) -> Downloaded:
        """Raises the failure that ends it."""
        while True:
            self._outcome = asyncio.create_task(self._lane.pool.download(self._task, self._note))
            struck = await self._disturb(self._outcome)
            try:
                return await self._outcome
            except MediaFailure as failure:
                if not (struck and failure.message in EXPECTED):
                    self._judge(failure)

    def _judge(self, failure: MediaFailure) -> None:
        self._run.failures.append(failure)
        if not retryable(failure.kind) or len(self._run.failures) > MAX_FAILURES:
            raise failure

    def _note(self, report: Report) -> None:
        self._phase = report.phase
        if report.phase in LAST_STEPS:
            self._in_last_steps.set()

    async def _disturb(self, outcome: asyncio.Task[Downloaded]) -> bool:
        """Until the call ends or the plan does. The pool itself runs a task again whose fork server was lost.

        True if the call's latest attempt was killed.
        """
        struck = False
        while (pid := await self._child(outcome)) is not None:
            struck = False
            if not self._plan or not await self._moment(outcome, self._plan[0]):
                break
            await self._strike(self._plan.pop(0), pid, outcome)
            struck = True
        return struck

    async def _child(self, outcome: asyncio.Task[Downloaded]) -> int | None:
        """The pid that works for it, other than that which was killed; None if the call ends first."""
        while not outcome.done():
            pid = self._lane.pool.running_pids.get(self._task.job_id)
            if pid is not None and pid != self._killed:
                return pid
            await asyncio.sleep(0.002)
        return None

    async def _moment(self, outcome: asyncio.Task[Downloaded], kill: Kill) -> bool:
        """False if the call ends before it."""
        self._phase = Phase.EXTRACTING
        self._in_last_steps.clear()
        if kill.late:
            begun = asyncio.create_task(self._in_last_steps.wait())
            await asyncio.wait({outcome, begun}, return_when=asyncio.FIRST_COMPLETED)
            begun.cancel()
        if not outcome.done():
            await asyncio.wait({outcome}, timeout=kill.after)
        return not outcome.done()

    async def _strike(self, kill: Kill, pid: int, outcome: asyncio.Task[Downloaded]) -> None:
        kill.phase = self._phase
        self._killed = pid
        self._run.kills.append(kill)
        await self._lane.kill(kill.way, pid)
        await self._child(outcome)
        kill.over, kill.saved = time.time(), _has_bytes(Path(self._task.scratch_dir))


def _has_bytes(scratch: Path) -> bool:
    """The process that wrote them is gone, and the one that goes on has still to ask what there is."""
    files = [path for path in scratch.rglob("media*") if path.suffix != ".json"]
    return any(path.stat().st_size for path in files)


async def download(lane: Lane, origin: AnyOrigin, folder: Path, run: Run, kills: Iterable[Kill] = ()) -> Run:
    task = run.kind.task(origin, run.key, folder)
    began = time.monotonic()
    try:
        downloaded = await Victim(lane, task, run, kills).finish()
    except MediaFailure as failure:
        run.ended_by = failure
        run.wrong = f"it ended: {failure.kind}"
    else:
        _look_at_files(run, downloaded, Path(task.scratch_dir))
    run.seconds = time.monotonic() - began
    return run


def _look_at_files(run: Run, downloaded: Downloaded, scratch: Path) -> None:
    """Read from disk: what the engine says of them is to be judged, too."""
    found = []
    for file in downloaded.files:
        digest = hashlib.sha256((scratch / file.name).read_bytes()).hexdigest()
        if digest != file.sha256:
            run.wrong = f"{file.name} is not what was reported"
        found.append((file.role.value, file.suffix, digest))
    run.files = tuple(found)


# What was fetched again


Log = Mapping[str, Sequence[RequestRecord]]


def by_key(records: Iterable[RequestRecord]) -> Log:
    """The requests of each run: media, manifests and keys alike."""
    found: dict[str, list[RequestRecord]] = defaultdict(list)
    for record in records:
        names = dict(part.partition("=")[::2] for part in record.query.split("&"))
        found[names.get("key") or names.get("seg_key") or ""].append(record)
    return found


def is_fragment(record: RequestRecord) -> bool:
    return not record.path.endswith((".m3u8", ".mpd", ".key"))


def count_again(run: Run, records: Sequence[RequestRecord], sizes: Mapping[str, int]) -> None:
    """Charge to each kill what was sent before it and had to be sent again. `sizes` are those of whole fragments."""
    if run.kind.direct:
        _count_direct(run, records)
    else:
        _count_fragments(run, records, sizes)


def _count_direct(run: Run, records: Sequence[RequestRecord]) -> None:
    """The generic extractor's request is the transfer itself where nothing is there yet; else it is a probe."""
    attempts: dict[int, list[RequestRecord]] = defaultdict(list)
    for record in records:
        attempts[_attempt(run, record)].append(record)
    probes = {number: int(number > 0 and run.kills[number - 1].saved) for number in attempts}
    run.look_bytes = sum(attempts[number][0].bytes_sent for number, count in probes.items() if count)
    transfers = [(number, record) for number in sorted(attempts) for record in attempts[number][probes[number] :]]
    for (number, record), (_, following) in itertools.pairwise(transfers):
        again = _begin(record) + record.bytes_sent - _begin(following)
        _charge(run, number, again, again / FILE_RATE)


def _count_fragments(run: Run, records: Sequence[RequestRecord], sizes: Mapping[str, int]) -> None:
    """The last answer for a fragment is the one that counts."""
    requests: dict[str, list[RequestRecord]] = defaultdict(list)
    for record in records:
        if is_fragment(record):
            requests[record.path].append(record)
        else:
            run.look_bytes += record.bytes_sent
    for path, answers in requests.items():
        for record in answers[:-1]:
            _charge(run, _attempt(run, record), record.bytes_sent, record.bytes_sent / sizes[path])


def _attempt(run: Run, record: RequestRecord) -> int:
    return sum(kill.over <= record.started_at for kill in run.kills)


def _begin(record: RequestRecord) -> int:
    return int(record.range.removeprefix("bytes=").partition("-")[0]) if record.range else 0


def _charge(run: Run, attempt: int, n_bytes: int, share: float) -> None:
    """The attempt that nobody killed lost something, too: that is its last kill's, or an error's without any kill."""
    if not run.kills:
        run.wrong = run.wrong or f"{n_bytes} bytes were fetched twice without a kill"
        return
    kill = run.kills[min(attempt, len(run.kills) - 1)]
    kill.again_bytes += n_bytes
    kill.again += share


# All of it


Order = tuple[Run, list[Kill]]


@dataclass(frozen=True)
class Reference:
    """An undisturbed download: its files, and the size of every fragment."""

    run: Run
    sizes: Mapping[str, int]


class Torture:
    """`advance` is called when a run is over."""

    def __init__(self, origin: AnyOrigin, folder: Path, advance: Callable[[], object] = lambda: None) -> None:
        self._origin = origin
        self._folder = folder
        self._advance = advance
        self._references: dict[Kind, Reference] = {}

    async def run(self, *, rounds: int, kills: int, seed: int, lanes: int = LANES) -> list[Run]:
        """All runs, the undisturbed ones left out. Raises MediaFailure if one of those fails."""
        roads = [Lane(self._folder) for _ in range(lanes)]
        try:
            await self._learn(roads)
            found: list[Run] = []
            for first in range(0, rounds, ROUNDS_PER_LOG):
                numbers = range(first, min(first + ROUNDS_PER_LOG, rounds))
                found += await self._all(roads, [self._order(kind, n, kills, seed) for n in numbers for kind in KINDS])
            return found
        finally:
            await asyncio.gather(*(road.close() for road in roads))

    @staticmethod
    def _order(kind: Kind, number: int, kills: int, seed: int) -> Order:
        return Run(kind, _key(kind, number)), plan(kind, number, kills, seed)

    async def _learn(self, roads: Sequence[Lane]) -> None:
        runs, log = await self._drive(roads, [(Run(kind, f"{_key(kind, 0)}-whole"), []) for kind in KINDS])
        for run in runs:
            if run.ended_by is not None:
                raise run.ended_by
            sizes = {record.path: record.bytes_sent for record in log[run.key] if is_fragment(record)}
            self._references[run.kind] = Reference(run, sizes)
            if run.kind.direct and run.files[0][2] != self._origin.sha256(run.kind.path):
                raise AssertionError("even the undisturbed direct file is wrong")

    async def _all(self, roads: Sequence[Lane], orders: Sequence[Order]) -> list[Run]:
        runs, log = await self._drive(roads, orders)
        for run in runs:
            reference = self._references[run.kind]
            if run.ended_by is None and run.files != reference.run.files:
                run.wrong = run.wrong or f"{run.files} instead of {reference.run.files}"
            count_again(run, log[run.key], reference.sizes)
        return runs

    async def _drive(self, roads: Sequence[Lane], orders: Sequence[Order]) -> tuple[list[Run], Log]:
        waiting = iter(orders)

        async def drive(lane: Lane) -> None:
            for run, kills in waiting:
                await download(lane, self._origin, self._folder, run, kills)
                await asyncio.to_thread(shutil.rmtree, self._folder / run.key, ignore_errors=True)
                self._advance()

        await asyncio.gather(*(drive(lane) for lane in roads))
        log = by_key(await asyncio.to_thread(lambda: self._origin.log))
        self._origin.clear_log()
        return [run for run, _ in orders], log


def _key(kind: Kind, number: int) -> str:
    return f"{'direct' if kind.direct else Path(kind.path).parent.name}-{kind.threads}-{number}"


# Telling


def row(kind: Kind, runs: Sequence[Run]) -> tuple[str, ...]:
    kills = [kill for run in runs for kill in run.kills] or [Kill(Way.GROUP, 0, late=False)]
    mean_bytes, mean = (
        sum(values) / len(kills) for values in zip(*((k.again_bytes, k.again) for k in kills), strict=True)
    )
    return (
        kind.name,
        "" if kind.direct else str(kind.threads),
        str(len(runs)),
        str(sum(len(run.kills) for run in runs)),
        str(sum(bool(run.wrong) for run in runs)),
        _amount(kind, mean_bytes, mean),
        _amount(kind, max(kill.again_bytes for kill in kills), max(kill.again for kill in kills)),
        f"{sum(run.look_bytes for run in runs) / sum(1 + len(run.kills) for run in runs) / 1000:.1f} KB",
        f"{sum(run.seconds for run in runs) / len(runs):.1f}",
    )


def _amount(kind: Kind, n_bytes: float, share: float) -> str:
    return f"{n_bytes / 1000:.0f} KB, {share:.2f} {'s' if kind.direct else 'fr.'}"


def print_runs(runs: Sequence[Run], rounds: int) -> None:
    columns = ("", "threads", "runs", "kills", "wrong", "again per kill,\nmean", "most")
    rows = [row(kind, [run for run in runs if run.kind is kind]) for kind in KINDS]
    total = (len(runs), sum(len(run.kills) for run in runs), sum(bool(run.wrong) for run in runs))
    rows.append(("all", "", *(str(number) for number in total), "", "", "", ""))
    title = f"torture: {total[0]} downloads, killed at random moments ({rounds} rounds)"
    print_table(title, (*columns, "probes", "s each"), rows)
    console.print(f"fr.: fragments, s: seconds at {FILE_RATE // 1000} KB/s. {_PROBES}", style="dim")


def print_kills(runs: Sequence[Run]) -> None:
    counts = Counter((kill.way, kill.phase) for run in runs for kill in run.kills)
    rows = [(way.value, *(str(counts[way, phase]) for phase in Phase)) for way in Way]
    print_table("torture: what was killed, and while it was", ("", *(phase.value for phase in Phase)), rows)


def print_stories(runs: Sequence[Run], seed: int) -> None:
    for run in runs:
        if run.wrong or run.failures:
            console.print(f"seed {seed}, {run.story()}", style="red" if run.wrong else "yellow", markup=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=56, help=f"each of them is {len(KINDS)} downloads")
    parser.add_argument("--kills", type=int, default=3, help="of each download, at most")
    parser.add_argument("--seed", type=int, default=1, help="decides what is killed when")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="reelin-torture-") as folder,
        OriginProcess(Path(folder) / "origin") as origin,
        Progress(console=console, transient=True) as progress,
    ):
        bar = progress.add_task("downloading and killing", total=(asked.rounds + 1) * len(KINDS))
        torture = Torture(origin, Path(folder), lambda: progress.advance(bar))
        runs = asyncio.run(torture.run(rounds=asked.rounds, kills=asked.kills, seed=asked.seed))
    print_runs(runs, asked.rounds)
    print_kills(runs)
    print_stories(runs, asked.seed)
    sys.exit(any(run.wrong for run in runs))


if __name__ == "__main__":
    main()
