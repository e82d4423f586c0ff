from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from reelin.api.dispatcher import Dispatcher
from reelin.api.reconciler import Reconciler
from reelin.contracts.progress import BusEvent
from reelin.library import Library
from reelin.progress import MemoryBus


class Desk:
    """Dispatcher and reconciler over a library of their own and the shared Temporal server; nothing works there."""

    def __init__(self, library: Library, client: Client) -> None:
        self.library = library
        self.client = client
        self.dispatcher = Dispatcher(library, client)
        self.events: list[BusEvent] = []
        bus = MemoryBus()
        bus.subscribe(self.events.append)
        self.reconciler = Reconciler(library, client, bus, self.dispatcher)


@pytest.fixture
async def desk(tmp_path: Path, temporal: Client) -> AsyncIterator[Desk]:
    library = Library(f"sqlite:///{tmp_path / 'reelin.db'}")
    await library.open()
    yield Desk(library, temporal)
    await library.close()
