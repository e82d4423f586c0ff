"""What the tasks of a process need, built once in the fork server and shared by all its children."""

from __future__ import annotations

from dataclasses import dataclass, field

from reelin.engine.child.extractors import Extractors
from reelin.engine.wire import GuardAddress


@dataclass(frozen=True)
class Tools:
    """`cookies` belong to one task."""

    ffmpeg: str
    extractors: Extractors
    guard: GuardAddress | None = None
    cookies: str | None = field(default=None, repr=False)
