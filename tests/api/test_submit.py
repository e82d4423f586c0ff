"""What is accepted is stored before the answer; what is refused leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from reelin.contracts.jobs import Kind, State
from tests.api.service import Api, api_in_memory

URL = "https://example.org/one"


async def test_a_submission_is_stored_before_it_is_answered(api: Api) -> None:
    answer = await api.client.post("/api/jobs", json={"url": URL, "preset": "720p", "priority": 1})
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/api/jobs/{job['id']}")
    assert (job["state"], job["kind"], job["preset"], job["priority"]) == ("queued", "auto", "720p", 1)
    assert job["links"]["temporal"] == f"http://temporal/namespaces/default/workflows/{job['id']}"
    assert (await api.library.jobs.get(job["id"])).state is State.QUEUED
    assert api.control.woken == [job["id"]]


async def test_the_same_submission_again_is_the_same_job(api: Api) -> None:
    first = await api.submit()
    again = await api.client.post("/api/jobs", json={"url": "HTTPS://Example.org:443/one#top", "priority": 5})
    assert (again.status_code, again.json()["id"]) == (200, first.id)
    assert api.control.woken == [first.id]
    assert (await api.submit(preset="360p")).id != first.id


async def test_two_submissions_at_once_are_one_job(api: Api) -> None:
    answers = await asyncio.gather(*(api.client.post("/api/jobs", json={"url": URL}) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [202]
    assert await api.stored() == 1


async def test_a_finished_job_is_answered_and_forced_again(api: Api) -> None:
    job = await api.submit()
    await api.begin(job.id)
    await api.finish(job.id)
    done = await api.submit()
    assert (done.state, done.result is not None) == (State.COMPLETED, True)
    forced = await api.client.post("/api/jobs", json={"url": URL, "force": True})
    assert (forced.status_code, forced.json()["state"], forced.json()["result"]) == (202, "queued", None)


async def test_info_is_a_kind_of_its_own(api: Api) -> None:
    job = await api.submit(kind="info")
    assert (job.kind, job.id[:5]) == (Kind.INFO, "info-")


PRIVATE = [
    "http://127.0.0.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://[::1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://169.254.169.254/latest/meta-data",
    "http://192.168.1.1:8080/",
    "http://127.0.0.1./",
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"url": "not a url"}, "url"),
    ({"url": "example.org/video"}, "url"),
    ({"url": ""}, "url"),
    ({"url": "https://" + "a" * 5000}, "url"),
    ({"url": "https://exa\nmple.org/"}, "url"),
    ({"url": "https://example.org:99999/"}, "url"),
    ({"url": "ftp://example.org/video.mp4"}, "url"),
    ({"url": "file:///etc/passwd"}, "url"),
    ({"url": "https://example.org/#__youtubedl_smuggle=%7B%7D"}, "url"),
    ({"url": "https://user:secret@example.org/"}, "url"),
    *(({"url": url}, "url") for url in PRIVATE),
    ({"url": 7}, "url"),
    ({"url": None}, "url"),
    ({}, "url"),
    ({"url": URL, "preset": "bset"}, "preset"),
    ({"url": URL, "presett": "best"}, "presett"),
    ({"url": URL, "priority": 0}, "priority"),
    ({"url": URL, "priority": 6}, "priority"),
    ({"url": URL, "priority": "high"}, "priority"),
    ({"url": URL, "force": "perhaps"}, "force"),
    ({"url": URL, "kind": "film"}, "kind"),
    ({"url": URL, "kind": "bulk"}, "kind"),
    ({"url": URL, "kind": "video", "preview": True}, "preview"),
    ({"url": URL, "kind": "info", "preview": True}, "preview"),
    ({"urls": [URL], "preview": True}, "preview"),
    ({"urls": [URL], "kind": "video"}, "kind"),
    ({"urls": [URL], "kind": "playlist"}, "kind"),
    ({"urls": [URL], "url": URL}, "urls"),
    ({"urls": URL}, "urls"),
    ({"urls": []}, "urls"),
    ({"urls": [URL, 7]}, "urls.1"),
    ({"urls": [None]}, "urls.0"),
    ({"urls": [""]}, "urls.0"),
    ({"urls": ["# a comment"]}, "urls.0"),
    ({"urls": ["\ud800"]}, "urls.0"),
    ({"urls": [URL, "http://127.0.0.1/"]}, "urls.1"),
    ({"urls": ["http://127.0.0.1/"], "skip_invalid": True}, "urls"),
    ({"urls": [URL], "options": {"at_once": 0}}, "options.at_once"),
    ({"url": URL, "options": {"at_once": 501}}, "options.at_once"),
    ({"url": URL, "options": {"exec": "rm -rf /"}}, "options.exec"),
    ({"url": URL, "options": []}, "options"),
    ({"url": URL, "options": {"folder": "../x"}}, "options.folder"),
    ({"url": URL, "options": {"folder": "/x"}}, "options.folder"),
    ({"url": URL, "options": {"folder": "a/b/c/d/e/f"}}, "options.folder"),
    ({"url": URL, "options": {"filename": "{title}/../x"}}, "options.filename"),
    ({"url": URL, "options": {"filename": "{title.__class__}"}}, "options.filename"),
    ({"url": URL, "options": {"container": "exe"}}, "options.container"),
    ({"url": URL, "options": {"concurrent_fragments": 17}}, "options.concurrent_fragments"),
    ({"url": URL, "options": {"format": "x" * 501}}, "options.format"),
    ({"url": URL, "options": {"format": "\ud800"}}, "options.format"),
    ({"url": URL, "options": {"cookies": "../jar"}}, "options.cookies"),
    (
        {"url": URL, "options": {"sections": [{"start_seconds": 2, "end_seconds": 1}]}},
        "options.sections.0",
    ),
]


@pytest.mark.parametrize(("submission", "field"), BAD, ids=[f"{field}-{index}" for index, (_, field) in enumerate(BAD)])
async def test_bad_input_is_refused_by_field_and_leaves_nothing(
    api: Api, submission: dict[str, Any], field: str
) -> None:
    content = json.dumps(submission)
    answer = await api.client.post("/api/jobs", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["instance"]) == (422, "/api/jobs")
    named = {error["field"]: error for error in problem["errors"]}
    assert field in named
    assert named[field]["message"] and named[field]["remedy"]
    assert len(answer.content) < 3000
    assert await api.stored() == 0
    assert api.control.woken == []


async def test_ranges_that_were_opened_are_accepted(tmp_path: Path) -> None:
    async with api_in_memory(tmp_path, egress_allow="127.0.0.0/8,::1/128") as api:
        for url in ("http://127.0.0.1/", "http://2130706433/v", "http://[::1]/v"):
            assert (await api.submit(url=url)).url == url
        assert (await api.client.post("/api/jobs", json={"url": "http://10.0.0.1/"})).status_code == 422


async def test_a_misspelt_field_is_answered_with_the_right_one(api: Api) -> None:
    answer = await api.client.post("/api/jobs", json={"url": URL, "presett": "best", "options": {"foldr": "x"}})
    remedies = {error["field"]: error["remedy"] for error in answer.json()["errors"]}
    assert "Did you mean preset?" in remedies["presett"]
    assert "Did you mean folder?" in remedies["options.foldr"]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b'{"url": ', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"url": "\xff"}', "application/json"),
        (b"[]", "application/json"),
        (b'"text"', "application/json"),
        (b"null", "application/json"),
        (b"", "application/json"),
        (b"https://example.org/\xe4", "text/plain"),
        (b"https://example.org/", "text/plain; charset=utf-16"),
        (b"https://example.org/", "text/csv"),
        (b'{"url": "https://example.org/one"}', "application/x-www-form-urlencoded"),
    ],
)
async def test_a_body_that_is_not_a_json_object_is_refused(api: Api, content: bytes, content_type: str) -> None:
    answer = await api.client.post("/api/jobs", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == "body"
    assert answer.json()["errors"][0]["remedy"]
    assert await api.stored() == 0


async def test_at_most_a_little_of_the_input_is_repeated(api: Api) -> None:
    secret = "x" * 5000
    for submission in ({"url": secret}, {secret: 1}, {"url": URL, "preset": secret}, {"url": f"http://[{secret}]/"}):
        assert secret[:260] not in (await api.client.post("/api/jobs", json=submission)).text
    assert secret[:260] not in (await api.client.get(f"/api/jobs/{secret}")).text
