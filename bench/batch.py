"""How fast many small files are fetched, how fast a playlist is listed, and what 10,000 items cost.

    python bench/batch.py [--rounds 3] [--items 10000] [--only rate|playlist|many]

Three tables:

- *rate*: 200 files of 0.2 MB as one list, beside `yt-dlp -a LIST` (one process) and `xargs -P 8` over yt-dlp processes
  (40 files: it is slow), on the same media server, in turns.
- *playlist*: a feed of 1,000 entries, from submitting its URL until all its entries are listed.
- *many*: a list of 10,000 URLs until the last file is there, and what that took.

The exit status is 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from harness import Bench, console, running
from rich.progress import Progress
from targets import Figure, print_figures
from usage import pss_bytes

FILES, FEW_FILES = 200, 40
SIZE = 200_000
MANY_SIZE = 30_000
LOOK_SECONDS = 0.1
TIMEOUT_SECONDS = 3600.0
FINAL = {"completed", "partial", "failed", "cancelled"}


def urls(bench: Bench, name: str, number: int, size: int = SIZE) -> list[str]:
    return [f"{bench.origin.url}/file/{size}/{name}-{each}.mp4" for each in range(number)]


class Service:
    def __init__(self, bench: Bench) -> None:
        self._http = httpx.Client(base_url=bench.url, timeout=60)

    def submit(self, **body: Any) -> str:
        answer = self._http.post("/api/jobs", json=body)
        return str(answer.raise_for_status().json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self._http.get(f"/api/jobs/{job_id}").raise_for_status().json())

    def _waited(self, job_id: str) -> dict[str, Any]:
        while True:
            job = dict(self._http.get(f"/api/jobs/{job_id}?wait=50").raise_for_status().json())
            if job["state"] in FINAL:
                return job

    def page(self, job_id: str, **query: str | int) -> dict[str, Any]:
        answer = self._http.get("/api/jobs", params={"parent": job_id, **query})
        return dict(answer.raise_for_status().json())

    def events(self, job: dict[str, Any]) -> int:
        """In the newest history of the job's workflow, as Temporal's UI has it."""
        address = job["links"]["temporal"].replace("/namespaces/", "/api/v1/namespaces/")
        found = httpx.get(address, timeout=60).raise_for_status().json()
        return int(found["workflowExecutionInfo"]["historyLength"])

    def wait(self, job_id: str, *, bar: Progress | None = None) -> dict[str, Any]:
        """The job as it ended. Raises TimeoutError. With a `bar` it is asked again and again, else the answer waits."""
        if bar is None:
            return self._waited(job_id)
        task = bar.add_task("items", total=None) if bar else None
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            job = self.job(job_id)
            counts = job["counts"] or {}
            if bar is not None and task is not None:
                bar.update(task, total=counts.get("total"), completed=counts.get("completed", 0))
            if job["state"] in FINAL:
                return job
            time.sleep(LOOK_SECONDS)
        raise TimeoutError(job_id)


def reelin_rate(bench: Bench, name: str) -> float:
    service = Service(bench)
    began = time.perf_counter()
    job = service.wait(service.submit(urls=urls(bench, name, FILES)))
    took = time.perf_counter() - began
    if job["counts"]["completed"] != FILES:
        raise RuntimeError(f"not every file arrived: {job['counts']}")
    return FILES / took


def yt_dlp_rate(bench: Bench, name: str) -> float:
    with tempfile.TemporaryDirectory(prefix="reelin-bench-") as folder:
        listed = Path(folder) / "list.txt"
        listed.write_text("\n".join(urls(bench, name, FILES)))
        began = time.perf_counter()
        command = [*yt_dlp(), "--quiet", "-P", folder, "-a", str(listed)]
        subprocess.run(command, check=True)
        took = time.perf_counter() - began
        check(Path(folder), FILES)
    return FILES / took


def xargs_rate(bench: Bench, name: str) -> float:
    with tempfile.TemporaryDirectory(prefix="reelin-bench-") as folder:
        listed = "\n".join(urls(bench, name, FEW_FILES))
        began = time.perf_counter()
        command = ["xargs", "-P", "8", "-n", "1", *yt_dlp(), "--quiet", "-P", folder]
        subprocess.run(command, input=listed.encode(), check=True)
        took = time.perf_counter() - began
        check(Path(folder), FEW_FILES)
    return FEW_FILES / took


def yt_dlp() -> list[str]:
    return [sys.executable, "-m", "yt_dlp", "--ignore-config", "--no-update"]


def check(folder: Path, number: int) -> None:
    found = sum(path.stat().st_size == SIZE for path in folder.glob("*.mp4"))
    if found != number:
        raise RuntimeError(f"yt-dlp left {found} whole files, not {number}")


def rate(rounds: int) -> list[Figure]:
    ours, theirs, many = [], [], []
    with running() as bench:
        reelin_rate(bench, "warm-up")
        for each in range(rounds):
            console.print(f"round {each + 1} of {rounds} …", style="dim")
            theirs.append(yt_dlp_rate(bench, f"yt-{each}"))
            ours.append(reelin_rate(bench, f"reelin-{each}"))
            many.append(xargs_rate(bench, f"xargs-{each}"))
    return [
        Figure("Reelin, items a second", median(ours), "/s", note=f"{min(ours):.1f} to {max(ours):.1f}"),
        Figure("one yt-dlp process", median(theirs), "/s", note=f"{min(theirs):.1f} to {max(theirs):.1f}"),
        Figure("xargs -P 8", median(many), "/s", note=f"{min(many):.1f} to {max(many):.1f}"),
        Figure("Reelin beside one yt-dlp process", median(ours) / median(theirs), "×", target=0.5, at_least=True),
        Figure("Reelin beside xargs -P 8", median(ours) / median(many), "×", target=10, at_least=True),
    ]


def playlist(rounds: int) -> list[Figure]:
    seconds = []
    with running(REELIN_BATCH_AT_ONCE="1") as bench:
        service = Service(bench)
        for each in range(rounds):
            began = time.perf_counter()
            job_id = service.submit(url=f"{bench.origin.url}/feed/1000.rss?name=feed{each}&seg_stall_after=0")
            while (service.job(job_id)["counts"] or {}).get("total") != 1000:
                time.sleep(0.02)
            listed = _walk(service, job_id)
            seconds.append(time.perf_counter() - began)
            if listed != 1000:
                raise RuntimeError(f"{listed} items are listed, not 1000")
    note = f"{min(seconds):.2f} to {max(seconds):.2f}"
    return [Figure("a feed of 1,000 entries, queued and listed", median(seconds), "s", target=4, note=note)]


def _walk(service: Service, job_id: str) -> int:
    listed, cursor = 0, None
    while True:
        page = service.page(job_id, limit=500, **({"cursor": cursor} if cursor else {}))
        listed += len(page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            return listed


def many(items: int) -> list[Figure]:
    with running() as bench, Progress(console=console) as bar:
        service = Service(bench)
        service.wait(service.submit(urls=urls(bench, "warm-up", FILES)))
        memory, disk = pss_bytes(bench.pid), temporal_bytes(bench)
        began = time.perf_counter()
        job_id = service.submit(urls=urls(bench, "many", items, MANY_SIZE))
        submitted = time.perf_counter() - began
        while service.job(job_id)["counts"]["total"] < items:
            time.sleep(LOOK_SECONDS)
        pages = [first_page_ms(service, job_id) for _ in range(20)]
        job = service.wait(job_id, bar=bar)
        took = time.perf_counter() - began
        grown, database = pss_bytes(bench.pid) - memory, temporal_bytes(bench) - disk
        pages += [first_page_ms(service, job_id) for _ in range(20)]
        events = service.events(job)
    lost = items - job["counts"]["completed"]
    return [
        Figure(f"{items} URLs, until they are accepted", submitted, "s"),
        Figure("until the last file is there", took, "s", note=f"{items / took:.1f} items a second"),
        Figure("items lost or failed", lost, "", target=0),
        Figure("the service's process grew by", grown / 1e6, "MB", target=50),
        Figure(
            "first page of the list, slowest of 40", max(pages), "ms", target=50, note=f"median {median(pages):.1f}"
        ),
        Figure("events in the batch's history", events, "", target=10_000),
        Figure("Temporal's database, per item", database / items / 1000, "KB"),
    ]


def first_page_ms(service: Service, job_id: str) -> float:
    began = time.perf_counter()
    service.page(job_id)
    return (time.perf_counter() - began) * 1000


def temporal_bytes(bench: Bench) -> int:
    return sum(path.stat().st_size for path in (bench.data_dir / "temporal").iterdir() if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often the rate and the playlist are measured")
    parser.add_argument("--items", type=int, default=10_000, help="of the long list")
    parser.add_argument("--only", choices=["rate", "playlist", "many"], help="one table instead of all")
    wanted = parser.parse_args()
    tables = {
        "rate": lambda: ("200 files of 0.2 MB", rate(wanted.rounds)),
        "playlist": lambda: ("a playlist", playlist(wanted.rounds)),
        "many": lambda: (f"{wanted.items} items", many(wanted.items)),
    }
    met = True
    for name, measure in tables.items():
        if wanted.only in (None, name):
            title, figures = measure()
            print_figures(title, figures)
            met = met and all(figure.met for figure in figures)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
