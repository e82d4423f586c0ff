"""How far a stream of fragments is, while several of them arrive at once."""

from __future__ import annotations

import threading
from typing import Any


class FragmentMeter:
    """Starts with what was on disk. The total is the mean of the fragments known so far, times their number."""

    def __init__(self, start_bytes: int, appended: int, count: int | None) -> None:
        self._start_bytes = start_bytes
        self._appended = appended
        self._count = count
        self._have: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._finished: set[str] = set()
        self._lock = threading.Lock()

    def note(self, status: dict[str, Any]) -> None:
        """A progress status of one fragment's downloader, from that fragment's thread."""
        name = status["filename"]
        with self._lock:
            self._have[name] = status["downloaded_bytes"]
            if status["total_bytes"] is not None:
                self._sizes[name] = status["total_bytes"]
            if status["status"] == "finished":
                self._finished.add(name)

    def status(self) -> dict[str, Any]:
        """In yt-dlp's words."""
        with self._lock:
            done = self._appended + len(self._finished)
            return {
                "status": "downloading",
                "downloaded_bytes": self._start_bytes + sum(self._have.values()),
                "total_bytes_estimate": self._estimate(),
                "fragment_index": done,
                "fragment_count": self._count,
            }

    def _estimate(self) -> int | None:
        known = self._appended + len(self._sizes)
        if not known or self._count is None:
            return None
        mean = (self._start_bytes + sum(self._sizes.values())) / known
        return round(mean * max(self._count, known))
