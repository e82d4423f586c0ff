"""What every task of this process needs, built once in the fork server and shared by all its children."""

from __future__ import annotations

from dataclasses import dataclass

from reelin.engine.child.extractors import Extractors
from reelin.engine.wire import GuardAddress


@dataclass(frozen=True)
class Tools:
    ffmpeg: str
    cookies_dir: str
    extractors: Extractors
    guard: GuardAddress | None = None
