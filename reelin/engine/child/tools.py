"""What every task of this process needs, built once in the fork server and shared by all its children."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reelin.engine.wire import GuardAddress


@dataclass(frozen=True)
class Tools:
    """`extractors` by key, as `downloader.default_extractors` gives them."""

    ffmpeg: str
    cookies_dir: str
    extractors: Mapping[str, Any]
    guard: GuardAddress | None = None
