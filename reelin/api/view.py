"""A job's row and its newest progress, as the one JSON that every client sees."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from reelin.api.figures import Figures
from reelin.api.status import ServiceStatus
from reelin.api.waits import held_up, wait_of
from reelin.contracts.failures import Failure
from reelin.contracts.jobs import BATCH_KINDS, Counts, Job, Kind, Links, Phase, State, Wait
from reelin.contracts.model import Message
from reelin.contracts.progress import ProgressEvent
from reelin.library import ItemRecord, JobRecord

NOTHING_KNOWN = ServiceStatus()


class LinkMaker(Message):
    """`temporal_ui` is where Temporal's UI stands, such as http://127.0.0.1:8233; None: jobs have no link there.
    `mark` is what stands behind a job's id there."""

    temporal_ui: str | None = None
    namespace: str = "default"
    mark: str = ""

    def of(self, job_id: str) -> Links:
        name = quote(job_id, safe="")
        path = f"/api/jobs/{name}"
        return Links(self=path, events=f"{path}/events", temporal=self._temporal(name))

    def _temporal(self, name: str) -> str | None:
        if self.temporal_ui is None:
            return None
        namespace = f"{self.temporal_ui.rstrip('/')}/namespaces/{quote(self.namespace, safe='')}"
        return f"{namespace}/workflows/{name}{quote(self.mark, safe='')}"


def applies(progress: ProgressEvent, record: JobRecord) -> bool:
    """Whether `progress` tells more than the row does: it is of the attempt that the row says is running, or of one
    that the row does not know yet. Clocks alone do not tell: the worker's may be ahead of whoever wrote the row."""
    if record.state.final:
        return False
    if record.state is State.RUNNING and progress.attempt == record.attempt:
        return True
    return progress.attempt > record.attempt and progress.version > record.version


def present(
    record: JobRecord,
    links: LinkMaker,
    progress: ProgressEvent | None = None,
    *,
    version: int = 0,
    figures: Figures | None = None,
    service: ServiceStatus = NOTHING_KNOWN,
) -> Job:
    """The job as it stands. `version` is the least that it may carry; `figures` are those of a batch that goes on."""
    job = _job(record, links, wait_of(record, service))
    if record.kind in BATCH_KINDS:
        job = _counted(job, record, figures, service)
    elif progress is not None and applies(progress, record):
        job = _advanced(job, progress)
    return job if job.version >= version else job.model_copy(update={"version": version})


def placed(job: Job, item: ItemRecord) -> Job:
    """The job as an item of that batch. One that the batch does not follow any more is shown as the batch left it."""
    place = {"parent_id": item.batch_id, "position": item.position}
    if not item.settled or item.state is job.state:
        return job.model_copy(update=place)
    nothing = dict.fromkeys(("phase", "next_attempt_at", "waiting_for", "progress", "failure", "result"))
    nothing |= {"items_waiting": ()}
    return job.model_copy(update={**place, **nothing, "state": item.state})


def _counted(job: Job, record: JobRecord, figures: Figures | None, service: ServiceStatus) -> Job:
    if record.state.final:
        return job.model_copy(update={"counts": Counts.model_validate(record.result) if record.result else None})
    if figures is None:
        return job
    counts = figures.counts
    idle = not counts.running and (counts.queued or counts.waiting)
    return job.model_copy(
        update={
            "counts": counts,
            "progress": figures.progress,
            "items_waiting": figures.waits,
            "waiting_for": job.waiting_for or (held_up(service) if idle else None),
            "version": max(job.version, figures.version),
        }
    )


def _job(record: JobRecord, links: LinkMaker, waiting_for: Wait | None) -> Job:
    return Job(
        id=record.id,
        kind=record.kind,
        state=record.state,
        url=record.url,
        title=record.title,
        duration_seconds=(record.entry or {}).get("duration"),
        site=record.site,
        parent_id=record.parent_id,
        position=record.position,
        owner=record.owner,
        preset=record.preset,
        priority=record.priority,
        attempt=record.attempt,
        next_attempt_at=record.next_attempt_at,
        waiting_for=waiting_for,
        submitted_at=record.submitted_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        failure=None if record.failure is None else Failure.model_validate(record.failure),
        result=_result(record),
        links=links.of(record.id),
        version=record.version,
    )


def _result(record: JobRecord) -> dict[str, Any] | None:
    if not record.state.final or record.result is None:
        return None
    return {**record.result, "skipped": True} if record.skipped else record.result


def _advanced(job: Job, progress: ProgressEvent) -> Job:
    looked_at = progress.phase is not Phase.EXTRACTING
    return job.model_copy(
        update={
            "kind": Kind.VIDEO if job.kind is Kind.AUTO and looked_at else job.kind,
            "state": State.RUNNING,
            "phase": progress.phase,
            "title": progress.title or job.title,
            "attempt": progress.attempt,
            "next_attempt_at": None,
            "waiting_for": None,
            "progress": progress.progress,
        }
    )
