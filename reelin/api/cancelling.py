"""Ending a job that someone no longer wants: the same for REST, WebSocket and deletion."""

from __future__ import annotations

import structlog

from reelin.api.parts import Parts
from reelin.errors import Unavailable
from reelin.library import JobRecord

_log = structlog.get_logger(__name__)


async def cancel_job(parts: Parts, job_id: str, *, keep_partial: bool = False) -> JobRecord:
    """Stores the wish, then tells Temporal. Raises NotFound, Conflict."""
    job = await parts.library.jobs.request_cancel(job_id, keep_partial=keep_partial)
    parts.hub.touch(job_id)
    if not job.state.final:
        await _tell_temporal(parts, job_id)
    return job


async def _tell_temporal(parts: Parts, job_id: str) -> None:
    try:
        await parts.control.cancel(job_id)
    except Unavailable as error:
        # The wish is stored: the reconciler passes it on as soon as Temporal is back.
        _log.warning("A cancel waits for Temporal", job_id=job_id, reason=error.reason, action="cancel")
