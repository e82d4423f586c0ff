"""A job by its id, or by the beginning of its id as `reelin ls` shows it."""

from __future__ import annotations

from reelin.cli.client import Client
from reelin.cli.problems import ApiProblem, FieldError, Missing, Problem
from reelin.cli.text import short_id
from reelin.contracts.jobs import Job

#: `video-` and 24 hexadecimal digits: such an id is nobody's beginning.
_DIGITS = 24
_SHOWN = 5


def find_job(client: Client, wanted: str) -> Job:
    """Raises Missing where no job's id begins so, ApiProblem where several do."""
    try:
        return client.job(wanted)
    except Missing:
        if len(wanted.rpartition("-")[2]) >= _DIGITS:
            raise
        found = [job for job in client.jobs({}) if _begins(job.id, wanted)]
        if not found:
            raise
    if len(found) > 1:
        raise _ambiguous(wanted, found)
    return found[0]


def _begins(job_id: str, wanted: str) -> bool:
    return job_id.startswith(wanted) or job_id.partition("-")[2].startswith(wanted)


def _ambiguous(wanted: str, found: list[Job]) -> ApiProblem:
    some = ", ".join(short_id(job.id) for job in found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    error = FieldError(message=f"{len(found)} jobs begin with {wanted!r}: {some}.", remedy="Give more of the id.")
    return ApiProblem(Problem(errors=(error,)))
