"""Lists of URLs: what is accepted is one job, and what cannot be used is named line by line."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from reelin.contracts.jobs import State
from reelin.library import JobFilter
from tests.api.service import Api

TEXT = {"Content-Type": "text/plain"}


def _urls(number: int) -> list[str]:
    return [f"https://cdn{index % 20}.example{index % 7}.org/{'x' * 60}/{index}" for index in range(number)]


async def _post(api: Api, body: Any, **headers: str) -> httpx.Response:
    return await api.client.post("/api/jobs", json=body, headers=headers)


async def test_a_list_is_one_job_whose_items_are_listed_by_position(api: Api) -> None:
    answer = await _post(api, {"urls": [" https://example.org/a ", "https://example.com/b"], "priority": 2})
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/api/jobs/{job['id']}")
    assert (job["kind"], job["state"], job["title"], job["url"]) == ("bulk", "queued", "2 URLs", None)
    assert (job["counts"]["total"], job["counts"]["queued"], job["priority"]) == (2, 2, 2)
    assert api.control.woken == [job["id"]]
    page = (await api.client.get("/api/jobs", params={"parent": job["id"]})).json()
    assert [(item["position"], item["parent_id"], item["site"]) for item in page["items"]] == [
        (1, job["id"], "example.org"),
        (2, job["id"], "example.com"),
    ]
    assert {item["title"] for item in page["items"]} == {None}
    listed = (await api.client.get("/api/jobs")).json()["items"]
    assert [each["id"] for each in listed] == [job["id"]]
    assert len((await api.client.get("/api/jobs", params={"items": True})).json()["items"]) == 3


async def test_text_is_taken_line_by_line_with_the_other_fields_in_the_query(api: Api) -> None:
    text = "\ufeff# my films\r\n\r\nhttps://example.org/a\r\n  https://example.org/b  \n#https://example.org/c\n\n"
    query = {"preset": "720p", "priority": "1", "force": "true", "options": json.dumps({"folder": "talks"})}
    answer = await api.client.post("/api/jobs", content=text.encode(), headers=TEXT, params=query)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["preset"], job["priority"], job["counts"]["total"]) == ("720p", 1, 2)
    stored = await api.library.jobs.get(job["id"])
    assert (stored.force, stored.options) == (True, {"folder": "talks"})


async def test_every_line_that_cannot_be_used_is_named_in_one_answer(api: Api) -> None:
    text = "https://example.org/a\n\nnot a url\n# comment\nftp://example.org/b\nhttp://127.0.0.1/\n"
    answer = await api.client.post("/api/jobs", content=text, headers=TEXT)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [error["field"] for error in problem["errors"]] == ["lines.3", "lines.5", "lines.6"]
    assert problem["entries"] == "3,5-6"
    assert "'not a url'" in problem["errors"][0]["message"]
    assert "3 of 4 entries" in problem["detail"] and "skip_invalid=true" in problem["detail"]
    assert await api.stored() == 0


async def test_of_many_lines_that_cannot_be_used_the_first_are_named_and_all_are_counted(api: Api) -> None:
    bad = [f"nonsense {'y' * 5000} {index}" for index in range(1500)]
    answer = await _post(api, {"urls": [*bad, "https://example.org/a"]})
    problem = answer.json()
    assert "1,500 of 1,501 entries" in problem["detail"]
    assert problem["entries"] == "1-1500"
    assert [error["field"] for error in problem["errors"]] == [f"urls.{index}" for index in range(100)]
    assert len(answer.content) < 60_000
    assert await api.stored() == 0


async def test_what_cannot_be_used_is_left_out_if_that_was_asked_for(api: Api) -> None:
    answer = await _post(api, {"urls": ["nonsense", "https://example.org/a", 7], "skip_invalid": True})
    assert (answer.status_code, answer.headers["reelin-skipped-invalid"]) == (202, "2")
    assert answer.json()["counts"]["total"] == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"presett": "best"}, "presett"),
        ({"options": "{"}, "options"),
        ({"options": '{"exec": "rm"}'}, "options.exec"),
        ({"url": "https://example.org/"}, "url"),
        ({"urls": "https://example.org/"}, "urls"),
        ({"priority": ["1", "2"]}, "priority"),
        ({"preview": "true"}, "preview"),
    ],
)
async def test_a_bad_parameter_beside_a_text_is_named(api: Api, query: dict[str, Any], field: str) -> None:
    answer = await api.client.post("/api/jobs", content="https://example.org/a", headers=TEXT, params=query)
    assert answer.status_code == 422
    assert field in {error["field"] for error in answer.json()["errors"]}
    assert await api.stored() == 0


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "\ufeff"])
async def test_a_text_without_a_url_is_refused(api: Api, text: str) -> None:
    answer = await api.client.post("/api/jobs", content=text.encode(), headers=TEXT)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "urls")


async def test_what_is_misspelt_beside_a_text_gets_a_suggestion(api: Api) -> None:
    answer = await api.client.post(
        "/api/jobs", content="https://example.org/a", headers=TEXT, params={"options": '{"max_item": 3}'}
    )
    assert "Did you mean max_items?" in answer.json()["errors"][0]["remedy"]


async def test_a_parameter_beside_json_is_refused_and_not_passed_over(api: Api) -> None:
    answer = await api.client.post("/api/jobs", json={"url": "https://example.org/a"}, params={"preset": "720p"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "preset")
    assert await api.stored() == 0


@pytest.mark.parametrize("options", [{"reverse": True}, {"items": "2-3"}])
async def test_an_order_that_only_a_playlist_has_is_refused_of_a_list(api: Api, options: dict[str, Any]) -> None:
    answer = await _post(api, {"urls": ["https://example.org/a", "https://example.org/b"], "options": options})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, f"options.{next(iter(options))}")
    assert await api.stored() == 0


@pytest.mark.parametrize("items", ["0", "5-2", "1,0-3", "3-0"])
async def test_a_range_that_holds_no_position_is_refused(api: Api, items: str) -> None:
    answer = await _post(api, {"url": "https://example.org/list", "options": {"items": items}})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "options.items")


async def test_what_concerns_playlists_does_not_make_one_video_two(api: Api) -> None:
    plain = await _post(api, {"url": "https://example.org/a", "kind": "video"})
    with_range = await _post(api, {"url": "https://example.org/a", "kind": "video", "options": {"max_items": 3}})
    assert (with_range.status_code, with_range.json()["id"]) == (200, plain.json()["id"])


async def test_a_key_makes_a_repeated_list_the_same_job(api: Api) -> None:
    body = {"urls": ["https://example.org/a"], "preset": "720p"}
    key = {"Idempotency-Key": "k-1"}
    first = await _post(api, body, **key)
    again = await _post(api, body, **key)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    as_text = await api.client.post(
        "/api/jobs", content="https://example.org/a", headers={**TEXT, **key}, params={"preset": "720p"}
    )
    assert (as_text.status_code, as_text.json()["id"]) == (200, first.json()["id"])
    other = await _post(api, {**body, "urls": ["https://example.org/b"]}, **key)
    assert (other.status_code, "another request" in other.json()["detail"]) == (409, True)
    assert (await _post(api, body, **{"Idempotency-Key": "k-2"})).json()["id"] != first.json()["id"]
    assert (await _post(api, body)).json()["id"] != first.json()["id"]
    assert (await _post(api, body, **{"Idempotency-Key": "k" * 256})).status_code == 422


async def test_a_repeated_list_at_once_is_stored_once(api: Api) -> None:
    body = {"urls": ["https://example.org/a"]}
    answers = await asyncio.gather(*(_post(api, body, **{"Idempotency-Key": "k"}) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [202]


@pytest.mark.timeout(90)
async def test_the_largest_list_is_accepted_while_others_are_served_and_one_more_url_is_not(api: Api) -> None:
    urls = _urls(100_000)
    submitting = asyncio.create_task(_post(api, {"urls": urls}))
    waits = []
    while not submitting.done():
        begun = time.perf_counter()
        assert (await api.client.get("/healthz")).status_code == 200
        waits.append(time.perf_counter() - begun)
        await asyncio.sleep(0.02)
    answer = await submitting
    assert answer.status_code == 202, answer.text[:500]
    assert answer.json()["counts"]["total"] == 100_000
    assert len(waits) > 20
    refused = await _post(api, {"urls": [*urls, "https://example.org/one-more"]})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "urls")
    assert "100,000" in refused.json()["errors"][0]["remedy"]
    assert len((await api.client.get("/api/jobs")).json()["items"]) == 1


async def test_a_playlist_is_a_kind_of_its_own_and_a_preview_is_remembered(api: Api) -> None:
    job = await api.submit(kind="playlist", preview=True, options={"max_items": 10, "at_once": 3})
    assert job.id.startswith("playlist-")
    batch = await api.library.batches.open(job.id, 1)
    assert (batch.preview, batch.at_once) == (True, 3)
    other = await api.submit(preview=True)
    assert other.id.startswith("video-")
    assert (await api.library.batches.open(other.id, 1)).preview


async def test_counts_of_a_page_are_those_of_the_whole_filter(api: Api) -> None:
    job = (await _post(api, {"urls": _urls(120)})).json()
    page = (await api.client.get("/api/jobs", params={"parent": job["id"], "limit": 10})).json()
    assert (len(page["items"]), page["counts"]["queued"]) == (10, 120)
    rest = (await api.client.get("/api/jobs", params={"parent": job["id"], "cursor": page["next_cursor"]})).json()
    assert rest["items"][0]["position"] == 11
    assert await api.library.jobs.counts(JobFilter(parent=job["id"], state=(State.FAILED,)))
