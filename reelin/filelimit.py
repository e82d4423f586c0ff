"""How many files the process may have open, and how many of them are for those who only look."""

from __future__ import annotations

import resource
from dataclasses import dataclass

#: More than this nobody needs, and a limit of millions costs programs that walk through all numbers.
ENOUGH = 65_536
#: What a process with everything in it has open while nothing goes on: libraries, Temporal, database, engine.
AT_REST = 100
#: A download: its child's channel, what is moved into the media folder, the sockets of its activities.
PER_DOWNLOAD = 8
#: Connections that are neither streams nor files: people who submit, and those who ask how the service is.
FOR_REQUESTS = 24


@dataclass(frozen=True, slots=True)
class FileLimit:
    """`limit` is what the process may have open, `for_work` what downloads, database and Temporal may always take."""

    limit: int
    for_work: int

    @property
    def connections(self) -> int:
        """Clients at once, and the files that they are being sent."""
        return self.limit - self.for_work

    @property
    def guests(self) -> int:
        """Those who stay: streams, WebSockets, and each file that is being sent."""
        return max(1, self.connections - FOR_REQUESTS)


def raise_limit() -> int:
    """Raises what the process may have open as far as it may itself, and returns what it then is.

    What it starts inherits that. The engine's processes take their share back: see `engine/child/limits.py`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return open_files_limit()


def open_files_limit() -> int:
    """The present one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH if soft == resource.RLIM_INFINITY else soft


def share(limit: int, *, max_downloads: int) -> FileLimit:
    """At most half of the files are kept for work, so that somebody can always look."""
    return FileLimit(limit, for_work=min(AT_REST + PER_DOWNLOAD * max_downloads, limit // 2))
