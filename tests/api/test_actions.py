"""Cancel, pause, resume, retry over HTTP: of one job, of batches, of everything that matches."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reelin.contracts.jobs import Counts, State
from reelin.contracts.work import PAUSE, POKE, RESUME
from tests.api.service import Api
from tests.library.samples import begun, fail, let_go, listed
from tests.waiting import PATIENCE


async def _list(api: Api, *names: str) -> str:
    """A batch whose workflow runs; returns its id."""
    urls = [f"https://example.org/{name}" for name in names]
    job_id: str = (await api.client.post("/api/jobs", json={"urls": urls})).json()["id"]
    await api.library.batches.expand_list(job_id, 1)
    await begun(api.library, job_id)
    api.control.woken.clear()
    return job_id


async def _items(api: Api, batch_id: str, **query: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await api.client.get("/api/jobs", params={"parent": batch_id, **query})).json()[
        "items"
    ]
    return items


async def _counted(api: Api, batch_id: str, counts: Counts) -> dict[str, Any]:
    """The batch once it shows these counts: they may be half a second old."""
    async with asyncio.timeout(PATIENCE):
        while True:
            shown: dict[str, Any] = (await api.client.get(f"/api/jobs/{batch_id}")).json()
            if shown["counts"] == counts.model_dump():
                return shown
            await asyncio.sleep(0.05)


async def _act(api: Api, path: str, body: Any = None) -> tuple[int, Any]:
    answer = await api.client.post(f"/api/jobs/{path}", json=body)
    return answer.status_code, answer.json()


async def test_a_running_job_is_paused_and_resumed_through_temporal(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    assert (await _act(api, f"{job.id}/pause"))[0] == 202
    assert api.control.signalled == [(job.id, PAUSE)]
    await api.library.jobs.pause(job.id, 1)
    status, resumed = await _act(api, f"{job.id}/resume")
    assert (status, resumed["state"]) == (202, "queued")
    assert api.control.signalled[1:] == [(job.id, RESUME)]
    assert not (await api.library.jobs.get(job.id)).resumed


async def test_with_temporal_away_a_wish_is_kept(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    api.control.away = True
    assert (await _act(api, f"{job.id}/pause"))[0] == 202
    assert (await api.library.jobs.get(job.id)).pause_requested
    assert (await _act(api, f"{job.id}/resume"))[0] == 202
    stored = await api.library.jobs.get(job.id)
    assert (stored.pause_requested, stored.resumed) == (False, True)


async def test_a_job_that_temporal_does_not_know_stands_still_at_once(api: Api) -> None:
    job = await api.submit()
    status, paused = await _act(api, f"{job.id}/pause")
    assert (status, paused["state"], api.control.signalled) == (202, "paused", [])
    assert await api.library.jobs.undispatched() == []
    await _act(api, f"{job.id}/resume")
    assert [each.id for each in await api.library.jobs.undispatched()] == [job.id]
    assert api.control.woken[-1] == job.id


async def test_what_a_state_does_not_allow_is_refused_with_the_reason(api: Api) -> None:
    job = await api.submit()
    for action, word in (("resume", "not paused"), ("retry", "queued")):
        status, problem = await _act(api, f"{job.id}/{action}")
        assert (status, word in problem["detail"]) == (409, True)
    await api.begin(job.id)
    await api.finish(job.id)
    for action in ("cancel", "pause", "resume", "retry"):
        status, problem = await _act(api, f"{job.id}/{action}")
        assert (status, "completed" in problem["detail"]) == (409, True)
    for action in ("cancel", "pause", "resume", "retry"):
        assert (await _act(api, f"video-none/{action}"))[0] == 404


async def test_a_preview_runs_what_was_chosen(api: Api) -> None:
    job = await api.submit(kind="playlist", preview=True)
    await begun(api.library, job.id)
    await api.library.batches.open(job.id, 1)
    page = [listed(name, id=f"video-{name}") for name in ("first", "second", "third")]
    await api.library.batches.store_page(job.id, 1, page, start=0)
    await api.library.batches.expanded(job.id, 1, total=3)
    await api.library.jobs.pause(job.id, 1)
    shown = await _counted(api, job.id, Counts(total=3, queued=3))
    assert shown["state"] == "paused"
    for positions in ([], [0], [9], "all"):
        assert (await _act(api, f"{job.id}/resume", {"positions": positions}))[0] == 422
    assert (await _act(api, f"{job.id}/resume", {"positions": [2]}))[0] == 202
    assert [item["state"] for item in await _items(api, job.id)] == ["cancelled", "queued", "cancelled"]
    assert (job.id, RESUME) in api.control.signalled
    await _act(api, f"{job.id}/pause")
    status, problem = await _act(api, f"{job.id}/resume", {"positions": [1]})
    assert (status, "preview" in problem["detail"]) == (409, True)


async def test_an_item_that_is_retried_stands_in_line_in_its_batch(api: Api) -> None:
    batch_id = await _list(api, "bad", "next")
    (bad,) = await let_go(api.library, batch_id, at_once=1)
    await fail(api.library, bad)
    status, job = await _act(api, f"{bad}/retry")
    assert (status, job["state"]) == (202, "queued")
    assert api.control.signalled == [(batch_id, POKE)]
    assert await api.library.jobs.undispatched() == []


async def test_a_batch_shows_its_counts_while_it_runs_and_as_its_result(api: Api) -> None:
    batch_id = await _list(api, "good", "bad")
    good, bad = await let_go(api.library, batch_id)
    await api.bring(good)
    shown = await _counted(api, batch_id, Counts(total=2, queued=1, completed=1))
    assert shown["result"] is None
    await fail(api.library, bad)
    await api.library.window.finish(batch_id, 1)
    over = (await api.client.get(f"/api/jobs/{batch_id}", params={"wait": 5})).json()
    counts = Counts(total=2, completed=1, failed=1).model_dump()
    assert (over["state"], over["counts"], over["result"]) == ("partial", counts, {**counts, "truncated": False})
    again = await _list(api, "good")
    (item,) = await _items(api, again)
    assert (item["state"], item["result"]["skipped"]) == ("completed", True)
    assert [each["id"] for each in await _items(api, batch_id, state="failed")] == [bad]


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry"])
async def test_a_filter_says_which_jobs_it_means(api: Api, action: str) -> None:
    for body, field in (
        ({}, "body"),
        ({"state": []}, "body"),
        ({"all": False}, "body"),
        ({"all": True, "site": "example.org"}, "all"),
        ({"stat": "failed"}, "stat"),
        ({"state": "finished"}, "state.0"),
        ({"failure": "bad luck"}, "failure"),
        ({"q": "x" * 201}, "q"),
        ([], "body"),
        (None, "body"),
    ):
        status, problem = await _act(api, action, body)
        assert (status, problem["errors"][0]["field"]) == (422, field), (body, problem)
    assert await _act(api, action, {"all": True}) == (200, {"matched": 0})


async def test_a_class_of_failures_is_retried(api: Api) -> None:
    batch_id = await _list(api, "good", "bad", "worse")
    good, *others = await let_go(api.library, batch_id)
    await api.bring(good)
    for job_id in others:
        await fail(api.library, job_id)
    assert await _act(api, "retry", {"parent": batch_id, "state": "failed", "failure": "private"}) == (
        200,
        {"matched": 0},
    )
    assert await _act(api, "retry", {"parent": batch_id, "state": "failed", "failure": "network"}) == (
        200,
        {"matched": 2},
    )
    assert api.control.signalled == [(batch_id, POKE)]
    assert [item["state"] for item in await _items(api, batch_id)] == ["completed", "queued", "queued"]


async def test_everything_is_cancelled(api: Api) -> None:
    batch_id = await _list(api, "a", "b")
    job = await api.submit()
    await api.begin(job.id)
    waiting = await api.submit(url="https://example.org/waiting")
    status, answer = await _act(api, "cancel", {"all": True, "keep_partial": True})
    assert (status, answer["matched"]) == (200, 5)
    assert set(api.control.cancelled) == {batch_id, job.id}
    assert (await api.library.jobs.get(waiting.id)).state is State.CANCELLED
    assert (await api.library.jobs.get(job.id)).keep_partial
    assert [item["state"] for item in await _items(api, batch_id)] == ["cancelled", "cancelled"]


async def test_with_temporal_away_a_filter_is_written_down_all_the_same(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    api.control.away = True
    assert await _act(api, "pause", {"site": "example.org"}) == (200, {"matched": 1})
    assert (await api.library.jobs.get(job.id)).pause_requested


async def test_a_priority_is_changed(api: Api) -> None:
    batch_id = await _list(api, "a", "b")
    answer = await api.client.patch(f"/api/jobs/{batch_id}", json={"priority": 1})
    assert (answer.status_code, answer.json()["priority"]) == (200, 1)
    assert [item["priority"] for item in await _items(api, batch_id)] == [1, 1]
    for body in ({}, {"priority": 0}, {"priority": 6}, {"priority": 1, "state": "completed"}):
        assert (await api.client.patch(f"/api/jobs/{batch_id}", json=body)).status_code == 422
    assert (await api.client.patch("/api/jobs/video-none", json={"priority": 1})).status_code == 404
    job = await api.submit()
    await api.begin(job.id)
    assert (await api.client.patch(f"/api/jobs/{job.id}", json={"priority": 1})).status_code == 409


async def test_deleting_a_batch_ends_its_items_and_forgets_those_that_nobody_else_wants(api: Api) -> None:
    batch_id = await _list(api, "flies", "own", "line")
    flies, own, line = (item["id"] for item in await _items(api, batch_id))
    assert await let_go(api.library, batch_id, at_once=1) == [flies]
    await begun(api.library, flies)
    await api.submit(url="https://example.org/own")
    answer = await api.client.delete(f"/api/jobs/{batch_id}")
    assert answer.status_code == 204, answer.text
    assert set(api.control.cancelled) == {batch_id, flies}
    assert await api.library.jobs.find(flies) is None
    assert await api.library.jobs.find(line) is None
    assert (await api.library.jobs.get(own)).state is State.QUEUED


async def test_with_temporal_away_nothing_that_runs_is_deleted(api: Api) -> None:
    batch_id = await _list(api, "a")
    api.control.away = True
    assert (await api.client.delete(f"/api/jobs/{batch_id}")).status_code == 503
    assert (await api.library.jobs.get(batch_id)).cancel_requested


async def test_stats_say_how_much_there_is_to_do(api: Api) -> None:
    batch_id = await _list(api, "a", "b")
    (first,) = await let_go(api.library, batch_id, at_once=1)
    await api.bring(first)
    stats = (await api.client.get("/api/stats")).json()
    assert (stats["jobs"]["queued"], stats["jobs"]["completed"], stats["jobs"]["running"]) == (1, 1, 1)
    assert stats["last_hour"] == {"completed": 1, "failed": 0, "bytes": 10}
    assert stats["queues"]["reelin-downloads"]["workers"] == 1
    assert stats["disk"]["total_bytes"] >= stats["disk"]["free_bytes"] > 0
    api.control.away = True
    assert (await api.client.get("/api/stats")).json()["queues"] is None
