from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.service import Api, api_in_memory, api_on_a_socket


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in_memory(tmp_path) as built:
        yield built


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_on_a_socket(tmp_path) as built:
        yield built
