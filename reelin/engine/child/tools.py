"""What the tasks of a process need, built once in the fork server and shared by all its children."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reelin.engine.wire import GuardAddress


@dataclass(frozen=True)
class Tools:
    """`extractors` by key, as `downloader.default_extractors` gives them. `cookies` belong to one task."""

    ffmpeg: str
    extractors: Mapping[str, Any]
    guard: GuardAddress | None = None
    cookies: str | None = field(default=None, repr=False)
