"""What tests start ends with them, however they end: a run that is interrupted leaves nothing that goes on working."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # now: between fork and exec nothing is loaded


def end_with_the_tests(by: signal.Signals = signal.SIGKILL) -> None:
    """For `Popen(preexec_fn=…)`. Whatever such a process has started has to notice its end by itself."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, by)
