"""Lists, playlists and single jobs that overlap, and people who do anything with them: is every job held by somebody?

    python bench/overlaps.py [--runs 2000] [--steps 60] [--seed 1] [--url postgresql://…]

The library is real. Temporal, the workers and the reconciler are played by this program as sparingly as possible: a
workflow does one step when it is its turn, a signal may be lost, and everything happens in the order that a seed
draws. After each step every job that is not over has somebody who will let it go, and what a batch counts is what its
jobs are. In the end everybody resumes everything, and all of it comes to its end.

A run that breaks a rule is made as short as it gets, and printed. The exit status is 1 then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from harness import console, print_table
from sqlalchemy import Row, select

from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.contracts.jobs import BATCH_KINDS, Counts, Kind, State
from reelin.contracts.media import Metadata, Role
from reelin.contracts.options import Options
from reelin.contracts.sites import Ask, Lease
from reelin.errors import ReelinError
from reelin.library import JobFilter, JobRecord, Library, NewBatch, NewJob, Publication, PublishedFile, Wish, item_of
from reelin.library.tables import batches, files, forgotten, items, jobs, videos

NAMES = "abcde"
LISTS = ("bulk-0", "bulk-1", "bulk-2")
#: One that stands at a place of the other is looked into by its own workflow.
PLAYLISTS = ("list-0", "list-1")
SITE = "example.org"
AT_ONCE = 2
PAGE = 2
#: What is left once nobody interferes is over after so many rounds, or never.
ROUNDS = 60

#: What is done, and three numbers that say to what and how.
Step = tuple[str, int, int]
_FAILURE = Failure(
    kind=FailureKind.NETWORK, message="It went wrong.", remedy=REMEDIES[FailureKind.NETWORK], retryable=True
)
_WORKFLOW_FAILED = _FAILURE.model_copy(update={"kind": FailureKind.INTERNAL})


class Broken(AssertionError):
    """A rule does not hold."""


def _single(name: str, *, force: bool = False) -> NewJob:
    return NewJob(
        id=name,
        kind=Kind.PLAYLIST if name in PLAYLISTS else Kind.BULK if name in LISTS else Kind.AUTO,
        url="" if name in LISTS else f"https://example.org/{name}",
        site="" if name in LISTS else SITE,
        owner="local",
        preset="best",
        options=Options(),
        force=force,
    )


def _item(name: str, *, force: bool = False) -> NewJob:
    """As it stands in a list, in a playlist and by itself: the same job everywhere."""
    return _single(name, force=force) if name in PLAYLISTS else item_of(_single("x", force=force), _single(name).url)


_ITEM_IDS = tuple(_item(name).id for name in NAMES)
EVERYTHING = (*_ITEM_IDS, *PLAYLISTS, *LISTS)
LABELS = dict(zip(_ITEM_IDS, NAMES, strict=True))


class Simulation:
    """What surrounds the library. `running` is what Temporal runs: the run of each job's workflow."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.running: dict[str, int] = {}
        self.standing_still: set[str] = set()
        self._paused: set[str] = set()  # by a word about the job itself
        self._leases = 0
        self._started: list[tuple[str, int]] = []
        self._entries: dict[str, list[str]] = {}

    async def do(self, step: Step) -> None:
        """One step; what is refused changes nothing."""
        name, which, how = step
        try:
            await getattr(self, name)(which, how)
        except ReelinError:
            return

    # What people do.

    async def submit(self, which: int, how: int) -> None:
        await self.library.jobs.submit(_item(NAMES[which % len(NAMES)], force=how % 4 == 0))

    async def submit_list(self, which: int, how: int) -> None:
        job = _single(LISTS[which % len(LISTS)], force=how % 7 == 0)
        names = _some(NAMES, how)
        await self.library.batches.submit(NewBatch(job, tuple(_single(name).url for name in names), at_once=AT_ONCE))

    async def submit_playlist(self, which: int, how: int) -> None:
        name = PLAYLISTS[which % len(PLAYLISTS)]
        inner = [PLAYLISTS[1]] if name == PLAYLISTS[0] and how % 3 else []
        self._entries[name] = _some(NAMES, how) + inner
        await self.library.jobs.submit(replace(_single(name), preview=how % 5 == 0))

    async def wish(self, which: int, how: int) -> None:
        wish, job_id = list(Wish)[how % 4], EVERYTHING[which % len(EVERYTHING)]
        _, granted = await self.library.wishes.one(wish, job_id)
        self._paused |= {job_id} if wish is Wish.PAUSE else set()
        await self._tell(wish, granted.told, lost=how % 3 == 0)

    async def wish_for_all(self, which: int, how: int) -> None:
        wish = list(Wish)[how % 4]
        parents = (None, *PLAYLISTS, *LISTS)
        wanted = JobFilter(parent=parents[which % len(parents)], with_items=True)
        if wanted.parent is None and how % 5:
            wanted = replace(wanted, failure="network") if wish is Wish.RETRY else wanted
        self._paused |= set(EVERYTHING) if wish is Wish.PAUSE else set()
        async for granted in self.library.wishes.all(wish, wanted):
            await self._tell(wish, granted.told, lost=how % 3 == 0)

    async def choose(self, which: int, how: int) -> None:
        name = PLAYLISTS[which % len(PLAYLISTS)]
        there = len(self._entries.get(name, ()))
        positions = [position for position in range(1, there + 1) if how >> position & 1]
        _, granted = await self.library.wishes.one(Wish.RESUME, name, positions=positions or [1])
        await self._tell(Wish.RESUME, granted.told)

    async def forget(self, which: int, how: int) -> None:
        """As a DELETE: it ends what it takes, then it forgets."""
        job_id = EVERYTHING[which % len(EVERYTHING)]
        await self._end(await self.library.jobs.get(job_id))
        await self.library.jobs.forget(job_id)

    async def _end(self, job: JobRecord) -> None:
        if not job.state.final:
            await self.library.wishes.one(Wish.CANCEL, job.id)
        if job.kind in BATCH_KINDS:
            await self.library.window.call_off(job.id)
            for inner in await self.library.jobs.forgotten_with(job.id):
                await self._end(await self.library.jobs.get(inner))

    async def prioritise(self, which: int, how: int) -> None:
        await self.library.wishes.prioritise(EVERYTHING[which % len(EVERYTHING)], 1 + how % 5)

    async def lose_files(self, which: int, how: int) -> None:
        """Somebody takes them out of the media folder."""
        found = await self.library.videos.files_of_job(_ITEM_IDS[which % len(_ITEM_IDS)])
        await self.library.shelf.note_looked_for(gone=found, back=(), looked_at=datetime.now(UTC))

    # What Temporal and the workers do.

    async def start(self, which: int, how: int) -> None:
        """The dispatcher: what is started is noted later, and may be forgotten or over by then."""
        for job in await self.library.jobs.undispatched(limit=1 + which % 4):
            if self._start(job):
                self._started.append((job.id, job.run))
        if how % 4:
            await self.note_started(0, 0)

    async def note_started(self, which: int, how: int) -> None:
        started, self._started = self._started, []
        await self.library.jobs.mark_dispatched(started)

    def _start(self, job: JobRecord) -> bool:
        """False while an older run of it is still ending, which is told to."""
        if self.running.get(job.id, job.run) != job.run:
            self.standing_still.discard(job.id)
        return self.running.setdefault(job.id, job.run) == job.run

    async def line_up(self, which: int, how: int) -> None:
        """What is to be started waits for its site instead, in rows."""
        await self.library.waiters.line_up_site(SITE, at_most=1 + how % 3)

    async def grant(self, which: int, how: int) -> None:
        """The site lets some of its line in; a start that comes to nothing is the reconciler's."""
        front = (await self.library.waiters.front(SITE, at_most=1 + how % 3)).front
        leases = [self._lease(ask) for ask in front]
        for job in await self.library.waiters.grant(leases):
            if how % 5:
                self._start(job)

    def _lease(self, ask: Ask) -> Lease:
        self._leases += 1
        return Lease(job_id=ask.job_id, run=ask.run, number=self._leases, owner=ask.owner, since=0)

    async def work(self, which: int, how: int) -> None:
        """One workflow's turn."""
        if self.running:
            await self._turn(sorted(self.running)[which % len(self.running)], how)

    async def reconcile(self, which: int, how: int) -> None:
        """Tells workflows what they may not have heard, and starts again what is unknown to Temporal."""
        async with self.library._database.reading() as connection:
            known = select(jobs).where(jobs.c.dispatched_at.is_not(None)).order_by(jobs.c.id)
            rows = (await connection.execute(known)).all()
        for job in rows:
            if State(job.state).final or job.held:
                continue
            if job.id not in self.running:
                await self.library.jobs.dispatch_again(job.id, job.run)
            elif self.running[job.id] == job.run and job.resumed and not job.pause_requested:
                await self._tell(Wish.RESUME, [job.id])

    async def terminate(self, which: int, how: int) -> None:
        """In Temporal's UI, or by a fault of ours; the reconciler finds it."""
        known = sorted(self.running)
        if not known or how % 3:
            return
        job = await self.library.jobs.find(known[which % len(known)])
        run = self._gone(known[which % len(known)])
        if job is None or job.run != run or job.state.final or job.dispatched_at is None:
            return
        if how % 2:
            await self.library.jobs.fail(job.id, job.run, failure=_WORKFLOW_FAILED)
        elif job.kind in BATCH_KINDS:
            await self.library.window.call_off(job.id)
            if await self.library.window.finish(job.id, job.run, cancelled=True) is None:
                self.running[job.id] = job.run  # the next sweep goes on with it
                await self.library.jobs.request_cancel(job.id, keep_partial=False)
        else:
            await self.library.jobs.cancel(job.id, job.run)

    async def _tell(self, wish: Wish, told: Iterable[str], *, lost: bool = False) -> None:
        if wish is Wish.RESUME and not lost:
            self.standing_still -= set(told)
            await self.library.wishes.passed_on(list(told))

    def _gone(self, job_id: str) -> int:
        self.standing_still.discard(job_id)
        return self.running.pop(job_id)

    async def _turn(self, job_id: str, how: int) -> None:
        run = self.running[job_id]
        job = await self.library.jobs.find(job_id)
        if job is not None and job.run != run and job_id in self.standing_still:
            return
        if job is None or job.run != run or job.state.final:
            self._gone(job_id)
        elif job.kind in (Kind.PLAYLIST, Kind.BULK):
            await self._batch_turn(job, how)
        elif job.cancel_requested:
            await self.library.jobs.cancel(job_id, run)
            self._gone(job_id)
        elif job_id not in self.standing_still:
            await self._download(job, how)

    async def _download(self, job: JobRecord, how: int) -> None:
        begun = await self.library.jobs.begin(job.id, job.run, 1)
        if begun is None or begun.pause_requested:
            if await self.library.jobs.pause(job.id, job.run):
                self.standing_still.add(job.id)
        elif how % 8 == 7:
            await self.library.jobs.give_back(job.id, job.run)
        elif how % 16 == 14:
            await self.library.jobs.wait_for_lease(job.id, job.run)
        elif how % 8 == 6:
            until = datetime.now(UTC) + timedelta(seconds=1)
            await self.library.jobs.wait(job.id, job.run, failure=_FAILURE, attempt=1, until=until)
        elif how % 8 in (3, 4, 5):
            await self.library.jobs.fail(job.id, job.run, failure=_FAILURE)
            self._gone(job.id)
        else:
            await self.library.videos.publish(_publication(job))
            self._gone(job.id)

    async def _batch_turn(self, job: JobRecord, how: int) -> None:
        """What `let_go`, `call_off` and `expand` do."""
        window = self.library.window
        if job.cancel_requested:
            if not await window.call_off(job.id) and await window.finish(job.id, job.run, cancelled=True):
                self._gone(job.id)
            return
        if job.pause_requested:
            await window.stop(job.id)
            await self.library.jobs.pause(job.id, job.run)
            return
        if how % 3 == 0:
            await self._list(job, how)
        released = await window.release(job.id, at_once=AT_ONCE, limit_of=lambda site: None)
        started = [(each.id, each.run) for each in released.jobs if how % 4 and self._start(each)]
        await self.library.jobs.mark_dispatched(started)
        if released.in_flight or not released.listing:
            await self.library.jobs.begin(job.id, job.run, 1)
        if not (released.in_flight or released.in_line or released.listing):
            await window.finish(job.id, job.run)
            if (await self.library.jobs.get(job.id)).state.final:
                self._gone(job.id)

    async def _list(self, job: JobRecord, how: int) -> None:
        if how % 16 == 15:
            await self.library.batches.give_up(job.id, job.run, failure=_FAILURE)
        elif job.kind is Kind.BULK:
            await self.library.batches.expand_list(job.id, job.run)
        else:
            batch = await self.library.batches.open(job.id, job.run)
            if how % 16 == 12:
                batch = await self.library.batches.expand_anew(job.id, job.run)
            entries = [_item(name) for name in self._entries.get(job.id, NAMES[:2])]
            if not batch.listing:
                return
            page = [_stillborn(each) if how % 16 == 9 else each for each in entries[batch.cursor : batch.cursor + PAGE]]
            cursor = await self.library.batches.store_page(job.id, job.run, page, start=batch.cursor)
            if cursor >= len(entries):
                await self.library.batches.expanded(job.id, job.run, total=len(entries))

    # What must hold.

    async def drain(self) -> None:
        """People resume the batches, and what they paused by itself; every word arrives, every download is quick."""
        for turn in range(ROUNDS):
            for job_id in await self._paused_ids():
                if job_id in {*LISTS, *PLAYLISTS, *self._paused}:
                    with contextlib.suppress(ReelinError):
                        _, granted = await self.library.wishes.one(Wish.RESUME, job_id)
                        await self._tell(Wish.RESUME, granted.told)
            await self.reconcile(0, 0)
            await self.start(3, 1)
            await self.grant(0, 2)
            for job_id in sorted(self.running):
                if job_id in self.running:
                    await self._turn(job_id, 48 + turn % 2)
            if not self.running and not await self._unfinished():
                await self.check()
                return
        raise Broken(f"after {ROUNDS} rounds this is not over: {await self._unfinished()}")

    async def _paused_ids(self) -> list[str]:
        async with self.library._database.reading() as connection:
            rows = await connection.execute(select(jobs.c.id).where(jobs.c.pause_requested).order_by(jobs.c.id))
            return list(rows.scalars())

    async def _unfinished(self) -> dict[str, str]:
        async with self.library._database.reading() as connection:
            query = select(jobs.c.id, jobs.c.state).where(jobs.c.finished_at.is_(None))
            rows = await connection.execute(query)
            return {LABELS.get(row.id, row.id): str(row.state) for row in rows if not State(row.state).final}

    async def check(self) -> None:
        """Raises Broken."""
        async with self.library._database.reading() as connection:
            known = {row.id: row for row in await connection.execute(select(jobs))}
            rows = (await connection.execute(select(items))).all()
            query = select(batches.c.id, batches.c.run, batches.c.failure)
            listed = {row.id: row for row in await connection.execute(query)}
        open_batches = {
            job.id
            for job in known.values()
            if job.id in listed and listed[job.id].run == job.run and not State(job.state).final
        }
        for row in rows:
            self._check_item(row, known[row.job_id], row.batch_id in open_batches)
        in_line = {row.job_id for row in rows if not row.released and row.batch_id in open_batches}
        for job in known.values():
            self._check_job(job, held_by_somebody=job.id in in_line)
        for job in known.values():
            mine = [row for row in rows if row.batch_id == job.id]
            if State(job.state).final and job.kind in BATCH_KINDS and mine:
                self._check_result(job, mine, given_up=listed[job.id].failure is not None)

    def _check_item(self, row: Row[Any], job: Row[Any], unfinished: bool) -> None:
        place = f"item {row.batch_id}/{row.position} ({LABELS.get(row.job_id, row.job_id)}, {row.state})"
        if not row.settled and row.state != job.state:
            raise Broken(f"{place} does not follow its job, which is {job.state}")
        if row.settled and not State(row.state).final:
            raise Broken(f"{place} follows its job no more and is not over")
        if unfinished and job.held and not State(job.state).final and not row.settled and row.released:
            raise Broken(f"{place} counts as in flight, and its job is held")

    def _check_job(self, job: Row[Any], *, held_by_somebody: bool) -> None:
        if State(job.state).final:
            return
        name = f"{LABELS.get(job.id, job.id)} ({job.state})"
        if job.held:
            if not held_by_somebody:
                raise Broken(f"{name} is held by nobody")
            return
        runs = self.running.get(job.id) == job.run
        in_outbox = job.state == State.QUEUED and job.dispatched_at is None
        in_line = job.state == State.WAITING and job.awaiting_lease_since is not None
        stands = job.state == State.PAUSED and job.pause_requested and job.dispatched_at is None
        lost = job.dispatched_at is not None and job.id not in self.running  # the reconciler's
        if not (runs or in_outbox or in_line or stands or lost):
            raise Broken(f"{name} is let go, and nobody will start it")
        if runs and job.id in self.standing_still and not (job.pause_requested or job.resumed):
            raise Broken(f"{name} stands still, and nobody will tell it to go on")

    def _check_result(self, job: Row[Any], mine: Sequence[Row[Any]], *, given_up: bool) -> None:
        """What a batch that is over says of itself, once all of its items are over."""
        if any(not State(row.state).final for row in mine):
            return
        states = ("failed" if row.state == State.PARTIAL else row.state for row in mine if not row.skipped)
        names = {**Counter(states), "skipped": sum(row.skipped for row in mine)}
        said = {name: number for name, number in (job.result or {}).items() if name in Counts.model_fields}
        counted = {**dict.fromkeys(Counts.model_fields, 0), **names, "total": len(mine)}
        unlisted = said.get("total", 0) - len(mine)
        if unlisted > 0:  # a list that was not listed to its end
            ending = "cancelled" if job.state == State.CANCELLED and not given_up else "failed"
            counted |= {ending: counted[ending] + unlisted, "total": said["total"]}
        if said != counted:
            raise Broken(f"{job.id} ({job.state}) says {said}, and its items are {counted}")


