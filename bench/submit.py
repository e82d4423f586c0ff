"""How long `POST /api/jobs` takes, answered and committed: one after another, and 50 at once.

    python bench/submit.py

Every submission is a job that runs, so that the machine is always full: in the first table each downloads 0.1 MB
on the same cores meanwhile; in the second the media server holds its answers back. The first 50 are not counted: in the
first half second after its start a service forks its children and is slower.
"""

from __future__ import annotations

import asyncio
import time

from harness import Bench, console, percentile, print_table, running
from lean import Connection

WARM_UP = 50
SEQUENTIAL = 500
AT_ONCE = 50
EACH = 10


async def timed(connection: Connection, url: str) -> float:
    began = time.perf_counter()
    status, body = await connection.post("/api/jobs", {"url": url})
    took = time.perf_counter() - began
    if status != 202:
        raise RuntimeError(f"{status}: {body!r}")
    return took * 1000


async def one_after_another(bench: Bench, name: str, faults: str) -> list[float]:
    async with Connection(bench.url) as connection:
        for number in range(WARM_UP):
            await timed(connection, f"{bench.origin.url}/file/100000/{name}-warm-up-{number}{faults}")
        return [
            await timed(connection, f"{bench.origin.url}/file/100000/{name}-{number}{faults}")
            for number in range(SEQUENTIAL)
        ]


async def many_at_once(bench: Bench, name: str, faults: str) -> list[float]:
    async def client(number: int) -> list[float]:
        async with Connection(bench.url) as connection:
            return [
                await timed(connection, f"{bench.origin.url}/file/100000/{name}-{number}-{each}{faults}")
                for each in range(EACH)
            ]

    return [took for tooks in await asyncio.gather(*map(client, range(AT_ONCE))) for took in tooks]


async def measure(bench: Bench, name: str, faults: str) -> list[tuple[str, ...]]:
    rows = []
    for label, results in (
        (f"one after another ({SEQUENTIAL})", await one_after_another(bench, f"{name}-seq", faults)),
        (f"{AT_ONCE} at once ({AT_ONCE * EACH})", await many_at_once(bench, f"{name}-par", faults)),
    ):
        shown = (f"{percentile(results, percent):.1f} ms" for percent in (50, 99, 100))
        rows.append((label, *shown))
    return rows


def main() -> None:
    columns = ("POST /api/jobs", "p50", "p99", "max")
    with running() as bench:
        console.print(f"submitting {2 * (WARM_UP + SEQUENTIAL + AT_ONCE * EACH)} jobs …", style="dim")
        held = asyncio.run(measure(bench, "held", "?stall_after=0&stall_times=1000"))
    with running() as bench:
        busy = asyncio.run(measure(bench, "busy", ""))
    print_table("while downloads run on the same cores", columns, busy)
    print_table("while the media server holds downloads back", columns, held)


if __name__ == "__main__":
    main()
