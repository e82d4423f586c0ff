"""One warm engine for all tests of this folder; a test that harms it starts its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from reelin.engine.pool import EnginePool
from reelin.origin.server import Origin
from tests.engine.running import STALL_SECONDS, Undisturbed


@pytest_asyncio.fixture(scope="session")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnginePool]:
    cookies: Path = tmp_path_factory.mktemp("cookies")
    engine = EnginePool(
        cookies_dir=cookies,
        max_children=12,
        stall_seconds=STALL_SECONDS,
        scratch_root=tmp_path_factory.getbasetemp(),
    )
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def undisturbed(pool: EnginePool, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(pool, origin, tmp_path_factory.mktemp("undisturbed"))
