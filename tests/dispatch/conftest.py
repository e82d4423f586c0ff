from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from reelin.activities import SiteDesk
from reelin.api.dispatcher import Dispatcher
from reelin.api.reconciler import Reconciler
from reelin.contracts.progress import BusEvent
from reelin.embedded.ports import choose_port
from reelin.embedded.server import DYNAMIC_CONFIG, ServerPlan, TemporalServer, find_temporal
from reelin.library import Library
from reelin.progress import MemoryBus

#: After so many events Temporal itself ends a workflow.
LONGEST_HISTORY = 20


class Desk:
    """Dispatcher and reconciler over a library of their own and the shared Temporal server; nothing works there.

    Without `sites` no site needs a lease."""

    def __init__(self, library: Library, client: Client, sites: SiteDesk | None = None) -> None:
        self.library = library
        self.client = client
        self.dispatcher = Dispatcher(library, client, sites)
        self.events: list[BusEvent] = []
        bus = MemoryBus()
        bus.subscribe(self.events.append)
        self.reconciler = Reconciler(library, client, bus, self.dispatcher)


@pytest.fixture
async def desk(library: Library, temporal: Client) -> Desk:
    return Desk(library, temporal)


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[TemporalServer]:
    """Not started yet, and impatient with long histories."""
    config = {**DYNAMIC_CONFIG, "limit.historyCount.error": str(LONGEST_HISTORY)}
    server = TemporalServer(
        ServerPlan(find_temporal(), tmp_path / "temporal", choose_port(0), choose_port(0), config=config)
    )
    yield server
    await server.stop()
