"""What counts as having run out of something."""

from __future__ import annotations

import errno
import os

import pytest

from reelin.errors import is_exhaustion


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_files_and_memory_run_out_wherever_they_are_wanted(number: int) -> None:
    assert is_exhaustion(OSError(number, os.strerror(number)))


def test_other_refusals_are_no_shortage_and_a_process_that_cannot_start_is_one() -> None:
    assert is_exhaustion(MemoryError()) and is_exhaustion(RuntimeError("can't start new thread"))
    assert not is_exhaustion(BlockingIOError(errno.EAGAIN, "not now"))
    assert is_exhaustion(BlockingIOError(errno.EAGAIN, "no process"), starting=True)
    assert not is_exhaustion(OSError(errno.ENOSPC, "full")) and not is_exhaustion(RuntimeError("odd"))
