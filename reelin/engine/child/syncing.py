"""A growing file brought to the disk every few seconds, beside whoever writes it."""

from __future__ import annotations

import os
import threading
import time
from typing import Generic, TypeVar

#: What a power loss costs at most, about; a kill costs nothing of it.
SYNC_SECONDS = 5.0

Mark = TypeVar("Mark")


class Syncing(Generic[Mark]):
    """`reached` is the latest mark up to which everything is on the disk.

    A writer that waited for the disk itself would leave the line idle meanwhile, so a thread does.
    """

    def __init__(self, reached: Mark) -> None:
        self.reached = reached
        self._begun = time.monotonic()
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def offer(self, descriptor: int, mark: Mark) -> None:
        """All up to `mark` has been written. Raises OSError if the disk did not take what was offered before."""
        busy = self._thread is not None and self._thread.is_alive()
        if busy or time.monotonic() - self._begun < SYNC_SECONDS:
            return
        self.settle()
        self._begun = time.monotonic()
        self._thread = threading.Thread(target=self._sync, args=(os.dup(descriptor), mark), daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Wait for what is under way. The kernel tells of a failed write only once: it must not be lost here."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _sync(self, descriptor: int, mark: Mark) -> None:
        try:
            os.fdatasync(descriptor)
            self.reached = mark
        except OSError as error:
            self._error = error
        finally:
            os.close(descriptor)
