from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reelin.library import Library
from tests.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database without any rows."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'reelin.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return await server.cleared()


@pytest.fixture
async def library(url: str) -> AsyncIterator[Library]:
    opened = Library(url)
    await opened.open()
    yield opened
    await opened.close()
