"""A real Temporal server as a fixture; conftest.py imports it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from reelin.embedded.ports import choose_port
from reelin.embedded.server import ServerPlan, TemporalServer, find_temporal


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A client of a server that the session shares: use ids of your own."""
    folder = tmp_path_factory.mktemp("temporal")
    server = TemporalServer(ServerPlan(find_temporal(), folder, choose_port(0), choose_port(0)))
    yield await server.start()
    await server.stop()
