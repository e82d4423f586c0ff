"""Sites that accept connections and say nothing, and what is submitted behind them, on a whole service."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Job, State
from reelin.origin.server import Origin
from tests.service.service import Service
from tests.waiting import until

NewService = Callable[..., Service]
ADDRESS, NAME = "127.0.0.1", "localhost"
#: Two on a quiet machine. Whoever waits for a silent site to be given up waits for 15 at least; one that begins later
#: on a busy machine has waited for nobody, as long as nobody was given up.
SOON = 10.0


@contextlib.contextmanager
def silent(address: str) -> Iterator[str]:
    """The URL of a server that accepts connections, and no more than that."""
    with socket.create_server((address, 0), backlog=500) as listener:
        yield f"http://{address}:{listener.getsockname()[1]}"


def urls_of(base: str, number: int) -> list[str]:
    return [f"{base}/silent-{each}.mp4" for each in range(number)]


def until_full(service: Service, running: int) -> None:
    until(lambda: service.api.get("/api/stats").json()["jobs"]["running"] >= running, service.said)


def given_up(service: Service, batch: Job | None) -> int:
    """How many jobs of the batch, or of none, wait for their next attempt because their site was silent."""
    query = {"failure": FailureKind.NETWORK, "limit": 1, **({"parent": batch.id} if batch else {})}
    counts = service.api.get("/api/jobs", params=query).raise_for_status().json()["counts"]
    return sum(counts.values())


def served_soon(service: Service, url: str, *, beside: Job | None = None) -> None:
    before = given_up(service, beside)
    job = service.wait(service.submit(url).id)
    assert job.state is State.COMPLETED, service.said()
    assert job.started_at is not None
    waited = (job.started_at - job.submitted_at).total_seconds()
    assert waited < SOON or given_up(service, beside) == before, f"it began after {waited:.1f} s"
    assert job.attempt == 1


@pytest.mark.parametrize("places", ["16", "1"])
def test_a_site_without_a_limit_that_is_silent_holds_up_no_other(
    new_service: NewService, origin: Origin, places: str
) -> None:
    both = f"{ADDRESS},{NAME}"
    service = new_service(REELIN_UNLIMITED_SITES=both, REELIN_MAX_DOWNLOADS=places).start()
    with silent(ADDRESS) as base:
        batch = service.submit_list(urls_of(base, 1000))
        until_full(service, int(places))
        for number in range(3):
            served_soon(service, f"{origin.url}/file/100000/beside-{number}".replace(ADDRESS, NAME), beside=batch)


def test_a_thousand_single_jobs_of_a_silent_site_hold_up_no_other(new_service: NewService, origin: Origin) -> None:
    service = new_service(REELIN_UNLIMITED_SITES=f"{ADDRESS},{NAME}").start()
    with silent(ADDRESS) as base:
        for url in urls_of(base, 1000):
            service.submit(url)
        until_full(service, 16)
        served_soon(service, f"{origin.url}/file/100000/alone".replace(ADDRESS, NAME))


def test_other_sites_of_the_same_list_go_on_beside_a_silent_one(new_service: NewService, origin: Origin) -> None:
    service = new_service(REELIN_UNLIMITED_SITES=f"{ADDRESS},{NAME}").start()
    with silent(ADDRESS) as base:
        others = [f"{origin.url}/file/100000/among-{number}".replace(ADDRESS, NAME) for number in range(8)]
        batch = service.submit_list([*urls_of(base, 1000), *others])
        until(lambda: service.counts(batch.id).completed)
        waited_for = given_up(service, batch)
        until(lambda: service.counts(batch.id).completed == len(others), lambda: service.counts(batch.id))
        [first, *_] = sorted(item.started_at for item in service.items(batch.id, state="completed") if item.started_at)
        assert (first - batch.submitted_at).total_seconds() < SOON or not waited_for


def test_five_silent_sites_with_limits_hold_up_no_sixth(new_service: NewService, origin: Origin) -> None:
    service = new_service(REELIN_UNLIMITED_SITES="").start()
    with contextlib.ExitStack() as stack:
        bases = [stack.enter_context(silent(f"127.0.0.{number}")) for number in range(2, 7)]
        batch = service.submit_list([url for base in bases for url in urls_of(base, 20)])
        until_full(service, 17)
        for number in range(3):
            served_soon(service, f"{origin.url}/file/100000/sixth-{number}", beside=batch)
