"""What the rest of Reelin sees of the engine: two calls, a stream of reports, and MediaFailure.

Tests of workflows and activities may put a fake behind this seam; nothing inside the engine is ever faked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from pydantic import Field

from reelin.contracts.jobs import Phase, Progress
from reelin.contracts.media import Downloaded, Extracted
from reelin.contracts.model import Message
from reelin.contracts.options import Options


class DownloadTask(Message):
    """One download. Everything is written below `scratch_dir`, which may hold what an earlier attempt fetched."""

    job_id: str
    url: str
    scratch_dir: str
    preset: str
    options: Options


class ExtractTask(Message):
    """Look at a URL without downloading. `scratch_dir` is for the cookie jar's private copy and the like."""

    job_id: str
    url: str
    scratch_dir: str
    options: Options


class Report(Message):
    """How far a task is; at most ten a second, phase changes at once. The newest replaces all earlier ones.

    `space_bytes` is what the task's files take up at most, all together and with what ffmpeg makes of them; None where
    nobody has said. `at` is when it was true, in microseconds since the epoch.
    """

    phase: Phase
    progress: Progress
    title: str | None = None
    space_bytes: int | None = None
    at: int = Field(default_factory=lambda: time.time_ns() // 1000)


ReportSink = Callable[[Report], None]


class Engine(Protocol):
    """Raises MediaFailure for everything that a site, the network, ffmpeg or the disk does wrong.

    Cancelling the call ends the task's whole process tree before it returns, and leaves the scratch folder as it is.
    Running the same task again goes on from what the scratch folder holds.
    """

    async def download(self, task: DownloadTask, report: ReportSink) -> Downloaded: ...

    async def extract(self, task: ExtractTask, report: ReportSink) -> Extracted: ...
