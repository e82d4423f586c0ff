"""yt-dlp's hooks turned into reports: at most ten a second, phase changes and the last byte at once."""

from __future__ import annotations

import threading
import time
from typing import Any

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase, Progress
from reelin.engine.child.channel import Outlet
from reelin.engine.child.tally import Tally, planned_streams
from reelin.engine.seam import Report
from reelin.engine.wire import Alive, Reported
from reelin.errors import MediaFailure

_MIN_SECONDS = 0.1
_MERGER = "Merger"
#: Postprocessors that only move names about.
_UNSEEN = frozenset({"MoveFiles"})


class Reporter:
    """Called from the task, its fragment threads and the ffmpeg watcher. `max_bytes` bounds the whole download."""

    def __init__(self, outlet: Outlet, max_bytes: int | None) -> None:
        self._outlet = outlet
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._tally = Tally([])
        self._phase = Phase.EXTRACTING
        self._progress = Progress()
        self._title: str | None = None
        self._copies: int | None = None
        self._next_at = 0.0
        self._held_back = False

    def extracting(self) -> None:
        self._enter(Phase.EXTRACTING)

    def video(self, info: dict[str, Any], title: str, copies: int | None) -> None:
        """Extraction is through. A video in several sections comes here for each of them. See `footprint.copies`."""
        with self._lock:
            self._title = title
            self._copies = copies
            self._tally = Tally(planned_streams(info))
            self._progress = self._tally.progress()
            self._enter(Phase.DOWNLOADING)

    def on_progress(self, status: dict[str, Any]) -> None:
        """yt-dlp's progress hook. Raises MediaFailure as soon as the download is larger than allowed."""
        with self._lock:
            self._tally.note(status)
            self._refuse_too_large()
            self._enter(Phase.DOWNLOADING)  # A thumbnail may have been converted in between.
            self._held_back = True
            if self._due() or self._tally.whole or self._unknown_until_now():
                self._send_tally()

    def flush(self) -> None:
        """Called now and then: a report that was held back must not wait for the next byte, which may never come."""
        with self._lock:
            if self._held_back and self._due():
                self._send_tally()

    def on_postprocessor(self, status: dict[str, Any]) -> None:
        """yt-dlp's postprocessor hook; configured ones fire twice."""
        name = status.get("postprocessor")
        if status.get("status") == "started" and name not in _UNSEEN and self._phase is not Phase.EXTRACTING:
            self._enter(Phase.MERGING if name == _MERGER else Phase.PROCESSING, percent=None)
            self.alive()  # Each step has its own time, also where it is the second of its phase.

    def publishing(self) -> None:
        self._enter(Phase.PUBLISHING, percent=None)

    def at(self, percent: float) -> None:
        """How far the work on this machine is, within its phase."""
        with self._lock:
            if percent > (self._progress.percent or 0) and self._due():
                self._progress = self._progress.model_copy(update={"percent": round(min(percent, 100.0), 1)})
                self._send()

    def alive(self, for_seconds: float = 0) -> None:
        self._outlet.say(Alive(for_seconds=for_seconds))

    @property
    def phase(self) -> Phase:
        return self._phase

    def _enter(self, phase: Phase, **changes: float | None) -> None:
        with self._lock:
            if phase is not self._phase or not self._next_at:
                self._held_back = False
                idle = {"bytes_per_second": None, "eta_seconds": None}
                changed = changes if phase is Phase.DOWNLOADING else {**idle, **changes}
                self._phase, self._progress = phase, self._progress.model_copy(update=changed)
                self._send()

    def _unknown_until_now(self) -> bool:
        """The first size that a server tells is worth a report at once."""
        return self._progress.total_bytes is None and self._tally.progress().total_bytes is not None

    def _due(self) -> bool:
        return time.monotonic() >= self._next_at

    def _refuse_too_large(self) -> None:
        if self._max_bytes is not None and self._tally.announced_bytes() > self._max_bytes:
            raise MediaFailure(
                FailureKind.TOO_LARGE,
                f"The file is larger than the {self._max_bytes} bytes that options.max_bytes allows.",
            )

    def _send_tally(self) -> None:
        self._held_back = False
        self._progress = self._tally.progress()
        self._send()

    def _send(self) -> None:
        """The next one is due a tenth of a second after this one *was*, or updates that come a bit late would halve."""
        now = time.monotonic()
        self._next_at = max(self._next_at + _MIN_SECONDS, now + _MIN_SECONDS / 2)
        report = Report(phase=self._phase, progress=self._progress, title=self._title, space_bytes=self._space_bytes())
        self._outlet.say(Reported(report=report))

    def _space_bytes(self) -> int | None:
        total = self._progress.total_bytes
        return None if total is None or self._copies is None else total * self._copies
