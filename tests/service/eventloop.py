"""`python -m tests.service.eventloop up`: Reelin, which writes down each file that it touches on an event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

#: Where it is written down, and below which folders files count.
OUTPUT, FOLDERS = "TOUCHED_FILES", "TOUCHED_BELOW"
_AUDITED = frozenset({"open", "fcntl.flock"})
_AUDITED_FAMILIES = ("os.", "shutil.", "pathlib.", "glob.", "tempfile.")
#: What no audit event tells of.
_UNAUDITED = ("stat", "lstat", "access", "statvfs", "fsync", "readlink")


def watch() -> None:
    descriptor = os.open(os.environ[OUTPUT], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    folders = tuple(os.environ[FOLDERS].split(os.pathsep))

    def note(call: str, arguments: tuple[Any, ...]) -> None:
        if asyncio._get_running_loop() is None:  # type: ignore[attr-defined]
            return
        paths = [os.fspath(each) for each in arguments if isinstance(each, (str, bytes, os.PathLike))]
        if any(os.fsdecode(path).startswith(folders) for path in paths):
            frames = traceback.StackSummary.extract(traceback.walk_stack(None), limit=14, lookup_lines=False)
            where = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in frames)
            os.write(descriptor, f"{call} {paths} at {where}\n".encode())

    def audited(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _AUDITED or event.startswith(_AUDITED_FAMILIES):
            note(event, arguments)

    def noting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            note(name, arguments)
            return real(*arguments, **named)

        return call

    for name in _UNAUDITED:
        setattr(os, name, noting(name, getattr(os, name)))
    sys.addaudithook(audited)


if __name__ == "__main__":
    from reelin.cli.program import leave, run

    watch()
    leave(run())
