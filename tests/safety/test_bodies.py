"""Whatever is sent to the API: it answers, never with a fault of its own, and what it refuses leaves nothing behind."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import example, given
from hypothesis import strategies as st

from reelin.api.messages import parse
from reelin.contracts.jobs import Job
from reelin.errors import InvalidInput
from tests.api.service import Api
from tests.safety.hostile import TITLE, any_text, bodies

JSON = {"Content-Type": "application/json"}
URL = "https://example.org/watch?v=1"


def assert_problem(answer: httpx.Response, status: int = 422) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status and problem["detail"]
    assert all(error["field"] and error["message"] and error["remedy"] for error in problem["errors"]), problem
    assert len(answer.content) < 50_000


@given(bodies)
@example({"url": URL})
@example({"\ud800": 1, "url": URL})
@example({"url": "https://exa\ud800mple.org/"})
@example({"url": URL, "options": {"\udfff" * 300: {}}})
@example({"url": URL, "priority": 10**400})
@example({"url": URL, "options": {"max_bytes": 2**63}})
@example({"url": URL, "options": {"rate_limit_bytes_per_second": 10**30}})
@example({"url": URL, "options": {"sections": [{"start_seconds": float("nan"), "end_seconds": float("inf")}]}})
@example({"url": URL, "preset": TITLE, TITLE: TITLE})
@example({"url": f"https://example.org/{TITLE}"})
async def test_any_json_is_a_job_or_a_problem_that_stored_nothing(api: Api, body: Any) -> None:
    before, woken = await api.stored(), len(api.control.woken)
    answer = await api.client.post("/api/jobs", content=json.dumps(body), headers=JSON)
    if answer.status_code in (200, 202):
        job = Job.model_validate_json(answer.content)
        assert (await api.client.get(job.links.self)).json()["url"] == job.url
        assert await api.stored() == before + (answer.status_code == 202)
    else:
        assert_problem(answer)
        assert (await api.stored(), len(api.control.woken)) == (before, woken)


@given(st.one_of(st.binary(max_size=200), any_text.map(lambda text: text.encode("utf-8", "surrogatepass"))))
@example(b"\xff\xfe{\x00}\x00")
@example(b'{"url": "https://example.org/", "url": 1}')
@example(b"[" * 10_000 + b"]" * 10_000)
@example(b'{"priority": ' + b"1" * 10_000 + b"}")
@example(b"1e999999")
async def test_any_bytes_are_a_problem(api: Api, body: bytes) -> None:
    assert_problem(await api.client.post("/api/jobs", content=body, headers=JSON))
    assert await api.stored() == 0


_queries = st.dictionaries(
    st.one_of(
        st.sampled_from(("state", "kind", "parent", "site", "failure", "q", "sort", "limit", "cursor", "wait", "x")),
        any_text.map(lambda text: text[:50]),
    ),
    st.one_of(st.sampled_from(("queued", "-size", "title", "0", "1", "501", "nan", "eyJ9", "%", "_")), any_text),
    max_size=3,
)


def _query(pairs: dict[str, str]) -> str:
    return "&".join(f"{_escaped(name)}={_escaped(value)}" for name, value in pairs.items())


def _escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@given(st.sampled_from(("/api/jobs", "/api/videos")), _queries)
async def test_any_query_is_a_page_or_a_problem(api: Api, path: str, query: dict[str, str]) -> None:
    answer = await api.client.get(f"{path}?{_query(query)}")
    if answer.status_code != 200:
        assert_problem(answer)


@given(
    st.sampled_from(("GET", "POST", "DELETE", "PATCH", "OPTIONS")),
    st.sampled_from(
        ("/api/jobs/{}", "/api/jobs/{}/cancel", "/api/jobs/{}/retry", "/api/jobs/{}/events", "/api/videos/{}",
         "/api/videos/{}/files/{}", "/api/{}", "/{}")
    ),
    any_text.filter(bool),
)  # fmt: skip
@example("GET", "/api/jobs/{}", TITLE)
async def test_any_id_is_told_to_be_unknown(api: Api, method: str, path: str, name: str) -> None:
    answer = await api.client.request(method, path.format(_escaped(name), _escaped(name)))
    assert answer.status_code in (200, 307, 404, 405, 422), answer.text
    if answer.status_code >= 400:
        assert_problem(answer, answer.status_code)


@given(st.one_of(any_text, bodies.map(json.dumps), st.builds(
    lambda kind, job_id: json.dumps({"type": kind, "job_id": job_id}),
    st.sampled_from(("subscribe_job", "unsubscribe_job", "cancel_job", "get_active_jobs", "ping", "x")), any_text,
)))  # fmt: skip
def test_any_websocket_message_is_understood_or_refused(text: str) -> None:
    try:
        assert parse(text) is not None
    except InvalidInput as error:
        assert error.message and error.remedy
