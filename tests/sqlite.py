"""A library in an empty SQLite database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reelin.library import Library


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    opened = Library(f"sqlite:///{tmp_path / 'reelin.db'}")
    await opened.open()
    yield opened
    await opened.close()
