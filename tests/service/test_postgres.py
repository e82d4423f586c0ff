"""`reelin up` on PostgreSQL: what is killed or goes away in the middle of a list costs time and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from reelin.contracts.jobs import State
from reelin.origin.server import Origin
from tests.postgres import PostgresServer, running_postgres
from tests.service.service import Service
from tests.service.test_batch import names, whole
from tests.waiting import until

ITEMS = 20


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


def _kill(service: Service, _server: PostgresServer) -> None:
    service.kill()
    service.start()


def _restart_the_database(service: Service, server: PostgresServer) -> None:
    server.stop()
    answer = service.api.get("/api/jobs")
    assert (answer.status_code, "database" in answer.text) == (503, True)
    assert service.api.get("/readyz").status_code == 503
    server.start()


@pytest.mark.parametrize("disturb", [_kill, _restart_the_database])
def test_a_list_in_the_middle_of_which_something_dies_is_complete(
    new_service: Callable[..., Service],
    own_server: PostgresServer,
    origin: Origin,
    disturb: Callable[[Service, PostgresServer], None],
) -> None:
    service = new_service(REELIN_DATABASE_URL=asyncio.run(own_server.new())).start()
    urls = [origin.url_for(path, rate=200_000) for path in names(f"on-postgres{disturb.__name__}", ITEMS, 200_000)]
    batch = service.submit_list(urls, options={"at_once": 4})
    until(lambda: service.counts(batch.id).completed >= 3)
    disturb(service, own_server)
    done = service.wait(batch.id)
    assert done.state is State.COMPLETED
    assert done.counts is not None
    assert (done.counts.total, done.counts.completed) == (ITEMS, ITEMS)
    items = service.items(batch.id)
    assert [item.position for item in items] == [*range(1, ITEMS + 1)]
    whole(service, origin, items)
    assert not (service.data_dir / "reelin.db").exists()
    assert service.stop() == 0, service.said()
