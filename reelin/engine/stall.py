"""How long a silent task is waited for."""

from __future__ import annotations

import time

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Phase, Progress
from reelin.engine.wire import Alive, News, Reported
from reelin.errors import MediaFailure

#: Extraction makes many small requests, each bounded by its own timeout and tried again, and shows no bytes.
_EXTRACTION_AT_LEAST = 60.0
_EXTRACTION_FACTOR = 3.0
#: Work on this machine needs no patience with a site, but a busy machine may need so long to start a program.
_LOCAL_WORK_AT_LEAST = 10.0


class Patience:
    """Runs out when nothing has moved for as long as the present phase allows.

    While downloading only bytes count: a report that says the same again is no sign of life.
    """

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._phase = Phase.EXTRACTING
        self._seen: tuple[object, ...] = ()
        self._deadline = time.monotonic() + self._allowed()

    def remaining_seconds(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def note(self, news: News) -> None:
        if isinstance(news, Alive):
            self._extend(news.for_seconds)
        elif isinstance(news, Reported):
            moved = _position(news.report.phase, news.report.progress)
            if moved != self._seen:
                self._seen, self._phase = moved, news.report.phase
                self._extend(0)

    def failure(self) -> MediaFailure:
        seconds = f"{self._allowed():.0f} s"
        if self._phase is Phase.DOWNLOADING:
            return MediaFailure(FailureKind.NETWORK, f"No byte arrived for {seconds}.")
        if self._phase is Phase.EXTRACTING:
            return MediaFailure(FailureKind.NETWORK, f"The site did not finish answering within {seconds}.")
        return MediaFailure(FailureKind.PROCESSING, f"Processing did not move for {seconds}.")

    def _extend(self, seconds: float) -> None:
        self._deadline = time.monotonic() + self._allowed() + seconds

    def _allowed(self) -> float:
        if self._phase is Phase.DOWNLOADING:
            return self._stall_seconds
        if self._phase is Phase.EXTRACTING:
            return max(self._stall_seconds, _EXTRACTION_AT_LEAST) * _EXTRACTION_FACTOR
        return max(self._stall_seconds, _LOCAL_WORK_AT_LEAST)


def _position(phase: Phase, progress: Progress) -> tuple[object, ...]:
    return phase, progress.downloaded_bytes, progress.percent if phase is not Phase.DOWNLOADING else None
