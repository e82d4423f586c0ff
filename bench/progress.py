"""How old is what a client sees?

    python bench/progress.py [--clients 1000]

Three tables:
- Freshness: five downloads of 3 MB at 500 KB/s. Every 20 ms: how long ago had the media server sent as much as the
  client now shows? This counts everything: the sockets, yt-dlp's blocks, the engine, the bus, the stream.
- Latency: from the engine's progress hook to a client, with 50 downloads running. A job's `version` is the moment of
  the hook in microseconds, by the clock of the same machine.
- The same with many clients, each of which follows one of the 50 jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from harness import Bench, console, percentile, print_table, running
from lean import Connection

RATE = 500_000


async def submit(bench: Bench, size: int, names: list[str]) -> list[str]:
    """Job ids, in the order of the names."""
    async with Connection(bench.url) as connection:
        ids = []
        for name in names:
            url = f"{bench.origin.url}/file/{size}/{name}?rate={RATE}"
            _, body = await connection.post("/api/jobs", {"url": url})
            ids.append(json.loads(body)["id"])
        return ids


async def freshness(bench: Bench) -> list[float]:
    """Milliseconds, one for each look at each download."""
    size, names = 3_000_000, [f"fresh-{number}" for number in range(5)]
    ids = await submit(bench, size, names)
    shown: list[list[tuple[float, int]]] = [[] for _ in ids]
    await asyncio.gather(*(follow(bench, job_id, looks) for job_id, looks in zip(ids, shown, strict=True)))
    started = {
        record.path.split("/")[-1]: record.started_at for record in bench.origin.log if record.bytes_sent == size
    }
    return [age for name, looks in zip(names, shown, strict=True) for age in ages(looks, started[name], size)]


async def follow(bench: Bench, job_id: str, seen: list[tuple[float, int]]) -> None:
    """Notes when the client began to show how many bytes."""
    async with Connection(bench.url) as connection:
        await connection.stream(f"/api/jobs/{job_id}/events")
        while line := await connection.data_line():
            job = json.loads(line)
            if job.get("phase") == "downloading":
                seen.append((time.time(), job["progress"]["downloaded_bytes"]))


def ages(seen: list[tuple[float, int]], started: float, size: int) -> list[float]:
    """Looks every 20 ms from the first sign of progress to the end of the transfer."""
    found, latest = [], 0
    first, end = next(moment for moment, n_bytes in seen if n_bytes), started + size / RATE
    look = first
    while look < end:
        while latest + 1 < len(seen) and seen[latest + 1][0] <= look:
            latest += 1
        found.append((look - started - seen[latest][1] / RATE) * 1000)
        look += 0.02
    return found


async def latency(bench: Bench, clients: int, name: str) -> tuple[list[float], float]:
    """Milliseconds from hook to client, for every event that any client got; and events per second."""
    ids = await submit(bench, 6_000_000, [f"{name}-{number}" for number in range(50)])
    results: list[float] = []
    stop = asyncio.Event()
    paths = ["/api/events"] if clients == 1 else [f"/api/jobs/{ids[number % 50]}/events" for number in range(clients)]
    tasks = [asyncio.create_task(listen(bench, path, results, stop)) for path in paths]
    await asyncio.sleep(4)  # let all 50 get going before counting
    results.clear()
    began = time.perf_counter()
    await asyncio.sleep(5)
    took = time.perf_counter() - began
    stop.set()
    counted = results.copy()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return counted, len(counted) / took


async def listen(bench: Bench, path: str, results: list[float], stop: asyncio.Event) -> None:
    async with Connection(bench.url) as connection:
        await connection.stream(path)
        while (line := await connection.data_line()) and not stop.is_set():
            arrived = time.time()
            if b'"phase":"downloading"' in line:
                version = int(line[line.rindex(b'"version":') + 10 :].rstrip(b"}"))
                results.append((arrived - version / 1e6) * 1000)


def row(label: str, values: list[float], *more: str) -> tuple[str, ...]:
    return (label, *(f"{percentile(values, percent):.1f} ms" for percent in (50, 99)), str(len(values)), *more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000, help="how many follow the 50 downloads at once")
    clients = parser.parse_args().clients
    with running(REELIN_MAX_DOWNLOADS="60") as bench:
        console.print("five downloads of 3 MB at 500 KB/s …", style="dim")
        fresh = asyncio.run(freshness(bench))
        console.print("50 downloads, one client …", style="dim")
        one, one_rate = asyncio.run(latency(bench, 1, "one"))
    with running(REELIN_MAX_DOWNLOADS="60") as bench:
        console.print(f"50 downloads, {clients} clients …", style="dim")
        many, many_rate = asyncio.run(latency(bench, clients, "many"))
    print_table(
        "progress: age of what the client shows (5 × 3 MB at 500 KB/s)",
        ("", "p50", "p99", "looks"),
        [row("Reelin, SSE", fresh)],
    )
    print_table(
        "progress: engine hook → client, 50 downloads running",
        ("", "p50", "p99", "events", "events/s"),
        [
            row("1 client of all jobs", one, f"{one_rate:.0f}"),
            row(f"{clients} clients of a job", many, f"{many_rate:.0f}"),
        ],
    )


if __name__ == "__main__":
    main()
