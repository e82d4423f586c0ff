"""What the rest of Reelin sees of the engine: three calls, a stream of reports, and MediaFailure.

Tests of workflows and activities may put a fake behind this seam; nothing inside the engine is ever faked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from pydantic import Field

from reelin.contracts.jobs import Phase, Progress
from reelin.contracts.media import Downloaded, Extracted
from reelin.contracts.model import Message
from reelin.contracts.options import Options

#: Entries of a playlist that are looked at; what comes after them is left out.
MAX_ENTRIES = 100_000


class DownloadTask(Message):
    """One download. Everything is written below `scratch_dir`, which may hold what an earlier attempt fetched.

    `entry` is what a playlist said of the video (`Entry.said`). With `may_be_playlist` a URL that is a playlist raises
    PlaylistFound; else it is a failure.
    """

    job_id: str
    url: str
    scratch_dir: str
    preset: str
    options: Options
    entry: dict[str, Any] | None = None
    may_be_playlist: bool = False


class ExtractTask(Message):
    """Look at a URL without downloading. `scratch_dir` is for the cookie jar's private copy and the like."""

    job_id: str
    url: str
    scratch_dir: str
    options: Options


class ExpandTask(Message):
    """Take a playlist apart. Of `options`, those that concern playlists count, and the cookies.

    `run` is the job's: another run looks at the playlist afresh.
    """

    job_id: str
    run: int
    url: str
    scratch_dir: str
    options: Options
    limit: int = MAX_ENTRIES


class Entry(Message):
    """What a playlist says of one of its entries, under yt-dlp's names. One line of the file of a Listing.

    `url` is None for an entry that cannot be fetched by itself, and `reason` says why. `transparent`: what the playlist
    says goes before what the video's own page says. The index counts from 1. Texts are clean, and hostile nevertheless.
    """

    playlist_index: int
    url: str | None = None
    reason: str | None = None
    transparent: bool = False
    title: str | None = None
    id: str | None = None
    ie_key: str | None = None
    uploader: str | None = None
    duration: float | None = None
    thumbnail: str | None = None
    timestamp: float | None = None

    def said(self) -> dict[str, Any]:
        """What is handed back with the item's download; its address is the job's."""
        return self.model_dump(exclude={"url", "reason"}, exclude_defaults=True)


class Listing(Message):
    """A playlist's chosen entries, in the order in which they are wanted: `total` lines, each an Entry in JSON.

    `path` is relative to the scratch folder. `truncated`: the playlist goes on where the limit was reached. `single`:
    the URL is no playlist, but one video, which is the only entry. `fresh`: looked at now; else an earlier run of the
    same task had.
    """

    path: str = Field(pattern=r"^[a-z]+\.jsonl$")
    total: int
    truncated: bool = False
    title: str | None = None
    uploader: str | None = None
    single: bool = False
    fresh: bool = True


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


Task = DownloadTask | ExtractTask | ExpandTask
ReportSink = Callable[[Report], None]


class Engine(Protocol):
    """Raises MediaFailure for everything that a site, the network, ffmpeg or the disk does wrong; `download` may raise
    PlaylistFound.

    Cancelling the call ends the task's whole process tree before it returns, and leaves the scratch folder as it is.
    Running the same task again goes on from what the scratch folder holds.
    """

    async def download(self, task: DownloadTask, report: ReportSink) -> Downloaded: ...

    async def extract(self, task: ExtractTask, report: ReportSink) -> Extracted: ...

    async def expand(self, task: ExpandTask, report: ReportSink) -> Listing: ...
