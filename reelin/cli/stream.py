"""Following jobs until they are final, through dropped connections and restarts of the API.

Every event carries a job's whole state, so nothing has to be caught up with: after a break the newest is enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from httpx_sse import ServerSentEvent
from pydantic import ValidationError

from reelin.cli.client import Client
from reelin.cli.problems import ApiProblem, Missing, NoApi
from reelin.contracts.jobs import Job

#: So long the API may stay away (a restart, an update) before watching gives up. The downloads go on regardless.
PATIENCE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 3.0


@dataclass
class Watched:
    """The jobs that are not final yet, and the newest version seen of each. Items of `batches` come along."""

    unfinished: set[str]
    batches: frozenset[str] = frozenset()
    adopt: bool = False  #: Take in jobs that are submitted meanwhile; not the items of batches.
    versions: dict[str, int] = field(default_factory=dict)
    last_event_id: str | None = None

    def take(self, job: Job) -> bool:
        """Whether this is news."""
        new = self.adopt and job.parent_id is None and not job.state.final and job.id not in self.versions
        item = job.parent_id in self.batches
        if not (job.id in self.unfinished or new or item) or job.version <= self.versions.get(job.id, -1):
            return False
        self.versions[job.id] = job.version
        if job.state.final:
            self.unfinished.discard(job.id)
        elif new:
            self.unfinished.add(job.id)
        return True


@dataclass
class Pauses:
    """Ever longer pauses between attempts to reach the API; after `PATIENCE_SECONDS` without an answer it is enough."""

    sleep: Callable[[float], None] = time.sleep
    waited: float = 0.0
    next_pause: float = _FIRST_PAUSE_SECONDS

    def reset(self) -> None:
        self.waited, self.next_pause = 0.0, _FIRST_PAUSE_SECONDS

    def wait(self, because: NoApi | None) -> None:
        if because is None:
            self.waited = 0.0
        elif self.waited >= PATIENCE_SECONDS:
            raise because
        self.sleep(self.next_pause)
        self.waited += self.next_pause
        self.next_pause = min(self.next_pause * 2, _LONGEST_PAUSE_SECONDS)


def follow(
    client: Client, job_ids: Collection[str], *, adopt: bool = False, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Job]:
    """Every newer state of these jobs, until all are final or were deleted.

    A single one is followed with its items, should it be a batch: those that have left the line. With `adopt`, jobs
    that are submitted meanwhile are followed too. Raises NoApi where the API stays away for a minute, ApiProblem where
    it refuses.
    """
    alone = len(job_ids) == 1 and not adopt
    watched = Watched(set(job_ids), frozenset(job_ids) if alone else frozenset(), adopt)
    path = f"/api/jobs/{quote(next(iter(job_ids)), safe='')}/events?items=true" if alone else "/api/events"
    pauses = Pauses(sleep)
    while watched.unfinished:
        lost: NoApi | None = None
        try:
            for job in _listen(client, path, watched):
                pauses.reset()
                yield job
        except (NoApi, ApiProblem):
            pass  # looking tells whether the stream alone is broken, or the API is away, or it refuses
        try:
            yield from _look(client, watched, tuple(watched.unfinished))
        except NoApi as error:
            lost = error
        if watched.unfinished:
            pauses.wait(lost)


def _listen(client: Client, path: str, watched: Watched) -> Iterator[Job]:
    """What the stream tells, until it ends."""
    heard: set[str] = set()
    with client.events(path, watched.last_event_id) as events:
        for event in events:
            watched.last_event_id = event.id or watched.last_event_id
            job = _job_of(event)
            if job is not None:
                heard.add(job.id)
                if watched.take(job):
                    yield job
            elif event.event == "end":
                return
            elif event.event == "ready":  # every unfinished job was sent: one that was not is final already
                yield from _look(client, watched, tuple(watched.unfinished - heard))
            elif event.event == "deleted":
                watched.unfinished.discard(_id_of(event))
            # The last items of a batch come after its own last event, and `end` after them.
            if not watched.unfinished and (event.event != "job" or not watched.batches):
                return


def _look(client: Client, watched: Watched, job_ids: Collection[str]) -> Iterator[Job]:
    """Asks for each job by itself; one that was deleted is no longer watched."""
    for job_id in job_ids:
        try:
            job = client.job(job_id)
        except Missing:
            watched.unfinished.discard(job_id)
            continue
        if watched.take(job):
            yield job


def _id_of(event: ServerSentEvent) -> str:
    try:
        return str(event.json()["id"])
    except (ValueError, TypeError, KeyError):
        return ""


def _job_of(event: ServerSentEvent) -> Job | None:
    if event.event != "job":
        return None
    try:
        return Job.model_validate_json(event.data)
    except ValidationError:
        return None
