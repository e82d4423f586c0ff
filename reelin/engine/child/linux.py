"""The few calls to Linux that Python has no names for."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

from reelin.engine.trees import kill_tree

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Orphans of the children (an ffmpeg whose parent was killed) come here to be reaped, and never stay zombies."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def lead_own_group_and_die_with(parent: int) -> None:
    """A session of its own, so that one kill reaches ffmpeg too; and an end with the fork server, however that ends."""
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: kill_tree(os.getpid()))
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # It died before prctl could tell.
        kill_tree(os.getpid())


def kill_own_programs() -> None:
    """The programs that this process has started (ffmpeg), not the process itself."""
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")
