"""From what went wrong to what the workflow decides on."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from datetime import timedelta

import structlog
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from reelin.contracts.failures import FailureKind
from reelin.contracts.work import FailureReport, JobRequest
from reelin.engine.disk import STORAGE_ERRORS
from reelin.errors import MediaFailure, PlaylistFound, Unavailable, is_exhaustion

log = structlog.get_logger(__name__)
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def back_to_temporal(reason: str, type: str, *, after: timedelta) -> ApplicationError:
    """What Temporal's own retry answers: no attempt is used, and nobody is told of a failure."""
    return ApplicationError(reason, type=type, next_retry_delay=after, category=ApplicationErrorCategory.BENIGN)


@contextlib.contextmanager
def reporting_failures(job: JobRequest) -> Iterator[None]:
    """Turns whatever goes wrong inside into an ApplicationError that carries a FailureReport, never a traceback.

    A database that does not answer passes through: Temporal retries that, as it does with a lost worker. So does a
    playlist, which is no failure.
    """
    try:
        yield
    except (Unavailable, PlaylistFound, ApplicationError):  # the last is such a report already
        raise
    except MediaFailure as error:
        log.info("attempt failed", job_id=job.job_id, site=job.site, kind=error.kind, message=error.message)
        if error.kind == FailureKind.INTERNAL:
            log.error("fault of our own", job_id=job.job_id, detail=error.detail)
        report = FailureReport(
            kind=FailureKind(error.kind), message=error.message, retry_after_seconds=error.retry_after_seconds
        )
        raise application_error(report) from None
    except Exception as error:  # noqa: BLE001  whatever it is: the workflow gets a report of it, the log the rest
        if is_exhaustion(error):
            log.warning("files or memory have run out; the job waits", job_id=job.job_id, reason=str(error))
            message = f"This machine has run out: {_exhausted(error)}."
            raise _failed(FailureKind.RESOURCES_EXHAUSTED, message) from None
        raise _own_fault(job, error) from None


def _own_fault(job: JobRequest, error: Exception) -> ApplicationError:
    if not isinstance(error, OSError):
        log.error("fault of our own", job_id=job.job_id, exc_info=error)
        return _failed(FailureKind.INTERNAL, "Something went wrong inside Reelin.")
    if error.errno in _NO_SPACE:
        return _failed(FailureKind.DISK_FULL, "There is no space left on the disk.")
    if error.errno in STORAGE_ERRORS:
        return _failed(
            FailureKind.STORAGE_UNAVAILABLE, f"The disk of the media folder is in trouble: {error.strerror}."
        )
    log.error("the file system refused", job_id=job.job_id, exc_info=error)
    return _failed(FailureKind.INTERNAL, f"The file system refused: {error.strerror}.")


def _exhausted(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else str(error)) or "out of memory"


def _failed(kind: FailureKind, message: str) -> ApplicationError:
    return application_error(FailureReport(kind=kind, message=message))


def application_error(report: FailureReport) -> ApplicationError:
    """Not retried by Temporal: the workflow owns what happens next. What a site did wrong is not ours to log."""
    ours = report.kind is FailureKind.INTERNAL
    category = ApplicationErrorCategory.UNSPECIFIED if ours else ApplicationErrorCategory.BENIGN
    return ApplicationError(report.message, report, type=report.kind, non_retryable=True, category=category)
