"""Temporal's database is damaged while everything is down: all that was under way comes to its end."""

from __future__ import annotations

import os
from collections.abc import Callable

from reelin.contracts.jobs import State
from reelin.origin.server import Origin
from tests.service.service import Service
from tests.service.test_batch import until


def test_after_garbage_in_temporals_database_every_job_comes_to_its_end(
    new_service: Callable[..., Service], origin: Origin
) -> None:
    service = new_service(REELIN_MAX_DOWNLOADS="4").start()
    running = service.submit(origin.url_for("/file/2400000/lost-running", rate=400_000))
    paused = service.submit(origin.url_for("/file/2400000/lost-paused", rate=400_000))
    waiting = service.submit(origin.url_for("/file/100000/lost-waiting", fail="503x2"))
    urls = [origin.url_for(f"/file/100000/lost-{number}", rate=100_000) for number in range(12)]
    listed = service.submit_list(urls, options={"at_once": 2})
    service.wait_until(running.id, percent=5)
    service.wait_until(paused.id, percent=5)
    service.act("pause", paused.id)
    until(lambda: service.job(paused.id).state is State.PAUSED)
    until(lambda: service.counts(listed.id).completed >= 1)
    service.kill()
    (service.data_dir / "temporal" / "temporal.db").write_bytes(os.urandom(200_000))
    service.start()
    assert "Temporal's database cannot be used" in service.log.read_text()
    assert service.job(paused.id).state is State.PAUSED
    assert service.wait(running.id).state is State.COMPLETED
    assert service.wait(waiting.id).state is State.COMPLETED
    done = service.wait(listed.id)
    assert (done.state, service.counts(listed.id).completed) == (State.COMPLETED, 12)
    service.act("resume", paused.id)
    ended = service.wait(paused.id)
    assert service.path_of(ended).read_bytes() == origin.reference("/file/2400000/lost-paused")
    assert [path.name for path in service.media_dir.iterdir() if "(2)" in path.name] == []
    assert service.stop() == 0, service.said()
