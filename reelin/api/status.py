"""What holds up every job, or all those of a site: Temporal away, no worker, a site that is full or shut.

It stands in no job's row. Each API process looks for it, and shows it with the jobs that it holds up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from reelin.api.control import WorkflowControl
from reelin.contracts.failures import FailureKind
from reelin.contracts.jobs import SiteLine
from reelin.contracts.work import TASK_QUEUES
from reelin.errors import Unavailable
from reelin.library import Library, SiteRecord

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 5.0
#: While something is amiss: it is said once it was seen twice, and no longer than it lasts.
LOOK_AGAIN_SECONDS = 1.0
#: A Temporal that says nothing for so long is away.
LONGEST_LOOK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """`reason`: what it complained of, until it is open again."""

    line: SiteLine
    shut_until: datetime | None = None
    reason: FailureKind | None = None


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """`temporal` and `worker` say why nothing goes on there; None: nothing is known against them."""

    temporal: str | None = None
    worker: str | None = None
    sites: Mapping[str, SiteStatus] = field(default_factory=dict)

    def holds_up_alike(self, other: ServiceStatus) -> bool:
        """Whether jobs would be shown to wait for the same. How many a site serves changes all the time."""
        mine, others = (
            {name: each.shut_until for name, each in of.sites.items() if each.shut_until} for of in (self, other)
        )
        return (self.temporal, self.worker, mine) == (other.temporal, other.worker, others)


class StatusMonitor:
    """`changed` is called when jobs wait for something else than before. `at_once_of`: a site's limit, None: none."""

    def __init__(
        self,
        library: Library,
        control: WorkflowControl,
        at_once_of: Callable[[SiteRecord], int | None],
        changed: Callable[[ServiceStatus], None],
    ) -> None:
        self._library = library
        self._control = control
        self._at_once_of = at_once_of
        self._changed = changed
        self._seen: tuple[str | None, str | None] = (None, None)

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001  whatever the driver raises: the next look may succeed
                _log.exception("How the service stands cannot be found; it is looked at again", action="service_status")
            await asyncio.sleep(LOOK_AGAIN_SECONDS if any(self._seen) else LOOK_SECONDS)

    async def look(self) -> None:
        """What is amiss for a moment only, as while a worker starts, is not said."""
        before, self._seen = self._seen, await self._of_temporal()
        temporal, worker = (now if was else None for was, now in zip(before, self._seen, strict=True))
        sites = {row.site: self._site(row) for row in await self._library.sites.busy()}
        self._changed(ServiceStatus(temporal, worker, sites))

    async def _of_temporal(self) -> tuple[str | None, str | None]:
        try:
            async with asyncio.timeout(LONGEST_LOOK_SECONDS):
                queues = await self._control.queues()
        except (Unavailable, TimeoutError):
            return "Temporal does not answer.", None
        silent = [name for name in TASK_QUEUES if name not in queues or not queues[name].workers]
        if not silent:
            return None, None
        return None, f"No worker listens on {', '.join(silent)}. Start one with `reelin worker`."

    def _site(self, row: SiteRecord) -> SiteStatus:
        line = SiteLine(in_use=row.in_use, max_at_once=self._at_once_of(row), waiting=row.waiting)
        return SiteStatus(line, row.cooldown_until, FailureKind(row.reason) if row.reason else None)