def _some(names: str, how: int) -> list[str]:
    chosen = [name for number, name in enumerate(names) if how >> number & 1]
    return chosen or [names[how % len(names)]]


def _stillborn(new: NewJob) -> NewJob:
    return replace(new, failure=_FAILURE)


def _publication(job: JobRecord) -> Publication:
    return Publication(
        media_id="0" * 32,
        job_id=job.id,
        run=job.run,
        owner=job.owner,
        url=job.url or "",
        metadata=Metadata(url=job.url or "", title=job.id, extractor="generic", extractor_id=job.id),
        files=(PublishedFile(path=f"{job.id}.mp4", role=Role.MEDIA, size_bytes=10, sha256="0" * 64),),
    )


#: How often each is drawn.
STEPS = {
    "submit": 2,
    "submit_list": 3,
    "submit_playlist": 3,
    "wish": 6,
    "wish_for_all": 2,
    "choose": 1,
    "forget": 1,
    "prioritise": 1,
    "lose_files": 1,
    "start": 5,
    "note_started": 1,
    "line_up": 2,
    "grant": 2,
    "work": 16,
    "reconcile": 2,
    "terminate": 1,
}
DRAWN = tuple(name for name, weight in STEPS.items() for _ in range(weight))


async def play(library: Library, steps: Sequence[Step]) -> None:
    """Raises Broken. The library is emptied before."""
    async with library._database.writing() as connection:
        for table in (files, videos, items, batches, jobs, forgotten):
            await connection.execute(table.delete())
    simulation = Simulation(library)
    for step in steps:
        await simulation.do(step)
        await simulation.check()
    await simulation.drain()


