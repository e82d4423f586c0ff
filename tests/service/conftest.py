"""One running service for all tests that only use it, and fresh ones for those that kill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service.service import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("service")).start()
    yield running
    assert running.stop() == 0, running.said()
    assert "is locked" not in running.log.read_text(errors="replace")
    running.close()


@pytest.fixture
def new_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(**environment: str) -> Service:
        made.append(Service(tmp_path / str(len(made)), **environment))
        return made[-1]

    yield make
    for each in made:
        each.close()
