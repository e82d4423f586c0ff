"""300 small downloads from a site that answers 429 beyond 20 requests a second or 6 connections.

    python bench/polite.py [ITEMS]

All must complete. The site's limits are found by the service itself: nothing is set.
"""

from __future__ import annotations

import asyncio
import sys
import time

from harness import Bench, console, percentile, print_table, running
from lean import Connection

from reelin.contracts.jobs import Job, State
from reelin.origin.log import RequestRecord, answers

ITEMS = 300
LIMITS = "max_rate=20&max_connections=6&retry_after={retry_after}&key=polite"
FIRST_MINUTE = 60.0


async def submit_all(bench: Bench, items: int, faults: str) -> list[str]:
    async with Connection(bench.url) as connection:
        found = []
        for number in range(items):
            url = f"{bench.origin.url}/file/200000/polite-{number}?{faults}"
            status, body = await connection.post("/api/jobs", {"url": url})
            if status != 202:
                raise RuntimeError(f"{status}: {body!r}")
            found.append(Job.model_validate_json(body).id)
        return found


async def all_finished(bench: Bench, job_ids: list[str]) -> list[Job]:
    async with Connection(bench.url) as connection:
        jobs = []
        for job_id in job_ids:
            job = await _finished(connection, job_id)
            jobs.append(job)
        return jobs


async def _finished(connection: Connection, job_id: str) -> Job:
    while True:
        _, body = await connection.get(f"/api/jobs/{job_id}?wait=30")
        job = Job.model_validate_json(body)
        if job.state.final:
            return job


def share(records: list[RequestRecord], since: float = 0) -> str:
    counted = answers(records, since=since)
    total = counted.total()
    return f"{counted[429]} of {total} ({100 * counted[429] / total:.1f} %)" if total else "no requests"


async def scenario(bench: Bench, items: int, retry_after: int) -> tuple[str, ...]:
    began = time.time()
    jobs = await all_finished(bench, await submit_all(bench, items, LIMITS.format(retry_after=retry_after)))
    took = time.time() - began
    log = bench.origin.log
    completed = sum(job.state is State.COMPLETED for job in jobs)
    attempts = [float(job.attempt) for job in jobs]
    return (
        f"Retry-After: {retry_after}",
        f"{completed} of {items}",
        f"{took:.0f} s",
        share(log),
        share(log, log[0].started_at + FIRST_MINUTE),
        f"{percentile(attempts, 50):.0f} / {max(attempts):.0f}",
    )


def main() -> None:
    items = int(sys.argv[1]) if len(sys.argv) > 1 else ITEMS
    rows = []
    for unlimited in ("127.0.0.1", ""):
        with running(REELIN_UNLIMITED_SITES=unlimited) as bench:
            console.print(f"submitting {items} jobs …", style="dim")
            row = asyncio.run(scenario(bench, items, retry_after=2))
            rows.append(("unlimited until it complains" if unlimited else "4 at once", *row[1:]))
    columns = ("the site at first", "completed", "wall", "429s", "429s after a minute", "attempts p50 / max")
    print_table("20 requests a second or 6 connections, else 429 with Retry-After: 2", columns, rows)


if __name__ == "__main__":
    main()
