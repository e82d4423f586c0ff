from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reelin.api.hub import Hub
from reelin.api.view import LinkMaker
from reelin.library import Library
from reelin.progress import MemoryBus
from tests.api.service import Api, api_in_memory, api_on_a_socket


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in_memory(tmp_path) as built:
        yield built


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_on_a_socket(tmp_path) as built:
        yield built


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def no_patrol(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a client asks for is read, and what the bus tells of: however long a test takes, no patrol finds what
    has just been told and looks at it once more."""
    monkeypatch.setattr("reelin.api.hub.PATROL_SECONDS", 3600)


@pytest.fixture
async def hub(library: Library, bus: MemoryBus) -> AsyncIterator[Hub]:
    built = Hub(library, bus, LinkMaker())
    await built.start()
    yield built
    await built.close()
