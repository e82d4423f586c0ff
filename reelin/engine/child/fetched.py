"""Streams that have arrived whole, kept until the job is done.

ffmpeg merges, fixes and converts after the download, and deletes or replaces what was fetched. A kill in the middle
would cost the whole download; a second name for the same file costs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reelin.engine.child.records import read_record, this_boot, write_record


class Fetched:
    """`identity` says which stream a file is (its format and length): another one under the same name is not it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, whole: Path, name: str, identity: str, *, seconds: float | None = None) -> None:
        """`seconds` is how long its playlist says that it is.

        File system without hard links: not kept, and fetched again should ffmpeg's work be interrupted.
        """
        kept = self._folder / name
        try:
            self._folder.mkdir(exist_ok=True)
            kept.unlink(missing_ok=True)
            kept.hardlink_to(whole)
        except OSError:
            return
        record = {"identity": identity, "seconds": seconds, "boot": this_boot(), **_state(kept)}
        write_record(self._record(name), record)

    def restore(self, target: Path, identity: str) -> bool:
        """Put the stream where yt-dlp expects it. False if it was never whole, or is another one."""
        kept = self._folder / target.name
        record = read_record(self._record(target.name)) or {}
        try:
            if record.get("identity") != identity or record.get("boot") != this_boot():
                return False
            if {name: record.get(name) for name in ("bytes", "modified_ns")} != _state(kept):
                return False
            target.unlink(missing_ok=True)
            target.hardlink_to(kept)
        except OSError:
            return False
        return True

    def seconds(self, name: str) -> float | None:
        """As it was kept with."""
        return (read_record(self._record(name)) or {}).get("seconds")

    def _record(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _state(file: Path) -> dict[str, Any]:
    """The time tells when a tool has written into the file: it would, under its other name."""
    status = file.stat()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}
