"""One title that tries everything comes out of the API as text, and as nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import quote

import websockets

from reelin.activities import Starter
from reelin.api.problems import MEDIA_TYPE
from reelin.api.stream import version_in
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import Job, State
from reelin.contracts.media import Metadata, Role
from reelin.library import Publication, PublishedFile
from tests.api.service import Api, running_job
from tests.library.samples import MEDIA_ID, failure
from tests.safety.hostile import TITLE, UNPRINTABLE


async def hostile_job(api: Api) -> Job:
    """A finished job, whose metadata and failure are as hostile as they come."""
    await running_job(api.library, "one")
    metadata = Metadata(url="https://example.org/one", title=TITLE, extractor=TITLE, extractor_id=TITLE, uploader=TITLE)
    file = PublishedFile(path=f"{'x' * 10}.mp4", role=Role.MEDIA, size_bytes=1, sha256="0" * 64)
    publication = Publication(
        media_id=MEDIA_ID,
        job_id="video-one",
        run=1,
        owner="local",
        url="https://example.org/one",
        metadata=metadata,
        files=(file,),
    )
    assert await api.library.videos.publish(publication) is not None
    return Job.model_validate((await api.client.get("/api/jobs/video-one")).json())


async def test_json_says_that_it_is_json_and_that_a_browser_may_do_nothing_with_it(served: Api) -> None:
    job = await hostile_job(served)
    for path in (job.links.self, "/api/jobs", "/api/videos", "/openapi.json", "/readyz", "/api/jobs/unknown"):
        answer = await served.client.get(path)
        assert answer.headers["content-type"] in ("application/json", MEDIA_TYPE)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert job.title == TITLE
    assert (await served.client.get("/api/videos")).json()["items"][0]["uploader"] == TITLE


async def test_no_page_may_be_framed(served: Api) -> None:
    for path in ("/docs", "/"):
        answer = await served.client.get(path, follow_redirects=True)
        assert answer.headers["content-type"].startswith("text/html")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_every_kind_of_answer_has_the_headers(served: Api) -> None:
    for method, path, status in (
        ("GET", "/metrics", 200),
        ("GET", "/nothing", 404),
        ("PUT", "/api/jobs", 405),
        ("POST", "/api/jobs", 422),
        ("GET", "/", 307),
    ):
        answer = await served.client.request(method, path)
        assert (answer.status_code, answer.headers["x-content-type-options"]) == (status, "nosniff")
    foreign = await served.client.get("/api/jobs", headers={"Host": "evil.example"})
    assert foreign.headers["x-content-type-options"] == "nosniff"


async def test_a_title_ends_no_event_and_begins_none(served: Api) -> None:
    job = await hostile_job(served)
    async with served.client.stream("GET", job.links.events) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-content-type-options"] == "nosniff"
        sent = (await answer.aread()).decode()
    events = [block for block in sent.split("\r\n\r\n") if block]
    assert [re.findall(r"^event: (.*)$", block, re.MULTILINE) for block in events] == [["job\r"], ["end\r"]]
    for block in events:
        assert [line.partition(":")[0] for line in re.split(r"\r\n|\r|\n", block)] == ["id", "event", "data"]
    assert json.loads(events[0].partition("data: ")[2])["title"] == TITLE
    assert version_in(TITLE) is None


async def test_a_title_is_one_message_over_a_websocket(served: Api) -> None:
    job = await hostile_job(served)
    async with websockets.connect(served.url.replace("http", "ws") + "/api/ws") as socket:
        await socket.recv()
        await socket.send(json.dumps({"type": "subscribe_job", "job_id": job.id}))
        heard = [json.loads(await socket.recv()) for _ in range(2)]
        assert [message["type"] for message in heard] == ["subscription_response", "job_status"]
        assert heard[1]["job"]["title"] == TITLE
        await socket.send(json.dumps({"type": "subscribe_job", "job_id": TITLE[-60:]}))
        answer = json.loads(await socket.recv())
        assert (answer["success"], answer["job_id"]) == (False, TITLE[-60:])
        await socket.send(TITLE)
        assert json.loads(await socket.recv())["type"] == "error"


async def test_a_problem_repeats_what_was_sent_as_text_only(served: Api) -> None:
    for answer in (
        await served.client.get(f"/api/jobs/{quote(TITLE, safe='')}"),
        await served.client.get(f"/{quote(TITLE, safe='')}"),
        await served.client.post("/api/jobs", json={"url": TITLE}),
        await served.client.post("/api/jobs", json={"url": "https://example.org/", TITLE: TITLE}),
        await served.client.post("/api/jobs", json={"url": "https://example.org/", "preset": TITLE}),
        await served.client.get("/api/jobs", params={"sort": TITLE}),
    ):
        assert answer.status_code in (404, 422)
        assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == (MEDIA_TYPE, "nosniff")
        assert answer.text.isascii() and answer.text.isprintable()
        assert all("\n" not in value and "\x1b" not in value for value in answer.headers.values())


async def test_a_failure_is_told_as_text(served: Api) -> None:
    await running_job(served.library, "two")
    told = failure(FailureKind.NOT_FOUND).model_copy(update={"message": TITLE})
    await served.library.jobs.fail("video-two", 1, failure=told)
    answer = await served.client.get("/api/jobs/video-two")
    assert answer.json()["failure"]["message"] == TITLE
    assert b"\n" not in answer.content and b"\x1b" not in answer.content


async def test_a_file_name_adds_no_header_and_no_parameter(served: Api) -> None:
    name = re.sub(r"[/\x00]", "_", TITLE)[:80] + ".mp4"
    media = served.parts.settings.media_dir
    await asyncio.to_thread((media / name).write_bytes, b"film")
    await running_job(served.library, "three")
    file = PublishedFile(path=name, role=Role.MEDIA, size_bytes=4, sha256="0" * 64)
    metadata = Metadata(url="https://example.org/three", title="T", extractor="Generic", extractor_id="1")
    publication = Publication(
        media_id=MEDIA_ID,
        job_id="video-three",
        run=1,
        owner="local",
        url="https://example.org/three",
        metadata=metadata,
        files=(file,),
    )
    result = await served.library.videos.publish(publication)
    assert result is not None
    url = (await served.client.get(f"/api/videos/{result['video_id']}")).json()["files"][0]["url"]
    answer = await served.client.get(url, params={"download": 1})
    assert (answer.status_code, answer.content) == (200, b"film")
    disposition = answer.headers["content-disposition"]
    plain = re.fullmatch(r'attachment; filename="([ -~]*)"; filename\*=UTF-8\'\'([A-Za-z0-9%._~-]+)', disposition)
    assert plain is not None and not set(plain[1]) & set('"\\')
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_no_text_from_outside_is_a_label_of_prometheus(served: Api) -> None:
    await hostile_job(served)
    await served.client.get(f"/{quote(TITLE, safe='')}")
    text = (await served.client.get("/metrics")).text
    labels = set(re.findall(r'(\w+)="([^"]*)"', text))
    assert {name for name, _ in labels} == {"state", "transport", "le"}
    assert all(value in {"sse", "websocket", *State} or re.fullmatch(r"[0-9.]+|\+Inf", value) for _, value in labels)


# Temporal's UI


class RecordingClient:
    """Where a Temporal client would be: it notes what a workflow is started with."""

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}

    async def start_workflow(self, *args: Any, **options: Any) -> None:
        self.started = options


async def test_a_url_is_code_and_a_site_is_a_name_in_temporals_ui(api: Api) -> None:
    path = "".join(each for each in TITLE if each.isprintable() and not each.isspace() and each != "\\")
    submitted = await api.submit(url=f"https://example.org/{path}")
    client = RecordingClient()
    await Starter(client, api.library).start(await api.library.jobs.get(submitted.id))  # type: ignore[arg-type]
    assert client.started["static_summary"] == "auto · best · example.org"
    code, rest = re.fullmatch(r"`([^`\n]*)`\n\n(.*)", client.started["static_details"]).groups()  # type: ignore[union-attr]
    assert "evil.example" in code and "<script>" in code
    assert re.fullmatch(r"run 1, submitted [0-9: -]+ UTC", rest)


async def test_what_cannot_be_a_host_is_refused(api: Api) -> None:
    for host in ("**b**", "`c`", "<b>", "a!b", "x'y", "$(id)", "a;b", "%65vil"):
        answer = await api.client.post("/api/jobs", json={"url": f"https://{host}/"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "url"), host
    assert await api.stored() == 0


async def test_names_of_every_script_are_taken(api: Api) -> None:
    for host in ("exämple.org", "例え.jp", "उदाहरण.भारत", "a_b.example.org", "xn--bcher-kva.example", "93.184.216.34"):
        assert (await api.submit(url=f"https://{host}/")).state is State.QUEUED


def test_the_title_is_as_hostile_as_it_claims() -> None:
    assert UNPRINTABLE.search(TITLE)
    for part in (
        "<script>",
        "[red]",
        "\x1b]8;;",
        "\x1b]52;",
        "\x9b",
        "\r\n\r\nevent:",
        "\u202e",
        "--exec",
        "%(",
        "../",
    ):
        assert part in TITLE
