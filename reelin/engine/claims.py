"""Who has counted on which room: a ledger that all workers on one media folder share.

Each claim is a small file with a number in it, locked for as long as its owner lives: the kernel frees what a killed
worker held, and whoever adds up next sweeps it away. One lock over the whole ledger makes looking and claiming one
step.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from reelin.engine.disk import Room

_LOCK = "lock"
_PREFIX = "claim-"
_DIGITS = 20


class NoRoom(Exception):
    """`usable` bytes are left beside what the other claims will take."""

    def __init__(self, usable: int) -> None:
        super().__init__(f"{usable} bytes are left")
        self.usable = usable


class Ledger:
    """In `folder`, which nobody but workers writes to. Its calls block: not for an event loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def claim(self) -> Claim:
        """A claim of nothing, that takes no file before it grows."""
        return Claim(self)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else looks or claims meanwhile."""
        self._folder.mkdir(exist_ok=True)
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def take(self) -> tuple[int, Path]:
        """A claim's file, locked. Only while alone: nobody may find it unlocked and sweep it away."""
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=self._folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor, Path(name)

    def claimed(self, *, beside: Path) -> int:
        """What all claims but one add up to. Only while alone."""
        return sum(_held(path) for path in self._folder.glob(f"{_PREFIX}*") if path != beside)


class Claim:
    """One download's. Resized and released from several threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._file: tuple[int, Path] | None = None
        self._released = False
        self._n_bytes = 0

    def resize(self, n_bytes: int, room: Callable[[], Room]) -> None:
        """Shrinks at will. Raises NoRoom, and stays as it was, where there is not room for more."""
        with self._lock:
            if self._released or n_bytes == self._n_bytes:
                return
            with self._ledger.alone():
                self._file = self._file or self._ledger.take()
                descriptor, path = self._file
                if n_bytes > self._n_bytes:
                    usable = max(0, room().usable - self._ledger.claimed(beside=path))
                    if n_bytes > usable:
                        raise NoRoom(usable)
                os.pwrite(descriptor, b"%0*d" % (_DIGITS, n_bytes), 0)
                self._n_bytes = n_bytes

    def release(self) -> None:
        """For good."""
        with self._lock:
            self._released = True
            if self._file is not None:
                descriptor, path = self._file
                path.unlink(missing_ok=True)
                os.close(descriptor)
                self._file = None


def _held(path: Path) -> int:
    """Of a claim whose owner lives; the file of a dead one goes."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, _DIGITS, 0) or 0)
    else:
        path.unlink(missing_ok=True)
        return 0
    finally:
        os.close(descriptor)
