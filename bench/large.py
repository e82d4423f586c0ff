"""One large file on loopback: the yt-dlp command line and Reelin in turn, on the same origin."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from targets import Figure

from reelin.contracts.jobs import Phase
from reelin.contracts.options import Options
from reelin.engine.pool import EnginePool
from reelin.engine.seam import DownloadTask, Report
from reelin.origin.process import OriginProcess

#: yt-dlp as it comes, without the machine's configuration and without a terminal to draw on.
COMMAND = (
    sys.executable,
    "-m",
    "yt_dlp",
    "--ignore-config",
    "--no-cache-dir",
    "--no-update",
    "--quiet",
    "--no-progress",
)


@dataclass(frozen=True)
class Took:
    """Seconds. `transfer` is by the origin's clock, from the request to the last byte handed to the kernel: the same
    ruler for both. `everything` is from the call, or from the start of the command, to its end. `check` is Reelin's:
    opening, hashing and fsync, which yt-dlp does not do.
    """

    transfer: float
    everything: float
    check: float = 0.0


class Race:
    """`ways` are Reelin's pools by name. Each round runs yt-dlp first and then each of them."""

    def __init__(self, origin: OriginProcess, folder: Path, size: int) -> None:
        self._origin = origin
        self._folder = folder
        self._size = size
        self._number = 0

    async def run(self, ways: dict[str, EnginePool], rounds: int) -> dict[str, list[Took]]:
        found: dict[str, list[Took]] = {"yt-dlp": [], **{name: [] for name in ways}}
        for _ in range(rounds):
            found["yt-dlp"].append(await self._command())
            for name, pool in ways.items():
                found[name].append(await self._reelin(pool))
        return found

    async def _command(self) -> Took:
        url, folder = self._fresh()
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(*COMMAND, "--output", str(folder / "whole.mp4"), url)
        if await process.wait():
            raise RuntimeError(f"yt-dlp ended with {process.returncode}")
        return self._took(folder / "whole.mp4", time.perf_counter() - began)

    async def _reelin(self, pool: EnginePool) -> Took:
        url, folder = self._fresh()
        checks: list[float] = []

        def note(report: Report) -> None:
            if report.phase is Phase.PUBLISHING and not checks:
                checks.append(time.perf_counter())

        task = DownloadTask(job_id=folder.name, url=url, scratch_dir=str(folder), preset="best", options=Options())
        began = time.perf_counter()
        downloaded = await pool.download(task, note)
        ended = time.perf_counter()
        return self._took(folder / downloaded.files[0].name, ended - began, ended - checks[0])

    def _fresh(self) -> tuple[str, Path]:
        """What the one before has not written to the disk yet must not be written at the cost of this one."""
        os.sync()
        self._origin.clear_log()
        self._number += 1
        folder = self._folder / f"large-{self._number}"
        folder.mkdir()
        return f"{self._origin.url}/file/{self._size}/large-{self._number}.mp4", folder

    def _took(self, file: Path, everything: float, check: float = 0.0) -> Took:
        """Of the requests the last one that was answered whole is the transfer; one before it is the probe."""
        if file.stat().st_size != self._size:
            raise RuntimeError(f"{file} has {file.stat().st_size} bytes")
        shutil.rmtree(file.parent)
        record = [record for record in self._origin.log if record.finished][-1]
        return Took(record.ended_at - record.started_at, everything, check)


def figures(found: dict[str, list[Took]], targets: dict[str, float], size: int) -> list[Figure]:
    """Ratios are of the two that ran next to each other, and the middle one of them is shown."""
    base = found["yt-dlp"]
    rows = [_rate("yt-dlp", base, size)]
    for name, took in found.items():
        if name != "yt-dlp":
            rows.append(_rate(name, took, size))
            transfers = [one.transfer / other.transfer for one, other in zip(base, took, strict=True)]
            wholes = [one.everything / other.everything for one, other in zip(base, took, strict=True)]
            rows.append(_ratio(f"  transfer, {name} ÷ yt-dlp", transfers, targets.get(name)))
            rows.append(_ratio("  everything ÷ the whole command", wholes))
    return rows


def _rate(name: str, took: Sequence[Took], size: int) -> Figure:
    transfer, everything, check = (
        statistics.median(values) for values in zip(*((t.transfer, t.everything, t.check) for t in took), strict=True)
    )
    parts = f"{everything:.2f} s in all" + (f", {check:.2f} s of it checks" if check else "")
    return Figure(f"{name}, transfer", size / 1e6 / transfer, "MB/s", note=parts)


def _ratio(label: str, values: Sequence[float], target: float | None = None) -> Figure:
    spread = f"{min(values):.2f} to {max(values):.2f}"
    return Figure(label, statistics.median(values), target=target, at_least=True, note=spread)
