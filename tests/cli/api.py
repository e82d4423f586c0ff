"""A small real HTTP server that speaks the documented API: what the command line is tested against."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from reelin.contracts.failures import Failure
from reelin.contracts.jobs import Counts, Job, Kind, Links, Phase, Progress, State

#: In a script of events: hang up in the middle, or send nothing more until the client goes.
DROP = "drop"
HOLD = "hold"


def a_job(number: int = 1, **fields: Any) -> Job:
    job_id = fields.pop("id", f"video-{number:08x}{'0' * 16}")
    values: dict[str, Any] = {
        "kind": Kind.VIDEO,
        "state": State.QUEUED,
        "url": f"https://example.org/{number}",
        "site": "example.org",
        "submitted_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "links": Links(self=f"/api/jobs/{job_id}", events=f"/api/jobs/{job_id}/events"),
        "version": 1,
    }
    return Job(id=job_id, **(values | fields))


def a_list(**counts: int) -> Job:
    """A batch of ten; the counts say how far it is."""
    state = State.RUNNING if counts else State.QUEUED
    job = a_job(id="bulk-" + "b" * 24, kind=Kind.BULK, url=None, title="10 URLs", site=None, state=state)
    version = 1 + sum(counts.values())
    return job.model_copy(update={"counts": Counts(**({"total": 10} | counts)), "version": version})


def ended(batch: Job, state: State = State.COMPLETED) -> Job:
    return batch.model_copy(update={"state": state, "version": 999})


def item(job: Job, position: int = 1, batch: Job | None = None) -> Job:
    parent_id = (batch or a_list()).id
    return job.model_copy(update={"parent_id": parent_id, "position": position})


def running(job: Job, percent: float, version: int) -> Job:
    progress = Progress(percent=percent, downloaded_bytes=int(percent * 1000), total_bytes=100_000)
    return job.model_copy(
        update={"state": State.RUNNING, "phase": Phase.DOWNLOADING, "progress": progress, "version": version}
    )


def completed(job: Job, version: int = 99) -> Job:
    file = {"id": "f-1", "path": "clip [1].mp4", "size_bytes": 1_055_736, "sha256": "0" * 64, "url": "/f"}
    result = {"video_id": "v-1", "skipped": False, "files": [file]}
    return job.model_copy(update={"state": State.COMPLETED, "result": result, "version": version, "title": "A clip"})


def failed(job: Job, version: int = 99) -> Job:
    failure = Failure(kind="not_found", message="The site says 404.", remedy="Check the URL.", retryable=False)
    return job.model_copy(update={"state": State.FAILED, "failure": failure, "version": version})


def event(job: Job, *, identifier: str | None = None) -> str:
    return f"id: {identifier or job.version}\nevent: job\ndata: {job.model_dump_json()}\n\n"


END = "event: end\ndata: {}\n\n"
READY = "id: ready\nevent: ready\ndata: {}\n\n"


def problem(status: int, detail: str, *errors: dict[str, str]) -> Response:
    body = {"type": "about:blank", "title": "Refused", "status": status, "detail": detail, "errors": list(errors)}
    return JSONResponse(body, status, media_type="application/problem+json")


@dataclass
class Api:
    """`streams` holds for each path what its connections get, one script each; the last one serves all later ones."""

    url: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    videos: list[dict[str, Any]] = field(default_factory=list)
    streams: dict[str, list[list[str]]] = field(default_factory=dict)
    answers: dict[str, Response] = field(default_factory=dict)  #: By "METHOD path": instead of the usual one.
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    page_size: int = 500
    skipped: int = 0  #: Lines of a list that could not be used.
    matched: int = 0  #: What a filter meets.

    def add(self, *jobs: Job) -> None:
        self.jobs |= {job.id: job for job in jobs}

    def asked(self, method: str, path: str) -> list[Request]:
        return [request for request in self.requests if (request.method, request.url.path) == (method, path)]

    async def answer(self, request: Request) -> Response:
        self.requests.append(request)
        path = request.url.path
        body = await request.body()
        if body:
            text = request.headers.get("content-type", "").startswith("text/plain")
            self.bodies.append(body.decode() if text else json.loads(body))
        if f"{request.method} {path}" in self.answers:
            return self.answers[f"{request.method} {path}"]
        if path in self.streams:
            return self._stream(path)
        if path in self.files:
            return Response(self.files[path], media_type="video/mp4")
        return self._plain(request, path.removeprefix("/api/").split("/"))

    def _plain(self, request: Request, parts: list[str]) -> Response:
        match [request.method, *parts]:
            case ["POST", "jobs"] if isinstance(self.bodies[-1], str):
                return self._submit_list()
            case ["POST", "jobs"]:
                return self._submit(self.bodies[-1])
            case ["POST", "jobs", "cancel" | "pause" | "resume" | "retry"]:
                return JSONResponse({"matched": self.matched})
            case ["GET", "jobs"]:
                return self._jobs(request)
            case ["GET", "videos"]:
                return self._page(request, self.videos)
            case ["GET", "jobs", job_id] if job_id in self.jobs:
                return _json(self.jobs[job_id])
            case ["POST", "jobs", job_id, "cancel"] if job_id in self.jobs:
                return _json(self.jobs[job_id].model_copy(update={"state": State.CANCELLED}), 202)
            case ["POST", "jobs", job_id, "retry"] if job_id in self.jobs:
                return _json(self.jobs[job_id].model_copy(update={"state": State.QUEUED}), 202)
            case ["POST", "jobs", job_id, "pause"] if job_id in self.jobs:
                return _json(self.jobs[job_id].model_copy(update={"state": State.PAUSED}), 202)
            case ["POST", "jobs", job_id, "resume"] if job_id in self.jobs:
                return _json(self.jobs[job_id].model_copy(update={"state": State.QUEUED}), 202)
            case ["PATCH", "jobs", job_id] if job_id in self.jobs:
                return _json(self.jobs[job_id].model_copy(update=self.bodies[-1]))
        return problem(404, f"There is no {'/'.join(parts)}.")

    def _submit(self, body: dict[str, Any]) -> Response:
        for job in self.jobs.values():
            if job.url == body["url"]:
                return _json(job, 202)
        error = {"field": "url", "message": "The URL names no host.", "remedy": "Give a complete address."}
        return problem(422, "The request is not valid.", error)

    def _submit_list(self) -> Response:
        """The list that is there, or the one URL of those that are no list."""
        answer = _json(next(job for job in self.jobs.values() if job.kind is Kind.BULK), 202)
        answer.headers["Reelin-Skipped-Invalid"] = str(self.skipped)
        return answer

    def _jobs(self, request: Request) -> Response:
        """Filtered by `parent` and `state` as the API does, and by `q` as the beginning of an id."""
        wanted = request.query_params
        batch = [job for job in self.jobs.values() if not wanted.get("parent") or job.parent_id == wanted["parent"]]
        if "-" in wanted.get("q", ""):
            batch = [job for job in batch if job.id.startswith(wanted["q"])]
        states = wanted.getlist("state")
        found = [job.model_dump(mode="json") for job in batch if not states or job.state in states]
        return self._page(request, found, {str(state): n for state, n in Counter(job.state for job in batch).items()})

    def _page(self, request: Request, items: list[dict[str, Any]], counts: dict[str, int] | None = None) -> Response:
        start = int(request.query_params.get("cursor", 0))
        stop = start + min(int(request.query_params["limit"]), self.page_size)
        more = str(stop) if stop < len(items) else None
        return JSONResponse({"items": items[start:stop], "next_cursor": more, "counts": counts or {}})

    def _stream(self, path: str) -> Response:
        scripts = self.streams[path]
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return StreamingResponse(_play(script), media_type="text/event-stream")


async def _play(script: list[str]) -> AsyncIterator[str]:
    yield ": hello\n\n"
    for text in script:
        if text == DROP:
            raise ConnectionResetError("as the script says")
        if text == HOLD:
            await asyncio.sleep(60)
        yield text


def _json(job: Job, status: int = 200) -> Response:
    return Response(job.model_dump_json(), status, media_type="application/json")


class Server:
    """On a thread, on a free port. Serves whatever `api` is at the moment, so that one server is enough for all."""

    def __init__(self) -> None:
        self.api = Api()
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST", "PATCH"])])
        config = uvicorn.Config(_quiet(app), ws="none", lifespan="off", log_config=None, log_level="critical")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()

    async def _answer(self, request: Request) -> Response:
        return await self.api.answer(request)

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()


def _quiet(app: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(ConnectionResetError):  # uvicorn sees an answer that ends too early, and hangs up
            await app(scope, receive, send)

    return wrapped


def not_reelin() -> Response:
    return PlainTextResponse("<h1>It works!</h1>", 404, media_type="text/html")
