"""Messages of the progress bus."""

from __future__ import annotations

from reelin.contracts.jobs import Phase, Progress
from reelin.contracts.model import Message


class ProgressEvent(Message):
    """The newest state of a running job: having missed all earlier ones is harmless.

    `version` is when the engine saw it, in microseconds since the epoch, by the clock of its machine: it orders what
    one `sender` says. Of two senders the one that is heard now is right: a worker may have taken over from another.
    """

    job_id: str
    version: int
    sender: str = ""
    attempt: int
    phase: Phase
    title: str | None = None
    progress: Progress


class JobTouched(Message):
    """The job's row has changed (a state, an outcome): read it again."""

    job_id: str


class JobDeleted(Message):
    """The job was forgotten."""

    job_id: str


BusEvent = ProgressEvent | JobTouched | JobDeleted
