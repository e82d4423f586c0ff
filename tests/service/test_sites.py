"""Sites that have had enough, and sites beside them, on a whole service with real downloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import State
from reelin.origin.log import answers
from reelin.origin.server import Origin
from tests.service.service import Service
from tests.waiting import until

NewService = Callable[..., Service]
#: One server, two sites: a site is the host without its port.
ADDRESS, NAME = "127.0.0.1", "localhost"


def site(service: Service, name: str) -> dict[str, Any]:
    found: dict[str, Any] = service.api.get(f"/api/sites/{name}").raise_for_status().json()
    return found


def until_site(service: Service, name: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def stands_so() -> bool:
        answer = service.api.get(f"/api/sites/{name}")
        found.update(answer.json())
        return answer.status_code == 200 and condition(found)

    until(stands_so, lambda: f"{found}\n{service.said()}")
    return found


def test_a_site_that_answers_429_is_asked_less_until_all_is_there(new_service: NewService, origin: Origin) -> None:
    service = new_service(REELIN_UNLIMITED_SITES=ADDRESS).start()
    origin.clear_log()
    limits = {"max_rate": 10, "max_connections": 3, "retry_after": 1, "key": "polite"}
    urls = [origin.url_for(f"/file/100000/polite-{number}", **limits) for number in range(40)]
    jobs = [service.wait(job.id) for job in [service.submit(url) for url in urls]]
    assert [job.state for job in jobs] == [State.COMPLETED] * 40, service.said()
    counted = answers(record for record in origin.log if "key=polite" in record.query)
    assert counted[429] >= 1, "else nothing was tried here"
    assert max(job.attempt for job in jobs) <= 5
    assert counted[429] <= 30, "16 at once before the first word, and then few"
    assert service.path_of(jobs[7]).read_bytes() == origin.reference("/file/100000/polite-7")
    shown = site(service, ADDRESS)
    assert shown["max_at_once"] == 4, "it has a limit now"


def test_a_site_that_is_shut_holds_up_no_other(new_service: NewService, origin: Origin) -> None:
    service = new_service(REELIN_UNLIMITED_SITES="", REELIN_MAX_DOWNLOADS="2").start()
    refusing = {"fail": "429x1000", "retry_after": 3600, "key": "shut"}
    urls = [origin.url_for(f"/file/100000/shut-{number}", **refusing) for number in range(12)]
    shut = [service.submit(url.replace(ADDRESS, NAME)) for url in urls]
    said = until_site(service, NAME, lambda found: found["reason"] == "rate_limited")
    assert said["cooldown_until"] is not None
    others = [service.submit(f"{origin.url}/file/100000/beside-{number}") for number in range(6)]
    assert [service.wait(job.id).state for job in others] == [State.COMPLETED] * 6
    until_site(service, NAME, lambda found: found["in_use"] == 0 and found["waiting"] == 12)
    waiting = [service.job(job.id) for job in shut]
    assert {job.state for job in waiting} == {State.WAITING}
    asked = [job for job in waiting if job.failure]
    assert {job.failure.kind for job in asked if job.failure} == {FailureKind.RATE_LIMITED}
    assert 1 <= len(asked) <= 4, "only those that were under way at the first complaint"
    assert max(job.attempt for job in waiting) == 1
    soon = datetime.now(UTC) + timedelta(minutes=50)
    assert all(job.next_attempt_at is not None and job.next_attempt_at > soon for job in asked)


def test_a_job_that_waits_for_its_site_can_be_cancelled_and_the_next_gets_its_place(
    new_service: NewService, origin: Origin
) -> None:
    service = new_service(REELIN_UNLIMITED_SITES="", REELIN_SITE_MAX_AT_ONCE="1").start()
    slow = service.submit(origin.url_for("/file/3000000/slow", rate=300_000))
    service.wait_until(slow.id, percent=1)
    in_line = [service.submit(f"{origin.url}/file/100000/line-{number}") for number in range(3)]
    until_site(service, ADDRESS, lambda found: (found["in_use"], found["waiting"]) == (1, 3))
    assert {service.job(job.id).state for job in in_line} == {State.WAITING}
    assert service.api.post(f"/api/jobs/{in_line[0].id}/cancel").status_code == 202
    assert service.wait(in_line[0].id).state is State.CANCELLED
    until_site(service, ADDRESS, lambda found: found["waiting"] == 2)
    assert service.api.post(f"/api/jobs/{slow.id}/cancel").status_code == 202
    assert [service.wait(job.id).state for job in in_line[1:]] == [State.COMPLETED] * 2
    until_site(service, ADDRESS, lambda found: (found["in_use"], found["waiting"]) == (0, 0))


def test_a_limit_that_people_set_applies_to_who_stands_in_line(new_service: NewService, origin: Origin) -> None:
    service = new_service(REELIN_UNLIMITED_SITES="", REELIN_SITE_MAX_AT_ONCE="1").start()
    jobs = [service.submit(origin.url_for(f"/file/1500000/set-{number}", rate=300_000)) for number in range(4)]
    until_site(service, ADDRESS, lambda found: (found["in_use"], found["waiting"]) == (1, 3))
    assert service.api.patch(f"/api/sites/{ADDRESS}", json={"max_at_once": 2}).status_code == 200
    until_site(service, ADDRESS, lambda found: (found["in_use"], found["waiting"]) == (2, 2))
    assert service.api.patch(f"/api/sites/{ADDRESS}", json={"max_at_once": None}).json()["max_at_once"] is None
    until_site(service, ADDRESS, lambda found: (found["in_use"], found["waiting"]) == (4, 0))
    assert [service.wait(job.id).state for job in jobs] == [State.COMPLETED] * 4


def test_leases_survive_a_kill_of_everything(new_service: NewService, origin: Origin) -> None:
    service = new_service(REELIN_UNLIMITED_SITES="", REELIN_SITE_MAX_AT_ONCE="2").start()
    jobs = [service.submit(origin.url_for(f"/file/600000/kill-{number}", rate=200_000)) for number in range(5)]
    until_site(service, ADDRESS, lambda found: (found["in_use"], found["waiting"]) == (2, 3))
    service.kill()
    service.start()
    assert [service.wait(job.id).state for job in jobs] == [State.COMPLETED] * 5
    assert max(job.attempt for job in jobs) <= 1


def events(service: Service, workflow_id: str) -> Counter[str]:
    """Of its newest history, by type, as Temporal's UI reads them."""
    workflows = f"{service.note['temporal_ui']}/api/v1/namespaces/default/workflows"
    address = f"{workflows}/{service.in_temporal(workflow_id)}/history"
    found = httpx.get(address, timeout=20).raise_for_status().json()
    return Counter(str(event["eventType"]).removeprefix("EVENT_TYPE_") for event in found["history"]["events"])


