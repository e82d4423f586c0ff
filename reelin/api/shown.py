"""Jobs as clients see them, with what a batch has besides its row."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from reelin.api.parts import Parts
from reelin.contracts.jobs import Job, Kind
from reelin.library import JobRecord

BATCH_KINDS = (Kind.PLAYLIST, Kind.BULK)


async def shown(parts: Parts, records: Sequence[JobRecord]) -> tuple[Job, ...]:
    """Batches that are not over are counted, all in one query; of the others the result says it."""
    running = [record.id for record in records if record.kind in BATCH_KINDS and not record.state.final]
    counts = await parts.library.batches.count_all(running)
    views = (parts.hub.view(record) for record in records)
    return tuple(job.model_copy(update={"counts": counts[job.id]}) if job.id in counts else job for job in views)


async def answer(parts: Parts, record: JobRecord, status: int, headers: dict[str, str] | None = None) -> Response:
    """One job; with its address where it was accepted."""
    (job,) = await shown(parts, [record])
    located = {"Location": job.links.self} if status == 202 else {}
    return Response(
        job.model_dump_json(), status, headers={**located, **(headers or {})}, media_type="application/json"
    )
