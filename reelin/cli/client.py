"""Reelin's API as calls. The only module of the command line that speaks HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from httpx_sse import ServerSentEvent, SSEError, connect_sse
from pydantic import Field, ValidationError

from reelin import __version__
from reelin.cli.endpoint import Endpoint
from reelin.cli.problems import NoApi, problem_of
from reelin.contracts.jobs import Job, ResultFile, State
from reelin.contracts.model import Message

Query = Mapping[str, str | int | bool | list[str]]
T = TypeVar("T")
M = TypeVar("M", bound=Message)

_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
PAGE_LIMIT = 500
#: The API sends a comment every 15 s: a stream that is silent for three of them is dead.
STREAM_SILENCE_SECONDS = 45.0
WAIT_SECONDS = 60
#: A list of 100,000 URLs is checked line by line before it is accepted.
LIST_SECONDS = 120
SKIPPED_HEADER = "Reelin-Skipped-Invalid"


class Page(Message, Generic[T]):
    """`counts`, of jobs only: by state, whatever states were asked for."""

    items: tuple[T, ...]
    next_cursor: str | None = None
    counts: dict[State, int] = Field(default_factory=dict)


class Accepted(Message):
    """A list that was submitted; `skipped` lines of it could not be used."""

    job: Job
    skipped: int = 0


class Matched(Message):
    """How many jobs a filter met, in a state that allows what was asked for."""

    matched: int


class LibraryVideo(Message):
    """A library entry, as far as the command line shows it."""

    id: str
    title: str | None = None
    url: str | None = None
    uploader: str | None = None
    duration_seconds: float | None = None
    site: str | None = None
    state: str
    files: tuple[ResultFile, ...] = ()


class SiteEntry(Message):
    """A site, as far as the command line shows it."""

    site: str
    max_at_once: int | None = None
    requests_per_hour: int | None = None
    in_use: int = 0
    waiting: int = 0
    cooldown_until: datetime | None = None
    reason: str | None = None


class Client:
    """Raises NoApi where nothing answers, Missing and ApiProblem where the API refuses."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        headers = {b"User-Agent": f"reelin-cli/{__version__}".encode()}
        if endpoint.token:
            headers[b"Authorization"] = f"Bearer {endpoint.token}".encode()
        # A proxy of the environment is meant for the world outside, and could not reach this machine's loopback.
        self._http = httpx.Client(
            base_url=endpoint.url, headers=headers, timeout=30, trust_env=not endpoint.on_loopback
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    # jobs

    def submit(self, submission: Mapping[str, object]) -> Job:
        return self._job("POST", "/api/jobs", json=submission)

    def submit_list(self, text: str, fields: Query) -> Accepted:
        """One URL a line; `fields` are all others of a submission, `options` as JSON."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        arguments: dict[str, Any] = {"content": text.encode(), "headers": headers, "timeout": LIST_SECONDS}
        answer = self._call("POST", "/api/jobs", params=fields, **arguments)
        skipped = answer.headers.get(SKIPPED_HEADER, "")
        return Accepted(job=_parsed(Job, answer), skipped=int(skipped) if skipped.isdecimal() else 0)

    def job(self, job_id: str, *, wait_seconds: int = 0) -> Job:
        """With `wait_seconds` the answer comes as soon as the job is final, at the latest then."""
        if not wait_seconds:
            return self._job("GET", _path(job_id))
        return self._job("GET", _path(job_id), params={"wait": wait_seconds}, timeout=wait_seconds + 30)

    def finished(self, job_id: str) -> Job:
        """The job once it is final, however long that takes."""
        job = self.job(job_id, wait_seconds=WAIT_SECONDS)
        while not job.state.final:
            job = self.job(job_id, wait_seconds=WAIT_SECONDS)
        return job

    def jobs(self, query: Query, *, limit: int | None = None) -> Iterator[Job]:
        """Page by page; at most `limit`, or all."""
        return self._pages("/api/jobs", query, Page[Job], limit)

    def count(self, query: Query) -> dict[State, int]:
        """How many jobs there are, by state; the query's own states do not count."""
        return _parsed(Page[Job], self._call("GET", "/api/jobs", params={**query, "limit": 1})).counts

    def act(self, action: str, job_id: str, body: Mapping[str, object] | None = None) -> Job:
        """`action` is cancel, pause, resume or retry."""
        return self._job("POST", _path(job_id, action), json=body or {})

    def act_on_all(self, action: str, selection: Mapping[str, object]) -> int:
        """The same for all jobs that fit; returns how many."""
        answer = self._call("POST", f"/api/jobs/{action}", json=selection, timeout=LIST_SECONDS)
        return _parsed(Matched, answer).matched

    def prioritise(self, job_id: str, priority: int) -> Job:
        return self._job("PATCH", _path(job_id), json={"priority": priority})

    # the library

    def videos(self, query: Query, *, limit: int | None = None) -> Iterator[LibraryVideo]:
        return self._pages("/api/videos", query, Page[LibraryVideo], limit)

    # sites

    def sites(self) -> Iterator[SiteEntry]:
        return self._pages("/api/sites", {}, Page[SiteEntry], None)

    def set_site(self, site: str, settings: Mapping[str, int | str | None]) -> SiteEntry:
        return _parsed(SiteEntry, self._call("PATCH", f"/api/sites/{quote(site, safe='')}", json=settings))

    @contextmanager
    def file(self, url: str) -> Iterator[Iterator[bytes]]:
        """The bytes of a published file; `url` is the one that its job's result names."""
        with self._answering(), self._http.stream("GET", url) as response:
            if response.is_error:
                response.read()
                raise problem_of(response)
            yield response.iter_bytes()

    # the service

    def get(self, path: str) -> httpx.Response:
        """Any answer, whatever its status."""
        with self._answering():
            return self._http.get(path)

    @contextmanager
    def events(self, path: str, last_event_id: str | None) -> Iterator[Iterator[ServerSentEvent]]:
        """A stream of Server-Sent Events. Raises NoApi as soon as it breaks."""
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        timeout = httpx.Timeout(30, read=STREAM_SILENCE_SECONDS)
        with self._answering(), connect_sse(self._http, "GET", path, headers=headers, timeout=timeout) as source:
            if source.response.is_error:
                source.response.read()
                raise problem_of(source.response)
            yield source.iter_sse()

    def _job(self, method: str, path: str, **arguments: Any) -> Job:
        return _parsed(Job, self._call(method, path, **arguments))

    def _pages(self, path: str, query: Query, kind: type[Page[T]], limit: int | None) -> Iterator[T]:
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            size = PAGE_LIMIT if left is None else min(left, PAGE_LIMIT)
            params = {**query, "limit": size, **({"cursor": cursor} if cursor else {})}
            page = _parsed(kind, self._call("GET", path, params=params))
            yield from page.items
            left = None if left is None else left - len(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

    def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        with self._answering():
            response = self._http.request(method, path, **arguments)
        if response.is_error:
            raise problem_of(response)
        return response

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, SSEError) as error:
            reason = _ERRNO.sub("", str(error)).strip() or type(error).__name__
            raise NoApi(
                f"Reelin does not answer at {self.endpoint.url} ({self.endpoint.found}): {reason}. "
                "Start it with `reelin up`."
            ) from error


def _path(job_id: str, action: str = "") -> str:
    return f"/api/jobs/{quote(job_id, safe='')}" + (f"/{action}" if action else "")


def _parsed(kind: type[M], response: httpx.Response) -> M:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise NoApi(
            f"{response.request.url.copy_with(query=None)} answers, but not as Reelin {__version__} does: "
            "check --url and REELIN_URL, or update this program."
        ) from error
