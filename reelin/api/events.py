"""What the hub sends: one event, built and serialised once, however many clients receive it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property

from reelin.contracts.jobs import Job

#: An event is kept as bytes for so many positions.
_POSITIONS = 4


def server_sent(event: str, data: str, *, version: int) -> bytes:
    """`data` is one line."""
    return f"id: {version}\r\nevent: {event}\r\ndata: {data}\r\n\r\n".encode()


@dataclass(frozen=True, eq=False)
class JobEvent:
    """A job's newest state. `text` is the Job as JSON."""

    job_id: str
    version: int
    final: bool
    text: str
    _sent: dict[int, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, job: Job) -> JobEvent:
        return cls(job.id, job.version, job.state.final, job.model_dump_json())

    @cached_property
    def sse(self) -> bytes:
        return self.sse_at(self.version)

    def sse_at(self, position: int) -> bytes:
        """With another `id:` than its own version: see Letter.position. Most clients stand at the same one."""
        if position not in self._sent:
            if len(self._sent) >= _POSITIONS:
                self._sent.clear()
            self._sent[position] = server_sent("job", self.text, version=position)
        return self._sent[position]

    @cached_property
    def update(self) -> str:
        """The WebSocket message of a job that goes on."""
        return f'{{"type":"job_update","job":{self.text}}}'

    @cached_property
    def status(self) -> str:
        """The WebSocket message on subscribing, and at the end."""
        return f'{{"type":"job_status","job":{self.text}}}'


@dataclass(frozen=True, eq=False)
class DeletedEvent:
    """The job was forgotten. `text` has its id."""

    job_id: str
    version: int
    final: bool = True

    @cached_property
    def text(self) -> str:
        return json.dumps({"id": self.job_id})

    @cached_property
    def sse(self) -> bytes:
        return self.sse_at(self.version)

    def sse_at(self, position: int) -> bytes:
        return server_sent("deleted", self.text, version=position)

    @cached_property
    def status(self) -> str:
        return json.dumps({"type": "job_deleted", "job_id": self.job_id})

    @property
    def update(self) -> str:
        return self.status


LiveEvent = JobEvent | DeletedEvent
