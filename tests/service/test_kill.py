"""kill -9 of one part or of everything, in the middle of a download."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from reelin.activities.marker import MARKER
from reelin.contracts.jobs import State
from reelin.contracts.work import POKE
from reelin.origin.server import Origin
from reelin.temporal import connect
from tests.service.service import Service
from tests.service.test_downloads import undisturbed
from tests.waiting import PATIENCE, promised, slowdown, until

MakeService = Callable[..., Service]
RATE = 400_000
SIZE = 2_400_000


def _only_file(service: Service) -> Path:
    """There is one published file, no partial one, and no claim to room on the disk: of its ledger only the lock."""
    left = [path for path in service.media_dir.rglob("*") if path.is_file() and path.name != MARKER]
    [found] = [path for path in left if path.parts[-2:] != (".claims", "lock")]
    return found


def _kill_everything(service: Service) -> None:
    service.kill()


def _kill_the_program(service: Service) -> None:
    """What it started has to notice by itself."""
    service.kill_program()


def _stop(service: Service) -> None:
    assert service.stop() == 0, service.said()


@pytest.mark.parametrize("end", [_kill_everything, _kill_the_program, _stop])
def test_a_direct_download_goes_on_where_it_was(
    new_service: MakeService, origin: Origin, end: Callable[[Service], None]
) -> None:
    path = f"/file/{SIZE}/ended-by{end.__name__}"
    service = new_service().start()
    job = service.submit(origin.url_for(path, rate=RATE))
    service.wait_until(job.id, percent=30)
    started = service.tree()
    end(service)
    _, alive = psutil.wait_procs(started, timeout=3 * slowdown())
    assert not alive, "nothing that it started may outlive it"
    service.start()
    done = service.wait(job.id)
    assert done.state is State.COMPLETED, done.failure
    assert done.attempt == 1, "a crash uses no attempt"
    assert service.path_of(done).read_bytes() == origin.reference(path)
    transfers = origin.requests(path)  # each attempt is one request: the second one asks for the rest
    fetched_again = sum(record.bytes_sent for record in transfers) - SIZE
    assert len(transfers) == 2
    assert 0 <= fetched_again <= RATE, f"{fetched_again} bytes were fetched again"
    _only_file(service)


def test_a_stream_goes_on_where_it_was_after_a_kill(new_service: MakeService, origin: Origin, tmp_path: Path) -> None:
    path = "/hls/plain/master.m3u8"
    reference = undisturbed(origin.url_for(path, key="reference"), tmp_path)
    service = new_service().start()
    job = service.submit(origin.url_for(path, seg_rate=150_000, key="killed", seg_key="killed"))
    service.wait_until(job.id, percent=30)
    service.kill()
    service.start()
    done = service.wait(job.id)
    assert done.state is State.COMPLETED, done.failure
    assert service.path_of(done).read_bytes() == reference
    transfers = [record for record in origin.log if "killed" in record.query and record.bytes_sent]
    segments = [record.path for record in transfers if record.path.endswith(".ts")]
    again = len(segments) - len(set(segments))
    assert again <= 4, f"{again} fragments were fetched again with four threads"


def test_a_kill_between_the_rename_and_the_commit_publishes_one_file(new_service: MakeService, origin: Origin) -> None:
    """Whoever holds the database keeps the transaction out, with the files in their places already."""
    path = "/file/400000/uncommitted"
    service = new_service().start()
    job = service.submit(origin.url_for(path, rate=400_000))
    service.wait_until(job.id, percent=30)
    database = service.data_dir / "reelin.db"
    with closing(sqlite3.connect(database, timeout=PATIENCE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        until(
            lambda: [path for path in service.media_dir.glob("uncommitted*.mp4") if path.stat().st_nlink == 1],
            lambda: [(str(path)[-50:], path.stat().st_nlink) for path in service.media_dir.rglob("*")],
        )
        service.kill()
        [state] = other.execute("SELECT state FROM jobs WHERE id = ?", [job.id]).fetchone()
        assert state != State.COMPLETED
    requests = len(origin.requests(path))
    service.start()
    done = service.wait(job.id)
    assert done.state is State.COMPLETED, done.failure
    assert done.attempt == 1
    assert service.path_of(done).read_bytes() == origin.reference(path)
    assert len(origin.requests(path)) == requests, "it was fetched again"
    _only_file(service)


async def _poke(temporal: str, installation: str, batch_id: str) -> None:
    await (await connect(temporal, installation=installation)).get_workflow_handle(batch_id).signal(POKE)


def test_a_kill_while_a_batch_lets_items_go_costs_seconds(new_service: MakeService, origin: Origin) -> None:
    """Whoever holds the database keeps the step from ending; nobody may wait for it once its worker is gone."""
    service = new_service().start()
    urls = [origin.url_for(f"/file/{SIZE}/let-go-{each}", rate=RATE) for each in range(5)]
    batch = service.submit_list(urls, options={"at_once": 4})
    workflow = f"{service.note['temporal_ui']}/api/v1/namespaces/default/workflows/{service.in_temporal(batch.id)}"
    until(lambda: service.counts(batch.id).running == 4)
    with closing(sqlite3.connect(service.data_dir / "reelin.db", timeout=PATIENCE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asyncio.run(_poke(service.temporal_address(), service.installation, batch.id))
        until(lambda: httpx.get(workflow).json().get("pendingActivities"))
        service.kill()
    with promised(60):  # half of what the step may take
        service.start()
        done = service.wait(batch.id)
    assert done.state is State.COMPLETED


def test_the_death_of_temporals_server_costs_a_pause(new_service: MakeService, origin: Origin) -> None:
    path = f"/file/{SIZE}/server-killed"
    service = new_service().start()
    job = service.submit(origin.url_for(path, rate=RATE))
    service.wait_until(job.id, percent=30)
    service.temporal().kill()
    done = service.wait(job.id)
    assert done.state is State.COMPLETED, done.failure
    assert service.path_of(done).read_bytes() == origin.reference(path)
    _only_file(service)


def test_a_download_that_finishes_while_temporal_is_away_for_20_s_has_one_file_and_one_outcome(
    new_service: MakeService, origin: Origin
) -> None:
    path = f"/file/{SIZE}/away"
    service = new_service().start()
    job = service.submit(origin.url_for(path, rate=RATE))
    service.wait_until(job.id, percent=10)
    temporal = service.temporal()
    temporal.send_signal(signal.SIGSTOP)
    try:
        time.sleep(20)  # It is done after 6, and 7 more later Temporal's SDK gives up saying so.
    finally:
        temporal.send_signal(signal.SIGCONT)
    done = service.wait(job.id)
    assert done.state is State.COMPLETED, done.failure
    assert service.path_of(done).read_bytes() == origin.reference(path)
    _only_file(service)
    version = service.job(job.id).version
    time.sleep(8)  # longer than the heartbeat timeout: a second attempt would have changed the job by now
    assert service.job(job.id).version == version


def test_jobs_are_accepted_while_temporal_is_away_and_start_when_it_is_back(
    new_service: MakeService, origin: Origin
) -> None:
    service = new_service().start()
    temporal = service.temporal()
    temporal.send_signal(signal.SIGSTOP)
    try:
        with promised(2):
            jobs = [service.submit(f"{origin.url}/file/100000/while-away-{number}") for number in range(5)]
        assert {service.job(job.id).state for job in jobs} == {State.QUEUED}
        # Whoever kills it now loses nothing: the jobs are in the table.
    finally:
        temporal.send_signal(signal.SIGCONT)
    assert {service.wait(job.id).state for job in jobs} == {State.COMPLETED}


def test_an_accepted_job_survives_a_kill_right_after_the_answer(new_service: MakeService, origin: Origin) -> None:
    service = new_service().start()
    jobs = [service.submit(f"{origin.url}/file/100000/accepted-{number}") for number in range(10)]
    service.kill()
    service.start()
    assert {service.wait(job.id).state for job in jobs} == {State.COMPLETED}
    assert len(list(service.media_dir.rglob("*.mp4"))) == 10
