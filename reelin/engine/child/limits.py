"""What the kernel lets a child, and each program that it starts, use at most."""

from __future__ import annotations

import resource
import signal

from reelin.engine.wire import Limits

#: The worker's own limit is as high as can be; fragments, tools and their pipes are far fewer, and a program that still
#: uses select() or closes every number there could be must not meet large ones.
_OPEN_FILES = 1024


def enforce(limits: Limits) -> None:
    """Of a child process, in its first steps. A limit that is lower already stays."""
    _lower(resource.RLIMIT_CORE, 0)
    # Not the address space: deno reserves hundreds of gigabytes of it and uses next to nothing.
    _lower(resource.RLIMIT_DATA, limits.memory_bytes)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    # A write beyond the limit is an error that can be told. Python ignores this signal itself, but not for the
    # programs that it starts; what is blocked, they inherit.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGXFSZ})


def _lower(what: int, to: int) -> None:
    present = [limit for limit in resource.getrlimit(what) if limit != resource.RLIM_INFINITY]
    limit = min([to, *present])
    resource.setrlimit(what, (limit, limit))
