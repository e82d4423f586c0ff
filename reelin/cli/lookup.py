"""A job by its id, or by the beginning of its id as `reelin ls` shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reelin.cli.client import Client
from reelin.cli.problems import ApiProblem, FieldError, Missing, Problem
from reelin.cli.text import short_id
from reelin.contracts.jobs import Job

#: `video-` and 24 hexadecimal digits: such an id is nobody's beginning.
_BEGINNING = re.compile(r"(?:[a-z]+-)?[0-9a-f]{1,23}")
_KINDS = ("video", "playlist", "bulk", "info")
_SHOWN = 5
_LOOKED_AT = 100


def find_job(client: Client, wanted: str) -> Job:
    """Raises Missing where no job's id begins so, ApiProblem where several do."""
    try:
        return client.job(wanted)
    except Missing:
        if not _BEGINNING.fullmatch(wanted):
            raise
        found = list({job.id: job for job in _beginning(client, wanted)}.values())
        if not found:
            raise
    if len(found) > 1:
        raise _ambiguous(wanted, found)
    return found[0]


def _beginning(client: Client, wanted: str) -> Iterator[Job]:
    """Items of batches too. A few are enough: of more than one, the person has to say which."""
    for beginning in [wanted] if "-" in wanted else [f"{kind}-{wanted}" for kind in _KINDS]:
        found = client.jobs({"q": beginning, "items": True}, limit=_LOOKED_AT)
        yield from (job for job in found if job.id.startswith(beginning))


def _ambiguous(wanted: str, found: list[Job]) -> ApiProblem:
    some = ", ".join(short_id(job.id) for job in found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    error = FieldError(message=f"{len(found)} jobs begin with {wanted!r}: {some}.", remedy="Give more of the id.")
    return ApiProblem(Problem(errors=(error,)))
