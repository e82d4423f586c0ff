"""SIGTERM and Ctrl-C in the middle of work: how soon it ends, what it leaves behind, and how soon that goes on."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from reelin.contracts.jobs import Job, State
from reelin.origin.server import Origin
from tests.service.service import Service
from tests.waiting import PATIENCE, promised, slowdown, until

MakeService = Callable[..., Service]
RATE = 400_000
SIZE = 2_400_000


def _terminate(service: Service) -> int:
    """As a deploy does, which waits for 10 s; returns the exit status."""
    assert service.process is not None
    started = service.tree()
    with promised(10):
        service.process.terminate()
        status = service.process.wait(PATIENCE)
    _, alive = psutil.wait_procs(started, timeout=3 * slowdown())
    assert not alive, "nothing that it started may outlive it"
    return status


def _row(service: Service, job: Job) -> tuple[str, int, str | None]:
    with closing(sqlite3.connect(service.data_dir / "reelin.db")) as database:
        query = "SELECT state, attempt, failure_kind FROM jobs WHERE id = ?"
        row: tuple[str, int, str | None] = database.execute(query, (job.id,)).fetchone()
    return row


def _partial_bytes(service: Service) -> int:
    found = (path for path in service.media_dir.rglob("*.part*") if path.is_file())
    return sum(path.stat().st_size for path in found)


@contextmanager
def _database_locked(service: Service) -> Iterator[None]:
    """Whoever writes waits: what is being published stops at its transaction."""
    with closing(sqlite3.connect(service.data_dir / "reelin.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def _until_moved(service: Service) -> None:
    """Until the file stands in the media folder, whether or not anybody knows."""
    until(lambda: list(service.media_dir.glob("*.mp4")), service.said)


def test_a_download_that_a_deploy_interrupts_goes_on_within_seconds_and_uses_no_attempt(
    new_service: MakeService, origin: Origin
) -> None:
    path = f"/file/{SIZE}/deployed"
    service = new_service().start()
    job = service.submit(origin.url_for(path, rate=RATE))
    service.wait_until(job.id, percent=40)
    assert _terminate(service) == 0, service.said()
    assert _partial_bytes(service) > 0.4 * SIZE - RATE
    assert _row(service, job) == ("queued", 1, None), "no worker has it, and nothing went wrong"
    service.start()
    with promised(8):
        service.wait_until(job.id, percent=1)
    done = service.wait(job.id)
    assert (done.state, done.attempt, done.failure) == (State.COMPLETED, 1, None)
    assert service.path_of(done).read_bytes() == origin.reference(path)
    transfers = [record.bytes_sent for record in origin.requests(path)]
    assert 0 <= sum(transfers) - SIZE <= RATE


def test_downloads_that_hang_do_not_hold_up_a_deploy(new_service: MakeService, origin: Origin) -> None:
    service = new_service().start()
    paths = [f"/file/{SIZE}/hung-{number}" for number in range(3)]
    jobs = [service.submit(origin.url_for(path, rate=RATE, stall_after=400_000, skip=1)) for path in paths]
    for job in jobs:
        service.wait_until(job.id, percent=10)
    time.sleep(1)  # they hang by now: what came is about what the origin gives
    assert _terminate(service) == 0, service.said()
    service.start()
    for job, path in zip(jobs, paths, strict=True):
        done = service.wait(job.id)
        assert (done.state, done.attempt, done.failure) == (State.COMPLETED, 1, None)
        assert service.path_of(done).read_bytes() == origin.reference(path)


def test_a_look_at_a_url_that_a_deploy_interrupts_is_taken_again(new_service: MakeService, origin: Origin) -> None:
    service = new_service().start()
    job = service.submit(origin.url_for("/clip.mp4", latency_ms=2000), kind="info")
    service.wait_until(job.id)
    assert _terminate(service) == 0, service.said()
    assert _row(service, job) == ("queued", 1, None)
    service.start()
    done = service.wait(job.id)
    assert (done.state, done.attempt, done.failure) == (State.COMPLETED, 1, None)


def test_a_file_that_is_being_published_is_published_before_the_worker_ends(
    new_service: MakeService, origin: Origin
) -> None:
    path = f"/file/{SIZE}/last-step"
    service = new_service().start()
    assert service.process is not None
    job = service.submit(origin.url_for(path, rate=RATE))
    service.wait_until(job.id, percent=40)
    with _database_locked(service):
        _until_moved(service)
        service.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            service.process.wait(1)
    assert service.process.wait(PATIENCE) == 0, service.said()
    assert _row(service, job) == ("completed", 1, None)
    asked = len(origin.requests(path))
    service.start()
    assert service.path_of(service.wait(job.id)).read_bytes() == origin.reference(path)
    time.sleep(2)  # longer than Temporal's retry: whatever the next worker does with the job, it has done
    assert len(origin.requests(path)) == asked


def test_a_stop_that_hangs_ends_within_10_s_and_a_second_signal_ends_it_at_once(
    new_service: MakeService, origin: Origin, tmp_path: Path
) -> None:
    path = f"/file/{SIZE}/stuck"
    service = new_service().start()
    assert service.process is not None
    job = service.submit(origin.url_for(path, rate=RATE))
    service.wait_until(job.id, percent=40)
    with _database_locked(service):
        _until_moved(service)
        assert _terminate(service) == 1
        assert "could not stop in time" in service.said()
    service.start()
    done = service.wait(job.id)
    assert service.path_of(done).read_bytes() == origin.reference(path)

    again = service.submit(origin.url_for(path, rate=RATE), force=True)
    service.wait_until(again.id, percent=40)
    with _database_locked(service):
        service.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            service.process.wait(1)  # the row cannot be written
        with promised(2):
            service.process.send_signal(signal.SIGINT)
            assert service.process.wait(PATIENCE) == 130
    service.start()
    assert service.path_of(service.wait(again.id)).read_bytes() == origin.reference(path)
