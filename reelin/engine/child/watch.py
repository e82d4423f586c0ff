"""A thread beside a task: it sends reports that were held back, and follows ffmpeg by the file it reports to."""

from __future__ import annotations

import itertools
import re
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from reelin.contracts.jobs import Phase
from reelin.engine.child.movement import Movement, look
from reelin.engine.child.progress import Reporter

_TICK_SECONDS = 0.1
_TICKS_PER_LOOK = 5
_TAIL_BYTES = 4096
_FOLDER = "ffmpeg"


class Watch:
    """ffmpeg moving an index about is silent, but its files change: that counts as life, as `movement` judges it."""

    def __init__(self, scratch: Path, reporter: Reporter) -> None:
        self._scratch = scratch
        self._file = scratch / _FOLDER / "progress"
        self._reporter = reporter
        self._duration_seconds: float | None = None
        self._movement = Movement()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._file.parent.mkdir(exist_ok=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def arguments(self) -> list[str]:
        """For every ffmpeg that yt-dlp starts."""
        return ["-progress", str(self._file), "-stats_period", str(_TICK_SECONDS * _TICKS_PER_LOOK)]

    def expect(self, duration_seconds: float | None) -> None:
        self._duration_seconds = duration_seconds

    def _run(self) -> None:
        for tick in itertools.count(1):
            if self._stop.wait(_TICK_SECONDS):
                return
            self._reporter.flush()
            if tick % _TICKS_PER_LOOK == 0 and self._reporter.phase in (Phase.MERGING, Phase.PROCESSING):
                self._look()

    def _look(self) -> None:
        position = _position_seconds(self._file)
        if self._movement.note(look(self._scratch, beside=self._file.parent, position_seconds=position or 0.0)):
            self._reporter.alive()
        if position is not None and self._duration_seconds:
            self._reporter.at(100 * position / self._duration_seconds)


def _position_seconds(file: Path) -> float | None:
    with suppress(OSError), file.open("rb") as progress:
        progress.seek(max(0, file.stat().st_size - _TAIL_BYTES))
        found: list[bytes] = re.findall(rb"out_time_us=(\d+)", progress.read())
        return int(found[-1]) / 1e6 if found else None
    return None
