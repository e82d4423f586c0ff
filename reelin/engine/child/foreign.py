"""Downloaders that Reelin leaves as they are: ffmpeg (live streams, sections), RTMP and rarer ones.

None of them can resume safely, so each attempt begins at the beginning. None of them tells how far it is,
so the size of the growing file has to.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from yt_dlp.downloader.external import FFmpegFD
from yt_dlp.downloader.mhtml import MhtmlFD

from reelin.contracts.failures import FailureKind
from reelin.engine.child.linux import kill_own_programs
from reelin.errors import MediaFailure

_POLL_SECONDS = 0.25


def fetch_from_the_start(downloader: Any, target: Path, info: dict[str, Any], subtitle: bool) -> Any:
    """Raises MediaFailure for what needs another protocol than HTTP: its programs know no proxy."""
    _refuse_other_protocols(downloader, info)
    for leftover in target.parent.iterdir():
        if leftover.name.startswith(target.name):
            leftover.unlink()
    with _SizeWatch(downloader, target, info) as watch:
        try:
            return downloader.download(str(target), info, subtitle)
        finally:
            watch.raise_refusal()


def _refuse_other_protocols(downloader: Any, info: dict[str, Any]) -> None:
    schemes = {urlsplit(str(part.get("url"))).scheme.lower() for part in info.get("requested_formats") or [info]}
    # Web sockets are yt-dlp's own business, which keeps to the proxy; ffmpeg and rtmpdump would not.
    other = schemes - ({"http", "https"} if isinstance(downloader, FFmpegFD) else {"http", "https", "ws", "wss"})
    if other and not isinstance(downloader, MhtmlFD):
        raise MediaFailure(
            FailureKind.UNSUPPORTED_URL, f"This video is not served over HTTP, but over {min(other)[:20] or 'nothing'}."
        )


class _SizeWatch:
    """Reports the file's size in a thread of its own. A refusal there (the file is too large) ends the programs."""

    def __init__(self, downloader: Any, target: Path, info: dict[str, Any]) -> None:
        self._downloader = downloader
        self._paths = (Path(downloader.temp_name(str(target))), target)
        self._info = info
        self._refusal: MediaFailure | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _SizeWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def raise_refusal(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _run(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            try:
                self._report()
            except MediaFailure as refusal:
                self._refusal = refusal
                kill_own_programs()
                return

    def _report(self) -> None:
        size = next((path.stat().st_size for path in self._paths if path.exists()), 0)
        name = str(self._paths[-1])
        status = {"status": "downloading", "filename": name, "downloaded_bytes": size, "total_bytes": None}
        self._downloader._hook_progress(status, self._info)
