"""How long a page of `GET /api/jobs` takes among very many rows, and what it costs to act on all of them at once.

    python bench/lists.py [--items 100000]

A batch with so many items in mixed states, and a fifth as many jobs beside it, in SQLite; asked through the library, as
a request asks: page and counts together. Each filter with each sort, the first page and the one after it; the slowest
is shown. How the batch stands, and what its items wait for, is looked at as the live hub does, with 500 in flight of
which every second one waits. Then all items are paused, resumed, cancelled, retried and deleted while somebody submits
every 10 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness import console, percentile, print_table
from targets import Figure, print_figures

from reelin.contracts.failures import REMEDIES, Failure, FailureKind
from reelin.contracts.jobs import Kind, State
from reelin.contracts.options import Options
from reelin.library import JobFilter, Library, NewJob, Wish

BATCH = "playlist-bench"
_PAGE = 1000
_WORDS = ("river", "night", "copper", "engine", "lantern", "archive", "summer", "glass", "pilot", "harbour")
_FAILURES = (FailureKind.RATE_LIMITED, FailureKind.NOT_FOUND, FailureKind.NETWORK, FailureKind.DRM)
_SORTS = [sign + name for name in ("position", "submitted_at", "finished_at", "title", "size") for sign in ("", "-")]
_SCOPES: dict[str, dict[str, Any]] = {"in the batch": {"parent": BATCH}, "submitted": {}, "all": {"with_items": True}}
_FILTERS: dict[str, dict[str, Any]] = {
    "everything": {},
    "state=failed": {"state": (State.FAILED,)},
    "kind=auto": {"kind": (Kind.AUTO,)},
    "kind=info (none)": {"kind": (Kind.INFO,)},
    "site": {"site": "site3.example"},
    "failure=rate_limited": {"failure": "rate_limited"},
    "failure=dns (none)": {"failure": "dns"},
    "q, a tenth match": {"q": "harbour"},
    "q, none matches": {"q": "xyzzy"},
}


def entry(number: int, chance: random.Random) -> NewJob:
    """Every second one has failed; its title says nothing of it."""
    kind = chance.choice(_FAILURES) if chance.random() < 0.5 else None
    return NewJob(
        id=f"video-{chance.randrange(16**24):024x}",
        kind=Kind.AUTO,
        url=f"https://site{number % 19}.example/watch/{number}",
        site=f"site{number % 19}.example",
        owner="local",
        preset="best",
        options=Options(),
        title=" ".join(chance.choices(_WORDS, k=4)),
        failure=kind and Failure(kind=kind, message="As usual.", remedy=REMEDIES[kind], retryable=True),
    )


async def fill(library: Library, number: int) -> None:
    chance = random.Random(1)
    jobs = library.jobs
    batch = replace(entry(0, chance), id=BATCH, kind=Kind.PLAYLIST, url="https://example.org/list", failure=None)
    await jobs.submit(batch)
    await library.batches.open(BATCH, 1)
    for start in range(0, number, _PAGE):
        page = [entry(each, chance) for each in range(start, start + _PAGE)]
        await library.batches.store_page(BATCH, 1, page, start=start)
    await library.batches.expanded(BATCH, 1, total=number)
    for _ in range(number // 5 // 200):
        await asyncio.gather(*(jobs.submit(replace(entry(each, chance), failure=None)) for each in range(200)))


async def timed(work: Coroutine[Any, Any, Any]) -> float:
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * 1000


async def slowest(library: Library, wanted: JobFilter) -> tuple[float, str]:
    """Milliseconds, and by which sort; of three tries the middle one counts."""
    found = []
    for sort in _SORTS:
        cursor: str | None = None
        for _ in range(2):
            page = await library.jobs.page(wanted, sort=sort, limit=50, cursor=cursor)
            tries = [await timed(_ask(library, wanted, sort=sort, cursor=cursor)) for _ in range(3)]
            found.append((percentile(tries, 50), sort))
            cursor = page.next_cursor
    return max(found)


async def let_some_wait(library: Library) -> None:
    """As many are in flight as may be, and of these every second one waits."""
    released = await library.window.release(BATCH, at_once=500, limit_of=lambda _: None)
    await library.jobs.mark_dispatched([(job.id, job.run) for job in released.jobs])
    said = Failure(kind=FailureKind.SITE_ERROR, message="HTTP Error 500", remedy="", retryable=True)
    until = datetime.now(UTC) + timedelta(hours=1)
    for job in released.jobs[::2]:
        await library.jobs.wait(job.id, job.run, failure=said, attempt=3, until=until)


async def looks(library: Library) -> tuple[float, float]:
    """Milliseconds for the counts alone, and for all of a look; of nine tries the middle one counts."""
    counting = [await timed(library.batches.count(BATCH)) for _ in range(9)]
    looking = [await timed(library.batches.standing(BATCH)) for _ in range(9)]
    return percentile(counting, 50), percentile(looking, 50)


async def _ask(library: Library, wanted: JobFilter, *, sort: str, cursor: str | None) -> None:
    page = library.jobs.page(wanted, sort=sort, limit=50, cursor=cursor)
    await asyncio.gather(page, library.jobs.counts(wanted))


async def act(library: Library, wish: Wish | None) -> tuple[float, list[float]]:
    """Seconds for all items, None to delete them; and what each submission took meanwhile, in milliseconds."""
    took: list[float] = []
    done = asyncio.Event()

    async def submit() -> None:
        chance = random.Random(f"{wish}")
        while not done.is_set():
            took.append(await timed(library.jobs.submit(replace(entry(0, chance), failure=None))))
            await asyncio.sleep(0.01)

    submitting = asyncio.create_task(submit())
    began = time.perf_counter()
    if wish is None:
        await library.jobs.forget(BATCH)
    else:
        async for _ in library.wishes.all(wish, JobFilter(parent=BATCH)):
            pass
    seconds = time.perf_counter() - began
    done.set()
    await submitting
    return seconds, took


async def measure(path: Path, number: int) -> None:
    library = Library(f"sqlite:///{path}")
    await library.open()
    console.print(f"making {number:,} items …", style="dim")
    await fill(library, number)
    figures = []
    scopes: dict[str, dict[str, Any]] = {
        "in the batch": {"parent": BATCH},
        "submitted": {},
        "all": {"with_items": True},
    }
    for where, scope in scopes.items():
        for name, chosen in _FILTERS.items():
            ms, sort = await slowest(library, JobFilter(**scope, **chosen))
            figures.append(Figure(f"{where}: {name}", ms, "ms", target=50, note=sort))
    print_figures("lists: a page and its counts, slowest sort", figures)
    await let_some_wait(library)
    counting, looking = await looks(library)
    seen = [("counts by state", f"{counting:.1f} ms"), ("and what its items wait for", f"{looking:.1f} ms")]
    print_table("lists: how a batch stands", ("", "takes"), seen)
    rows = []
    for wish in (Wish.PAUSE, Wish.RESUME, Wish.CANCEL, Wish.RETRY, None):
        seconds, took = await act(library, wish)
        shown = (f"{percentile(took, percent):.1f} ms" for percent in (50, 99))
        rows.append((wish or "delete", f"{seconds:.1f} s", *shown))
    print_table("lists: all items at once", ("", "takes", "submits meanwhile, p50", "p99"), rows)
    await library.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reelin-bench-") as folder:
        asyncio.run(measure(Path(folder) / "reelin.db", asked.items))


if __name__ == "__main__":
    main()
