"""What 100,000 single jobs cost while they wait for one site, and whether they hold up any other.

    python bench/line.py [--jobs 100000] [--seconds 60]

The site lets one download in, which takes for ever; all others are handed in by the library, in the service's own
database, as fast as it takes them, and wait. Then it is looked at what the waiting costs, how soon downloads of another
site begin, how large the histories and payloads of the waiting site are, and that the line goes on when it may.
The exit status is 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from statistics import median
from typing import Any

import httpx
from batch import Service
from harness import Bench, console, running
from leases import PARTS, Histories, cpu_by_part
from targets import Figure, print_figures

from reelin.contracts.jobs import Kind
from reelin.contracts.options import Options
from reelin.contracts.urls import job_id_for
from reelin.library import Library, NewJob

WAITED_FOR, OTHER = "localhost", "127.0.0.1"
AT_A_TIME = 200
OTHERS = 10
TIMEOUT_SECONDS = 1800.0


class Line:
    def __init__(self, bench: Bench, jobs: int) -> None:
        self.bench = bench
        self.jobs = jobs
        self._http = httpx.Client(base_url=bench.url, timeout=60)
        self._service = Service(bench)

    def url(self, name: str, site: str, **faults: int) -> str:
        return self.bench.origin.url_for(f"/file/100000/{name}.mp4", **faults).replace(OTHER, site)

    def holder(self) -> str:
        """It flows, and goes on for a day."""
        url = self.bench.origin.url_for("/file/500000000/holder.mp4", rate=5000)
        return url.replace(OTHER, WAITED_FOR)

    def shut(self) -> str:
        """One download holds the site's only place."""
        self.limit(1)
        holder = self._service.submit(url=self.holder())
        self._until(lambda: self._service.job(holder)["state"] == "running")
        return holder

    def limit(self, at_once: int) -> None:
        self._http.patch(f"/api/sites/{WAITED_FOR}", json={"max_at_once": at_once}).raise_for_status()

    def site(self) -> dict[str, Any]:
        return dict(self._http.get(f"/api/sites/{WAITED_FOR}").raise_for_status().json())

    def fill(self) -> float:
        """Seconds until all stand in the line."""
        began = time.perf_counter()
        asyncio.run(self._hand_in())
        self._service.submit(url=self.url("wakes-the-dispatcher", WAITED_FOR))
        self._until(lambda: self.site()["waiting"] == self.jobs + 1)
        return time.perf_counter() - began

    async def _hand_in(self) -> None:
        library = Library(f"sqlite:///{self.bench.data_dir / 'reelin.db'}")
        await library.open()
        try:
            for start in range(0, self.jobs, AT_A_TIME):
                numbers = range(start, min(start + AT_A_TIME, self.jobs))
                await asyncio.gather(*(library.jobs.submit(self._job(number)) for number in numbers))
        finally:
            await library.close()

    def _job(self, number: int) -> NewJob:
        url = self.url(f"line-{number}", WAITED_FOR)
        options = Options()
        identifier = job_id_for(Kind.VIDEO, "local", url, "best", options)
        return NewJob(
            id=identifier, kind=Kind.AUTO, url=url, site=WAITED_FOR, owner="local", preset="best", options=options
        )

    def idle_cpu(self, seconds: float) -> dict[str, float]:
        """Percent of a core by part, while nothing starts."""
        before, began = cpu_by_part(self.bench), time.perf_counter()
        time.sleep(seconds)
        after, took = cpu_by_part(self.bench), time.perf_counter() - began
        return {part: 100 * (late - early) / took for part, early, late in zip(PARTS, before, after, strict=True)}

    def others_begin_after(self) -> list[float]:
        """Seconds from each submission of a download of another site until a worker has it, one after another."""
        waits = []
        for number in range(OTHERS):
            job = self._service.wait(self._service.submit(url=self.url(f"other-{number}", OTHER)))
            submitted, started = (datetime.fromisoformat(job[name]) for name in ("submitted_at", "started_at"))
            waits.append((started - submitted).total_seconds())
        return waits

    def histories(self, any_job: str) -> tuple[int, int]:
        """Events of the site's longest history, and bytes of its largest payload."""
        histories = Histories(self.bench, any_job)
        name = f"site-{WAITED_FOR}"
        longest, largest = 0, 0
        for run in histories.runs(name):
            events = list(histories.whole(name, run["execution"]["runId"]))
            longest = max(longest, len(events))
            largest = max([largest, *(size for event in events for size in payload_sizes(event))])
        return longest, largest

    def goes_on(self, holder: str, number: int) -> float:
        """Jobs a second, once the site lets 16 in."""
        self._http.post(f"/api/jobs/{holder}/cancel").raise_for_status()
        self.limit(16)
        began = time.perf_counter()
        self._until(lambda: self.site()["waiting"] <= self.jobs + 1 - number)
        return number / (time.perf_counter() - began)

    def _until(self, condition: Any) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {TIMEOUT_SECONDS:.0f} s: {self.site()}")
            time.sleep(0.1)


def payload_sizes(value: Any) -> Iterator[int]:
    """Of each payload in an event, as Temporal's HTTP interface writes it."""
    if isinstance(value, dict):
        if isinstance(value.get("data"), str) and "metadata" in value:
            yield len(base64.b64decode(value["data"]))
        for each in value.values():
            yield from payload_sizes(each)
    elif isinstance(value, list):
        for each in value:
            yield from payload_sizes(each)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60)
    wanted = parser.parse_args()
    with running(REELIN_UNLIMITED_SITES="", REELIN_EGRESS_ALLOW="127.0.0.0/8,::1/128") as bench:
        line = Line(bench, wanted.jobs)
        holder = line.shut()
        nothing = line.idle_cpu(wanted.seconds)
        console.print(f"handing in {wanted.jobs} jobs …", style="dim")
        took = line.fill()
        console.print(f"all wait after {took:.0f} s; looking at what that costs …", style="dim")
        waiting = line.idle_cpu(wanted.seconds)
        others = line.others_begin_after()
        rate = line.goes_on(holder, 200)
        longest, largest = line.histories(holder)
    more = sum(waiting.values()) - sum(nothing.values())
    parts = ", ".join(f"{part} {value:.1f}" for part, value in waiting.items())
    figures = [
        Figure("CPU while all wait, beyond what one download alone costs", more, "%", target=2, note=parts),
        Figure("a download of another site begins after, median", 1000 * median(others), "ms", target=500),
        Figure("the slowest of them", 1000 * max(others), "ms"),
        Figure("events of the site's longest history", longest, target=2_000),
        Figure("its largest payload", largest / 1024, "KB", target=64),
        Figure("seconds until all stand in line", took, "s"),
        Figure("then, with 16 at once", rate, "items/s"),
    ]
    print_figures(f"line of {wanted.jobs}", figures)
    sys.exit(0 if all(figure.met for figure in figures) else 1)


if __name__ == "__main__":
    main()
