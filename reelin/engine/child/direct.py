"""Files served whole: resumed where the server can prove that it is still the same file, else from the beginning."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from yt_dlp.downloader.common import FileDownloader
from yt_dlp.networking import Request

from reelin.engine.child.identity import stream_identity
from reelin.engine.child.partial import Partial
from reelin.engine.child.transfer import Transfer


class QuietFD(FileDownloader):  # type: ignore[misc]
    """Formats no progress line, and takes no file for finished unless it was kept as such."""

    def report_progress(self, s: dict[str, Any]) -> None:
        """yt-dlp's own formats ten strings a block for a terminal that is not there."""

    def download(self, filename: str, info_dict: dict[str, Any], subtitle: bool = False) -> Any:
        target = Path(filename)
        if self.ydl.fetched.restore(target, stream_identity(info_dict)):
            self.ydl.promised(self.ydl.fetched.seconds(target.name))
            self.hook_finished(target, info_dict)
            return True, False
        target.unlink(missing_ok=True)
        self._announce_wait(info_dict)
        return super().download(filename, info_dict, subtitle)

    def _announce_wait(self, info_dict: dict[str, Any]) -> None:
        """Some sites serve a video a while after its page. yt-dlp sleeps until then: that is no stall."""
        seconds = float(info_dict.get("available_at") or 0) - time.time()
        if seconds > 0:
            self.ydl.on_wait(seconds)

    def keep(self, part: Path, target: Path, info_dict: dict[str, Any]) -> None:
        """Before it is renamed: at every moment in between, a restart finds the whole stream."""
        seconds = self.ydl.fragments_seconds
        self.ydl.fetched.keep(part, target.name, stream_identity(info_dict), seconds=seconds)

    def hook_finished(self, target: Path, info_dict: dict[str, Any]) -> None:
        size = target.stat().st_size
        status = {"status": "finished", "filename": str(target), "downloaded_bytes": size, "total_bytes": size}
        self._hook_progress(status, info_dict)


class DirectFD(QuietFD):
    """In place of yt-dlp's HttpFD."""

    FD_NAME = "direct"

    def real_download(self, filename: str, info_dict: dict[str, Any]) -> bool:
        target = Path(filename)
        address = Request(info_dict["url"]).url if info_dict.get("direct") is True else None
        partial = Partial(Path(self.temp_name(filename)), stream_identity(info_dict), address)

        def on_bytes(have: int, total: int | None) -> None:
            status = {"status": "downloading", "filename": filename, "downloaded_bytes": have, "total_bytes": total}
            self._hook_progress(status, info_dict)

        Transfer(self, partial, info_dict, on_bytes=on_bytes, on_wait=self.ydl.on_wait).run()
        self.keep(partial.path, target, info_dict)
        partial.become(target)
        self.hook_finished(target, info_dict)
        return True


class FragmentFD(DirectFD):
    """One fragment: fetched beside the stream, then appended to it and removed."""

    def download(self, filename: str, info_dict: dict[str, Any], subtitle: bool = False) -> Any:
        """A fragment under its final name is whole, because a rename put it there; it was only not appended yet."""
        target = Path(filename)
        if target.is_file():
            self.hook_finished(target, info_dict)
            return True, False
        return FileDownloader.download(self, filename, info_dict, subtitle)

    def keep(self, part: Path, target: Path, info_dict: dict[str, Any]) -> None:
        """It lives on in the stream."""
