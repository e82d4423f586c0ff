"""Becomes the Temporal server: `python -m reelin.embedded.launch LOCK_FILE COMMAND…`.

Two things must be settled in the process that the server will run in: that it dies with the one that started it
(however that one dies), and that no second server opens the same database while this one lives.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    lock_file, command = arguments[0], arguments[1:]
    starter = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != starter:
        sys.exit("the process that started this one has gone")
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # held until the server's process ends: it inherits the descriptor
    os.set_inheritable(descriptor, True)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
