"""Listing, looking, cancelling, trying again, forgetting."""

from __future__ import annotations

import asyncio
import base64
import json
import time

import pytest

from reelin.contracts.jobs import Phase, State
from reelin.contracts.progress import JobDeleted
from tests.api.service import Api, until
from tests.waiting import promised


async def _three(api: Api) -> list[str]:
    return [(await api.submit(url=f"https://example.org/{name}")).id for name in ("a", "b", "c")]


async def test_a_list_comes_in_pages(api: Api) -> None:
    jobs = await _three(api)
    first = (await api.client.get("/api/jobs", params={"limit": 2})).json()
    assert [job["id"] for job in first["items"]] == [jobs[2], jobs[1]]
    rest = (await api.client.get("/api/jobs", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert ([job["id"] for job in rest["items"]], rest["next_cursor"]) == ([jobs[0]], None)
    assert rest["counts"] == {state: 3 if state == "queued" else 0 for state in State}


async def test_a_list_is_filtered(api: Api) -> None:
    jobs = await _three(api)
    await api.begin(jobs[0])
    await api.fail(jobs[0])
    await api.begin(jobs[1])
    for query, found in (
        ({"state": "failed"}, {jobs[0]}),
        ({"state": ["failed", "running"]}, {jobs[0], jobs[1]}),
        ({"state": "failed,queued"}, {jobs[0], jobs[2]}),
        ({"failure": "network"}, {jobs[0]}),
        ({"q": "/C"}, {jobs[2]}),
        ({"site": "example.org", "kind": "auto"}, set(jobs)),
        ({"site": "example.com"}, set()),
        ({"parent": "bulk-1"}, set()),
    ):
        page = (await api.client.get("/api/jobs", params=query)).json()
        assert {job["id"] for job in page["items"]} == found, query


async def test_a_list_shows_live_progress(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    api.report(job.id, 41.5)
    listed = (await api.client.get("/api/jobs")).json()["items"][0]
    assert (listed["state"], listed["phase"], listed["kind"]) == ("running", "downloading", "video")
    assert (listed["progress"]["percent"], listed["title"]) == (41.5, "A film")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 501}, "limit"),
        ({"limit": 0}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"state": "done"}, "state"),
        ({"kind": "film"}, "kind"),
        ({"failure": "bad_luck"}, "failure"),
        ({"sort": "colour"}, "sort"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "WyJ0aXRsZSIsIDEsIDJd"}, "cursor"),
        *(
            (
                {"sort": "title", "cursor": base64.urlsafe_b64encode(json.dumps(["title", *rest]).encode()).decode()},
                "cursor",
            )
            for rest in ([10**30, "x"], ["\ud800", "x"], ["x", "\ud800"], [["x"], "x"], [None, "x"], ["x", 7])
        ),
        ({"cursor": "x" * 2000}, "cursor"),
        ({"stat": "failed"}, "stat"),
    ],
)
@pytest.mark.parametrize("listing", ["/api/jobs", "/api/videos"])
async def test_a_bad_query_is_refused_by_name(api: Api, listing: str, query: dict[str, str], field: str) -> None:
    answer = await api.client.get(listing, params=query)
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert error["field"].split(".")[0] == field
    assert error["remedy"]


async def test_waiting_answers_as_soon_as_the_job_is_final(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    waiting = asyncio.create_task(api.client.get(f"/api/jobs/{job.id}", params={"wait": 30}))
    await until(lambda: api.hub.clients()["wait"] == 1)
    with promised(2):
        await api.finish(job.id)
        answer = await waiting
    assert (answer.json()["state"], api.hub.clients()["wait"]) == ("completed", 0)
    assert (await api.client.get(f"/api/jobs/{job.id}", params={"wait": 30})).json()["state"] == "completed"


async def test_waiting_ends_with_the_time_that_was_given(api: Api) -> None:
    job = await api.submit()
    begun = time.monotonic()
    with promised(2):
        answer = await api.client.get(f"/api/jobs/{job.id}", params={"wait": 0.2})
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("wait", ["61", "-1", "long", "nan", "inf"])
async def test_a_wait_out_of_range_is_refused(api: Api, wait: str) -> None:
    job = await api.submit()
    answer = await api.client.get(f"/api/jobs/{job.id}", params={"wait": wait})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "wait")


