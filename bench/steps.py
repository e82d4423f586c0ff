"""Where does the CPU of one small download go, inside a child?

    python bench/steps.py [--downloads 200] [--kilobytes 200]

One process plays the child: it warms up as the fork server does and downloads one file after the other. The functions
that begin a step are wrapped in a stopwatch of CPU time; a step that another one interrupts does not count on. A guard
is not used, and what the fork server and the worker do for a job is not in here (`bench/engine.py` has both).
"""

from __future__ import annotations

import argparse
import functools
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import console, print_table
from yt_dlp import YoutubeDL
from yt_dlp.extractor.common import InfoExtractor

from reelin.contracts.options import Options
from reelin.engine.child import task as steps_of_a_task
from reelin.engine.child.channel import Channel
from reelin.engine.child.downloader import Downloader
from reelin.engine.child.scratch import Scratch
from reelin.engine.child.transfer import Transfer
from reelin.engine.child.warmup import warm_up
from reelin.engine.child.watch import Watch
from reelin.engine.programs import find_ffmpeg
from reelin.engine.seam import DownloadTask
from reelin.engine.wire import Launch, Order
from reelin.origin.process import OriginProcess

_WARM_UP = 20
REST = "the rest of a task"
#: Which functions begin which step.
_STEPS: tuple[tuple[str, Any, str], ...] = (
    ("scratch folder, its lock and records", Scratch, "hold"),
    ("scratch folder, its lock and records", Scratch, "done"),
    ("scratch folder, its lock and records", Scratch, "clear_leftovers"),
    ("scratch folder, its lock and records", Scratch, "finish"),
    ("scratch folder, its lock and records", Scratch, "release"),
    ("parameters and the YoutubeDL object", Downloader, "__init__"),
    ("parameters and the YoutubeDL object", Downloader, "close"),
    ("parameters and the YoutubeDL object", steps_of_a_task, "parameters"),
    ("extract: which extractor", Downloader, "extract_info"),
    ("extract: the extractor", InfoExtractor, "extract"),
    ("extract: formats, names, dates", YoutubeDL, "process_ie_result"),
    ("prepare and finish the file", YoutubeDL, "process_info"),
    ("request", Downloader, "urlopen"),
    ("read and write the bytes", Transfer, "_copy"),
    ("check, hash, fsync", steps_of_a_task, "check"),
    ("describe", steps_of_a_task, "describe"),
    ("reports and answers (JSON, socket)", Channel, "say"),
    ("start and end the watcher's thread", Watch, "__enter__"),
    ("start and end the watcher's thread", Watch, "__exit__"),
)


class Stopwatch:
    """CPU seconds of this thread, by step; the innermost one runs."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._running = [REST]
        self._since = time.thread_time()

    def wrap(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._turn()
            self._running.append(step)
            try:
                return function(*args, **kwargs)
            finally:
                self._turn()
                self._running.pop()

        return timed

    def reset(self) -> None:
        self.seconds.clear()
        self._since = time.thread_time()

    def _turn(self) -> None:
        now = time.thread_time()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def stop(self) -> Counter[str]:
        self._turn()
        return self.seconds


class _Paper:
    """In place of the socket to the worker."""

    def sendall(self, data: bytes) -> None:
        del data


def measure(origin: OriginProcess, folder: Path, downloads: int, size: int) -> dict[str, float]:
    """Milliseconds of CPU for each download, by step; the largest first."""
    tools = warm_up(Launch(ffmpeg=str(find_ffmpeg()), cookies_dir=str(folder)))
    channel = Channel(_Paper())  # type: ignore[arg-type]
    watch = Stopwatch()
    for step, owner, name in _STEPS:
        setattr(owner, name, watch.wrap(step, getattr(owner, name)))
    for number in range(-_WARM_UP, downloads):
        if number == 0:
            watch.reset()
        url, scratch = f"{origin.url}/file/{size}/step{number}.mp4", folder / f"step{number}"
        task = DownloadTask(job_id="step", url=url, scratch_dir=str(scratch), preset="best", options=Options())
        heard = Order.model_validate_json(Order(download=task).model_dump_json()).download
        assert heard is not None
        steps_of_a_task.run_download(heard, channel, tools)
        watch.wrap("(cleaning up)", shutil.rmtree)(scratch)
    found = watch.stop()
    del found["(cleaning up)"]
    return {step: seconds / downloads * 1000 for step, seconds in found.most_common()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--downloads", type=int, default=200)
    parser.add_argument("--kilobytes", type=int, default=200)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="reelin-bench-") as folder,
        OriginProcess(Path(folder) / "origin") as origin,
    ):
        console.print("downloading …", style="dim")
        found = measure(origin, Path(folder), asked.downloads, asked.kilobytes * 1000)
    total = sum(found.values())
    rows = [(step, f"{ms:.2f} ms", f"{100 * ms / total:.0f} %") for step, ms in [*found.items(), ("all", total)]]
    print_table(f"steps: CPU of one download of {asked.kilobytes} KB in a child", ("", "each", "share"), rows)


if __name__ == "__main__":
    main()
