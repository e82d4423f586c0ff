"""A site's limit holds at every moment, whatever people and machines do meanwhile: the site itself counts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from reelin.contracts.jobs import State
from reelin.origin.log import answers
from reelin.origin.server import Origin
from tests.service.service import Service

AT_ONCE = 3
JOBS = 24


def test_a_limit_holds_through_wishes_and_kills(new_service: Callable[..., Service], origin: Origin) -> None:
    """The origin refuses whoever comes beyond the limit: it is to refuse nobody."""
    draw = random.Random(9)
    service = new_service(REELIN_UNLIMITED_SITES="", REELIN_SITE_MAX_AT_ONCE=str(AT_ONCE)).start()
    origin.clear_log()
    limits = {"max_connections": AT_ONCE, "retry_after": 1, "key": "held"}
    urls = [origin.url_for(f"/file/{draw.randint(60, 300)}000/held-{n}", rate=200_000, **limits) for n in range(JOBS)]
    jobs = [service.submit(url).id for url in urls[: JOBS // 2]]
    batch = service.submit_list(urls[JOBS // 2 :])
    paused: set[str] = set()
    for step in range(30):
        job_id = draw.choice(jobs)
        action = draw.choice(["pause", "resume", "priority"])
        if action == "priority":
            service.api.patch(f"/api/jobs/{job_id}", json={"priority": draw.randint(1, 5)})
        else:
            service.api.post(f"/api/jobs/{job_id}/{action}")
            paused = paused | {job_id} if action == "pause" else paused - {job_id}
        if step == 12:
            service.kill()
            service.start()
        if step == 20:
            service.temporal().kill()
        time.sleep(draw.random() / 5)
    for job_id in sorted(paused):
        service.api.post(f"/api/jobs/{job_id}/resume")
    assert {service.wait(job_id, within=100).state for job_id in jobs} == {State.COMPLETED}, service.said()
    assert service.wait(batch.id, within=100).state is State.COMPLETED, service.said()
    counted = answers(record for record in origin.log if "key=held" in record.query)
    assert counted[429] == 0, counted
    assert counted[200] + counted[206] >= JOBS
