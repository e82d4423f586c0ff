"""Jobs say why they do not move: asked for, listed, and as events, in one shape."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reelin.api import examples
from reelin.api.board import Board
from reelin.api.sites import limits_of
from reelin.api.status import ServiceStatus, StatusMonitor
from reelin.api.view import LinkMaker
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Job, WaitReason
from reelin.contracts.progress import JobTouched
from reelin.contracts.work import DOWNLOAD_QUEUE
from tests.api.batches import Worker
from tests.api.service import Api
from tests.api.test_sites import situation
from tests.library.samples import failure, listed

LATER = datetime.now(UTC) + timedelta(minutes=20)


async def look(api: Api) -> None:
    """Twice, as the server does every few seconds."""
    monitor = StatusMonitor(api.library, api.control, limits_of(api.parts.settings), api.hub.stand)
    await monitor.look()
    await monitor.look()


async def wait_after(
    api: Api, job_id: str, kind: FailureKind = FailureKind.SITE_ERROR, *, message: str = "500"
) -> None:
    said = failure(kind).model_copy(update={"message": message})
    await api.library.jobs.wait(job_id, 1, failure=said, attempt=3, until=LATER)


async def waiting_for(api: Api, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.client.get(f"/api/jobs/{job_id}")).json()["waiting_for"]
    return found


async def test_a_job_that_tries_again_says_when_after_what_and_how_often(api: Api) -> None:
    job = await api.submit()
    assert (await waiting_for(api, job.id))["reason"] == "temporal"
    await api.begin(job.id)
    assert await waiting_for(api, job.id) is None
    await wait_after(api, job.id, message="HTTP Error 500: <b>Internal Server Error</b>")
    said = await waiting_for(api, job.id)
    assert datetime.fromisoformat(said.pop("until")) == LATER
    assert said == {
        "reason": "retry",
        "attempt": 3,
        "failure": "site_error",
        "message": "HTTP Error 500: <b>Internal Server Error</b>",
        "site": None,
    }
    listed = (await api.client.get("/api/jobs")).json()["items"][0]["waiting_for"]
    assert listed == said | {"until": listed["until"]}
    await api.fail(job.id)
    assert await waiting_for(api, job.id) is None


async def test_one_in_its_sites_line_says_how_many_run_there_and_until_when_it_is_shut(api: Api) -> None:
    job = await api.submit()
    await api.library.jobs.wait_for_lease(job.id, 1)
    assert (await waiting_for(api, job.id))["site"] is None, "nobody has looked yet"
    shut = situation(cooldown_until=LATER, reason=FailureKind.RATE_LIMITED)
    await api.library.sites.record(shut)
    await look(api)
    said = await waiting_for(api, job.id)
    assert (said["reason"], said["failure"], datetime.fromisoformat(said["until"])) == ("site", "rate_limited", LATER)
    assert said["site"] == {"in_use": 0, "max_at_once": 4, "waiting": 1}


async def test_temporal_away_and_a_missing_worker_are_what_is_waited_for(api: Api) -> None:
    queued, retrying, line = [(await api.submit(url=f"https://example.org/{name}")).id for name in "abc"]
    await wait_after(api, retrying)
    await api.library.jobs.wait_for_lease(line, 1)
    api.control.polling[DOWNLOAD_QUEUE] = 0
    await look(api)
    said = await waiting_for(api, queued)
    assert (said["reason"], said["message"]) == (
        "worker",
        f"No worker listens on {DOWNLOAD_QUEUE}. Start one with `reelin worker`.",
    )
    assert (await waiting_for(api, line))["reason"] == "worker"
    assert (await waiting_for(api, retrying))["reason"] == "retry", "its moment is to come"
    api.control.away = True
    await look(api)
    said = await waiting_for(api, queued)
    assert (said["reason"], said["message"]) == ("temporal", "Temporal does not answer.")


async def test_what_is_amiss_for_a_moment_only_is_not_said(api: Api) -> None:
    job = await api.submit()
    monitor = StatusMonitor(api.library, api.control, limits_of(api.parts.settings), api.hub.stand)
    api.control.away = True
    await monitor.look()
    assert (await waiting_for(api, job.id))["message"] is None
    await monitor.look()
    assert (await waiting_for(api, job.id))["message"] == "Temporal does not answer."
    api.control.away = False
    await monitor.look()
    assert (await waiting_for(api, job.id))["message"] is None


async def test_a_paused_one_and_one_in_a_lists_line_say_so(api: Api) -> None:
    batch = (await api.client.post("/api/jobs", json={"urls": ["https://a.org/1", "https://b.org/2"]})).json()
    [first] = (await api.library.window.release(batch["id"], at_once=1, limit_of=lambda _: None)).jobs
    items = (await api.client.get("/api/jobs", params={"parent": batch["id"]})).json()["items"]
    reasons = {item["id"]: item["waiting_for"]["reason"] for item in items}
    assert reasons.pop(first.id) == "temporal" and set(reasons.values()) == {"line"}
    await api.client.post(f"/api/jobs/{first.id}/pause")
    assert (await waiting_for(api, first.id))["reason"] == "paused"
    said = (await api.client.get(f"/api/jobs/{batch['id']}")).json()["items_waiting"]
    assert {wait["reason"]: wait["count"] for wait in said} == {"line": 1, "paused": 1}


async def test_a_list_whose_items_all_wait_says_so_and_that_none_runs(api: Api) -> None:
    worker = await Worker.of(api.library, 5)
    for job in await worker.release():
        await worker.begin(job)
        await wait_after(api, job.id, message="HTTP Error 500")
    shown = (await api.client.get(f"/api/jobs/{worker.batch_id}")).json()
    assert (shown["counts"]["running"], shown["counts"]["waiting"], shown["waiting_for"]) == (0, 5, None)
    [wait] = shown["items_waiting"]
    assert (wait["reason"], wait["count"], wait["attempt"], wait["message"]) == ("retry", 5, 3, "HTTP Error 500")
    [listed] = (await api.client.get("/api/jobs")).json()["items"]
    assert listed["items_waiting"] == shown["items_waiting"]


async def test_what_a_playlist_in_a_list_waits_for_is_what_the_list_waits_for(api: Api) -> None:
    outer = await Worker.of(api.library, 1)
    [inner] = await outer.release()
    await outer.begin(inner)
    await api.library.batches.open(inner.id, 1)
    await api.library.batches.store_page(inner.id, 1, [listed("x"), listed("y")], start=0)
    for job in await Worker(api.library, inner.id).release():
        await api.library.jobs.begin(job.id, 1, 1)
        await wait_after(api, job.id)
    shown = (await api.client.get(f"/api/jobs/{outer.batch_id}")).json()
    assert shown["counts"]["running"] == 1, "the playlist"
    assert [(wait["reason"], wait["count"]) for wait in shown["items_waiting"]] == [("retry", 2)]


async def test_those_who_watch_hear_what_is_waited_for_in_the_same_shape(api: Api) -> None:
    job = await api.submit()
    with api.hub.subscription("sse") as mailbox:
        await api.hub.watch(mailbox, job.id)
        api.control.away = True
        await look(api)
        heard = json.loads((await mailbox.__anext__()).event.text)
        assert heard["waiting_for"]["reason"] == "temporal" and heard["waiting_for"]["message"]
        assert heard["version"] > job.version
        await api.begin(job.id, quietly=True)
        await wait_after(api, job.id)
        api.bus.publish(JobTouched(job_id=job.id))
        told = Job.model_validate_json((await mailbox.__anext__()).event.text)
        assert told.waiting_for is not None and told.waiting_for.reason is WaitReason.RETRY
        assert told == Job.model_validate((await api.client.get(f"/api/jobs/{job.id}")).json())


def test_the_documentation_shows_jobs_of_this_shape() -> None:
    shown = [examples.BATCH, *examples.JOB_PAGE["items"]]
    for example in shown:
        assert Job.model_validate(example).model_dump(mode="json").keys() - example.keys() == {"duration_seconds"}
    assert Job.model_validate(examples.BATCH).items_waiting


async def test_only_those_that_it_holds_up_are_told_how_the_service_stands(api: Api) -> None:
    waits, runs = await api.submit(), await api.submit(url="https://example.org/two")
    await api.begin(runs.id)
    board = Board(LinkMaker())
    for job_id in (waits.id, runs.id):
        board.learn(await api.library.jobs.get(job_id))
    assert board.stand(ServiceStatus(temporal="Temporal does not answer.")) == [waits.id]
    assert board.stand(ServiceStatus(temporal="Temporal does not answer.")) == []


@pytest.mark.parametrize("how_many", [1, 3])
async def test_how_many_a_site_serves_is_no_news_by_itself(api: Api, how_many: int) -> None:
    job = await api.submit()
    await api.library.jobs.wait_for_lease(job.id, 1)
    with api.hub.subscription("sse") as mailbox:
        await api.hub.watch(mailbox, job.id)
        await api.library.sites.record(situation())
        for number in range(how_many):
            other = await api.submit(url=f"https://example.org/other-{number}")
            await api.library.jobs.wait_for_lease(other.id, 1)
        await look(api)
        assert mailbox.take() is None
    assert (await waiting_for(api, job.id))["site"]["waiting"] == 1 + how_many
