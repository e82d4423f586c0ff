"""What a job waits for, from its row and from how the service stands."""

from __future__ import annotations

from datetime import UTC, datetime

from reelin.api.status import ServiceStatus
from reelin.contracts.failures import Failure
from reelin.contracts.jobs import State, Wait, WaitReason
from reelin.library import JobRecord, Standstill, clipped

#: What goes on by itself as soon as Temporal and a worker are there.
_NEEDS_A_WORKER = frozenset({WaitReason.TEMPORAL, WaitReason.WORKER, WaitReason.SITE})


def wait_of(job: JobRecord, service: ServiceStatus) -> Wait | None:
    """None where it moves, or is over."""
    if job.state is State.RUNNING or job.state.final:
        return None
    moment = datetime.now(UTC)
    at_rest = Standstill.of(job, moment)
    reason = at_rest.reason
    if reason is None:
        return None
    at_its_site = reason is WaitReason.SITE
    failed = job.failure is not None and at_rest.failure is not None and not at_its_site
    wait = Wait(
        reason=reason,
        until=at_rest.until if at_its_site else job.next_attempt_at,
        attempt=job.attempt,
        failure=at_rest.failure,
        message=clipped(Failure.model_validate(job.failure).message) if failed else None,
    )
    if at_its_site:
        wait = _at_its_site(wait, job.site, service, moment)
    return _held_up(wait, service, moment)


def held_up(service: ServiceStatus) -> Wait | None:
    """What a batch waits for of which nothing runs, where it is not its items' matter."""
    if service.temporal is not None:
        return Wait(reason=WaitReason.TEMPORAL, message=service.temporal)
    return None if service.worker is None else Wait(reason=WaitReason.WORKER, message=service.worker)


def _held_up(wait: Wait, service: ServiceStatus, moment: datetime) -> Wait:
    """A moment in the future is what it waits for, whoever is away until then."""
    obstacle = held_up(service)
    ahead = wait.until is not None and wait.until > moment
    if obstacle is None or ahead or wait.reason not in _NEEDS_A_WORKER:
        return wait
    return obstacle.model_copy(update={"attempt": wait.attempt})


def _at_its_site(wait: Wait, site: str | None, service: ServiceStatus, moment: datetime) -> Wait:
    status = service.sites.get(site or "")
    if status is None:
        return wait
    shut = status.shut_until if status.shut_until is not None and status.shut_until > moment else None
    return wait.model_copy(
        update={"site": status.line, "until": wait.until or shut, "failure": status.reason or wait.failure}
    )
