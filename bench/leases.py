"""What an item of a limited site costs beside one of an unlimited site: CPU, words and history.

    python bench/leases.py [--items 300] [--rounds 3]

Lists of 30 KB files from one media server under two names, in turns: `localhost` needs no leases, 127.0.0.1 does, 16 at
once, which holds nothing up. CPU seconds are compared and not rates: what else the machine does hardly changes them.
The exit status is 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import unquote

import httpx
from batch import Service
from harness import Bench, console, print_table, running
from targets import Figure, print_figures
from usage import cpu_seconds

LIMITED, UNLIMITED = "127.0.0.1", "localhost"
SIZE = 30_000
AT_ONCE = 16
PARTS = ("Temporal's server", "`reelin up`", "engine and guard")


@dataclass(frozen=True)
class Cost:
    """Milliseconds of CPU for each item, in the order of PARTS, and items a second."""

    cpu: tuple[float, ...]
    rate: float

    @property
    def total(self) -> float:
        return sum(self.cpu)


def cpu_by_part(bench: Bench) -> tuple[float, ...]:
    spent: Counter[str] = Counter({PARTS[1]: cpu_seconds(bench.pid)})
    for pid in descendants(bench.pid):
        spent[PARTS[0] if command_of(pid).startswith("temporal") else PARTS[2]] += cpu_seconds(pid)
    return tuple(spent[part] for part in PARTS)


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from descendants(child)


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def fetch_all(bench: Bench, site: str, name: str, items: int) -> Cost:
    service = Service(bench)
    address = bench.origin.url.replace(LIMITED, site)
    urls = [f"{address}/file/{SIZE}/{name}-{each}.mp4" for each in range(items)]
    before, began = cpu_by_part(bench), time.perf_counter()
    job = service.wait(service.submit(urls=urls))
    after, took = cpu_by_part(bench), time.perf_counter() - began
    if job["counts"]["completed"] != items:
        raise RuntimeError(f"not every file arrived: {job['counts']}")
    cpu = tuple(1000 * (late - early) / items for early, late in zip(before, after, strict=True))
    return Cost(cpu, items / took)


class Histories:
    """What Temporal's server remembers, asked as its UI asks."""

    def __init__(self, bench: Bench, job_id: str) -> None:
        link = str(Service(bench).job(job_id)["links"]["temporal"])
        self._base, _, name = link.replace("/namespaces/", "/api/v1/namespaces/").rpartition("/workflows/")
        self._mark = unquote(name).removeprefix(job_id)
        self._http = httpx.Client(timeout=60)

    def runs(self, workflow_id: str) -> list[dict[str, Any]]:
        query = f'WorkflowId = "{workflow_id}{self._mark}"'
        found = self._http.get(f"{self._base}/workflows", params={"query": query}).raise_for_status().json()
        return list(found.get("executions", []))

    def events(self, workflow_id: str, run_id: str) -> Iterator[str]:
        """Their types."""
        for event in self.whole(workflow_id, run_id):
            yield str(event["eventType"]).removeprefix("EVENT_TYPE_")

    def whole(self, workflow_id: str, run_id: str) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            query = {"nextPageToken": token} if token else {}
            address = f"{self._base}/workflows/{workflow_id}{self._mark}/history"
            page = self._http.get(address, params={"execution.runId": run_id, **query}).raise_for_status().json()
            yield from page["history"]["events"]
            token = page.get("nextPageToken") or ""
            if not token:
                return


def measure(items: int, rounds: int) -> tuple[dict[str, list[Cost]], list[Counter[str]]]:
    costs: dict[str, list[Cost]] = {UNLIMITED: [], LIMITED: []}
    settings = {"REELIN_UNLIMITED_SITES": UNLIMITED, "REELIN_EGRESS_ALLOW": "127.0.0.0/8,::1/128"}
    with running(**settings) as bench:
        patch = httpx.patch(f"{bench.url}/api/sites/{LIMITED}", json={"max_at_once": AT_ONCE})
        patch.raise_for_status()
        for site in costs:
            fetch_all(bench, site, f"warm-up-{site}", 100)
        for each in range(rounds):
            for site, seen in costs.items():
                console.print(f"round {each + 1} of {rounds}: {site} …", style="dim")
                seen.append(fetch_all(bench, site, f"{site}-{each}", items))
        return costs, site_histories(bench)


def site_histories(bench: Bench) -> list[Counter[str]]:
    """Of each run of the limited site's workflow: its events, by type."""
    service = Service(bench)
    any_job = service.submit(url=f"{bench.origin.url}/file/{SIZE}/last.mp4")
    service.wait(any_job)
    histories = Histories(bench, any_job)
    name = f"site-{LIMITED}"
    return [Counter(histories.events(name, run["execution"]["runId"])) for run in histories.runs(name)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=300, help="in each list")
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    costs, runs = measure(wanted.items, wanted.rounds)
    rows = [cost_row(site, seen) for site, seen in costs.items()]
    print_table("CPU milliseconds an item, medians", ("", *PARTS, "all", "least to most", "items/s"), rows)
    items = wanted.items * wanted.rounds + 101
    times = median(cost.total for cost in costs[LIMITED]) / median(cost.total for cost in costs[UNLIMITED])
    events = Counter[str]()
    for each in runs:
        events.update(each)
    figures = [
        Figure("an item of a limited site beside one of an unlimited one", times, "×", target=1.3),
        Figure("events of the site's workflow, an item", events.total() / items),
        Figure("of these, words that it hears", events["WORKFLOW_EXECUTION_SIGNALED"] / items),
        Figure("of these, its workflow tasks", events["WORKFLOW_TASK_COMPLETED"] / items),
        Figure("events of its longest history", max(each.total() for each in runs), target=2_000),
    ]
    print_figures("leases", figures)
    sys.exit(0 if all(figure.met for figure in figures) else 1)


def cost_row(site: str, seen: list[Cost]) -> tuple[str, ...]:
    totals = [cost.total for cost in seen]
    parts = [f"{median(cost.cpu[number] for cost in seen):.1f}" for number in range(len(PARTS))]
    label = "limited" if site == LIMITED else "unlimited"
    rate = f"{median(cost.rate for cost in seen):.1f}"
    return (label, *parts, f"{median(totals):.1f}", f"{min(totals):.1f} to {max(totals):.1f}", rate)


if __name__ == "__main__":
    main()
