"""Says how far a job is: on the progress bus at once, and to Temporal as heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from temporalio import activity

from reelin.contracts.jobs import Phase, Progress
from reelin.contracts.progress import JobTouched, ProgressEvent
from reelin.contracts.work import Attempt
from reelin.engine.seam import Report
from reelin.progress import ProgressBus

#: Between two reports of a silent engine. It cannot make a hung download look alive: the engine ends a stall itself.
PULSE_SECONDS = 1.0


class Reporter:
    """One attempt's voice. Call it with each of the engine's reports."""

    def __init__(self, attempt: Attempt, bus: ProgressBus) -> None:
        self._attempt = attempt
        self._bus = bus
        self._sender = uuid4().hex
        self._version = 0
        self.newest = Report(phase=Phase.EXTRACTING, progress=Progress())

    def __call__(self, report: Report) -> None:
        self.newest = report
        self._version = max(report.at, self._version + 1)  # the clock may be set back
        self._bus.publish(
            ProgressEvent(
                job_id=self._attempt.job.job_id,
                version=self._version,
                sender=self._sender,
                attempt=self._attempt.number,
                phase=report.phase,
                title=report.title,
                progress=report.progress,
            )
        )

    def touched(self) -> None:
        """The job's row has changed."""
        self._bus.publish(JobTouched(job_id=self._attempt.job.job_id))

    @contextlib.asynccontextmanager
    async def pulsing(self) -> AsyncIterator[None]:
        """Hands the newest report to Temporal, once a second. What is over sooner costs it nothing."""
        pulse = asyncio.create_task(self._pulse())
        try:
            yield
        finally:
            pulse.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pulse

    async def _pulse(self) -> None:
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            self._heartbeat()

    def _heartbeat(self) -> None:
        activity.heartbeat(heartbeat_details(self.newest))


def heartbeat_details(report: Report) -> dict[str, Any]:
    """What a person reads in Temporal's UI: only what is known, with the units in the names."""
    known = report.model_dump(mode="json", exclude_none=True, exclude={"at"})
    return {**known.pop("progress"), **known}
