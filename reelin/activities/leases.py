"""What a site's workflow asks of us: who waits for it, leave to fetch for those whose turn it is, and how it stands."""

from __future__ import annotations

import asyncio

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from reelin.activities.starter import Start, Starter
from reelin.contracts.progress import JobTouched
from reelin.contracts.sites import (
    CHECK_LEASES,
    FRONT,
    GRANT_LEASES,
    LOAD_SITE,
    READ_WAITERS,
    RECORD_SITE,
    Configure,
    Learnt,
    Leases,
    LeasesGranted,
    LeasesSeen,
    SiteSituation,
    StoredSite,
    Waiters,
)
from reelin.contracts.work import LEASE_GRANTED
from reelin.library import JobRecord, Library, SiteRecord
from reelin.progress import ProgressBus

log = structlog.get_logger(__name__)


class LeaseActivities:
    def __init__(self, *, client: Client, library: Library, bus: ProgressBus, starter: Starter) -> None:
        self._client = client
        self._library = library
        self._bus = bus
        self._starter = starter

    @activity.defn(name=LOAD_SITE)
    async def load_site(self, site: str) -> StoredSite:
        """All that its workflow starts with, also after it was terminated: leases that are in use stay in use."""
        stored = _stored(await self._library.sites.find(site))
        leases = await self._library.waiters.leases(site)
        waiters = await self._library.waiters.front(site, at_most=FRONT)
        return stored.model_copy(update={"leases": leases, "waiters": waiters})

    @activity.defn(name=READ_WAITERS)
    async def read_waiters(self, site: str) -> Waiters:
        return await self._library.waiters.front(site, at_most=FRONT)

    @activity.defn(name=GRANT_LEASES)
    async def grant_leases(self, wanted: Leases) -> LeasesGranted:
        """Writes the leases down, then starts the jobs' workflows, or wakes those that run. May run twice."""
        numbers = {lease.job_id: lease.number for lease in wanted.leases}
        granted = await self._library.waiters.grant(wanted.leases)
        starts = await asyncio.gather(*(self._let_in(job) for job in granted))
        came_to = {job.id: start for job, start in zip(granted, starts, strict=True)}
        later = [lease for lease in wanted.leases if came_to.get(lease.job_id) is Start.LATER]
        await self._library.waiters.put_back(later)
        for job in granted:
            self._bus.publish(JobTouched(job_id=job.id))
        refused = [number for job_id, number in numbers.items() if came_to.get(job_id, Start.REFUSED) is Start.REFUSED]
        return LeasesGranted(refused=tuple(refused), later=tuple(lease.number for lease in later))

    @activity.defn(name=CHECK_LEASES)
    async def check_leases(self, question: Leases) -> LeasesSeen:
        return await self._library.waiters.check(question.leases, question.expired)

    @activity.defn(name=RECORD_SITE)
    async def record_site(self, situation: SiteSituation) -> StoredSite:
        return _stored(await self._library.sites.record(situation))

    async def _let_in(self, job: JobRecord) -> Start:
        """A job that was tried before has a workflow. One that was not may have one too, that asked for itself."""
        if job.attempt == 0:
            start = await self._starter.start(job, leased=True)
            if start is not Start.THERE_ALREADY:
                return start
        try:
            async with self._starter.slots:
                await self._client.get_workflow_handle(job.id).signal(LEASE_GRANTED)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            # Its workflow has ended: how, is the reconciler's question, and its row keeps no lease meanwhile.
            await self._library.waiters.give_back(job.id, job.lease or 0)
            return Start.REFUSED
        return Start.STARTED


def _stored(row: SiteRecord | None) -> StoredSite:
    if row is None:
        return StoredSite()
    return StoredSite(
        settings=Configure(max_at_once=row.max_at_once, requests_per_hour=row.requests_per_hour),
        learnt=Learnt.model_validate(row.learnt or {}),
        recorded=row.recorded,
    )
