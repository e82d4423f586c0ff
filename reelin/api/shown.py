"""Jobs as clients see them, with what a batch has besides its row."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from reelin.api.parts import Parts
from reelin.contracts.jobs import Job
from reelin.library import JobRecord


async def shown(parts: Parts, records: Sequence[JobRecord]) -> tuple[Job, ...]:
    """Batches that are not over are counted; of the others the result says it."""
    return tuple(await parts.hub.views(records))


async def answer(parts: Parts, record: JobRecord, status: int, headers: dict[str, str] | None = None) -> Response:
    """One job; with its address where it was accepted."""
    (job,) = await shown(parts, [record])
    located = {"Location": job.links.self} if status == 202 else {}
    return Response(
        job.model_dump_json(), status, headers={**located, **(headers or {})}, media_type="application/json"
    )