def test_an_item_of_a_limited_site_costs_one_activity_and_one_word_to_it(
    new_service: NewService, origin: Origin
) -> None:
    service = new_service(REELIN_UNLIMITED_SITES="", REELIN_SITE_MAX_AT_ONCE="3").start()
    batch = service.submit_list([f"{origin.url}/file/30000/one-{number}" for number in range(12)])
    assert service.wait(batch.id).state is State.COMPLETED, service.said()
    for item in service.items(batch.id):
        seen = events(service, item.id)
        assert seen["ACTIVITY_TASK_SCHEDULED"] == 1, "it was not run just to ask"
        assert seen["WORKFLOW_EXECUTION_SIGNALED"] == 0, "it was started when it was its turn"
    until_site(service, ADDRESS, lambda found: (found["in_use"], found["waiting"]) == (0, 0))
    assert events(service, f"site-{ADDRESS}")["WORKFLOW_EXECUTION_SIGNALED"] < 2 * 12


def test_what_is_paused_or_deleted_in_line_leaves_it(new_service: NewService, origin: Origin) -> None:
    service = new_service(REELIN_UNLIMITED_SITES="", REELIN_SITE_MAX_AT_ONCE="1").start()
    slow = service.submit(origin.url_for("/file/3000000/slow", rate=300_000))
    service.wait_until(slow.id, percent=1)
    paused, deleted, last = (service.submit(f"{origin.url}/file/100000/line-{number}") for number in range(3))
    until_site(service, ADDRESS, lambda found: (found["in_use"], found["waiting"]) == (1, 3))
    service.act("pause", paused.id)
    service.wait_until(paused.id, state=State.PAUSED)
    assert service.api.delete(f"/api/jobs/{deleted.id}").is_success
    until_site(service, ADDRESS, lambda found: found["waiting"] == 1)
    service.act("cancel", slow.id)
    assert service.wait(last.id).state is State.COMPLETED
    service.act("resume", paused.id)
    assert service.wait(paused.id).state is State.COMPLETED
    assert service.api.get(f"/api/jobs/{deleted.id}").status_code == 404
    until_site(service, ADDRESS, lambda found: (found["in_use"], found["waiting"]) == (0, 0))


def test_a_limit_that_people_take_back_lets_go_who_stands_in_line(new_service: NewService, origin: Origin) -> None:
    service = new_service(REELIN_UNLIMITED_SITES="").start()
    address = f"/api/sites/{ADDRESS}"
    assert service.api.patch(address, json={"requests_per_hour": 1}).status_code == 200
    jobs = [service.submit(f"{origin.url}/file/100000/hour-{number}") for number in range(4)]
    one_of_them = [State.COMPLETED] + [State.WAITING] * 3
    until(lambda: sorted(service.job(job.id).state for job in jobs) == one_of_them, service.said)
    assert service.api.patch(address, json={"requests_per_hour": None}).status_code == 200
    assert [service.wait(job.id).state for job in jobs] == [State.COMPLETED] * 4


def test_a_list_on_a_limited_site_survives_kills_of_everything_and_of_temporal(
    new_service: NewService, origin: Origin
) -> None:
    service = new_service(REELIN_UNLIMITED_SITES="", REELIN_SITE_MAX_AT_ONCE="2").start()
    urls = [origin.url_for(f"/file/60000/list-{number}", rate=100_000) for number in range(12)]
    batch = service.submit_list(urls)
    until_completed(service, batch.id, 2)
    service.kill()
    service.start()
    until_completed(service, batch.id, 5)
    service.temporal().kill()
    assert service.wait(batch.id).state is State.COMPLETED, service.said()
    assert max(item.attempt for item in service.items(batch.id)) <= 1
    until_site(service, ADDRESS, lambda found: (found["in_use"], found["waiting"]) == (0, 0))


def until_completed(service: Service, batch_id: str, number: int) -> None:
    until(
        lambda: service.counts(batch_id).completed >= number,
        lambda: f"{service.counts(batch_id)}\n{service.said()}",
    )