async def test_a_job_that_is_not_running_yet_is_cancelled_at_once(api: Api) -> None:
    job = await api.submit()
    answer = await api.client.post(f"/api/jobs/{job.id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert api.control.cancelled == []


async def test_cancelling_asks_temporal(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    answer = await api.client.post(f"/api/jobs/{job.id}/cancel", json={"keep_partial": True})
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    assert api.control.cancelled == [job.id]
    stored = await api.library.jobs.get(job.id)
    assert (stored.cancel_requested, stored.keep_partial) == (True, True)


async def test_a_cancel_while_temporal_is_away_is_stored(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    api.control.away = True
    assert (await api.client.post(f"/api/jobs/{job.id}/cancel")).status_code == 202
    assert (await api.library.jobs.get(job.id)).cancel_requested


async def test_what_is_over_cannot_be_cancelled_and_what_runs_cannot_be_retried(api: Api) -> None:
    job = await api.submit()
    answer = await api.client.post(f"/api/jobs/{job.id}/retry")
    assert (answer.status_code, "queued" in answer.json()["detail"]) == (409, True)
    await api.client.post(f"/api/jobs/{job.id}/cancel")
    answer = await api.client.post(f"/api/jobs/{job.id}/cancel")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")


async def test_a_failed_job_runs_again(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    await api.fail(job.id)
    assert (await api.client.get(f"/api/jobs/{job.id}")).json()["failure"]["kind"] == "network"
    answer = await api.client.post(f"/api/jobs/{job.id}/retry")
    assert (answer.status_code, answer.json()["state"], answer.json()["failure"]) == (202, "queued", None)
    assert api.control.woken == [job.id, job.id]


async def test_deleting_ends_the_work_and_forgets_the_job(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    heard: list[object] = []
    api.bus.subscribe(heard.append)
    assert (await api.client.delete(f"/api/jobs/{job.id}")).status_code == 204
    assert api.control.cancelled == [job.id]
    assert heard[-1] == JobDeleted(job_id=job.id)
    assert (await api.client.get(f"/api/jobs/{job.id}")).status_code == 404
    assert (await api.client.delete(f"/api/jobs/{job.id}")).status_code == 404


async def test_a_running_job_is_not_forgotten_while_temporal_cannot_end_it(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    api.control.away = True
    answer = await api.client.delete(f"/api/jobs/{job.id}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert await api.stored() == 1


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_job_is_not_found(api: Api, method: str) -> None:
    answer = await api.client.request(method, "/api/jobs/video-nothing")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (404, "job_id")
    for action in ("cancel", "retry"):
        assert (await api.client.post(f"/api/jobs/video-nothing/{action}")).status_code == 404
    assert (await api.client.get("/api/jobs/video-nothing/events")).status_code == 404
    assert (await api.client.get("/api/jobs/video-nothing?wait=5")).status_code == 404


async def test_an_unknown_wish_on_cancelling_is_refused(api: Api) -> None:
    job = await api.submit()
    answer = await api.client.post(f"/api/jobs/{job.id}/cancel", json={"keep_partials": True})
    assert answer.status_code == 422
    assert "Did you mean keep_partial?" in answer.json()["errors"][0]["remedy"]
    assert (await api.library.jobs.get(job.id)).state is State.QUEUED


async def test_the_phase_is_gone_when_the_job_is_over(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    event = api.report(job.id, 100, phase=Phase.PUBLISHING)
    await api.finish(job.id, quietly=True)
    done = (await api.client.get(f"/api/jobs/{job.id}")).json()
    assert (done["state"], done["phase"], done["progress"]) == ("completed", None, None)
    assert done["version"] > event.version
