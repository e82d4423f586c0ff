"""Sites that accept connections and say nothing, and what is submitted behind them, on a whole service."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from reelin.contracts.jobs import State
from reelin.origin.server import Origin
from tests.service.service import Service

NewService = Callable[..., Service]
ADDRESS, NAME = "127.0.0.1", "localhost"
#: Two on a quiet machine. Whoever waits for a silent site to be given up waits for 15 at least.
SOON = 10.0


@contextlib.contextmanager
def silent(address: str) -> Iterator[str]:
    """The URL of a server that accepts connections, and no more than that."""
    with socket.create_server((address, 0), backlog=500) as listener:
        yield f"http://{address}:{listener.getsockname()[1]}"


def urls_of(base: str, number: int) -> list[str]:
    return [f"{base}/silent-{each}.mp4" for each in range(number)]


def until_full(service: Service, running: int) -> None:
    deadline = time.monotonic() + 60
    while service.api.get("/api/stats").json()["jobs"]["running"] < running:
        assert time.monotonic() < deadline, service.said()
        time.sleep(0.05)


def served_soon(service: Service, url: str) -> None:
    began = time.monotonic()
    job = service.wait(service.submit(url).id)
    assert job.state is State.COMPLETED, service.said()
    assert job.started_at is not None
    waited = (job.started_at - job.submitted_at).total_seconds()
    assert waited < SOON, f"it began after {waited:.1f} s, and was there after {time.monotonic() - began:.1f}"
    assert job.attempt == 1


@pytest.mark.parametrize("places", ["16", "1"])
def test_a_site_without_a_limit_that_is_silent_holds_up_no_other(
    new_service: NewService, origin: Origin, places: str
) -> None:
    both = f"{ADDRESS},{NAME}"
    service = new_service(REELIN_UNLIMITED_SITES=both, REELIN_MAX_DOWNLOADS=places).start()
    with silent(ADDRESS) as base:
        service.submit_list(urls_of(base, 1000))
        until_full(service, int(places))
        for number in range(3):
            served_soon(service, f"{origin.url}/file/100000/beside-{number}".replace(ADDRESS, NAME))


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
        began = time.monotonic()
        while service.counts(batch.id).completed < len(others):
            assert time.monotonic() - began < 60, service.counts(batch.id)
            time.sleep(0.1)
        [first, *_] = sorted(item.started_at for item in service.items(batch.id, state="completed") if item.started_at)
        assert (first - batch.submitted_at).total_seconds() < SOON


def test_five_silent_sites_with_limits_hold_up_no_sixth(new_service: NewService, origin: Origin) -> None:
    service = new_service(REELIN_UNLIMITED_SITES="").start()
    with contextlib.ExitStack() as stack:
        bases = [stack.enter_context(silent(f"127.0.0.{number}")) for number in range(2, 7)]
        service.submit_list([url for base in bases for url in urls_of(base, 20)])
        until_full(service, 17)
        for number in range(3):
            served_soon(service, f"{origin.url}/file/100000/sixth-{number}")