def draw(seed: int, number: int) -> list[Step]:
    random = Random(seed)
    return [(random.choice(DRAWN), random.randrange(64), random.randrange(64)) for _ in range(number)]


async def _broken(library: Library, steps: Sequence[Step]) -> str | None:
    try:
        await play(library, steps)
    except Broken as error:
        return str(error)
    return None


async def shorten(library: Library, steps: list[Step]) -> list[Step]:
    """Leaves out what is not needed to break a rule."""
    size = len(steps) // 2
    while size:
        start = 0
        while start < len(steps):
            fewer = steps[:start] + steps[start + size :]
            if await _broken(library, fewer):
                steps = fewer
            else:
                start += size
        size //= 2
    return steps


async def run(library: Library, seeds: Iterable[int], number: int, *, at_most: int) -> list[tuple[str, ...]]:
    """What broke, made short; `at_most` different things."""
    found: dict[str, tuple[str, ...]] = {}
    for seed in seeds:
        steps = draw(seed, number)
        if await _broken(library, steps) is None:
            continue
        short = await shorten(library, steps)
        said = await _broken(library, short) or "it does not break twice"
        found.setdefault(said, (str(seed), said, " ".join(f"{name}({which},{how})" for name, which, how in short)))
        console.print(" | ".join(found[said]), style="red")
        if len(found) >= at_most:
            break
    return list(found.values())


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-most", type=int, default=5, help="stop after so many different faults")
    parser.add_argument("--url", help="an empty database; without it, a temporary SQLite database")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reelin-bench-") as folder:
        library = Library(wanted.url or f"sqlite:///{Path(folder) / 'reelin.db'}")
        await library.open()
        began = time.monotonic()
        seeds = range(wanted.seed, wanted.seed + wanted.runs)
        broken = await run(library, seeds, wanted.steps, at_most=wanted.at_most)
        await library.close()
    title = f"{wanted.runs} runs of {wanted.steps} steps in {time.monotonic() - began:.0f} s"
    print_table(title, ("seed", "broken", "steps"), broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
